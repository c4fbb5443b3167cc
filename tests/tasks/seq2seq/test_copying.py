"""Symbols that no vocabulary has are copied; long texts are cut, and it is said."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unrolled import cli
from unrolled.errors import ConfigError
from unrolled.tasks.seq2seq import commands, config
from unrolled.tasks.seq2seq.data import Vocabularies
from unrolled.tasks.seq2seq.lesson import Seq2SeqLesson
from unrolled.tasks.seq2seq.numbering import Numbering
from unrolled.tasks.seq2seq.pairs import Pair
from unrolled.tasks.seq2seq.translator import build_model
from unrolled.tasks.vocabulary import BOS, EOS, UNK, Vocabulary

Call = Callable[..., Any]
UNITS = "--source-unit words --target-unit words --source-size 16 --target-size 9".split()
COPIES = (*UNITS, "--copy", "--coverage", "0.5")
LEARNS = (
    "--embedding 16 --hidden 32 --dropout 0 --smoothing 0.02 --batch 32 --epochs 10 --warmup 20 "
    "--learning-rate 1e-2 --average 0.95 --score-steps 100 --threads 1 --device cpu --width 3"
).split()


def notes(count: int, seed: int) -> list[tuple[str, str]]:
    """Make notes whose names are all new: who asks whom what, and what to write above them."""
    chance, found = random.Random(seed), []
    for _ in range(count):
        one, other = ("".join(chance.choices("bcdfgklmnprst", k=6)) for _ in range(2))
        thing = chance.choice(["rain", "lunch", "money"])
        greeting = chance.choice(["please", "now", "well then"])
        found.append((f"{greeting}, {one} asks {other} about {thing}.", f"{thing}: {other}, {one}"))
    return found


def write(path: Path, pairs: list[tuple[str, str]]) -> Path:
    lines = (json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs)
    path.write_text("".join(lines))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("notes")
    train, dev = write(folder / "train.jsonl", notes(600, 0)), notes(60, 1)
    return train, write(folder / "dev.jsonl", dev)


def learnt(path: Path, files: tuple[Path, Path], *flags: str) -> Path:
    with pytest.raises(SystemExit) as exit:
        sides = ["--train", str(files[0]), "--dev", str(files[1]), "--run", str(path)]
        cli.main(["train", "seq2seq", *sides, *LEARNS, *flags])
    assert not exit.value.code
    return path


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory, files: tuple[Path, Path]) -> Path:
    return learnt(tmp_path_factory.mktemp("runs") / "copier", files, *COPIES)


def right(run: Path) -> float:
    pairs = notes(60, 1)
    found = commands.open_run(run, "cpu")[1].translate([s for s, _ in pairs])
    return sum(best.text == t for (best, *_), (_, t) in zip(found, pairs, strict=True)) / 60


def test_names_that_nobody_knows_are_copied(copier: Path) -> None:
    assert right(copier) > 0.9
    [[best, *_]] = commands.open_run(copier, "cpu")[1].translate(
        ["now, Zoë asks Günter about rain."]
    )
    assert (best.text, best.copied) == ("rain: Günter, Zoë", ("Günter", "Zoë"))
    assert best.weights is not None and best.weights.shape == (5, 8)
    assert [best.source[i] for i in best.weights.argmax(1)[2::2]] == ["Günter", "Zoë"]
    assert "Copied from the source" in (copier / "report.html").read_text()


def test_without_copying_they_cannot_be_written(tmp_path: Path, files: tuple[Path, Path]) -> None:
    run = learnt(tmp_path / "run", files, *UNITS, "--epochs", "2")
    assert right(run) == 0


def test_a_run_that_copies_predicts_and_scores(
    unrolled: Call, copier: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "new.txt"
    path.write_text("please, Ann asks Bob about lunch.\n")
    assert (
        unrolled("predict", copier, path).out == "lunch: Bob, Ann\n"
    )  # and exit status 0: no guess
    ended = unrolled("predict", copier, path, "--format", "jsonl", "--best", "2")
    assert json.loads(ended.out.splitlines()[0])["copied"] == ["Bob", "Ann"]
    ended = unrolled("evaluate", copier, "--data", files[1])
    assert ended.code == 0 and "sources cut" not in ended.out


def test_a_training_that_copies_goes_on_to_the_same_weights(
    unrolled: Call, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [write(tmp_path / f"{side}.jsonl", notes(12, 3)) for side in ("train", "dev")]
    flags = (
        "--embedding 16 --hidden 32 --batch 4 --epochs 2 --score-steps 2 --dropout 0.3 --warmup 2 "
        "--sampling 0.4 --threads 1 --device cpu --keep-every 0"
    ).split()
    call = ["train", "seq2seq", "--train", few[0], "--dev", few[1], *flags, *COPIES]
    assert unrolled(*call, "--run", tmp_path / "whole").code == 0
    step = Seq2SeqLesson.loss
    count = iter(range(100))

    def stops(self: Seq2SeqLesson, *arguments: Any) -> Any:
        if next(count) == 3:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(Seq2SeqLesson, "loss", stops)
    assert unrolled(*call, "--run", tmp_path / "parts").code != 0
    monkeypatch.setattr(Seq2SeqLesson, "loss", step)
    assert unrolled("train", "seq2seq", "--run", tmp_path / "parts", "--resume").code == 0
    weights = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "parts")]
    assert weights[0] == weights[1]


WRONG = {
    "--copy": "--copy needs the same symbols on both sides, but the source has characters and "
    "the target tokens; give the same --source-unit and --target-unit",
    "--joint": "--joint needs the same symbols on both sides, but the source has characters and "
    "the target tokens; give the same --source-unit and --target-unit",
    "--copy --source-unit pieces --target-unit pieces": "--copy needs the same symbols on both "
    "sides, but pieces are learnt for each side; add --joint",
    "--coverage 1 --attention bahdanau": "--coverage is for attention after a recurrence, not "
    "bahdanau; leave out --coverage or give --attention luong or gnmt",
    "--attention gnmt": "--attention gnmt gives what it reads to the layers above the first, and "
    "there are none; give --decoder-layers 2",
    "--coverage -1": "coverage is -1.0; give a number at least 0",
    "--source-limit -1": "source-limit is -1; give a number at least 0",
}


@pytest.mark.parametrize("flags", WRONG)
def test_settings_that_contradict_each_other_get_a_line(
    unrolled: Call, files: tuple[Path, Path], flags: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ended = unrolled("train", "seq2seq", "--train", files[0], "--run", run, *flags.split())
    assert (ended.code, run.exists()) == (2, False)
    assert ended.err.splitlines()[-1] == f"unrolled: {WRONG[flags]}"


def test_numbers_of_symbols_that_the_target_lacks_go_on_from_its_end() -> None:
    vocabularies = Vocabularies(Vocabulary("tokens", ("a", "x")), Vocabulary("tokens", ("a", "b")))
    numbering = Numbering(vocabularies, copy=True)
    source = numbering.source("x a y x b")
    assert source.ids == [5, 4, UNK, 5, UNK]
    assert (source.copies, source.unknown) == ([6, 4, 7, 6, 5], ("x", "y"))
    target = numbering.target("y z b x", source)
    assert target == [BOS, 7, UNK, 5, 6, EOS]
    assert [numbering.symbol(id, source) for id in target[1:-1]] == ["y", "<unk>", "b", "x"]
    assert Numbering(vocabularies).target("y z b x", source)[1:3] == [7, UNK]


def test_a_joint_vocabulary_is_the_same_on_both_sides() -> None:
    pairs = [Pair("a b", "b c", 1)]
    data = config.Data(source_unit="tokens", joint=True)
    vocabularies = Vocabularies.build(pairs, data)
    assert vocabularies.source is vocabularies.target
    assert vocabularies.source.entries == ("b", "a", "c")


def test_long_texts_are_cut_and_it_is_said(
    unrolled: Call, copier: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    pairs = [Pair("a b c d", "a b c", 1), Pair("a b", "a", 2)]
    data = config.Data(source_unit="tokens", source_limit=3, target_limit=2)
    settings = config.Seq2SeqConfig(data=data, model=config.Model(embedding=5, hidden=6))
    vocabularies = Vocabularies.build(pairs, data)
    model = build_model(settings.model, vocabularies)
    lesson = Seq2SeqLesson(model, vocabularies, pairs, pairs, settings)
    assert lesson.sources[0].ids == [4, 5, 6]
    assert lesson.targets == [[BOS, 4, 5], [BOS, 4, EOS]]  # a target that is cut does not end
    losses, lengths = lesson.position_losses([0, 1])
    assert lengths.tolist() == [2, 2] and losses.shape == (2, 2)
    assert lesson.warnings() == [
        "1 of 2 sources are cut to their first 3 symbols (--source-limit)",
        "1 of 2 targets are cut to their first 2 symbols (--target-limit)",
    ]
    shorter = tmp_path / "shorter"
    shorter.mkdir()
    for file in copier.iterdir():
        if file.is_file():
            (shorter / file.name).write_bytes(file.read_bytes())
    text = (copier / "config.toml").read_text()
    text = text.replace("source_limit = 0", "source_limit = 4")
    (shorter / "config.toml").write_text(text.replace("target_limit = 0", "target_limit = 2"))
    ended = unrolled("evaluate", shorter, "--data", files[1])
    assert "sources cut        60 of 60\n" in ended.out
    path = tmp_path / "new.txt"
    path.write_text("please, Ann asks Bob about lunch.\nplease, Ann\n")
    ended = unrolled("predict", shorter, path)
    assert ended.err.endswith("1 of 2 sources were cut to their first 4 symbols (--source-limit)\n")
    _, translator = commands.open_run(shorter, "cpu")
    [[best, *_]] = translator.translate(["please, Ann asks Bob about lunch."])
    assert best.source == ("please", ",", "Ann", "asks") and best.unread == 4
    assert len(best.symbols) <= 3


def test_a_contradiction_may_be_settled_by_a_later_setting() -> None:
    model = config.Model(copy=True)
    with pytest.raises(ConfigError):
        config.Seq2SeqConfig(model=model).check()
    config.Seq2SeqConfig(model=model, data=config.Data(target_unit="characters")).check()
