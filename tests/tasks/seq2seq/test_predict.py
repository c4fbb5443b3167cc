"""Line n of the output belongs to line n of the input, whatever is in it, and comes at once."""

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import DataError
from unrolled.tasks.seq2seq.config import PredictConfig
from unrolled.tasks.seq2seq.prediction import predict
from unrolled.tasks.seq2seq.translator import Prediction, Translator

GREEDY = PredictConfig(width=1)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def answers(
    translator: Translator, text: bytes, how: PredictConfig = GREEDY, max_line: int = 50
) -> tuple[list[str], list[str], int]:
    """Give the lines of output, those of faults, and the number of faults."""
    out, err = io.BytesIO(), io.StringIO()
    faults = predict(
        translator, io.BytesIO(text), out, err, how, normal_form="nfc", max_line=max_line
    )
    written = out.getvalue().decode()
    assert not written or written.endswith("\n")
    return written.split("\n")[:-1], err.getvalue().splitlines(), faults


@pytest.mark.parametrize(
    ("text", "expected", "faults"),
    [
        (b"", [], []),
        (b"abc\n", ["C B A"], []),
        (b"abc", ["C B A"], []),
        (b"abc\r\nfed\r\n", ["C B A", "D E F"], []),
        (b"abc\n\n  \nfed\n", ["C B A", "", "", "D E F"], []),
        (b"\n", [""], []),
        (b"abc\tanything\tat all\n", ["C B A"], []),
        (b"\xef\xbb\xbfabc\n", ["C B A"], []),
        (
            b"abc\n\xff\xfe\nfed\n",
            ["C B A", "", "D E F"],
            ["unrolled: stdin:2: byte 0xff at column 1 is not UTF-8; save the file as UTF-8"],
        ),
        (
            b"abc\n" + 51 * b"a" + b"\nfed",
            ["C B A", "", "D E F"],
            ["unrolled: stdin:2: is longer than 50 characters; shorten it or raise max_line"],
        ),
        (
            b"abc\n" + 100_000 * b"a" + b"\nfed\n",
            ["C B A", "", "D E F"],
            ["unrolled: stdin:2: is longer than 50 characters; shorten it"],
        ),
        (
            b"abc\n" + 100_000 * b"a",
            ["C B A", ""],
            ["unrolled: stdin:2: is longer than 50 characters; shorten it"],
        ),
        (
            b"\tabc\n",
            [""],
            ["unrolled: stdin:1: the source is empty; fill it or delete the line"],
        ),
    ],
    ids=[
        "nothing", "one line", "no newline at the end", "CRLF", "blank lines", "only a newline",
        "columns", "byte order mark", "not UTF-8", "too long", "far too long",
        "far too long without newline", "empty column",
    ],
)  # fmt: skip
def test_each_line_has_its_answer(
    translator: Translator, text: bytes, expected: list[str], faults: list[str]
) -> None:
    assert answers(translator, text) == (expected, faults, len(faults))


@settings(max_examples=15)
@given(
    lines=st.lists(
        st.sampled_from(
            [b"abc", b"", b"\xff", b"xyz", b"a" * 60, b"a" * 300, b"fa\r", b"\t", b"a\0"]
        ),
        max_size=8,
    ),
    at_once=st.integers(1, 400),
)
def test_there_are_as_many_answers_as_lines_however_they_arrive(
    translator: Translator, lines: list[bytes], at_once: int
) -> None:
    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(at_once)

    text, out = b"".join(line + b"\n" for line in lines), io.BytesIO()
    predict(translator, Slow(text), out, io.StringIO(), GREEDY, normal_form="nfc", max_line=50)
    together = answers(translator, text)[0]
    assert out.getvalue().decode().split("\n")[:-1] == together
    assert len(together) == len(lines)


def test_unknown_symbols_are_named_once_a_line_and_guessed_at(translator: Translator) -> None:
    found, faults, count = answers(translator, b"aXbXc\nABC\nabc\n")
    assert count == 2
    assert all(found)
    assert faults == [
        "unrolled: stdin:1: the model has never seen 'X', so the prediction is a guess",
        "unrolled: stdin:2: the model has never seen 'A', 'B', 'C', so the prediction is a guess; "
        "try the other case",
    ]


