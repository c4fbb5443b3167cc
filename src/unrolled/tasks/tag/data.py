"""What tagging learns from: files of sentences, read whole."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.lines import opened
from unrolled.tasks.progress import Progress
from unrolled.tasks.tag import config
from unrolled.tasks.tag.lexicon import Lexicon
from unrolled.tasks.tag.sentences import FORMS, Form, Sentence, form_of, read_sentences

HELD_OUT = 0.05  # of the sentences, where there is no dev file


def column_names(data: config.Data) -> list[str]:
    """Name the columns that a run learns, the wanted one first; of columns it is the last.

    >>> column_names(config.Data(Path("a.conllu"), column="xpos", also=("upos", "xpos")))
    ['xpos', 'upos']
    >>> column_names(config.Data(Path("a.iob")))
    ['last']
    """
    if form_of(data.train, data.form) != "conllu":
        return ["last"]
    return [data.column, *(name for name in data.also if name != data.column)]


def make_form(path: Path | None, wanted: str, data: config.Data, *, tagged: bool = True) -> Form:
    """Give the form of a file, with the columns that a run learnt.

    tagged: whether its words need tags; then the columns that are learnt beside are read too.
    Raises ConfigError for CoNLL-U where the run learnt from a file that is none.
    """
    names, form = column_names(data), form_of(path, wanted)
    if form == "conllu" and names == ["last"]:
        raise ConfigError(
            f"{path or 'stdin'}: is CoNLL-U, and the run learnt from columns, so nobody said which "
            "of its columns is meant; give a file with a word and its tag a line"
        )
    return FORMS[form](names if tagged else names[:1], tagged=tagged)


def load_sentences(
    path: Path, form: Form, data: config.Data, *, skip_bad: bool, progress: Progress
) -> list[Sentence]:
    """Read all sentences of a file.

    skip_bad: leave out those that cannot be used, and say how many they were.
    Raises DataError, with file, line and reason, for the first of them, and for an empty file.
    """
    found: list[Sentence] = []
    bad: list[str] = []
    with opened(path) as stream:
        for sentence in read_sentences(
            stream,  # pyright: ignore[reportArgumentType]
            str(path),
            form,
            max_line=data.max_line,
            max_words=data.max_words,
        ):
            if not sentence.fault:
                found.append(sentence)
            elif skip_bad:
                bad.append(sentence.fault)
            else:
                raise DataError(sentence.fault)
    if bad:
        progress.warn(f"{len(bad):,} sentences left out; the first: {bad[0]}")
    if not found:
        raise DataError(f"{path}: has no sentences; write words and their tags")
    return found


def load_data(
    data: config.Data, seed: int, progress: Progress
) -> tuple[list[Sentence], list[Sentence]]:
    """Read the sentences to learn from and the dev sentences, held out where there is no file."""
    if data.train is None:
        raise DataError("there is nothing to learn from; name a file of sentences with --train")

    def load(path: Path) -> list[Sentence]:
        form = make_form(path, data.form, data)
        return load_sentences(path, form, data, skip_bad=data.skip_bad, progress=progress)

    train = load(data.train)
    if data.dev is not None:
        return train, load(data.dev)
    order = list(range(len(train)))
    random.Random(seed).shuffle(order)
    held = set(order[: round(HELD_OUT * len(train))])
    if not held:
        raise DataError(
            f"{data.train}: has too few sentences to hold some out; name a file of others with "
            "--dev"
        )
    sides = ([s for i, s in enumerate(train) if (i in held) == dev] for dev in (False, True))
    return next(sides), next(sides)


def build_lexicon(sentences: Sequence[Sentence], data: config.Data) -> Lexicon:
    """Collect the words and the tags of the sentences to learn from."""
    tags = {
        name: [[tags[i] for tags in sentence.tags] for sentence in sentences]
        for i, name in enumerate(column_names(data))
    }
    return Lexicon.build([s.words for s in sentences], tags, least_count=data.least_count)


def fingerprint(file: Path | None, sentences: Sequence[Sentence]) -> dict[str, str | int]:
    """Give what tells these sentences from others: the file's name, their number and a digest."""
    digest = hashlib.sha256()
    for sentence in sentences:
        for word, tags in zip(sentence.words, sentence.tags, strict=True):
            digest.update("\t".join((word, *tags, "\n")).encode())
        digest.update(b"\n")
    return {"file": str(file), "items": len(sentences), "sha256": digest.hexdigest()}
