import gzip
import io
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.lines import normalize
from unrolled.tasks.seq2seq.pairs import (
    Pair,
    group_references,
    read_pairs,
    read_sources,
    split_by_source,
)

WORDS = [Pair("cat", "K AE T", 1), Pair("naïve", "N AY IY V", 3)]
TSV = "cat\tK AE T\n\nnaïve\tN AY IY V\n".encode()
JSON = (
    '{"source": "cat", "target": "K AE T"}\n\n'
    '{"more": 1, "target": "N AY IY V", "source": "naïve"}\n'
).encode()


class Drip(io.RawIOBase):
    """A pipe whose writer sends one piece at a time, and counts what was taken."""

    def __init__(self, pieces):
        self.pieces, self.taken = iter(pieces), 0

    def readable(self):
        return True

    def readinto(self, buffer):
        piece = next(self.pieces, b"")
        buffer[: len(piece)] = piece
        self.taken += 1
        return len(piece)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.tsv", TSV),
        ("words.txt", TSV),
        ("words", TSV),
        ("words.tsv.gz", gzip.compress(TSV)),
        ("WORDS.TSV.GZ", gzip.compress(TSV)),
        ("words.jsonl", JSON),
        ("words.json", JSON),
        ("words.jsonl.gz", gzip.compress(JSON)),
        ("mark.tsv", b"\xef\xbb\xbf" + TSV),
        ("mark.jsonl", b"\xef\xbb\xbf" + JSON),
        ("crlf.tsv", TSV.replace(b"\n", b"\r\n")),
        ("crlf.jsonl", JSON.replace(b"\n", b"\r\n")),
        ("no-newline-at-end.tsv", TSV.rstrip()),
        ("blank-lines-at-end.tsv", TSV + b"\n  \n\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_format_gives_the_same_pairs(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert list(read_pairs(tmp_path / name)) == WORDS


@pytest.mark.parametrize("text", ["e\u0301", "\u00e9", " a ", "a\u2028b", "a\x0cb", "a\ufeffb"])
def test_text_is_not_touched(tmp_path, text):
    path = tmp_path / "words.tsv"
    path.write_bytes(f"x\ty\n{text}\t{text}\n".encode())
    assert list(read_pairs(path))[1:] == [Pair(text, text, 2)]


def test_fields_have_the_names_asked_for(tmp_path):
    path = tmp_path / "words.jsonl"
    path.write_text('{"word": "a", "sound": "AH"}')
    assert list(read_pairs(path, source_field="word", target_field="sound")) == [Pair("a", "AH", 1)]


FAULTS = [
    ("one-column", "a.tsv", b"a\tb\ncat\n", r":2: columns: 1, in 'cat'; write two"),
    ("three-columns", "a.tsv", b"a\tb\tc\n", r":1: columns: 3"),
    ("spaces-for-a-tab", "a.tsv", b"a    b\n", r":1: columns: 1"),
    ("empty-source", "a.tsv", b"\tb\n", r":1: the source is empty; fill it"),
    ("empty-target", "a.tsv", b"\n\na\t \n", r":3: the target is empty; fill it"),
    ("latin-1", "a.tsv", b"a\tb\nna\xefve\tx\n", r":2: byte 0xef at column 3 is not UTF-8; save"),
    ("utf-16", "a.tsv", "a\tb\n".encode("utf-16"), r":1: byte 0xff at column 1 is not UTF-8"),
    ("too-long", "a.tsv", b"a\tb\na\t" + b"b" * 49, r":2: is longer than 50 characters; shorten"),
    ("far-too-long", "a.tsv", b"a\tb\na\t" + b"b" * 9999 + b"\n", r":2: is longer than 50"),
    ("empty-file", "a.tsv", b"", r"a.tsv: has no pairs; write one a line"),
    ("blank-file", "a.tsv", b"\n\n  \n", r"a.tsv: has no pairs"),
    ("empty-gzip", "a.tsv.gz", gzip.compress(b""), r"gz: has no pairs"),
    ("not-json", "a.jsonl", b"{source}\n", r":1: is not JSON \(.*\); write one object a line"),
    ("array", "a.jsonl", b"[1, 2]\n", r":1: is JSON but no object, '\[1, 2\]'"),
    ("nested", "a.jsonl", b"[" * 20_000, r":1: is longer than 50"),
    ("no-field", "a.jsonl", b'{"source": "a"}', r":1: has no field 'target', only 'source'"),
    ("number", "a.jsonl", b'{"source": "a", "target": 5}', r":1: field 'target' is int, not text"),
    ("null", "a.jsonl", b'{"source": null, "target": "a"}', r":1: field 'source' is NoneType, not"),
    ("empty-field", "a.json", b'{"source": "a", "target": ""}', r"field 'target' is empty; fill"),
    ("surrogate", "a.json", b'{"source": "\\ud800", "target": "a"}', r"half a surrogate pair"),
    ("no-gzip", "a.tsv.gz", TSV, r":1: cannot be read \(not a gzipped file.*complete\?"),
    ("cut-gzip", "a.tsv.gz", gzip.compress(TSV)[:-9], r":\d: cannot be read \(.*complete\?"),
    ("broken-gzip", "a.tsv.gz", gzip.compress(TSV)[:12] + b"\xff" * 20, r":1: cannot be read"),
]


@pytest.mark.parametrize(
    ("name", "content", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
def test_a_fault_is_named_with_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(read_pairs(tmp_path / name, max_line=50))
    assert str(caught.value).startswith(str(tmp_path / name) + ":")
    assert "\n" not in str(caught.value)


def test_json_nested_too_deep_is_a_fault(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"[" * 200_000)
    with pytest.raises(DataError, match=":1: is not JSON"):
        list(read_pairs(tmp_path / "a.jsonl", max_line=200_000))


@pytest.mark.parametrize(("name", "reason"), [("none.tsv", "no such file"), ("", "is a directory")])
@pytest.mark.parametrize("read", [read_pairs, read_sources])
def test_what_is_no_file_is_refused(tmp_path, read, name, reason):
    with pytest.raises(DataError, match=f"{reason}.*; name a file that exists"):
        list(read(tmp_path / name))


def test_a_line_as_long_as_allowed_is_read(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_bytes(b"\xef\xbb\xbf" + ("\U0001f600" * 25 + "\t" + "b" * 24).encode() + b"\r\n")
    assert len(list(read_pairs(path, max_line=50))) == 1


def test_an_endless_line_is_not_read_to_its_end():
    drip = Drip(b"a" * 100 for _ in range(10**9))
    with pytest.raises(DataError, match="stdin:1: is longer than 1000 characters"):
        list(read_sources(io.BufferedReader(drip), max_line=1000))
    assert drip.taken < 100


def test_pairs_before_a_fault_are_given(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_bytes(b"a\tb\nc\n")
    pairs = read_pairs(path)
    assert next(pairs) == Pair("a", "b", 1)
    with pytest.raises(DataError):
        next(pairs)


def test_a_source_is_given_before_the_next_is_written():
    drip = Drip([b"cat\n", b"do", b"g\n"])
    sources = read_sources(io.BufferedReader(drip))
    assert (next(sources), drip.taken) == ((1, "cat"), 1)
    assert (next(sources), drip.taken) == ((2, "dog"), 3)
    assert list(sources) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b"cat\n\nna\xc3\xafve"),
        ("a.tsv", b"cat\tK AE T\n\nna\xc3\xafve\tN\tV\n"),
        ("a.tsv.gz", gzip.compress(b"cat\n\r\nna\xc3\xafve\tN\n")),
        ("a.jsonl", b'{"source": "cat"}\n\n{"source": "na\\u00efve", "target": 0}\n'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sources_of_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert list(read_sources(tmp_path / name)) == [(1, "cat"), (3, "naïve")]


def test_sources_of_a_stream():
    stream = io.BytesIO(b"\xef\xbb\xbfcat\r\n\ndog\tD AO G\n")
    assert list(read_sources(stream)) == [(1, "cat"), (3, "dog")]
    assert not stream.closed
    assert list(read_sources(io.BytesIO(b""))) == []
    with pytest.raises(DataError, match="words:3: byte 0xff at column 1 is not UTF-8"):
        list(read_sources(io.BytesIO(b"a\nb\n\xff\n"), name="words"))
    with pytest.raises(DataError, match="stdin:1: the source is empty"):
        list(read_sources(io.BytesIO(b"\tb\n")))


def test_targets_are_grouped_as_first_seen():
    rows = [("b", "2"), ("a", "1"), ("b", "1"), ("b", "2")]
    examples = group_references(Pair(source, target, 1) for source, target in rows)
    assert [(e.source, e.targets) for e in examples] == [("b", ("2", "1")), ("a", ("1",))]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=1)), max_size=40),
    st.integers(),
    st.randoms(use_true_random=False),
)
def test_split_covers_all_and_shares_no_source(rows, seed, random):
    pairs = [Pair(source, target, line) for line, (source, target) in enumerate(rows, 1)]
    split = split_by_source(pairs, shares=(0.6, 0.2, 0.2), seed=seed)
    assert sorted(pair.line for side in split for pair in side) == list(range(1, len(pairs) + 1))
    sources = [{pair.source for pair in side} for side in split]
    assert sum(map(len, sources)) == len(set().union(*sources))
    random.shuffle(pairs)
    again = split_by_source(pairs, shares=(0.6, 0.2, 0.2), seed=seed)
    assert [{pair.source for pair in side} for side in again] == sources


def test_split_has_the_shares_and_depends_on_the_seed():
    pairs = [Pair(str(number), "", 1) for number in range(1000)]
    split = split_by_source(pairs, seed=0)
    assert [len(side) for side in split] == [900, 50, 50]
    assert split_by_source(pairs, seed=1) != split
    assert [len(side) for side in split_by_source(pairs, shares=(0, 1, 0), seed=0)] == [0, 1000, 0]


def test_split_is_the_same_in_every_process():
    program = (
        "from unrolled.tasks.seq2seq.pairs import Pair, split_by_source as split\n"
        "pairs = [Pair(str(i), '', i) for i in range(100)]\n"
        "print([pair.line for pair in split(pairs, seed=3)[2]])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }  # stored: another version that split otherwise would test on what was trained on
    assert printed == {b"[23, 49, 76, 82, 98]\n"}


@pytest.mark.parametrize("shares", [(0.9, 0.2, 0.1), (1.2, -0.1, -0.1), (float("nan"), 0, 1)])
def test_shares_that_are_no_shares_are_refused(shares):
    with pytest.raises(ConfigError, match="give three from 0 to 1 that add up to 1"):
        split_by_source([], shares=shares, seed=0)


@settings(deadline=None, max_examples=30)
@given(st.text())
def test_normal_forms_meet(text):
    assert normalize(text, "none") == text
    assert normalize(normalize(text, "nfd"), "nfc") == normalize(text, "nfc")


def test_an_unknown_normal_form_is_refused():
    with pytest.raises(ConfigError, match="'nfkc' is unknown; choose one of none, nfc, nfd"):
        normalize("a", "nfkc")


def test_reading_needs_no_torch():
    program = "import sys, unrolled.tasks.seq2seq.pairs; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parent)
