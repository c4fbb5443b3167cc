"""The command line. `unrolled --help` answers before torch is imported: commands import it."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled import __version__
from unrolled.errors import ConfigError, UnrolledError
from unrolled.files import cannot_write

if TYPE_CHECKING:
    from unrolled.tasks.kinds import Kind

USAGE = """usage: unrolled COMMAND ...

Recurrent sequence models for PyTorch.

  unrolled train TASK --train FILE --run RUN   learn from a file; unrolled train names the tasks
  unrolled evaluate RUN --data FILE            score a run on data it has not seen
  unrolled predict RUN [FILE]                  a prediction for each line, in a pipe or a file
  unrolled inspect RUN                         what is wrong in a run through time, with pictures
  unrolled info [RUN]                          what is installed here; what a run is
  unrolled experiments [NAME]                  the lecture's experiments, or one of them

  unrolled COMMAND --help                      the flags of a command
  unrolled --version

TASK is tag, language, seq2seq, transcribe, forecast or classify, and decides what FILE holds: see
unrolled train TASK --help. RUN is a folder: settings, weights, checkpoints, metrics, and
report.html to look at.

It exits with 0 if all went well, 1 if some lines had faults, 2 if it could not be done, and 130 if
it was stopped.
"""
HELP = ("--help", "-h")
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # torch's words


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 it worked, 1 some lines had faults, 2 it could not be done."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(args)
        _flush()
    except UnrolledError as error:
        code = _fail(str(error), 2)
    except KeyboardInterrupt:
        code = _fail("stopped", 130)
    except BrokenPipeError:  # whoever read our output has gone: nothing is left to say
        _drop_output()
        code = 1
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _is_out_of_memory(error):
            raise
        code = _fail("out of memory; take a smaller --batch, --hidden or --width", 2)
    except OSError as error:
        if error.filename is None:
            _drop_output()
        code = _fail(str(cannot_write(error.filename or "the output", error)), 2)
    sys.exit(code)


def _run(args: list[str]) -> int:
    if not args or args[0] in HELP:
        print(USAGE, end="")
        return 0 if args else 2
    if args[0] == "--version":
        print(f"unrolled {__version__}")
        return 0
    if args[0] not in COMMANDS:
        raise ConfigError(
            f"there is no command {args[0]!r}; choose one of {', '.join(COMMANDS)}, "
            "see unrolled --help"
        )
    return COMMANDS[args[0]](args[1:])


def _train(args: list[str]) -> int:
    from unrolled.tasks.kinds import NAMES, find_kind
    from unrolled.tasks.settings import resolve

    if not args or args[0] in HELP:
        print("usage: unrolled train TASK [flags]\n")
        print("\n".join(f"  {name:<12}{find_kind(name).about}" for name in NAMES))
        return 0 if args else 2
    task, *flags = args
    kind = find_kind(task)
    prog = f"unrolled train {task}"
    settings = resolve(kind.config, flags, kind.presets, prog=prog)
    if "WORLD_SIZE" in os.environ:  # several processes: torch warns of what is meant to be so
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from unrolled.tasks import commands
    from unrolled.tasks.processes import leads
    from unrolled.tasks.trained import resume_command, resume_settings

    if settings.resume:  # the flags again, now over the settings that the run began with
        saved = resume_settings(kind, settings.run)
        settings = resolve(kind.config, flags, kind.presets, saved, prog=prog)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, wherever it comes
    try:
        commands.train(kind, settings)
    except commands.Interrupted:
        return _fail(f"stopped and saved; go on with: {resume_command(settings.run)}", 130)
    if leads():
        print(settings.run / "report.html")
    return 0


def _evaluate(args: list[str]) -> int:
    kind, path, settings, _ = _of_run("evaluate", args)
    kind.work().evaluate(path, settings)
    return 0


def _predict(args: list[str]) -> int:
    kind, path, settings, files = _of_run("predict", args)
    return 1 if kind.work().predict(path, settings, files) else 0


def _of_run(command: str, args: list[str]) -> "tuple[Kind, Path, Any, list[Path]]":
    """Read `COMMAND RUN [FILE ...] [flags]`; which flags there are depends on the run's task.

    `--help` without a run shows those of every task, and ends here.
    """
    from unrolled.tasks.kinds import NAMES, find_kind
    from unrolled.tasks.settings import from_command_line

    field = {"evaluate": "evaluation", "predict": "prediction"}[command]
    usage = f"unrolled {command} RUN" + (" [FILE ...]" if command == "predict" else "")
    if any(arg in HELP for arg in args) and args[0].startswith("-"):
        for name in NAMES:
            kind = find_kind(name)
            files = f" {kind.files}" if command == "predict" else ""
            print(f"If RUN is of the task {name}:\n")
            with contextlib.suppress(SystemExit):
                cls = getattr(kind, field)
                from_command_line(cls, ["--help"], cls(), f"unrolled {command} RUN{files}")
        raise SystemExit(0)
    names, flags = _names(args, usage, 1, 1 if command == "evaluate" else None)
    from unrolled.tasks.run import Run
    from unrolled.tasks.trained import kind_of

    kind = kind_of(Run.open(names[0]))
    if len(names) > 1 + kind.most_files:
        raise ConfigError(
            f"{' '.join(names[1:])} stands before the flags; write unrolled {command} RUN "
            f"{kind.files} [flags]"
        )
    cls = getattr(kind, field)
    files = f" {kind.files}" if command == "predict" else ""
    settings = from_command_line(cls, flags, cls(), f"unrolled {command} {names[0]}{files}")
    return kind, Path(names[0]), settings, list(map(Path, names[1:]))


def _inspect(args: list[str]) -> int:
    from unrolled.tasks.config import InspectConfig
    from unrolled.tasks.settings import from_command_line

    prog = "unrolled inspect RUN"
    names, flags = _names(args, prog, 1, 1)
    settings = from_command_line(InspectConfig, flags, InspectConfig(), prog)
    from unrolled.tasks.inspection import inspect_run

    print(inspect_run(Path(names[0]), settings))
    return 0


def _info(args: list[str]) -> int:
    names, flags = _names(args, "unrolled info [RUN]", 0, 1)
    if flags:
        if flags[0] not in HELP:
            raise ConfigError(f"there is no flag {flags[0]}; info takes none")
        print("usage: unrolled info [RUN]\n\nWhat is installed here, or what a run is.")
        return 0
    from unrolled.tasks import info

    print(info.run_summary(Path(names[0])) if names else info.installation())
    return 0


def _experiments(args: list[str]) -> int:
    from unrolled.experiments import EXPERIMENTS, Options, command
    from unrolled.tasks.settings import from_command_line

    prog = "unrolled experiments [NAME]"
    names, flags = _names(args, prog, 0, 1)
    if not names and not flags:
        print("\n".join(f"{name:<12} {line}" for name, line in EXPERIMENTS.items()))
        return 0
    options = from_command_line(Options, flags, Options(), prog)
    if not names:
        raise ConfigError(f"name an experiment: {', '.join(EXPERIMENTS)}")
    command(names[0], options)
    return 0


def _names(
    args: list[str], usage: str, least: int, most: int | None
) -> tuple[list[str], list[str]]:
    """Part what stands before the flags from the flags; `--help` needs nothing before it."""
    count = next((i for i, arg in enumerate(args) if arg.startswith("-")), len(args))
    names, flags = args[:count], args[count:]
    helps = any(flag in HELP for flag in flags)
    if not helps and not least <= len(names) <= (len(names) if most is None else most):
        found = " ".join(names) or "nothing"
        raise ConfigError(f"{found} stands before the flags; write {usage} [flags]")
    return names, flags


def _fail(message: str, code: int) -> int:
    print(f"unrolled: {' '.join(message.split())}", file=sys.stderr)
    return code


def _flush() -> None:
    """Write all output now, so that a full disk shows here, and not when the interpreter ends."""
    if sys.stdout is not None:  # it is where standard output was closed
        sys.stdout.flush()


def _drop_output() -> None:
    """Send what could not be written nowhere: the interpreter would try, and complain, again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_out_of_memory(error: RuntimeError) -> bool:
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "inspect": _inspect,
    "info": _info,
    "experiments": _experiments,
}
