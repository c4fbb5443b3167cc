"""The command line answers at once, and says what it takes."""

import subprocess
import sys
from typing import Any

import pytest

from unrolled import __version__, cli
from unrolled.errors import DataError
from unrolled.tasks.kinds import NAMES


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    captured = capsys.readouterr()
    return exit.value.code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--help", ["usage: unrolled COMMAND", "train", "evaluate", "predict", "info"]),
        ("--version", [f"unrolled {__version__}"]),
        ("train --help", ["usage: unrolled train TASK", "seq2seq"]),
        ("train seq2seq --help", ["--train", "--cell", "--learning-rate", "--width", "--preset"]),
        ("evaluate --help", ["usage: unrolled evaluate RUN", "--predictions"]),
        ("predict --help", ["usage: unrolled predict RUN [FILE]", "--best", "--format"]),
        ("info --help", ["usage: unrolled info [RUN]"]),
    ],
)
def test_help_names_what_there_is(
    capsys: pytest.CaptureFixture[str], arguments: str, words: list[str]
) -> None:
    code, out, err = called(capsys, *arguments.split())
    assert (code, err) == (0, "")
    assert [word for word in words if word not in out] == []


HELPS = """
import sys
from unrolled import cli
for command in ("--help", "train seq2seq --help", "evaluate --help", "predict --help"):
    try:
        cli.main(command.split())
    except SystemExit as exit:
        assert not exit.code, command
sys.exit(f"{command} imports torch" if "torch" in sys.modules else 0)
"""


def test_help_names_every_task() -> None:
    assert [name for name in NAMES if f" {name}" not in cli.USAGE] == []


def test_help_does_not_wait_for_torch() -> None:
    ended = subprocess.run([sys.executable, "-c", HELPS], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_without_arguments_it_shows_its_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert called(capsys)[:2] == (2, cli.USAGE)
    assert called(capsys, "train")[0] == 2


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (DataError("words.tsv:3: is\n  odd; mend it"), 2, "words.tsv:3: is odd; mend it"),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 2, "out of memory; take a smaller --batch, --hidden or --width"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            2,
            "out of memory; take a smaller --batch, --hidden or --width",
        ),
        (
            OSError(28, "No space left on device", "/data/run"),
            2,
            "/data/run could not be written: No space left on device; "
            "free some space and try again",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_failure_is_one_line_and_a_code(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    code: int,
    said: str,
) -> None:
    def fails(args: list[str]) -> int:
        raise raised

    monkeypatch.setitem(cli.COMMANDS, "info", fails)
    assert called(capsys, "info") == (code, "", f"unrolled: {said}\n")


def test_an_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(args: list[str]) -> int:
        raise RuntimeError("a mistake in unrolled")

    monkeypatch.setitem(cli.COMMANDS, "info", fails)
    with pytest.raises(RuntimeError, match="a mistake in unrolled"):
        cli.main(["info"])