def test_many_unknown_symbols_are_cut_short(translator: Translator) -> None:
    _, [fault], _ = answers(translator, b"0123456789\n")
    assert "'0', '1', '2', '3', '4', '5', '6', '7', ..., so" in fault


def test_the_form_that_the_model_learnt_is_made(translator: Translator) -> None:
    _, [fault], _ = answers(translator, "e\u0301".encode())
    assert "has never seen 'é'," in fault


def test_tsv_has_source_prediction_and_score(translator: Translator) -> None:
    found, _, _ = answers(translator, b"abc\n\n", PredictConfig(format="tsv"))
    source, target, score = found[0].split("\t")
    assert (source, target, found[1]) == ("abc", "C B A", "\t\t")
    assert -1 < float(score) <= 0


def test_several_predictions_come_with_their_source(translator: Translator) -> None:
    found, _, _ = answers(translator, b"abc\nfed\n", PredictConfig(best=3))
    assert [line.split("\t")[0] for line in found] == 3 * ["abc"] + 3 * ["fed"]
    scores = [float(line.split("\t")[2]) for line in found]
    assert scores[:3] == sorted(scores[:3], reverse=True)


def test_jsonl_has_all(translator: Translator) -> None:
    found, _, _ = answers(translator, b"abc\n\n", PredictConfig(format="jsonl", best=2))
    first, second, blank = map(json.loads, found)
    assert (first["source"], first["target"], first["finished"]) == ("abc", "C B A", True)
    assert first["source_symbols"] == ["a", "b", "c"]
    assert first["target_symbols"] == ["C", "B", "A"]
    assert [len(row) for row in first["weights"]] == [3, 3, 3]
    assert second["score"] <= first["score"]
    assert blank == {"source": "", "target": ""}


@pytest.mark.parametrize("format", ["text", "tsv"])
def test_a_symbol_that_ends_lines_does_not(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, format: Any
) -> None:
    odd = Prediction(("a",), ("\n", "\t"), "one\ntwo\tthree\r", -1.0, True, None)
    monkeypatch.setattr(Translator, "translate", lambda *_, **__: [[odd]])
    [line], _, _ = answers(translator, b"a\n", PredictConfig(format=format))
    assert "one\\ntwo\\tthree\\r" in line
    assert line.count("\t") == (2 if format == "tsv" else 0)


def test_a_stream_that_breaks_is_named(translator: Translator) -> None:
    whole = gzip.compress(b"abc\n" * 9)
    stream: Any = gzip.GzipFile(fileobj=io.BytesIO(whole[:-9]))
    out = io.BytesIO()
    with pytest.raises(DataError, match=r"words.gz: cannot be read \(.*\); is it complete\?"):
        predict(
            translator, stream, out, io.StringIO(), GREEDY, normal_form="nfc", max_line=50,
            name="words.gz",
        )  # fmt: skip


def test_the_command_reads_files_plain_or_gz(
    unrolled: Callable[..., Any], trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "words").write_bytes(b"abc\nxyz\n")
    (tmp_path / "words.gz").write_bytes(gzip.compress(b"abc\nxyz\n"))
    for name in ("words", "words.gz"):
        ended = unrolled("predict", trained, tmp_path / name)
        assert ended.code == 1
        assert ended.out.splitlines()[0] == "C B A"
        assert ended.err.startswith(f"unrolled: {tmp_path / name}:2: the model has never seen 'x'")


def test_a_pipe_gets_each_answer_before_it_sends_the_next_line_and_may_close(
    trained: Path,
) -> None:
    command = [sys.executable, "-m", "unrolled", "predict", str(trained)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        for line, answer in {b"abc\n": b"C B A\n", b"\n": b"\n", b"fed\n": b"D E F\n"}.items():
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == answer
        process.stdout.close()  # as `head` does
        process.stdin.write(b"abc\n")
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_one_line(trained: Path) -> None:
    command = [sys.executable, "-m", "unrolled", "predict", str(trained)]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            command, input=b"abc\n", stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT,
            check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr == (
        b"unrolled: the output could not be written: No space left on device; "
        b"free some space and try again\n"
    )
