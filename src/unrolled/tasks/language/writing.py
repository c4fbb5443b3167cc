"""Writing on: a model goes on from a prompt, and its text comes out symbol by symbol."""

import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from unrolled.errors import ConfigError
from unrolled.models.language import LanguageModel, generate
from unrolled.tasks.language.coder import Coder
from unrolled.tasks.language.config import PredictConfig
from unrolled.tasks.lines import normalize
from unrolled.tasks.readings import Line, opened_stream, readings

MAX_LINE = 100_000  # characters of a prompt
NAMED = 8  # unknown symbols that are named


@dataclass(frozen=True)
class Writer:
    """A trained model with its symbols: a prompt in, what follows out, as it comes."""

    model: LanguageModel
    coder: Coder
    form: str  # the Unicode form that the model learnt

    def write(
        self, prompt: str, settings: PredictConfig, generator: torch.Generator | None = None
    ) -> Iterator[str]:
        """Give the text of each symbol that follows a prompt."""
        prompt = normalize(prompt, self.form)
        ids = generate(
            self.model,
            [self.coder.start, *self.coder.encode(prompt).tolist()],
            settings.length,
            temperature=settings.temperature,
            top_k=settings.top_k,
            top_p=settings.top_p,
            never=self.coder.never,
            generator=generator,
        )
        return self.coder.texts(ids, prompt)

    def fault(self, prompt: str) -> str:
        """Name what the model has never seen, or nothing."""
        known = self.coder.vocabulary
        lines = [normalize(prompt, self.form)]
        if known.unit != "characters":
            lines = lines[0].split("\n")
        unknown = list(dict.fromkeys(symbol for line in lines for symbol in known.unknown(line)))
        names = ", ".join(map(repr, unknown[:NAMED])) + (", ..." if len(unknown) > NAMED else "")
        return f"the model has never seen {names}, and reads it as unknown" if unknown else ""


def predict(writer: Writer, settings: PredictConfig, files: Sequence[Path]) -> int:
    """Go on from the prompt of the settings, or from every line of a file or standard input.

    Every symbol is written and flushed as soon as it is there.

    Returns:
        How many prompts had a fault.

    Raises:
        ConfigError: there is a prompt, and a file of others.
        DataError: the file or the stream cannot be read.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    out, faults = sys.stdout.buffer, 0
    for line in _prompts(settings, files):
        if fault := line.fault or writer.fault(line.text):
            faults += 1
            print(f"unrolled: {line.where}: {fault}", file=sys.stderr, flush=True)
        found = iter(()) if line.fault else writer.write(line.text, settings, generator)
        WRITERS[settings.format](line.text, found, out)
    return faults


def _prompts(settings: PredictConfig, files: Sequence[Path]) -> Iterator[Line]:
    source = files[0] if files else None
    if settings.prompt is not None:
        if source is not None:
            raise ConfigError(f"--prompt and {source} are both prompts; give one of them")
        yield Line("--prompt", settings.prompt)
        return
    with opened_stream(source, "write how a text begins") as stream:
        for lines in readings(stream, str(source or "stdin"), MAX_LINE, lambda text: (text,)):
            yield from lines


def _text(prompt: str, found: Iterator[str], out: IO[bytes]) -> None:
    for text in itertools.chain([prompt], found, ["\n\n"]):
        out.write(text.encode(errors="replace"))
        out.flush()


def _jsonl(prompt: str, found: Iterator[str], out: IO[bytes]) -> None:
    record = {"prompt": prompt, "text": "".join(found)}
    out.write(json.dumps(record, ensure_ascii=False).encode(errors="replace") + b"\n")
    out.flush()


WRITERS: dict[str, Callable[[str, Iterator[str], IO[bytes]], None]] = {
    "text": _text,
    "jsonl": _jsonl,
}
