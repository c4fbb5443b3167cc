"""Tagging from the command line: learnt, scored and written back."""

import itertools
import json
import sys
from pathlib import Path

import pytest

from unrolled.tasks.tag.spans import count_spans, rules, spans, together


def test_a_treebank_is_learnt_and_its_report_written(trained: Path) -> None:
    scores = json.loads((trained / "scores-dev.json").read_text())
    assert scores["accuracy"] > 0.95 and scores["unknown_words"] > 100
    assert "Tags of held-out words" in (trained / "report.html").read_text()


def test_a_treebank_comes_back_with_nothing_changed_but_its_tags(
    unrolled, trained: Path, files, tmp_path: Path
) -> None:
    text = files.dev.read_text()
    bare = tmp_path / "bare.conllu"
    bare.write_text("".join(_without_upos(line) for line in text.splitlines(keepends=True)))
    ended = unrolled("predict", trained, bare)
    assert ended.code == 0 and ended.err == ""
    lines = list(zip(ended.out.splitlines(), text.splitlines(), strict=True))
    same = [one == other for one, other in lines if "\t" in other and "-" not in other[:4]]
    assert sum(same) > 0.95 * len(same)
    assert all(_without_upos(one) == _without_upos(other) for one, other in lines)


def _without_upos(line: str) -> str:
    fields = line.split("\t")
    return "\t".join([*fields[:3], "_", *fields[4:]]) if len(fields) == 10 else line


def test_lines_and_words_alone_become_columns(unrolled, trained: Path, tmp_path: Path) -> None:
    for name, text in {"a.txt": "la miko tapas\n", "a.words": "la\nmiko\ntapas\n"}.items():
        (tmp_path / name).write_text(text)
        ended = unrolled("predict", trained, tmp_path / name)
        assert ended.out == "la\tDET\nmiko\tNOUN\ntapas\tVERB\n\n"


def test_a_sentence_with_a_fault_is_written_as_it_came(
    unrolled, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.iob").write_text("la X\nmiko\n\ntapas X\n")
    ended = unrolled("predict", trained, tmp_path / "a.iob")
    assert ended.code == 1 and "a.iob:2: columns: 1, in 'miko'" in ended.err
    assert ended.out == "la X\nmiko\n\ntapas VERB\n\n"


def test_names_are_scored_as_spans(unrolled, trained_names: Path, files, tmp_path: Path) -> None:
    out = tmp_path / "out.iob"
    ended = unrolled("evaluate", trained_names, "--data", files.names_dev, "--predictions", out)
    scores = json.loads((trained_names / "scores-names-dev.json").read_text())
    assert next(iter(scores)) == "data" and scores["spans"]["person"]["f1"] > 0.9
    assert "all spans" in ended.out and "F1: precision" in ended.out
    tags = [line.split("\t")[1] if line else "" for line in out.read_text().splitlines()]
    pairs = itertools.pairwise(["O", *tags])
    assert all(before != "O" for before, tag in pairs if tag.startswith("I"))


def test_tags_that_training_never_had_are_wrong_and_said_so(
    unrolled, trained_names: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.iob").write_text("la\tO\nmiko\tB-fruit\n")
    ended = unrolled("evaluate", trained_names, "--data", tmp_path / "new.iob")
    assert "1  words have tags that training never had, so they are wrong: B-fruit" in ended.out
    scores = json.loads((trained_names / "scores-new.json").read_text())
    assert scores["unseen_tags"] == {"B-fruit": 1} and scores["wrong_words"] == 1


def test_bad_sentences_stop_training_or_are_counted(unrolled, files, tmp_path: Path) -> None:
    bad = tmp_path / "bad.conllu"
    bad.write_text("1\tx\n\n" + files.dev.read_text())
    few = ["--epochs", "0.1", "--hidden", "12", "--letter-hidden", "12", "--threads", "1"]
    command = ["train", "tag", "--train", bad, "--run", tmp_path / "run", *few]
    stopped = unrolled(*command)
    assert stopped.code == 2 and f"{bad}:1: columns: 2" in stopped.err
    assert not (tmp_path / "run").exists()
    ended = unrolled(*command, "--skip-bad")
    assert ended.code == 0 and f"1 sentences left out; the first: {bad}:1" in ended.err
    assert "57 sentences of" in ended.err and "3 sentences to score on" in ended.err


def test_a_column_that_nobody_named_is_not_filled_in(unrolled, trained_names: Path, files) -> None:
    ended = unrolled("predict", trained_names, files.dev)
    assert (ended.code, ended.out) == (2, "")
    assert "dev.conllu: is CoNLL-U, and the run learnt from columns" in ended.err


def test_a_pipe_is_answered(unrolled, trained: Path, monkeypatch, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("Don Miko tapas\n")
    with (tmp_path / "in").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert unrolled("predict", trained).out == "Don\tPROPN\nMiko\tPROPN\ntapas\tVERB\n\n"


def test_spans_begin_where_they_should() -> None:
    found = spans(["I-a", "B-a", "I-a", "I-b", "O", "B-b"])
    assert [(s.kind, s.start, s.end) for s in found] == [
        ("a", 0, 1), ("a", 1, 3), ("b", 3, 4), ("b", 5, 6),
    ]  # fmt: skip


def test_a_span_is_right_if_kind_start_and_end_are() -> None:
    counts = count_spans([["B-a", "I-a", "O", "B-b"], ["B-a"]], [["B-a", "O", "O", "B-b"], ["B-b"]])
    total = together(counts.values())
    assert (total.expected, total.found, total.right) == (3, 3, 1)
    assert counts["b"].precision == 0.5 and counts["b"].recall == 1


def test_rules_let_nothing_go_on_that_has_not_begun() -> None:
    tags = ["O", "B-a", "I-a", "B-b", "I-b"]
    begins, follows = rules(tags)
    assert [tag for tag, may in zip(tags, begins, strict=True) if may] == ["O", "B-a", "B-b"]
    assert [one for one, row in zip(tags, follows, strict=True) if row[2]] == ["B-a", "I-a"]


@pytest.mark.parametrize("side", ["test", "dev"])
def test_real_files_are_read_whole(data_folder: Path, side: str) -> None:
    from unrolled.tasks.progress import Progress
    from unrolled.tasks.tag.config import Data
    from unrolled.tasks.tag.data import load_sentences, make_form

    counts = {"dev": (800, 11_514), "test": (800, 11_955)}[side]
    path = data_folder / f"tagging/ud_vietnamese_vtb/vi_vtb-ud-{side}.conllu"
    data = Data(path)
    found = load_sentences(
        path, make_form(path, "auto", data), data, skip_bad=False, progress=Progress()
    )
    assert (len(found), sum(len(s.words) for s in found)) == counts
