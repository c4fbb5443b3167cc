"""A text is learnt with the state carried on, scored to its last symbol, and gone on with."""

import io
import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled.errors import DataError
from unrolled.tasks.checkpoint import load_latest
from unrolled.tasks.language import commands
from unrolled.tasks.language.coder import Coder, build_coder
from unrolled.tasks.language.config import Data, LanguageConfig, Model, Training
from unrolled.tasks.language.evaluation import evaluate, surprisals
from unrolled.tasks.language.lesson import LanguageLesson
from unrolled.tasks.language.numbered import number
from unrolled.tasks.language.text import Part
from unrolled.tasks.language.writing import WRITERS
from unrolled.tasks.progress import Progress
from unrolled.tasks.vocabulary import Vocabulary

Call = Callable[..., Any]


@pytest.fixture
def lesson(text: Path, tmp_path: Path) -> LanguageLesson:
    settings = LanguageConfig(
        run=tmp_path / "run",
        data=Data(train=text),
        model=Model(cell="GRU", embedding=8, hidden=16),
        training=Training(batch=4, steps=16),
    )
    return commands.learn(settings, torch.device("cpu"), Progress())


def test_windows_follow_one_another_and_read_everything_once(lesson: LanguageLesson) -> None:
    ids = lesson.texts["train"].ids
    for epoch in (0, 1):
        windows = [lesson._window(batch)[0] for batch in lesson.batches(epoch)]
        assert all(
            torch.equal(one[-1], other[0]) for one, other in zip(windows, windows[1:], strict=False)
        )
        read = torch.cat([window[:-1] for window in windows])
        assert len(ids) - 4 * 16 - 4 < read.numel() <= len(ids)
        ring = "".join(map(chr, [*ids, *ids]))
        streams = ["".join(map(chr, column.tolist())) for column in read.T]
        assert all(stream in ring for stream in streams)
    first, second = (lesson._window(next(iter(lesson.batches(epoch))))[0] for epoch in (0, 1))
    assert not torch.equal(first, second), "another epoch is cut elsewhere"
    assert [*lesson.batches(1)[3:]] == [*lesson.batches(1)][3:]


def test_the_state_is_carried_within_an_epoch_and_fresh_in_the_next(lesson: LanguageLesson) -> None:
    with torch.no_grad():
        lesson.model.eval()
        first, second, *_ = lesson.batches(0)
        lesson.loss(first, 0.0)
        carried = lesson.carried()
        expected, _ = lesson.model(
            torch.cat([lesson._window(batch)[0][:-1] for batch in (first, second)])
        )
        loss, symbols = lesson.loss(second, 0.0)
        wanted = lesson._window(second)[0][1:]
        whole = torch.nn.functional.cross_entropy(expected[16:].flatten(0, 1), wanted.flatten())
        torch.testing.assert_close(loss, whole)
        assert symbols == 4 * 16
        lesson.carry(carried)
        again, _ = lesson.loss(second, 0.0)
        torch.testing.assert_close(again, loss)
        lesson.carry(carried)
        few, symbols = lesson.loss(second[:3], 0.0)  # as when a doctor looks at some rows
        assert symbols == 3 * 16
        torch.testing.assert_close(
            few,
            torch.nn.functional.cross_entropy(
                expected[16:, :3].flatten(0, 1), wanted[:, :3].flatten()
            ),
        )
        lesson.carry({})
        fresh, _ = lesson.loss(second, 0.0)
        assert not torch.allclose(fresh, loss)


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(
    unrolled: Call, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outcome(path: Path) -> dict[str, Any]:
        checkpoint = load_latest(path / "checkpoints", warn=pytest.fail)
        assert checkpoint is not None
        assert "carried.h" in checkpoint.tensors
        tensors = {n: t.numpy().tobytes() for n, t in checkpoint.tensors.items()}
        return {
            "step": checkpoint.step,
            "best": (path / "model.safetensors").read_bytes(),
        } | tensors

    assert unrolled(*small, "--run", tmp_path / "whole").code == 0
    scored = Progress.scored

    def stopping(self: Progress, record: Any, better: bool) -> None:
        scored(self, record, better)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "scored", stopping)
        assert unrolled(*small, "--run", tmp_path / "run").code == 130
    assert not (tmp_path / "run" / "report.html").exists()
    assert unrolled("train", "language", "--run", tmp_path / "run", "--resume").code == 0
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")


def test_it_learns_and_the_run_holds_what_it_should(run: Path) -> None:
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["loss"] < 0.6 * metrics[0]["loss"]
    assert math.isclose(metrics[-1]["bits_per_character"], metrics[-1]["loss"] / math.log(2))
    scores = json.loads((run / "scores-dev.json").read_text())
    assert scores["streams"] == 1 and scores["unknown"] == 0
    assert abs(scores["loss"] - min(m["loss"] for m in metrics)) < 0.1
    page = (run / "report.html").read_text()
    for heading in ("What it writes", "What surprises it", "How far it looks back"):
        assert heading in page
    assert ' bits"' in page


