"""Manifests and what they name: read strictly, levelled, and each fault in one line."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from unrolled.errors import DataError
from unrolled.tasks.progress import Progress
from unrolled.tasks.transcribe.augment import augment
from unrolled.tasks.transcribe.config import Augment
from unrolled.tasks.transcribe.corpus import Corpus, Faults, Format
from unrolled.tasks.transcribe.manifest import Entry, hold_out, read_manifest
from unrolled.tasks.transcribe.recordings import Reader


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def progress(said: io.StringIO) -> Progress:
    return Progress(Console(file=said, width=500))


def stop(fault: DataError) -> None:
    raise fault


def test_both_kinds_of_manifest_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x/1.wav\tone  two \tann\n\n/2.wav\tthree\n")
    (tmp_path / "a.jsonl").write_text(
        '{"path": "x/1.wav", "transcript": " one two", "speaker": "ann"}\n'
        '{"path": "/2.wav", "transcript": "three"}\n'
    )
    for name in ("a.tsv", "a.jsonl"):
        one, two = read_manifest(tmp_path / name, stop)
        assert (one.path, one.transcript, one.speaker) == (tmp_path / "x/1.wav", "one two", "ann")
        assert (two.path, two.transcript, two.speaker) == (Path("/2.wav"), "three", "")
        assert one.where == f"{tmp_path / name}:1"


LINES = {
    "one column": (b"a.wav", ":2: columns: 1, in 'a.wav'; write a path, a tab"),
    "empty transcript": (b"a.wav\t ", ":2: the transcript is empty; fill it or delete the line"),
    "no UTF-8": (b"a.wav\t\xff", ":2: byte 0xff at column 7 is not UTF-8"),
    "too long": (b"a.wav\t" + b"a" * 2000, ":2: is longer than 1000 characters"),
}


@pytest.mark.parametrize(("line", "message"), LINES.values(), ids=LINES.keys())
def test_a_bad_line_is_told_and_the_next_is_read(tmp_path: Path, line: bytes, message: str) -> None:
    path, faults = tmp_path / "a.tsv", list[DataError]()
    path.write_bytes(b"1.wav\tone\n" + line + b"\n2.wav\ttwo\n")
    entries = list(read_manifest(path, faults.append, max_line=1000))
    assert [e.transcript for e in entries] == ["one", "two"]
    assert [str(fault).startswith(f"{path}{message}") for fault in faults] == [True], faults


def test_a_speaker_that_is_no_text_and_an_empty_manifest_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"path": "a", "transcript": "b", "speaker": 3}\n')
    with pytest.raises(DataError, match=":1: field 'speaker' is int, not text"):
        list(read_manifest(path, stop))
    path.write_text("\n")
    with pytest.raises(DataError, match="names no recordings; write one a line"):
        list(read_manifest(path, stop))


def test_recordings_are_held_out_with_their_speaker() -> None:
    entries = [Entry(Path(f"{i}"), "yes", f"s{i % 10}", "") for i in range(100)]
    train, dev = hold_out(entries, seed=1)
    assert not {e.speaker for e in train} & {e.speaker for e in dev}
    assert (len(train), len(dev)) == (90, 10)
    backwards = hold_out(entries[::-1], seed=1)
    assert {e.path for e in backwards[1]} == {e.path for e in dev}
    assert len(hold_out([Entry(Path(f"{i}"), "yes", "", "") for i in range(40)], seed=1)[1]) == 2
    with pytest.raises(DataError, match="too few recordings to hold some out; name others"):
        hold_out(entries[:1], seed=1)


def entries_of(folder: Path, arrays: Sequence[np.ndarray], speakers: str) -> list[Entry]:
    for i, array in enumerate(arrays):
        np.save(folder / f"{i}.npy", array)
    return [Entry(folder / f"{i}.npy", "a", s, f"m:{i + 1}") for i, s in enumerate(speakers)]


@pytest.mark.parametrize("statistics", ["utterance", "speaker", "corpus", "none"])
def test_features_are_levelled_over_what_is_asked(
    tmp_path: Path, progress: Progress, statistics: str
) -> None:
    chance = np.random.default_rng(0)
    arrays = [chance.normal(3 * i, 1 + i, size=(50, 2)).astype(np.float32) for i in range(4)]
    entries = entries_of(tmp_path, arrays, "xxyy")
    corpus = Corpus(entries, Reader(), stop, statistics, progress)
    over = {"utterance": ["0", "1", "2", "3"], "speaker": ["01", "23"], "corpus": ["0123"]}
    for group in over.get(statistics, []):
        together = np.concatenate([corpus[int(i)] for i in group])
        np.testing.assert_allclose(together.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(together.std(0), 1, atol=1e-4)
    if statistics == "none":
        np.testing.assert_array_equal(corpus[2], arrays[2])
    assert corpus.lengths == [50] * 4
    again = Corpus(entries, Reader(), stop, statistics, progress, corpus.format)
    assert again.digest == corpus.digest


def test_a_format_survives_the_disk(tmp_path: Path) -> None:
    Format(8000, np.array([1.5]), np.array([0.1])).save(tmp_path)
    found = Format.load(tmp_path)
    assert (found.rate, found.mean.tolist(), found.spread.tolist()) == (8000, [1.5], [0.1])
    (tmp_path / "format.json").write_text('{"rate": 1, "mean": [1], "spread": [1, 2]}')
    with pytest.raises(DataError, match="format.json: is missing or damaged"):
        Format.load(tmp_path)


def test_bad_recordings_are_left_out_only_if_asked(
    tmp_path: Path, progress: Progress, said: io.StringIO
) -> None:
    arrays = [np.zeros((5, 2)), np.zeros((5, 3)), np.zeros(5), np.ones((5, 2))]
    entries = entries_of(tmp_path, arrays, "xxxx")
    with pytest.raises(DataError, match=r"^m:2: .*1.npy: has 3 features .*\(--skip-bad leaves"):
        Corpus(entries, Reader(), Faults(False, progress), "utterance", progress)
    faults = Faults(True, progress)
    corpus = Corpus(entries, Reader(), faults, "utterance", progress)
    assert [e.path.name for e in corpus.entries] == ["0.npy", "3.npy"]
    assert faults.total() == "2 recordings or lines were left out"
    assert said.getvalue().count("warning: left out: m:") == 2
    with pytest.raises(DataError, match="none of the recordings can be used"):
        Corpus(entries[2:3], Reader(), Faults(True, progress), "none", progress)
    nameless = [Entry(entries[0].path, "a", "", "m:1")]
    with pytest.raises(DataError, match="m:1: names no speaker; write one in a third column"):
        Corpus(nameless, Reader(), stop, "speaker", progress)


def test_augmentation_changes_time_and_blanks_the_same_bands_of_slopes() -> None:
    frames = torch.randn(100, 8)
    torch.manual_seed(1)
    many = [augment(frames, Augment(0.2, 0, 0, 2, 3), blocks=2) for _ in range(20)]
    assert all(80 <= len(changed) <= 125 for changed in many)
    assert len({len(changed) for changed in many}) > 5
    blank = torch.stack([(changed == 0).all(0) for changed in many])
    assert torch.equal(blank[:, :4], blank[:, 4:])
    assert blank[:, :4].any(0).all() and blank.float().mean() < 0.8
    torch.manual_seed(1)
    assert torch.equal(augment(frames, Augment(0.2, 0, 0, 2, 3), blocks=2), many[0])
    nothing = Augment(speed=0, time_masks=0, feature_masks=0)
    assert torch.equal(augment(frames, nothing), frames)
    masked = augment(frames, Augment(0, 3, 10, 0, 0))
    assert 0 < (masked == 0).all(1).sum() <= 30
