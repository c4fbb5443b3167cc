"""Run command lines in two processes that train together, one after the other.

python together.py FOLDER: FOLDER/scenes.json holds a list of scenes, each with its name, its port,
its command line and what happens to the second process at the third step. How each process ended,
and what it said, is written to FOLDER/NAME.RANK.json.
"""

import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # torch wants it later, and then in each process  # noqa: F401

from unrolled import cli
from unrolled.backends import BACKENDS
from unrolled.errors import DataError
from unrolled.tasks.language.lesson import LanguageLesson
from unrolled.tasks.progress import Progress
from unrolled.tasks.seq2seq.lesson import Seq2SeqLesson


def fail() -> None:
    raise DataError("words.tsv:3: is broken")


HAPPENS: dict[str, Callable[[], Any]] = {
    "": lambda: None,
    "stop": lambda: signal.raise_signal(signal.SIGTERM),
    "fail": fail,
    "die": lambda: os._exit(9),
}


def play(scene: dict[str, Any], rank: int, folder: Path) -> None:
    update = Progress.update

    def updating(self: Progress, step: int, *others: Any) -> None:
        update(self, step, *others)
        if (step, rank) == (3, 1):
            HAPPENS[scene["happens"]]()

    os.environ["MASTER_PORT"] = str(scene["port"])
    out, err = io.StringIO(), io.StringIO()
    Progress.update, code = updating, 0  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main(scene["arguments"])
    except SystemExit as exit:
        code = exit.code
    finally:
        Progress.update = update
    ended = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
    (folder / f"{scene['name']}.{rank}.json").write_text(json.dumps(ended))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for lesson in (LanguageLesson, Seq2SeqLesson):
        lesson.conclude = lambda *arguments: None  # pyright: ignore[reportAttributeAccessIssue]
    BACKENDS["auto"] = BACKENDS["eager"]  # nothing is compiled: that takes longer than all else
    children = []
    for rank in range(2):
        children.append(os.fork())
        if not children[-1]:
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
            for scene in json.loads((folder / "scenes.json").read_text()):
                play(scene, rank, folder)
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
