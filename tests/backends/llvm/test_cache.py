"""Object code on disk: found again, never believed when damaged, never shared."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from unrolled.backends.llvm import cache
from unrolled.backends.llvm.target import PORTABLE, targets

NAME = cache.key("a program", PORTABLE)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "objects"))
    return tmp_path / "objects"


def test_what_is_saved_is_loaded_from_a_private_folder(folder: Path) -> None:
    assert cache.load(NAME) is None
    cache.save(NAME, b"code")
    assert cache.load(NAME) == b"code"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in folder.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"X" + data[1:],
    ],
    ids=["empty", "cut", "longer", "flipped", "head"],
)
def test_a_damaged_file_counts_as_none_and_is_replaced(folder: Path, damage) -> None:
    cache.save(NAME, b"code")
    (folder / NAME).write_bytes(damage((folder / NAME).read_bytes()))
    assert cache.load(NAME) is None
    cache.save(NAME, b"code")
    assert cache.load(NAME) == b"code"


def test_a_file_under_another_name_counts_as_none(folder: Path) -> None:
    other = cache.key("another program", PORTABLE)
    cache.save(NAME, b"code")
    os.rename(folder / NAME, folder / other)
    assert cache.load(other) is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777], ids=oct)
def test_a_folder_that_others_may_write_is_not_used(folder: Path, mode: int) -> None:
    cache.save(NAME, b"code")
    folder.chmod(mode)
    assert cache.load(NAME) is None
    cache.save("unseen", b"code")
    assert not (folder / "unseen").exists()


def test_it_can_be_turned_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "off")
    cache.save(NAME, b"code")
    assert cache.load(NAME) is None
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_costs_nothing_else(folder: Path) -> None:
    folder.write_text("a file is in the way")
    cache.save(NAME, b"code")
    assert cache.load(NAME) is None


def test_the_key_follows_from_program_and_target() -> None:
    wide = next(iter(targets().values()))
    kinds = [*targets().values(), replace(wide, pieces=1), replace(wide, pieces=1, amx=True)]
    found = {cache.key(text, target) for text in ("a", "b") for target in kinds}
    assert len(found) == 2 * len(kinds)
