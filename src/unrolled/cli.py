"""The command line. `unrolled --help` answers before torch is imported: commands import it."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from unrolled import __version__
from unrolled.errors import ConfigError, UnrolledError

USAGE = """usage: unrolled COMMAND ...

Recurrent sequence models for PyTorch.

  unrolled train seq2seq --train FILE --run RUN   learn to turn sources into targets
  unrolled evaluate RUN --data FILE               score a run on pairs it has not seen
  unrolled predict RUN [FILE]                     a prediction for each line, in a pipe or a file
  unrolled info [RUN]                             what is installed here; what a run is

  unrolled COMMAND --help                         the flags of a command
  unrolled --version

FILE holds pairs, one a line: source TAB target (.tsv), or JSON lines (.jsonl); .gz is welcome.
RUN is a folder: settings, weights, checkpoints, metrics, report.html.
"""
TASKS = ("seq2seq",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 it worked, 1 some lines had faults, 2 it could not be done."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(_run(args))
    except UnrolledError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:  # whoever read our output has gone: nothing is left to say
        sys.stderr.close()
        sys.exit(1)
    except MemoryError:
        _fail("out of memory; take a smaller --batch, --hidden or --width", 2)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}", 2)


def _run(args: list[str]) -> int:
    if not args or args[0] in ("--help", "-h", "help"):
        print(USAGE, end="")
        return 0 if args else 2
    if args[0] == "--version":
        print(f"unrolled {__version__}")
        return 0
    if args[0] not in COMMANDS:
        raise ConfigError(
            f"there is no command {args[0]!r}: choose one of {', '.join(COMMANDS)}; "
            "see unrolled --help"
        )
    code = COMMANDS[args[0]](args[1:])
    sys.stdout.flush()  # a full disk shows here, and not when the interpreter ends
    return code


def _train(args: list[str]) -> int:
    if not args or args[0] in ("--help", "-h"):
        print(f"usage: unrolled train TASK [flags]\n\nTASK: {', '.join(TASKS)}")
        return 0 if args else 2
    task, *flags = args
    if task not in TASKS:
        raise ConfigError(f"there is no task {task!r}: choose one of {', '.join(TASKS)}")
    from unrolled.tasks.config import Seq2SeqConfig
    from unrolled.tasks.presets import PRESETS
    from unrolled.tasks.settings import resolve

    prog = f"unrolled train {task}"
    settings = resolve(Seq2SeqConfig, flags, PRESETS, prog=prog)
    from unrolled.tasks import commands

    if settings.resume:  # the flags again, now over the settings that the run began with
        saved = commands.resume_settings(settings.run)
        settings = resolve(Seq2SeqConfig, flags, PRESETS, saved, prog)
    try:
        commands.train(settings)
    except commands.Interrupted:
        _say(f"stopped and saved; go on with: {prog} --run {settings.run} --resume")
        return 130
    print(settings.run / "report.html")
    return 0


def _evaluate(args: list[str]) -> int:
    from unrolled.tasks.config import EvaluateConfig
    from unrolled.tasks.settings import from_command_line

    names, flags = _names(args, "evaluate RUN [flags]", 1, 1)
    settings = from_command_line(EvaluateConfig, flags, EvaluateConfig(), "unrolled evaluate RUN")
    from unrolled.tasks import commands

    commands.evaluate_run(Path(names[0]), settings)
    return 0


def _predict(args: list[str]) -> int:
    from unrolled.tasks.config import PredictConfig
    from unrolled.tasks.settings import from_command_line

    names, flags = _names(args, "predict RUN [FILE] [flags]", 1, 2)
    settings = from_command_line(
        PredictConfig, flags, PredictConfig(), "unrolled predict RUN [FILE]"
    )
    from unrolled.tasks import commands

    return commands.predict_run(Path(names[0]), settings, *map(Path, names[1:]))


def _info(args: list[str]) -> int:
    names, flags = _names(args, "info [RUN]", 0, 1)
    if flags:
        print("usage: unrolled info [RUN]\n\nWhat is installed here, or what a run is.")
        return 0 if flags[0] in ("--help", "-h") else 2
    from unrolled.tasks import commands

    if names:
        commands.info_run(Path(names[0]))
    else:
        commands.info()
    return 0


def _names(args: list[str], usage: str, least: int, most: int) -> tuple[list[str], list[str]]:
    """Part what stands before the flags from the flags; `--help` needs nothing before it."""
    count = next((i for i, arg in enumerate(args) if arg.startswith("-")), len(args))
    names, flags = args[:count], args[count:]
    helps = bool(flags) and flags[0] in ("--help", "-h")
    if not helps and not least <= len(names) <= most:
        raise ConfigError(f"{len(names)} names were given: expected unrolled {usage}")
    return names, flags


def _fail(message: str, code: int) -> NoReturn:
    _say(f"unrolled: {' '.join(message.split())}")
    sys.exit(code)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "info": _info,
}
