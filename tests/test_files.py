"""A file is written whole or not at all."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from unrolled.errors import RunError
from unrolled.files import append_line, remove_leftovers, write_atomically


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system refuse every byte of a file beyond `size`, like a full disk."""
    # Python ignores SIGXFSZ, so that the refusal arrives as an error of write().
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_new_contents_replace_the_old(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_atomically(path, b"old")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["model"]


def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_atomically(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "model").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "model")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "model").read_bytes() == b"new"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    write_atomically(path, b"old")
    with pytest.raises(RunError) as caught, largest_file(1000):
        write_atomically(path, bytes(100_000))
    assert str(caught.value) == (
        f"{path} could not be written: File too large;"
        " raise the limit on the size of files (ulimit -f) and try again"
    )
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append_line(path, "one")
    with pytest.raises(RunError, match="log could not be written: File too large"):
        with largest_file(1000):
            append_line(path, "x" * 2000)
    append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt], ids=lambda kind: kind.__name__)
def test_an_error_while_writing_leaves_the_old_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"half of it")
        raise error

    path = tmp_path / "model"
    write_atomically(path, b"old")
    with pytest.raises(error):
        write_atomically(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model"]


def test_contents_are_safe_on_disk_before_the_old_file_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))
        )
    write_atomically(tmp_path / "model", b"new")
    assert calls == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/model", "No such file or directory; make its folder first, or choose another"),
        ("folder", "it is no regular file; choose another name"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match=f"{name} could not be written: {message}"):
        write_atomically(tmp_path / name, b"new")


def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(RunError, match="^/dev/null could not be written: it is no regular file"):
        write_atomically("/dev/null", b"new")


def test_only_temporary_files_are_leftovers(tmp_path: Path) -> None:
    for name in (".model.0123abcd.tmp", "model", ".hidden", "mine.tmp"):
        (tmp_path / name).write_bytes(b"")
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".hidden", "mine.tmp", "model"]
