"""Files of tagged sentences: CoNLL-U, columns and plain lines, read strictly and written back."""

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from unrolled.errors import DataError
from unrolled.tasks.lines import shown
from unrolled.tasks.readings import readings

COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
NONE = "_"  # how CoNLL-U says that a field has no value
MAY_BE_NONE = ("feats",)  # where that is a value like others: a word without features
RANGE = re.compile(r"([1-9][0-9]*)-([1-9][0-9]*)")  # of a multiword token
EMPTY = re.compile(r"(0|[1-9][0-9]*)\.[1-9][0-9]*")  # node, which is no word


@dataclass(frozen=True)
class Sentence:
    """A sentence as it stands in a file, or what is wrong with it.

    lines: its lines as they are. places: which of them hold its words. words, tags: of each word,
    the tags of each column that was asked for. where: file and first line. fault: file, line and
    reason; then there are no words.
    """

    lines: tuple[str, ...]
    places: tuple[int, ...]
    words: tuple[str, ...]
    tags: tuple[tuple[str, ...], ...]
    where: str
    fault: str = ""


class Form(ABC):
    """One form of files: how lines become a sentence, and how tags get into them.

    columns: of CoNLL-U, that tags are read from; the first is the one that is filled in. tagged:
    whether every word needs a tag.
    """

    blocks = True  # sentences are parted by blank lines; otherwise each line is one

    def __init__(self, columns: Sequence[str] = ("upos",), *, tagged: bool = True) -> None:
        self.columns, self.tagged = tuple(columns), tagged

    @abstractmethod
    def row(self, text: str, words: int) -> tuple[str, tuple[str, ...]] | None:
        """Give the word and the tags in a line, None where it has no word; raise DataError.

        words: how many the sentence has so far; -1 before its first line that is no comment.
        """

    @abstractmethod
    def filled(self, text: str, tag: str) -> str:
        """Give a word's line with its tag."""


class CoNLLU(Form):
    """Ten columns between tabs (universaldependencies.org/format.html)."""

    def row(self, text: str, words: int) -> tuple[str, tuple[str, ...]] | None:
        """Read a line: a comment, a multiword token, an empty node or a word."""
        if text.startswith("#"):
            if words >= 0:
                raise DataError("a comment inside a sentence; put it before the first word")
            return None
        fields = text.split("\t")
        if len(fields) != len(COLUMNS):
            raise DataError(f"columns: {len(fields)}, in {shown(text)}; CoNLL-U has 10, with tabs")
        if "" in fields:
            raise DataError(f"the column {COLUMNS[fields.index('')]} is empty; write {NONE} there")
        if fields[0] != str(max(words, 0) + 1):
            self._other(fields[0], max(words, 0))
            return None
        tags = tuple(fields[COLUMNS.index(name)] for name in self.columns)
        if self.tagged and tags[0] == NONE and self.columns[0] not in MAY_BE_NONE:
            raise DataError(
                f"the word {shown(fields[1])} has no {self.columns[0]}; fill it in, or choose "
                "another --column"
            )
        return fields[1], tags

    def filled(self, text: str, tag: str) -> str:
        """Put the tag into its column and leave all else."""
        fields = text.split("\t")
        fields[COLUMNS.index(self.columns[0])] = tag
        return "\t".join(fields)

    def _other(self, id: str, words: int) -> None:
        """Refuse an id that neither is the next nor belongs to a line without a word."""
        several, empty = RANGE.fullmatch(id), EMPTY.fullmatch(id)
        begins = several is not None and words + 1 == int(several[1]) < int(several[2])
        behind = empty is not None and words == int(empty[1])
        if not begins and not behind:
            raise DataError(
                f"the id is {shown(id)} where {words + 1} is due; number the words from 1"
            )


class Columns(Form):
    """A word and its tag: the first and the last of columns between tabs, or else blanks."""

    count = 0  # of the columns, once a line was read

    def row(self, text: str, words: int) -> tuple[str, tuple[str, ...]]:
        """Read a line: a word, and its tag if there is more than one column."""
        fields = self._fields(text)
        if self.tagged and len(fields) == 1:
            raise DataError(f"{shown(text)} has no tag; write it after the word and a tab")
        self.count = self.count or len(fields)
        if len(fields) != self.count:
            raise DataError(
                f"columns: {len(fields)}, in {shown(text)}, and {self.count} in the lines before; "
                "write a word and its tag with a tab between them"
            )
        if "" in (fields[0].strip(), fields[-1].strip()):
            raise DataError(f"the word or its tag is empty in {shown(text)}; write both")
        return fields[0], (fields[-1],)

    def filled(self, text: str, tag: str) -> str:
        """Put the tag into the last of two columns or more, or behind the only one."""
        if self.count == 1:
            return f"{text}\t{tag}"
        text = text if "\t" in text else text.rstrip()
        return text.removesuffix(self._fields(text)[-1]) + tag

    def _fields(self, text: str) -> list[str]:
        return text.split("\t") if "\t" in text else text.split()