def test_every_symbol_is_scored_once_however_many_streams(run: Path, text: Path) -> None:
    _, writer = commands.open_run(run, "cpu")
    found = number(Part(text), writer.coder, run)
    ids = torch.tensor([writer.coder.start, *found.ids[:300].tolist()])
    with torch.no_grad():
        losses, _ = writer.model.losses(ids[:-1, None], ids[1:, None])
    whole = evaluate(writer.model, found, writer.coder.start, "characters")
    assert whole.symbols == len(found.ids) == whole.characters
    torch.testing.assert_close(torch.from_numpy(whole.excerpt[:300]), losses[:, 0].double())
    for streams in (3, 7, len(found.ids)):
        places = [p for p, _ in surprisals(writer.model, found.ids, 4, streams=streams)]
        assert sorted(p for some in places for p in some) == list(range(len(found.ids)))
    several = evaluate(writer.model, found, writer.coder.start, "characters", streams=3)
    assert 0 < abs(several.nats - whole.nats) < 0.02 * whole.nats


def test_evaluate_says_it_in_the_words_of_the_field(unrolled: Call, run: Path, text: Path) -> None:
    ended = unrolled("evaluate", run, "--data", text)
    assert ended.code == 0
    assert "nats a symbol" in ended.out and "bits a character" in ended.out
    assert json.loads((run / "scores-text.json").read_text())["symbols"] == len(text.read_text())


def test_it_goes_on_from_a_prompt_and_from_lines(unrolled: Call, run: Path, tmp_path: Path) -> None:
    asked = ["predict", run, "--prompt", "the c", "--length", "30"]
    ended = unrolled(*asked)
    assert ended.code == 0 and ended.out.startswith("the c")
    assert len(ended.out) == 5 + 30 + 2
    assert unrolled(*asked).out == ended.out != unrolled(*asked, "--seed", "2").out
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the\nX dog\n")
    ended = unrolled("predict", run, prompts, "--length", "9", "--format", "jsonl")
    found = [json.loads(line) for line in ended.out.splitlines()]
    assert [record["prompt"] for record in found] == ["the", "X dog"]
    assert [len(record["text"]) for record in found] == [9, 9]
    assert ended.code == 1
    assert f"{prompts}:2: the model has never seen 'X', and reads it as unknown" in ended.err


def test_text_is_written_as_it_comes() -> None:
    class Out(io.BytesIO):
        flushed = b""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    out = Out()

    def symbols() -> Iterator[str]:
        for i in range(3):
            assert out.flushed == b"begin" + b"\xc3\xa9" * i
            yield "\u00e9"

    WRITERS["text"]("begin", symbols(), out)
    assert out.flushed.endswith("\u00e9\n\n".encode())


def test_tokens_and_pieces_go_on_where_the_prompt_ends() -> None:
    coder = Coder(Vocabulary("tokens", ("the", "cat")))
    assert "".join(coder.texts([5, 2, 4], "the")) == " cat\nthe"
    assert "".join(coder.texts([4, 5], "the\n")) == "the cat"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "there is nothing to learn from; name a file of text with --train"),
        ("--train no.txt", "no.txt: no such file or directory; name a file that exists"),
        ("--train bad.txt", "bad.txt:2: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("--train empty.txt", "empty.txt: has too little text to hold some out"),
        ("--train TEXT --dev empty.txt", "empty.txt: has no text"),
        ("--train TEXT --batch 500", "symbols are too few to read in 500 places, 128 symbols"),
        ("--train TEXT --held-out 0", "held-out is 0.0; give a number above 0 and below 1"),
        ("--train TEXT --smoothing 0.1", "smoothing is 0.1; give a number of 0: a language model"),
        ("--train TEXT --unit pieces --size 6", "--size or --unit: size 6 is too small"),
    ],
    ids=["nothing", "missing", "utf-8", "empty", "no-dev", "short", "held-out", "smooth", "pieces"],
)
def test_train_says_what_is_wrong_and_leaves_no_trace(
    unrolled: Call,
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    said: str,
) -> None:
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\n")
    (tmp_path / "empty.txt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ended = unrolled("train", "language", *flags.replace("TEXT", str(text)).split())
    assert ended.code == 2
    assert said in ended.err.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_prompt_and_a_file_of_prompts_contradict(unrolled: Call, run: Path, text: Path) -> None:
    ended = unrolled("predict", run, text, "--prompt", "a")
    assert ended.code == 2
    assert "are both prompts; give one of them" in ended.err


def test_a_text_that_changed_is_refused(text: Path, lesson: LanguageLesson, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(text.read_text()[:-1] + "!")
    changed = number(Part(other), lesson.coder, tmp_path)
    assert changed.sha256 != number(Part(text), lesson.coder, tmp_path).sha256
    with pytest.raises(DataError, match="has no text"):
        number(Part(text, "nfc", 10**9), lesson.coder, tmp_path)


def test_the_words_of_the_penn_treebank_are_counted_as_everyone_counts_them(
    data_folder: Path, tmp_path: Path
) -> None:
    train = Part(data_folder / "lm/ptb/ptb.train.txt.gz")
    coder = build_coder(train, Data(unit="tokens"))
    assert len(coder.vocabulary.entries) == 9_999
    for name, count in (("train.txt.gz", 929_589), ("valid.txt", 73_760), ("test.txt", 82_430)):
        found = number(Part(data_folder / f"lm/ptb/ptb.{name}"), coder, tmp_path)
        assert (len(found.ids), found.unknown) == (count, 0)
