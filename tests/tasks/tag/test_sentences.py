"""Files of sentences: what is read, what is refused, and what is written back."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from unrolled.tasks.tag.sentences import (
    Columns,
    CoNLLU,
    Form,
    Lines,
    Sentence,
    form_of,
    read_groups,
    read_sentences,
    write_sentence,
)

ROW = "\t_\tNOUN\tN\tCase=Nom\t0\troot\t_\t_\n"
TREEBANK = (
    "# text = Im Haus\n1-2\tIm\t_\t_\t_\t_\t_\t_\t_\t_\n1\tin dem" + ROW + "2\tHaus" + ROW
    + "2.1\tnichts\t_\t_\t_\t_\t_\t_\t0:x\t_\n\n# text = Aus\n1\tAus" + ROW + "\n"
)  # fmt: skip


def read(text: str | bytes, form: Form, max_words: int = 9) -> list[Sentence]:
    data = text.encode() if isinstance(text, str) else text
    stream = io.BytesIO(data)
    return list(read_sentences(stream, "file", form, max_line=90, max_words=max_words))


def test_a_treebank_gives_its_words_and_columns_and_comes_back_as_it_was() -> None:
    form = CoNLLU(["upos", "feats"])
    found = read(TREEBANK, form)
    assert [s.words for s in found] == [("in dem", "Haus"), ("Aus",)]
    assert found[0].tags == (("NOUN", "Case=Nom"),) * 2
    assert "".join(write_sentence(s, form, ["NOUN"] * len(s.words)) for s in found) == TREEBANK
    other = write_sentence(found[0], form, ["X", "Y"])
    assert other == TREEBANK.split("# text = Aus")[0].replace("NOUN", "X", 1).replace("NOUN", "Y")


@pytest.mark.parametrize(
    ("text", "columns"),
    [("buy\tV\nbooks\tN\n", 2), ("buy V\nbooks N", 2), ("buy VB x V\nbooks  NN x N\n", 4)],
    ids=["tabs", "blanks", "four"],
)
def test_the_first_column_is_the_word_and_the_last_its_tag(text: str, columns: int) -> None:
    form = Columns()
    (found,) = read(text, form)
    assert (found.words, found.tags) == (("buy", "books"), (("V",), ("N",)))
    assert form.count == columns
    assert write_sentence(found, form, ["V", "N"]) == text.rstrip("\n") + "\n\n"


def test_words_alone_and_lines_get_a_column() -> None:
    alone, lines = Columns(tagged=False), Lines(tagged=False)
    (found,) = read("buy\nbooks\n", alone)
    assert write_sentence(found, alone, ["V", "N"]) == "buy\tV\nbooks\tN\n\n"
    first, second = read("buy books\n\n they\u00a0do\n", lines)
    assert write_sentence(first, lines, ["V", "N"]) == "buy\tV\nbooks\tN\n\n"
    assert second.words == ("they", "do")


def test_the_name_tells_the_form() -> None:
    names = ["a.conllu", "A.CONLLU.gz", "a.txt", "a.iob", "a"]
    forms = [form_of(Path(name)) for name in names]
    assert forms == ["conllu", "conllu", "lines", "columns", "columns"]
    assert (form_of(None), form_of(Path("a.txt"), "columns")) == ("lines", "columns")


BAD: dict[str, tuple[Form, str | bytes, str]] = {
    "columns": (CoNLLU(), "1\tbuy\tV\n", "file:1: columns: 3, in '1"),
    "empty-field": (CoNLLU(), "1\t" + ROW, "file:1: the column form is empty; write _ there"),
    "id": (CoNLLU(), "1\ta" + ROW + "3\tb" + ROW, "file:2: the id is '3' where 2 is due"),
    "range": (CoNLLU(), "2-3\ta" + ROW, "file:1: the id is '2-3' where 1 is due"),
    "node": (CoNLLU(), "1\ta" + ROW + "2.1\tb" + ROW, "file:2: the id is '2.1' where 2 is due"),
    "no-tag": (CoNLLU(["deprel"]), "1\ta" + "\t_" * 8 + "\n", "the word 'a' has no deprel"),
    "late-comment": (CoNLLU(), "1\ta" + ROW + "# b\n", "file:2: a comment inside a sentence"),
    "only-comments": (CoNLLU(), "# a\n", "file:1: no words, only comments"),
    "uneven": (Columns(), "a\tX\nb\tc\tX\n", "file:2: columns: 3, in 'b\\tc\\tX', and 2 in the"),
    "tagless": (Columns(), "a\n", "file:1: 'a' has no tag; write it after the word and a tab"),
    "half": (Columns(), "a\t\n", "file:1: the word or its tag is empty in 'a\\t'"),
    "utf-8": (Columns(), b"a\tX\n\xff\tX\n", "file:2: byte 0xff at column 1 is not UTF-8"),
    "long-line": (Columns(), "a" * 99 + "\tX\n", "file:1: is longer than 90 characters"),
    "long": (Columns(), "a\tX\n" * 99, "file:10: the sentence has more than 9 words"),
    "long-line-of-words": (Lines(), "a " * 44, "file:1: the sentence has more than 9 words"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_sentence_says_what_and_where_and_the_next_is_read(case: str) -> None:
    form, text, fault = BAD[case]
    good = {CoNLLU: "\n1\tgood" + ROW, Columns: "\ngood\tX\n", Lines: "\ngood\n"}[type(form)]
    data = text.encode() if isinstance(text, str) else text
    one, other = read(data + good.encode(), form)
    assert fault in one.fault and "\n" not in one.fault and one.words == ()
    assert (other.words, other.fault) == (("good",), "")


def test_a_stream_without_end_is_read_as_far_as_it_is_wanted() -> None:
    class Endless(io.RawIOBase):
        def read1(self, size: int = -1) -> bytes:
            return b"buy V\n\n" * 20

    groups: Iterator[list[Sentence]] = read_groups(
        Endless(),  # pyright: ignore[reportArgumentType]
        "file",
        Columns(),
        max_line=90,
        max_words=9,
    )
    assert sum(map(len, itertools.islice(groups, 5))) == 100
