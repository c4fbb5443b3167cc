"""Object code on disk, so that only the first process ever waits for the compiler.

A file is believed only if the checksum in its head fits, and its folder is used only if no other
user could have written there. Whatever is wrong with either costs a compilation and nothing else.
"""

import contextlib
import hashlib
import os
import platform
import stat
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from unrolled.backends.llvm.jit import Library, compile_module
from unrolled.backends.llvm.target import Target
from unrolled.errors import RunError
from unrolled.files import write_atomically

VARIABLE = "UNROLLED_CACHE"
"""Names the folder of the cache; "off" turns it off."""

MAGIC = b"unrolled object 1\n"


def key(program: str, target: Target) -> str:
    """Give the name under which the code of a program lies: a hash of all that it follows from."""
    parts = [
        program,
        repr(target),
        platform.platform(),
        llvmlite.__version__,
        repr(llvm.llvm_version_info),
        _generator(),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def load(name: str) -> bytes | None:
    """Give the object code of that name; None if there is none, or none to be trusted."""
    folder = _folder()
    if folder is None:
        return None
    try:
        data = (folder / name).read_bytes()
    except OSError:
        return None
    image = data[len(MAGIC) + 32 :]
    return image if data.startswith(MAGIC + _checksum(name, image)) else None


def save(name: str, image: bytes) -> None:
    """Keep object code under a name, if there is a place to keep it."""
    folder = _folder()
    if folder is not None:
        with contextlib.suppress(RunError):  # a full disk costs the next process a compilation
            write_atomically(folder / name, MAGIC + _checksum(name, image) + image)


def _checksum(name: str, image: bytes) -> bytes:
    """Hash the name too: a file under another's name is as wrong as a damaged one."""
    return hashlib.sha256(name.encode() + image).digest()


def library(
    name: str, emit: Callable[[], str], functions: Sequence[str], target: Target
) -> Library:
    """Give functions linked, from the disk if their code is there.

    Args:
        name: what `key` gives.
        emit: writes the module, if it has to be compiled.
        functions: their names.
        target: what the code is for.
    """
    image = load(name)
    if image is None:
        image = compile_module(emit(), target)
        save(name, image)
    return Library(image, functions, target)


def _folder() -> Path | None:
    """Give the cache's folder, made private to this user; None where that cannot be had."""
    chosen = os.environ.get(VARIABLE)
    if chosen == "off":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(chosen) if chosen else Path(home) / "unrolled"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    if hasattr(os, "getuid"):  # on Windows a home folder is private already
        shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if status.st_uid != os.getuid() or shared:
            return None
    return folder


@cache
def _generator() -> str:
    """Hash the files that write the code: code of another version of them is never taken."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
