"""Writing files so that a full disk, a crash or a kill never costs what was there before."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import RunError

ADVICE = {
    errno.ENOSPC: "free some space and try again",
    errno.EDQUOT: "free some of your quota and try again",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f) and try again",
    errno.EACCES: "choose a place where you may write",
    errno.EPERM: "choose a place where you may write",
    errno.EROFS: "choose a place where you may write",
    errno.ENOENT: "make its folder first, or choose another place",
}

LEFTOVERS = ".*.tmp"


def write_atomically(path: Path | str, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: whoever opens it sees the old contents or the new ones.

    `path` may be new, a regular file, or a link to one (the link stays a link). `data` is the
    contents, or a function that writes them to the open binary file it is given. The new contents
    are safe on the disk when the call returns. Raises RunError if they cannot be written; then,
    as with any error of the function, the old file is as it was and nothing is left beside it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder) / "words.txt", b"to be")
    ...     (Path(folder) / "words.txt").read_text()
    'to be'
    """
    target = Path(os.path.realpath(path))  # replacing a link itself would cut it off its file
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        if target.exists() and not target.is_file():
            raise RunError(
                f"{path} could not be written: it is no regular file; choose another name"
            )
        try:
            with temporary.open("xb") as file:
                data(file) if callable(data) else file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:  # an interrupt leaves no litter either
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(path, error) from error
    _sync_folder(target.parent)


def append_line(path: Path | str, line: str) -> None:
    r"""Add one line to the end of a text file, in one write, or leave the file as it was.

    `path` need not exist yet; `line` comes without its newline. Raises RunError if it cannot be
    written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     append_line(Path(folder) / "log", "one")
    ...     append_line(Path(folder) / "log", "two")
    ...     (Path(folder) / "log").read_text()
    'one\ntwo\n'
    """
    path = Path(path)
    try:
        end = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(line.encode() + b"\n")
        except OSError:
            os.truncate(path, end)  # half a line would spoil the next one
            raise
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that a killed `write_atomically` left in `folder`.

    Only for a folder that nobody else writes at the same time.
    """
    for temporary in folder.glob(LEFTOVERS):
        temporary.unlink(missing_ok=True)


def is_empty(folder: Path) -> bool:
    """Tell whether a folder holds nothing but what a killed `write_atomically` left there."""
    return all(entry.match(LEFTOVERS) for entry in folder.iterdir())


def cannot_write(path: Path | str, error: OSError) -> RunError:
    """Turn the system's error about writing `path` into a RunError that says what to do.

    >>> print(cannot_write("model.bin", OSError(errno.ENOSPC, "No space left on device")))
    model.bin could not be written: No space left on device; free some space and try again
    """
    advice = ADVICE.get(error.errno or 0, "check the disk, or choose another place")
    return RunError(f"{path} could not be written: {error.strerror or error}; {advice}")


def _sync_folder(folder: Path) -> None:
    """Make the new name in `folder` survive a loss of power, where the system can promise it."""
    # Windows cannot open a folder and some network disks refuse to sync one: the file itself is
    # complete under its name by now, so neither is an error.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
