"""A text is read in blocks, parted, and numbered into little memory, whatever its size."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.language import coder as coders
from unrolled.tasks.language import text as texts
from unrolled.tasks.language.coder import Coder, build_coder
from unrolled.tasks.language.config import Data
from unrolled.tasks.language.numbered import number
from unrolled.tasks.language.text import Part, parts
from unrolled.tasks.vocabulary import EOS, UNK, Vocabulary

WORDS = st.text(alphabet="ab \né\r", max_size=60)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "AT_ONCE", 7)


@given(text=WORDS)
def test_blocks_are_the_text_with_one_kind_of_line_end(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("text") / "t.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "AT_ONCE", 5)
        found = list(Part(path).blocks())
    assert "".join(found) == text.replace("\r\n", "\n")


def test_a_mark_is_dropped_letters_are_joined_and_gz_is_opened(tmp_path: Path, small: None) -> None:
    path = tmp_path / "t.txt.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfcafe\xcc\x81 au lait"))
    assert "".join(Part(path).blocks()) == "caf\u00e9 au lait"
    assert "".join(Part(path, "none").blocks()) == "cafe\u0301 au lait"


def test_a_part_is_a_stretch_of_characters(tmp_path: Path, small: None) -> None:
    path = tmp_path / "t.txt"
    path.write_text("one two\nthree four\nfive six\n")
    for start, stop in ((0, 9), (9, None), (3, 22), (27, 28)):
        found = "".join(Part(path, "nfc", start, stop).blocks())
        assert found == "one two\nthree four\nfive six\n"[start:stop]


@pytest.mark.parametrize(
    ("unit", "text", "cut"),
    [
        ("characters", "abcdefghij" * 10, 90),
        ("tokens", "one two three\n" * 10, 14 * 9),
        ("tokens", "one two three four five six seven eight nine ten", 45),
        ("pieces", 50 * "a" + "\n" + 45 * "b" + "\nccc\n", 97),
    ],
    ids=["characters", "lines", "one-line", "pieces"],
)
def test_the_end_is_held_out_and_nothing_is_lost(
    tmp_path: Path, small: None, unit: str, text: str, cut: int
) -> None:
    path = tmp_path / "t.txt"
    path.write_text(text)
    sides = parts(Data(train=path, unit=unit, held_out=0.1))  # pyright: ignore[reportArgumentType]
    assert sides["train"].stop == sides["dev"].start == cut
    assert "".join("".join(side.blocks()) for side in sides.values()) == text


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"fine\nfine\nbad \xff here\n", "t.txt:3: byte 0xff is not UTF-8; save the file as"),
        (b"fine\ncut \xc3", "t.txt:2: byte 0xc3 is not UTF-8"),
        (b"", "t.txt: has too little text to hold some out; name a file"),
        (b"a", "t.txt: has too little text to hold some out; name a file"),
    ],
    ids=["byte", "cut", "empty", "short"],
)
def test_a_bad_text_is_named_with_its_line(
    tmp_path: Path, small: None, raw: bytes, said: str
) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(raw)
    with pytest.raises(DataError) as error:
        parts(Data(train=path))
    assert said in str(error.value)


def test_characters_tokens_and_pieces_there_and_back(tmp_path: Path) -> None:
    path, text = tmp_path / "t.txt", "the cat sat\nthe dog sat\n\nthe end\n" * 20
    path.write_text(text)
    for unit in ("characters", "tokens", "pieces"):
        data = Data(train=path, unit=unit, size=40)  # pyright: ignore[reportArgumentType]
        coder = build_coder(Part(path), data)
        ids = number(Part(path), coder, tmp_path)
        assert ids.ids.dtype == np.uint8
        assert "".join(coder.texts(ids.ids.tolist())) == text
        assert ids.unknown == 0 and ids.characters == len(text)
        if unit == "tokens":
            assert coder.vocabulary == Vocabulary.build([text], "tokens")
            assert len(ids.ids) == len(text.split()) + text.count("\n")


def test_the_last_line_ends_too_and_the_unknown_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("the cat\nthe dog")
    found = number(Part(path), Coder(Vocabulary("tokens", ("the", "cat"))), tmp_path)
    assert found.ids.tolist() == [4, 5, EOS, 4, UNK, EOS]
    assert found.unknown == 1
    assert list(tmp_path.iterdir()) == [path], "the ids have no file that could be left behind"


def test_rare_tokens_are_forgotten_rather_than_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coders, "MANY", 100)
    monkeypatch.setattr(texts, "AT_ONCE", 500)
    path = tmp_path / "t.txt"
    path.write_text("".join(f"often {i} often seldom\n" for i in range(2000)))
    coder = build_coder(Part(path), Data(unit="tokens", size=6))
    assert coder.vocabulary.entries == ("often", "seldom")


def test_a_size_that_is_too_small_for_pieces_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abcdefghij\n" * 9)
    with pytest.raises(ConfigError, match="--size or --unit: size 6 is too small"):
        build_coder(Part(path), Data(unit="pieces", size=6))


@pytest.mark.parametrize(("unit", "lines"), [("characters", 200_000), ("tokens", 80_000)])
def test_memory_does_not_grow_with_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, lines: int
) -> None:
    """A made text of megabytes is counted and numbered in less memory than a third of it."""
    monkeypatch.setattr(texts, "AT_ONCE", 1 << 16)
    path, line = tmp_path / "t.txt", "the quick brown fox jumps over the lazy dog again and again\n"
    path.write_text(line * lines)
    data = Data(train=path, unit=unit, size=300)  # pyright: ignore[reportArgumentType]
    tracemalloc.start()
    try:
        sides = parts(data)
        coder = build_coder(sides["train"], data)
        found = [number(side, coder, tmp_path) for side in sides.values()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(text.characters for text in found) == path.stat().st_size == 60 * lines
    assert peak < 20 * lines, f"{peak:,} bytes"
