"""Settings survive every way in and out, and a wrong one is answered in one line."""

import ast
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unrolled.tasks.settings as room
from unrolled.errors import ConfigError
from unrolled.tasks.settings import from_command_line, merge, read_toml, resolve, to_toml


@dataclass(frozen=True)
class Cell:
    name: Literal["lstm", "gru"] = "lstm"
    """Which recurrence."""
    zoneout: float | None = 0.1


@dataclass(frozen=True)
class Model:
    hidden: int = 128
    """Units of each layer."""
    heads: int = 1
    cell: Cell = field(default_factory=Cell)

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ConfigError(f"hidden is {self.hidden}; expected a multiple of {self.heads}")


@dataclass(frozen=True)
class Config:
    """Everything that a training needs."""

    train: tuple[str, ...] = ("train.txt",)
    out: Path = Path("runs/one")
    rate: float = 1e-3
    loud: bool = False
    note: str | None = None
    sizes: tuple[int, ...] = ()
    lower_case: bool = True
    model: Model = field(default_factory=Model)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=10)
CONFIGS = st.builds(
    Config,
    train=st.lists(TEXTS).map(tuple),
    out=TEXTS.map(Path),
    rate=st.floats(allow_nan=False),
    loud=st.booleans(),
    note=st.none() | TEXTS.filter(lambda text: text != "None"),
    sizes=st.lists(st.integers()).map(tuple),
    lower_case=st.booleans(),
    model=st.builds(
        Model,
        hidden=st.integers(),
        cell=st.builds(
            Cell, name=st.sampled_from(["lstm", "gru"]), zoneout=st.none() | st.floats(0, 1)
        ),
    ),
)


@settings(deadline=None, max_examples=30)
@given(config=CONFIGS, base=CONFIGS)
def test_toml_gives_back_every_setting_over_any_others(config: Config, base: Config) -> None:
    assert merge(base, tomllib.loads(to_toml(config))) == config


def test_every_control_character_survives_toml() -> None:
    config = Config(note="".join(map(chr, range(0xA1))) + '"""\\')
    assert merge(Config(), tomllib.loads(to_toml(config))) == config


def test_nan_survives_toml() -> None:
    again = merge(Config(), tomllib.loads(to_toml(Config(rate=math.nan))))
    assert math.isnan(again.rate)


def test_toml_is_pleasant_to_read() -> None:
    assert to_toml(Config()) == (
        'train = ["train.txt"]\nout = "runs/one"\nrate = 0.001\nloud = false\nnote = "None"\n'
        "sizes = []\nlower_case = true\n\n[model]\nhidden = 128\nheads = 1\n\n"
        '[model.cell]\nname = "lstm"\nzoneout = 0.1\n'
    )


def test_a_path_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"out is 'caf\\udce9', which is no Unicode text"):
        to_toml(Config(out=Path("caf\udce9")))


def test_a_whole_number_stands_for_a_float() -> None:
    rate = merge(Config(), {"rate": 2}).rate
    assert (rate, type(rate)) == (2.0, float)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("hiden = 1", "my.toml: there is no setting hiden; the closest is model.hidden"),
        (
            "model.hiden = 1",
            "my.toml: there is no setting model.hiden; the closest is model.hidden",
        ),
        (
            "model.cell.x.y = 1",
            "my.toml: there is no setting model.cell.x; the closest is model.cell.name",
        ),
        ("model = 1", r"my.toml: model is 1; make it a table, \[model\]"),
        ("model.hidden = true", "my.toml: model.hidden is True; expected a whole number"),
        ("model.hidden = 1.0", "my.toml: model.hidden is 1.0; expected a whole number"),
        ("model.hidden = {}", "my.toml: model.hidden is {}; expected a whole number"),
        ("rate = true", "my.toml: rate is True; expected a number"),
        (f"rate = {10**400}", "my.toml: rate is 1000.*; expected a number"),
        ("loud = 1", "my.toml: loud is 1; expected true or false"),
        ("out = 1", "my.toml: out is 1; expected a path"),
        ("note = 1", "my.toml: note is 1; expected a text or None"),
        ("train = 'a'", "my.toml: train is 'a'; expected a list, each a text"),
        ("train = ['a', 1]", r"my.toml: train is \['a', 1\]; expected a list, each a text"),
        ("model.cell.name = 'rnn'", "my.toml: model.cell.name is 'rnn'; expected one of lstm, gru"),
        ("model.cell.zoneout = 'none'", "my.toml: .*zoneout is 'none'; expected a number or None"),
        ("model.heads = 3", "my.toml: hidden is 128; expected a multiple of 3"),
    ],
)
def test_a_wrong_file_is_answered_with_its_name_key_and_expectation(
    toml: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{message}") as caught:
        merge(Config(), tomllib.loads(toml), "my.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"a = 1 2", r"is no TOML: .*line 1"),
        (b"\xff", "utf-8"),
    ],
    ids=["missing", "syntax", "not-utf8"],
)
def test_a_file_that_is_no_toml_is_refused(
    tmp_path: Path, data: bytes | None, message: str
) -> None:
    if data is not None:
        (tmp_path / "my.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_toml(tmp_path / "my.toml")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("", lambda c: c),
        ("--hidden 64", lambda c: replace(c, model=replace(c.model, hidden=64))),
        ("--hidden=64 --hidden=32", lambda c: replace(c, model=replace(c.model, hidden=32))),
        ("--train a b --rate 2", lambda c: replace(c, train=("a", "b"), rate=2.0)),
        ("--train", lambda c: replace(c, train=())),
        ("--loud --no-lower-case", lambda c: replace(c, loud=True, lower_case=False)),
        ("--lower_case", lambda c: c),
        ("--note=--x --rate -1e-3", lambda c: replace(c, note="--x", rate=-1e-3)),
        ("--out a/b", lambda c: replace(c, out=Path("a/b"))),
    ],
)
def test_flags_replace_settings(args: str, expected: Callable[[Config], Config]) -> None:
    assert from_command_line(Config, args.split(), Config()) == expected(Config())