class Lines(Form):
    """A sentence a line, its words parted by blanks; written back as `Columns`."""

    blocks = False

    def row(self, text: str, words: int) -> tuple[str, tuple[str, ...]]:
        """Read a line that has become one for each word."""
        return text, ("",)

    def filled(self, text: str, tag: str) -> str:
        """Put the tag behind the word."""
        return f"{text}\t{tag}"


FORMS: dict[str, type[Form]] = {"conllu": CoNLLU, "columns": Columns, "lines": Lines}
NAMES = {".conllu": "conllu", ".txt": "lines"}  # how a file of that form ends


def form_of(path: Path | None, wanted: str = "auto") -> str:
    """Tell the form of a file: the wanted one, or by its name; standard input holds lines.

    >>> form_of(Path("train.conllu.gz")), form_of(Path("train.iob")), form_of(None)
    ('conllu', 'columns', 'lines')
    """
    if wanted != "auto":
        return wanted
    if path is None:
        return "lines"
    return NAMES.get(Path(path.name.lower().removesuffix(".gz")).suffix, "columns")


def read_sentences(
    stream: IO[bytes], name: str, form: Form, *, max_line: int, max_words: int
) -> Iterator[Sentence]:
    r"""Read sentences one by one, in bounded memory.

    The text is UTF-8; a byte order mark and CRLF line ends are dropped. A sentence that cannot be
    used comes with its fault in its place.

    stream: bytes. name: what faults call it. form: of the file. max_line: the most characters of a
    line. max_words: the most words of a sentence.
    Raises DataError if the stream itself cannot be read.

    >>> import io
    >>> text = b"buy\tVB\nbooks\tNN\n"
    >>> [s.words for s in read_sentences(io.BytesIO(text), "-", Columns(), max_line=9, max_words=9)]
    [('buy', 'books')]
    """
    groups = read_groups(stream, name, form, max_line=max_line, max_words=max_words)
    return itertools.chain.from_iterable(groups)


def read_groups(
    stream: IO[bytes], name: str, form: Form, *, max_line: int, max_words: int
) -> Iterator[list[Sentence]]:
    """Read sentences as `read_sentences` does, as many at once as arrive together, or none."""
    block = _Block(form, max_words)
    for lines in readings(stream, name, max_line, lambda text: (text,)):
        group: list[Sentence] = []
        for line in lines:
            blank = not line.text.strip() and not line.fault
            if not form.blocks and not blank:
                words = line.text.split()
                for word in words[: max_words + 1]:
                    block.add(line.where, word, "")
                block.faults(line.where, line.fault)
            elif not blank:
                block.add(line.where, line.text, line.fault)
            if (blank or not form.blocks) and block.where:
                group.append(block.sentence())
                block = _Block(form, max_words)
        yield group
    if block.where:
        yield [block.sentence()]


class _Block:
    """The lines of a sentence as they come."""

    def __init__(self, form: Form, max_words: int) -> None:
        self.form, self.max_words = form, max_words
        self.where = self.fault = ""
        self.lines: list[str] = []
        self.places: list[int] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, ...]] = []
        self.begun = False

    def faults(self, where: str, reason: str) -> None:
        """Note the first thing that is wrong."""
        self.where = self.where or where
        if reason and not self.fault:
            self.fault = f"{where}: {reason}"

    def add(self, where: str, text: str, fault: str) -> None:
        """Add a line."""
        self.faults(where, fault)
        if len(self.words) > self.max_words:  # whatever follows: do not gather it
            return
        self.lines.append(text)
        if self.fault:
            return
        try:
            found = self.form.row(text, len(self.words) if self.begun else -1)
        except DataError as error:
            self.faults(where, str(error))
            return
        if found is None:
            self.begun = self.begun or not text.startswith("#")
            return
        self.begun = True
        self.places.append(len(self.lines) - 1)
        self.words.append(found[0])
        self.tags.append(found[1])
        if len(self.words) > self.max_words:
            self.faults(
                where,
                f"the sentence has more than {self.max_words} words; part it with a blank line, or "
                "raise --max-words",
            )

    def sentence(self) -> Sentence:
        """Give all of it."""
        if not self.words:
            self.faults(self.where, "no words, only comments; delete them, or write the words")
        if self.fault:
            return Sentence(tuple(self.lines), (), (), (), self.where, self.fault)
        lines, places = tuple(self.lines), tuple(self.places)
        return Sentence(lines, places, tuple(self.words), tuple(self.tags), self.where)


def write_sentence(sentence: Sentence, form: Form, tags: Sequence[str]) -> str:
    r"""Give a sentence's lines with tags filled in, and a blank line behind them.

    Lines without a word, such as comments and multiword tokens, stay as they are.

    >>> sentence = Sentence(("buy",), (0,), ("buy",), (("",),), "-:1")
    >>> write_sentence(sentence, Lines(), ["VERB"])
    'buy\tVERB\n\n'
    """
    lines = list(sentence.lines)
    for place, tag in zip(sentence.places, tags, strict=True):
        lines[place] = form.filled(lines[place], tag)
    return "\n".join(lines) + "\n\n"
