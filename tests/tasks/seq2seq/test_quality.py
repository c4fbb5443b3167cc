"""BLEU is sacrebleu's; ROUGE is what the package rouge-score 0.1.2 gives, without stemming."""

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled.errors import ConfigError
from unrolled.tasks.seq2seq.quality import bleu, rouge

FOUND = ["Meeting on Friday moved to 3 pm", "re: gas contract", "Budget", ""]
WANTED = [["Friday's meeting is moved"], ["the gas contract, revised: gas"], ["Q3 numbers"], ["a"]]


def test_rouge_is_the_one_of_others() -> None:
    figures = rouge(FOUND, WANTED).figures
    by_others = {"rouge_1": 25.0, "rouge_2": 100 / 12, "rouge_l": 125 / 6}
    assert figures == pytest.approx(by_others)


def test_of_several_references_the_nearest_counts() -> None:
    figures = rouge(["a c d b"], [["a b c d", "d c b a x"]]).figures
    assert figures == pytest.approx({"rouge_1": 100.0, "rouge_2": 100 / 3, "rouge_l": 75.0})


def test_bleu_takes_references_of_any_number() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    one = bleu(FOUND, WANTED)
    by_others = sacrebleu.corpus_bleu(FOUND, [[texts[0] for texts in WANTED]])
    assert one.figures["bleu"] == pytest.approx(by_others.score)
    assert "tok:13a" in one.signature
    more = bleu(
        ["the cat sat on a mat", "now a dog runs here"],
        [["no", "the cat sat on a mat"], ["now a dog runs here"]],
    )
    assert more.figures["bleu"] == pytest.approx(100)


def test_bleu_without_sacrebleu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sacrebleu":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'unrolled\[text\]'"):
        bleu(FOUND, WANTED)


@pytest.mark.parametrize("metric", ["bleu", "rouge"])
def test_a_run_is_scored_by_its_metric(
    unrolled: Callable[..., Any], tiny: list[str], tmp_path: Path, metric: str
) -> None:
    ended = unrolled(*tiny, "--run", tmp_path / "run", "--metric", metric)
    assert ended.code == 0
    assert "loss" in ended.err and metric in ended.err
    ended = unrolled("evaluate", tmp_path / "run")
    assert ended.out.startswith(metric) and "computed as" in ended.out
    assert metric in unrolled("info", tmp_path / "run").out