def test_the_flag_none_means_none() -> None:
    zoneout = from_command_line(Config, ["--zoneout", "None"], Config()).model.cell.zoneout
    assert zoneout is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--hiden 3", "there is no flag --hiden; the closest is --hidden"),
        ("--model.hidden 3", "there is no flag --model.hidden; the closest is --hidden"),
        ("--rate 1 --hidden x --loud", "--hidden x: --hidden takes a whole number"),
        ("--hidden", "--hidden: --hidden takes a whole number"),
        ("--hidden --loud", "--hidden: --hidden takes a whole number"),
        ("--name rnn", "--name rnn: --name takes one of lstm, gru"),
        ("--zoneout none", "--zoneout none: --zoneout takes a number or None"),
        ("--sizes 1 x", "--sizes 1 x: --sizes takes a list, each a whole number"),
        ("--loud yes", "yes on the command line belongs to no flag; see --help"),
        ("--heads 3", "hidden is 128; expected a multiple of 3"),
        ("--heads 3 --hidden 9 --rate x", "--rate x: --rate takes a number"),
    ],
)
def test_a_wrong_command_line_is_answered_in_one_line(
    args: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        from_command_line(Config, args.split(), Config())
    assert str(caught.value) == message
    assert capsys.readouterr() == ("", "")


def test_help_lists_every_flag_with_the_words_of_its_field(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        resolve(Config, ["--help"], {"tiny": Path("tiny.toml")}, prog="unrolled train tag")
    printed = capsys.readouterr().out
    assert not caught.value.code
    for words in [
        "usage: unrolled train tag",
        "Everything that a training needs.",
        "--hidden INT",
        "Units of each layer. (default: 128)",
        "--preset NAME (tiny)",
    ]:
        assert words in printed


def test_two_leaves_of_one_name_are_refused() -> None:
    two: Any = dataclass(frozen=True)(
        type("Two", (), {"__annotations__": {"model": Model, "hidden": int}})
    )
    with pytest.raises(ConfigError, match="hidden in Two needs a name of its own: --hidden is"):
        from_command_line(two, [], two(Model(), 1))


@pytest.fixture
def presets(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "tiny.toml").write_text("rate = 2\nnote = 'tiny'\n[model]\nhidden = 8")
    (tmp_path / "mine.toml").write_text("rate = 3\n[model]\nheads = 2")
    return {"tiny": tmp_path / "tiny.toml"}


def test_flags_lie_over_the_file_over_the_preset_over_the_default(
    presets: dict[str, Path], tmp_path: Path
) -> None:
    mine = str(tmp_path / "mine.toml")
    args = ["--heads", "4", "--config", mine, "--preset=tiny", "--loud"]
    config = resolve(Config, args, presets, default=Config(sizes=(7,)))
    assert config == Config(
        rate=3.0, note="tiny", loud=True, sizes=(7,), model=Model(hidden=8, heads=4)
    )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--preset big", "there is no preset big; known are tiny"),
        ("--preset", "--preset on the command line has no value; give one after it"),
        ("--prest tiny", "there is no flag --prest; the closest is --preset"),
        ("--config nix.toml", "nix.toml cannot be read: No such file or directory; check its name"),
    ],
)
def test_a_wrong_preset_or_file_is_answered_in_one_line(
    args: str, message: str, presets: dict[str, Path]
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(Config, args.split(), presets)
    assert str(caught.value) == message


def test_settings_do_not_wait_for_torch() -> None:
    source = ast.parse(Path(room.__file__).read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(source)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert "tyro" in imported
    assert "torch" not in imported
