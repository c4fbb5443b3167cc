"""Manifests: which recordings there are, what is said in them, and by whom."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from unrolled.errors import DataError
from unrolled.tasks.lines import is_json, json_fields, normalize, opened, refuse_empty, shown
from unrolled.tasks.readings import readings

HELD_OUT = 0.05  # of the recordings, where there is no manifest for them

Refuse = Callable[[DataError], None]  # raises the error, or counts it


@dataclass(frozen=True)
class Entry:
    """A recording: its file, what is said in it, and by whom if that is known."""

    path: Path
    transcript: str
    speaker: str
    where: str  # the file and the line that names it


def read_manifest(
    path: Path, refuse: Refuse, *, normal_form: str = "nfc", max_line: int = 20_000
) -> Iterator[Entry]:
    r"""Read the entries of a manifest one by one, in the order of its lines.

    A name that ends in .jsonl or .json means an object a line with the strings "path",
    "transcript" and, if it is known, "speaker"; any other name two or three columns parted by
    tabs; a further .gz means compressed. Text is UTF-8, blank lines are skipped, a path is relative
    to the manifest. White space in a transcript counts as one space.

    path: the manifest. refuse: is told what is wrong with a line, which is then left out, unless it
    raises. normal_form: the Unicode form that transcripts are brought into.
    Raises DataError for a file that cannot be read or names no recordings, and what `refuse` does.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "train.tsv")
    ...     _ = path.write_text("a.wav\tyes\tann\nb.wav\tgo  on\n")
    ...     [(e.path.name, e.transcript, e.speaker) for e in read_manifest(path, print)]
    [('a.wav', 'yes', 'ann'), ('b.wav', 'go on', '')]
    """
    parse = _json_entry if is_json(path) else _columns
    empty = True
    with opened(path) as stream:
        for lines in readings(cast(IO[bytes], stream), str(path), max_line, _whole):
            for line in lines:
                if line.fault or line.text.strip():
                    empty = False
                    try:
                        if line.fault:
                            raise DataError(line.fault)
                        name, transcript, speaker = parse(line.text)
                    except DataError as fault:
                        refuse(DataError(f"{line.where}: {fault}"))
                        continue
                    text = " ".join(normalize(transcript, normal_form).split())
                    yield Entry(path.parent / name, text, speaker, line.where)
    if empty:
        raise DataError(
            f"{path}: names no recordings; write one a line: a path, a tab, its transcript"
        )


def hold_out(entries: Sequence[Entry], seed: int) -> tuple[list[Entry], list[Entry]]:
    """Hold a twentieth of the recordings out, and with one of a speaker all of that speaker's.

    Which they are depends on the seed and the entries, not on their order.
    Raises DataError if nothing would be left on a side.

    >>> entries = [Entry(Path(f"{n}.wav"), "yes", f"s{n % 4}", "m:1") for n in range(40)]
    >>> train, dev = hold_out(entries, seed=1)
    >>> len(train), len(dev), len({e.speaker for e in dev})
    (30, 10, 1)
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.speaker or str(entry.path), []).append(entry)
    # hash() differs from one Python process to the next; a split has to stay
    order = sorted(groups, key=lambda name: hashlib.blake2b(f"{seed}:{name}".encode()).digest())
    held: set[str] = set()
    while order and sum(len(groups[name]) for name in held) < HELD_OUT * len(entries):
        held.add(order.pop())
    if not order:
        raise DataError("there are too few recordings to hold some out; name others with --dev")
    sides: tuple[list[Entry], list[Entry]] = ([], [])
    for entry in entries:
        sides[(entry.speaker or str(entry.path)) in held].append(entry)
    return sides


def _whole(text: str) -> Sequence[str]:
    return (text,)


def _columns(text: str) -> Sequence[str]:
    columns = text.split("\t")
    if len(columns) not in (2, 3):
        raise DataError(
            f"columns: {len(columns)}, in {shown(text)}; write a path, a tab, its transcript, and "
            "if you like a tab and the speaker"
        )
    for column, name in zip(columns, ("path", "transcript"), strict=False):
        refuse_empty(column, name)
    return (*columns, "")[:3]


def _json_entry(text: str) -> Sequence[str]:
    fields = json_fields(text, ("path", "transcript"))
    speaker = json.loads(text).get("speaker", "")
    if not isinstance(speaker, str):
        raise DataError(f"field 'speaker' is {type(speaker).__name__}, not text; quote it")
    return (*fields, speaker)
