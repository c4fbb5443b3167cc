"""A run is scored on pairs, and said to be what it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled.errors import DataError
from unrolled.tasks.seq2seq import evaluation as module
from unrolled.tasks.seq2seq.evaluation import evaluate
from unrolled.tasks.seq2seq.pairs import Example
from unrolled.tasks.seq2seq.translator import Translator

Call = Callable[..., Any]


def test_a_source_is_right_if_any_reference_is(translator: Translator) -> None:
    examples = [
        Example("abc", ("X", "C B A")),
        Example("fed", ("D E X",)),
        Example("cab", ("B A C",)),
    ]
    found = evaluate(translator, examples)
    assert (found.rates.words, found.rates.wrong_words) == (3, 1)
    assert (found.rates.symbols, found.rates.symbol_edits) == (9, 1)
    assert [p.text for p in found.predictions] == ["C B A", "D E F", "B A C"]


def test_pieces_of_the_work_add_up(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [Example(word, (word.upper(),)) for word in ("ab", "abc", "fedc", "d", "ee")]
    whole = evaluate(translator, examples)
    monkeypatch.setattr(module, "CHUNK", 2)
    pieces = evaluate(translator, examples)
    assert pieces.rates == whole.rates
    assert [p.text for p in pieces.predictions] == [p.text for p in whole.predictions]


def test_nothing_to_score_is_an_error(translator: Translator) -> None:
    with pytest.raises(DataError):
        evaluate(translator, [])


def test_figures_as_lines_and_as_json(translator: Translator) -> None:
    found = evaluate(translator, [Example("abc", ("C B A",)), Example("fed", ("D",))])
    words, symbols, _ = found.lines()
    assert words.startswith("word error rate     50.00%  (1 of 2 sequences wrong; 95 % interval ")
    assert symbols == "symbol error rate   50.00%  (2 edits in 4 symbols)"
    record = found.record()
    assert (record["word_error_rate"], record["symbol_error_rate"]) == (0.5, 0.5)
    assert (record["words"], record["wrong_words"]) == (2, 1)


def test_the_command_scores_and_keeps(
    unrolled: Call, trained: Path, words: Any, tmp_path: Path
) -> None:
    path = tmp_path / "found.tsv"
    ended = unrolled("evaluate", trained, "--data", words.few, "--predictions", path)
    assert ended.code == 0
    assert ended.out.startswith("word error rate")
    assert "decoding source 1 of 16" in ended.err
    scores = json.loads((trained / "scores-few.json").read_text())
    assert (scores["data"], scores["width"], scores["words"]) == (str(words.few), 5, 16)
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    assert [f"{source}\t{reference}" for source, _, reference in rows] == (
        words.few.read_text().splitlines()
    )


def test_without_data_it_scores_on_the_dev_pairs(unrolled: Call, trained: Path) -> None:
    ended = unrolled("evaluate", trained, "--width", "1")
    assert ended.code == 0
    assert " of 100 sequences wrong" in ended.out
    assert json.loads((trained / "scores-dev.json").read_text())["width"] == 1


def test_info_says_what_a_run_is(unrolled: Call, trained: Path) -> None:
    ended = unrolled("info", trained)
    assert ended.code == 0
    settings, summary = ended.out.split("\n\n")[0], ended.out.rstrip().split("\n\n")[-1]
    assert "run = " in settings
    assert 'cell = "LSTM"' in ended.out
    names = [line.split("  ")[0] for line in summary.splitlines()]
    assert names[:2] == ["trained", "best"] and names[-1] == "report"
    assert "word error rate" in summary and "(dev)" in summary


def test_info_says_how_an_unfinished_run_goes_on(
    unrolled: Call, tiny: list[str], tmp_path: Path
) -> None:
    unrolled(*tiny, "--run", tmp_path / "my run", "--epochs", "0.5")
    (tmp_path / "my run" / "report.html").unlink()
    ended = unrolled("info", tmp_path / "my run")
    command = f"unrolled train seq2seq --run '{tmp_path}/my run' --resume"
    assert ended.out.rstrip().splitlines()[-1].endswith(f"go on with {command}")
    (tmp_path / "my run" / "metrics.jsonl").unlink()
    assert "not yet scored" in unrolled("info", tmp_path / "my run").out


def test_info_says_what_is_here(unrolled: Call) -> None:
    ended = unrolled("info")
    assert ended.code == 0
    names = [line.split("  ")[0] for line in ended.out.splitlines()]
    assert {"unrolled", "torch", "python", "gpu", "backends", "cells", "presets"} <= set(names)


def test_damaged_scores_are_named(unrolled: Call, tiny: list[str], tmp_path: Path) -> None:
    unrolled(*tiny, "--run", tmp_path / "run", "--epochs", "0.5")
    (tmp_path / "run" / "scores-dev.json").write_text("[]")
    ended = unrolled("info", tmp_path / "run")
    assert ended.code == 2
    assert ended.err == (
        f"unrolled: {tmp_path}/run/scores-dev.json: holds no scores; "
        "delete it, and evaluate again\n"
    )
