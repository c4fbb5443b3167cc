"""Bad input gets one clear line, and nothing is lost."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from unrolled.tasks.checkpoint import load_latest

Call = Callable[..., Any]

FILES: dict[str, bytes] = {
    "good.tsv": b"".join(b"%c\tA B\n" % letter for letter in range(97, 123)),
    "empty.tsv": b"",
    "blank.tsv": b"\n\n",
    "column.tsv": b"a\tA\nabc\n",
    "three.tsv": b"a\tA\tB\n",
    "target.tsv": b"a\tA\nb\t\n",
    "long.tsv": b"a\tA\n" + 100_000 * b"b" + b"\tB\n",
    "latin.tsv": b"a\tA\n\xe9\tE\n",
    "field.jsonl": b'{"source": "a", "goal": "A"}\n',
    "cut.tsv.gz": b"\x1f\x8b\x08\x00",
    "one.tsv": b"a\tA\n",
    "typo.toml": b"[model]\nhiden = 3\n",
    "type.toml": b"[model]\nhidden = 'wide'\n",
    "broken.toml": b"[model\n",
    "mine.py": b"class NoCell:\n    pass\n\nclass Odd:\n    def __init__(self):\n        pass\n",
    "broken.py": b"1 / 0\n",
}

TRAIN: list[tuple[str, str, str]] = [
    ("no --train", "", "there is nothing to learn from; name a file of pairs with --train"),
    ("missing file", "--train no.tsv", "no.tsv: no such file or directory; name a file that"),
    ("folder", "--train .", ": is a directory; name a file that exists and can be read"),
    ("empty file", "--train empty.tsv", "empty.tsv: has no pairs; write one a line"),
    ("blank lines", "--train blank.tsv", "blank.tsv: has no pairs; write one a line"),
    ("one column", "--train column.tsv", "column.tsv:2: columns: 1, in 'abc'; write two"),
    ("three columns", "--train three.tsv", "three.tsv:1: columns: 3, in "),
    ("empty target", "--train target.tsv", "target.tsv:2: the target is empty; fill it or"),
    ("long line", "--train long.tsv", "long.tsv:2: is longer than 20000 characters; shorten"),
    ("not UTF-8", "--train latin.tsv", "latin.tsv:2: byte 0xe9 at column 1 is not UTF-8; save"),
    ("no such field", "--train field.jsonl", "field.jsonl:1: has no field 'target'"),
    ("cut gzip", "--train cut.tsv.gz", "cut.tsv.gz:1: cannot be read"),
    ("dev without pairs", "--train good.tsv --dev empty.tsv", "empty.tsv: has no pairs; write"),
    ("missing dev", "--train good.tsv --dev no.tsv", "no.tsv: no such file or directory; name"),
    ("too few to hold out", "--train one.tsv", "one.tsv: has too few sources to hold some out"),
    (
        "more symbols than size",
        "--train good.tsv --source-unit pieces --source-size 6",
        "--source-size or --source-unit: size 6 is too small for a text of 25 characters",
    ),
    ("unknown flag", "--hiden 3", "there is no flag --hiden; the closest is --hidden"),
    ("bad value", "--hidden wide", "--hidden wide: --hidden takes a whole number"),
    ("value out of range", "--batch 0", "batch is 0; give a number at least 1"),
    ("flag without value", "--hidden", "--hidden: --hidden takes a whole number"),
    ("stray word", "words.tsv", "words.tsv on the command line belongs to no flag; see --help"),
    ("unknown preset", "--preset fast", "there is no preset fast; known are"),
    ("missing config", "--config no.toml", "no.toml cannot be read: No such file or directory"),
    ("unknown setting", "--config typo.toml", "typo.toml: there is no setting model.hiden; the"),
    (
        "setting of a wrong type",
        "--config type.toml",
        "type.toml: model.hidden is 'wide'; expected",
    ),
    ("no TOML", "--config broken.toml", "broken.toml is no TOML"),
    ("unknown cell", "--train good.tsv --cell LTSM", "there is no cell 'LTSM'; choose one of"),
    ("no cell module", "--train good.tsv --cell no:Cell", "cell 'no:Cell' cannot be imported"),
    ("no cell name", "--train good.tsv --cell mine:Cell", "cell 'mine:Cell' cannot be imported"),
    ("no module", "--train good.tsv --cell mine:NoCell", "cell 'mine:NoCell' cannot be built ("),
    ("odd cell", "--train good.tsv --cell mine:Odd", "cell 'mine:Odd' cannot be built ("),
    ("no wrapper", "--train good.tsv --cell Zoneout", "Zoneout is put around a cell: Zoneout(LSTM"),
    (
        "broken module",
        "--train good.tsv --cell broken:Cell",
        "cell 'broken:Cell' cannot be imported (ZeroDivisionError: division by zero); correct",
    ),
    ("unknown device", "--train good.tsv --device tpu", "there is no device 'tpu'; choose cpu"),
    ("resume nothing", "--run nowhere --resume", "nowhere is no folder; give the folder of a run"),
    ("resume no run", "--run folder --resume", "folder is no complete run: config.toml is missing"),
    ("a run that exists", "--train good.tsv --run folder", "folder exists already; resume it with"),
    ("a run over a file", "--train good.tsv --run good.tsv", "good.tsv is a file; choose another"),
]

OTHERS: list[tuple[str, str, str]] = [
    ("unknown command", "trian", "there is no command 'trian'; choose one of train, evaluate"),
    ("unknown task", "train tug", "there is no task 'tug'; choose one of tag"),
    ("predict nothing", "predict", "nothing stands before the flags; write unrolled predict RUN"),
    ("predict flags first", "predict --best 2 RUN", "nothing stands before the flags; write"),
    ("predict no run", "predict nowhere", "nowhere is no folder; give the folder of a run"),
    ("predict no model", "predict folder", "folder is no complete run: config.toml"),
    ("predict bad flag", "predict RUN --bets 2", "there is no flag --bets; the closest is --best"),
    ("predict bad value", "predict RUN --best 0", "best is 0; give a number at least 1"),
    ("predict bad format", "predict RUN --format xml", "--format xml: --format takes one of text"),
    ("predict missing file", "predict RUN no.txt", "no.txt: no such file or directory; name a"),
    ("predict folder", "predict RUN folder", "folder: is a directory; name a file that can be"),
    ("predict json", "predict RUN field.jsonl", "field.jsonl: predict reads plain text; write one"),
    ("predict no gzip", "predict RUN fake.gz", "fake.gz: cannot be read (not a gzipped file"),
    ("evaluate nothing", "evaluate", "nothing stands before the flags; write unrolled evaluate"),
    ("evaluate two", "evaluate RUN RUN", " stands before the flags; write unrolled evaluate RUN"),
    ("evaluate missing", "evaluate RUN --data no.tsv", "no.tsv: no such file or directory; name"),
    (
        "evaluate empty",
        "evaluate RUN --data empty.tsv",
        "empty.tsv: has no pairs; write one a line",
    ),
    ("info no run", "info nowhere", "nowhere is no folder; give the folder of a run"),
    ("info flag", "info --all", "there is no flag --all; info takes none"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, contents in FILES.items():
        (tmp_path / name).write_bytes(contents)
    (tmp_path / "fake.gz").write_bytes(b"abc\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "precious").write_text("mine")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(ended: Any, said: str) -> None:
    assert ended.code == 2
    assert ended.out == ""
    *before, last = ended.err.splitlines()
    assert last.startswith("unrolled: ")
    assert said in last
    assert all(line.startswith("reading ") for line in before), "one clear line"


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(a, w) for _, a, w in TRAIN],
    ids=[name.replace(" ", "-") for name, _, _ in TRAIN],
)
def test_train_says_what_is_wrong_and_leaves_no_trace(
    unrolled: Call, here: Path, arguments: str, said: str
) -> None:
    before = contents(here)
    refused(unrolled("train", "seq2seq", *arguments.split()), said)
    assert contents(here) == before
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(a, w) for _, a, w in OTHERS],
    ids=[name.replace(" ", "-") for name, _, _ in OTHERS],
)
def test_other_commands_say_what_is_wrong(
    unrolled: Call, here: Path, trained: Path, arguments: str, said: str
) -> None:
    before = contents(trained)
    refused(unrolled(*(trained if a == "RUN" else a for a in arguments.split())), said)
    assert contents(trained) == before


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("model.safetensors", "model.safetensors cannot be used: it is cut short"),
        ("source.json", "source.json: is no vocabulary"),
        ("config.toml", "config.toml is no TOML"),
    ],
)
def test_a_damaged_run_is_named(
    unrolled: Call, here: Path, tiny: list[str], file: str, said: str
) -> None:
    assert unrolled(*tiny, "--run", "run", "--epochs", "0.5").code == 0
    path = here / "run" / file
    path.write_bytes(path.read_bytes()[:3])
    refused(unrolled("predict", "run", "good.tsv"), said)


def test_settings_that_do_not_fit_the_weights_are_named(
    unrolled: Call, here: Path, tiny: list[str]
) -> None:
    assert unrolled(*tiny, "--run", "run", "--epochs", "0.5").code == 0
    path = here / "run" / "config.toml"
    path.write_text(path.read_text().replace("hidden = 6", "hidden = 8"))
    refused(
        unrolled("predict", "run", "good.tsv"), "model.safetensors does not fit run/config.toml"
    )


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_costs_nothing_that_was_learnt(
    unrolled: Call, here: Path, tiny: list[str]
) -> None:
    steady = [*tiny, "--keep-every", "0", "--run", "run"]
    assert unrolled(*steady, "--epochs", "2").code == 0
    whole, files = contents(here / "run"), here / "run" / "checkpoints"
    newest = max(files.iterdir())
    newest.unlink()
    with no_file_larger_than(4000):  # settings and metrics fit, tensors do not
        ended = unrolled("train", "seq2seq", "--run", "run", "--resume")
    assert ended.code == 2
    last = ended.err.splitlines()[-1]
    assert last.startswith("unrolled: run/") and "could not be written: File too large;" in last
    assert load_latest(files, warn=pytest.fail) is not None
    assert whole.keys() - contents(here / "run").keys() == {str(newest)}
    assert unrolled("train", "seq2seq", "--run", "run", "--resume").code == 0
    assert contents(here / "run").keys() == whole.keys()


def test_a_run_in_use_is_named(unrolled: Call, here: Path, tiny: list[str]) -> None:
    from unrolled.tasks.run import Run

    assert unrolled(*tiny, "--run", "run", "--epochs", "0.5").code == 0
    with Run(Path("run")).lock():
        ended = unrolled("train", "seq2seq", "--run", "run", "--resume")
    refused(ended, "run is in use by another training; wait for it to end, or choose another")


def test_symbols_without_room_are_said(unrolled: Call, here: Path, tiny: list[str]) -> None:
    ended = unrolled(*tiny, "--run", "run", "--epochs", "0.5", "--source-size", "6")
    assert ended.code == 0
    assert "of the source's symbols have no room in --source-size and are learnt as unknown" in (
        ended.err
    )
