"""What is known of words, kept in a file."""

import json
from pathlib import Path

import pytest

from unrolled.errors import DataError
from unrolled.tasks.tag.lexicon import Lexicon, Speller

SENTENCES = [["They", "buy", "1999", "books"], ["they", "buyers", "BUY", "e\u0301"]]
TAGS = {"upos": [["PRON", "VERB", "NUM", "NOUN"], ["PRON", "NOUN", "VERB", "X"]]}


@pytest.fixture
def lexicon() -> Lexicon:
    return Lexicon.build(SENTENCES, TAGS)


def test_case_and_digits_do_not_tell_words_apart_but_letters_do(lexicon: Lexicon) -> None:
    they, upper = lexicon.entry("they"), lexicon.entry("They")
    assert they.id == upper.id > 1 and they.letters != upper.letters
    assert lexicon.words["they"] == 2 and lexicon.entry("2024").id == lexicon.entry("1999").id
    assert lexicon.entry("\u00e9").id == lexicon.entry("e\u0301").id > 1
    assert lexicon.entry("unheard").id == 1 and not lexicon.knows("unheard")


def test_rare_words_have_no_id_where_they_should_not() -> None:
    lexicon = Lexicon.build(SENTENCES, TAGS, least_count=2)
    assert set(lexicon.words) == {"they", "buy"} and lexicon.counts().tolist() == [0, 0, 2, 2]


def test_a_long_word_is_read_from_both_ends(lexicon: Lexicon) -> None:
    letters = lexicon.entry("buy" + "x" * 90 + "they", 6).letters
    assert letters == lexicon.entry("buyhey").letters


def test_a_feature_is_known_if_two_words_have_it(lexicon: Lexicon) -> None:
    kinds = list(lexicon.features)
    buying, known = lexicon.entry("buying"), kinds.index("first three")
    assert buying.features[known] >= len(kinds) and "buy" in lexicon.features["first three"]
    assert buying.features[kinds.index("last two")] == kinds.index("last two")  # unknown


def test_each_distinct_word_of_a_batch_is_spelt_once(lexicon: Lexicon) -> None:
    batch = Speller(lexicon, 24).batch([["they", "They", "they"], ["new"]])
    assert batch.places.tolist() == [[0, 2], [1, 0], [0, 0]]
    assert len(batch.letters.first) == 3 and batch.lengths.tolist() == [3, 1]
    assert batch.ids[:, 1].tolist() == [1, 0, 0]


def test_it_comes_back_from_its_file(lexicon: Lexicon, tmp_path: Path) -> None:
    lexicon.save(tmp_path / "lexicon.json")
    assert Lexicon.load(tmp_path / "lexicon.json") == lexicon


@pytest.mark.parametrize(
    ("change", "fault"),
    [({"version": 9}, "is no unrolled-lexicon version 1"), ({"words": {"a": "b"}}, "is damaged")],
    ids=["version", "counts"],
)
def test_a_damaged_file_is_named(
    lexicon: Lexicon, tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    path = tmp_path / "lexicon.json"
    lexicon.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=f"lexicon.json: {fault}"):
        Lexicon.load(path)
