"""A model of every kind learns a small task, and its predictions are what the model says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled import backends
from unrolled.errors import ConfigError, DataError
from unrolled.models import search
from unrolled.tasks.checkpoint import load_weights
from unrolled.tasks.run import Run
from unrolled.tasks.seq2seq import commands, config
from unrolled.tasks.seq2seq import translator as room
from unrolled.tasks.seq2seq.data import Vocabularies, load_data
from unrolled.tasks.seq2seq.lesson import Seq2SeqLesson
from unrolled.tasks.seq2seq.pairs import Pair, read_pairs
from unrolled.tasks.seq2seq.translator import Translator, build_model
from unrolled.tasks.vocabulary import BOS, EOS, PAD

WORDS = ["a", "abc", "fedcba", "ffff", "cab", "dea", "bad", "face"]


def right(translator: Translator, path: Path) -> float:
    """Count the share of sources that come out as their target."""
    pairs = list(read_pairs(path))
    found = translator.translate([pair.source for pair in pairs])
    return sum(best.text == p.target for (best, *_), p in zip(found, pairs, strict=True)) / len(
        pairs
    )


def test_luong_over_lstm_learns_words_it_has_not_seen(translator: Translator, words: Any) -> None:
    assert right(translator, words.dev) > 0.95


def test_bahdanau_over_gru_learns_words_it_has_not_seen(
    unrolled: Callable[..., Any], learns: list[str], words: Any, tmp_path: Path
) -> None:
    kind = ["--attention", "bahdanau", "--cell", "GRU"]
    assert unrolled(*learns, *kind, "--run", tmp_path / "run").code == 0
    assert right(commands.open_run(tmp_path / "run")[1], words.dev) > 0.95


@pytest.mark.parametrize(
    "flags",
    [
        ["--cell", "Elman", "--decoder-cell", "LSTMP"],
        ["--cell", "torch.nn:GRUCell"],
        ["--encoder-layers", "2", "--decoder-layers", "2", "--attention", "gnmt", "--tied"],
        ["--attention", "bahdanau", "--score", "additive", "--decoder-layers", "2"],
        ["--score", "dot"],
        ["--cell", "Zoneout(WeightDrop(LSTM, 0.5), h=0.1)"],
        ["--precision", "bfloat16"],
        ["--precision", "bfloat16", "--attention", "bahdanau"],
        ["--target-unit", "characters"],
        ["--target-unit", "characters", "--copy", "--coverage", "1", "--precision", "bfloat16"],
        ["--target-unit", "characters", "--copy", "--attention", "bahdanau", "--joint"],
        ["--source-unit", "pieces", "--source-size", "12"],
        ["--average", "0", "--patience", "1"],
        ["--normalize", "nfd"],
    ],
    ids=" ".join,
)
@pytest.mark.filterwarnings("ignore:.*autocast is on")
def test_every_setting_trains_and_predicts(
    unrolled: Callable[..., Any],
    tiny: list[str],
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "_pays", lambda call: False)  # no kernels: settings are tried
    ended = unrolled(*tiny, "--epochs", "0.5", *flags, "--run", tmp_path / "run")
    assert (ended.code, ended.out) == (0, f"{tmp_path}/run/report.html\n"), ended.err
    settings, translator = commands.open_run(tmp_path / "run", "cpu")
    assert [len(found) for found in translator.translate(["abc", "f"], best=2)] == [2, 2]
    tensors, _ = load_weights(Run(tmp_path / "run").weights)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


@pytest.fixture
def task() -> Seq2SeqLesson:
    pairs = [Pair(word, " ".join(word.upper()), 1) for word in WORDS]
    vocabularies = Vocabularies.build(pairs, config.Data())
    model = build_model(config.Model(embedding=5, hidden=6, dropout=0.0), vocabularies)
    training = config.Training(batch=3, smoothing=0.1, score_items=5)
    settings = config.Seq2SeqConfig(training=training)
    return Seq2SeqLesson(model, vocabularies, pairs, pairs, settings)


def test_an_epoch_has_every_pair_once_in_another_order(task: Seq2SeqLesson) -> None:
    first, second = task.batches(0), task.batches(1)
    assert sorted(i for batch in first for i in batch) == list(range(len(WORDS)))
    assert first == task.batches(0) != second


def test_the_loss_is_the_mean_over_symbols_whatever_is_padded(task: Seq2SeqLesson) -> None:
    """Reference: one pair at a time, log-probabilities by hand."""
    task.model.eval()
    total, symbols = 0.0, 0
    for source, target in zip(task.sources, task.targets, strict=True):
        with torch.no_grad():
            column, lengths = torch.tensor(source.ids)[:, None], torch.tensor([len(source.ids)])
            scores = task.model(column, lengths, torch.tensor(target)[:-1, None])[:, 0]
        logs = scores.log_softmax(-1)
        for row, symbol in zip(logs, target[1:], strict=True):
            total -= float(0.9 * row[symbol] + 0.1 * row.mean())
            symbols += 1
    loss, counted = task.loss(range(len(WORDS)), progress=0.5)
    assert counted == symbols
    assert loss.item() == pytest.approx(total / symbols, rel=1e-5)


def test_targets_begin_and_end(task: Seq2SeqLesson) -> None:
    assert all(t[0] == BOS and t[-1] == EOS and PAD not in t for t in task.targets)


def test_a_score_is_of_as_many_dev_sources_as_asked(task: Seq2SeqLesson) -> None:
    figures = task.score(task.model)
    assert len(task.dev) == 5
    assert list(figures) == ["symbol_error_rate", "word_error_rate"]
    assert figures["word_error_rate"] in [n / 5 for n in range(6)]


def test_predictions_do_not_depend_on_what_is_decoded_beside_them(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [translator.translate([word])[0][0] for word in WORDS]
    together = [best for best, *_ in translator.translate(WORDS)]
    monkeypatch.setattr(room, "PLACES", 1)  # nothing fits beside anything
    apart = [best for best, *_ in translator.translate(WORDS)]
    for found in (together, apart):
        assert [p.text for p in found] == [p.text for p in alone]
        assert [p.score for p in found] == pytest.approx([p.score for p in alone], abs=1e-4)


def test_long_sources_are_decoded_fewer_at_once(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    beam = search.beam

    def counted(*args: Any, rows: int, **others: Any) -> Any:
        seen.append(rows)
        return beam(*args, rows=rows, **others)

    monkeypatch.setattr(search, "beam", counted)
    translator.translate(["abcdef"] * 8)
    assert seen == [8]
    monkeypatch.setattr(room, "PLACES", 2 * 5 * 6)  # two words of six letters, five wide
    translator.translate(["abcdef"] * 8)
    assert seen[1:] == [2, 2, 2, 2]


def test_attention_looks_at_the_source_and_only_where_it_is_wanted(translator: Translator) -> None:
    for best, *_ in translator.translate(["abc", "fedcba"]):
        assert best.weights is not None
        assert best.weights.shape == (len(best.symbols), len(best.source))
        assert torch.allclose(best.weights.sum(1), torch.ones(len(best.symbols)), atol=1e-5)
    [[best, *_]] = translator.translate(["abc"], weights=False)
    assert best.weights is None


def test_more_predictions_are_ranked_and_different(translator: Translator) -> None:
    [found] = translator.translate(["abcd"], best=7)  # the beam is 5 wide
    assert len({p.symbols for p in found}) == len(found) == 7
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


def test_no_texts_and_a_text_of_unknown_symbols(translator: Translator) -> None:
    assert translator.translate([]) == []
    assert translator.translate(["éü"])[0][0].source == ("é", "ü")


def test_dev_pairs_are_held_out_by_source(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"w{i // 2}\tT{i}\n" for i in range(80)))  # two targets a source
    train, dev = load_data(config.Data(train=path), seed=1)
    assert (len(train), len(dev)) == (76, 4)
    assert not {p.source for p in train} & {p.source for p in dev}
    assert load_data(config.Data(train=path), seed=1) == (train, dev)


def test_too_few_sources_to_hold_out_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tA\n")
    with pytest.raises(DataError, match="too few sources to hold some out; name a file"):
        load_data(config.Data(train=path), seed=1)


def test_a_vocabulary_that_is_too_small_names_its_flag() -> None:
    pairs = [Pair("abcdefgh", "A", 1)]
    with pytest.raises(ConfigError, match="^--source-size or --source-unit: size 5 is too small"):
        Vocabularies.build(pairs, config.Data(source_unit="pieces", source_size=5))


def test_symbols_without_room_are_counted(task: Seq2SeqLesson) -> None:
    assert task.warnings() == []
    pairs = [Pair("aab", "A B", 1)]
    vocabularies = Vocabularies.build(pairs, config.Data(source_size=5))
    model = build_model(config.Model(embedding=5, hidden=6), vocabularies)
    small = Seq2SeqLesson(model, vocabularies, pairs, pairs, config.Seq2SeqConfig())
    [warning] = small.warnings()
    assert warning.startswith("33.33% of the source's symbols have no room in --source-size")
