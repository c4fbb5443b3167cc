import base64
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import ConfigError, DataError
from unrolled.tasks.vocabulary import BOS, EOS, PAD, SPECIALS, UNITS, UNK, Vocabulary

TEXTS = ["the cat sat on the mat", "the dog <s> sat <unk>", "a cat, a dog"] * 3


def built(unit, texts=TEXTS):
    return Vocabulary.build(texts, unit, size=60)


@pytest.mark.parametrize("unit", UNITS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_decoding_undoes_encoding(unit, data):
    vocabulary = built(unit)
    symbols = {
        "characters": st.sampled_from("".join(TEXTS)),
        "tokens": st.sampled_from(" ".join(TEXTS).split()),
        "words": st.sampled_from(["the", "cat", "sat", "a"]),
        "pieces": st.sampled_from("".join(TEXTS)),
    }
    text = (" " if unit in ("tokens", "words") else "").join(data.draw(st.lists(symbols[unit])))
    ids = vocabulary.encode(text)
    expected = " ".join(text.split()) if unit == "pieces" else text
    assert vocabulary.decode(ids) == expected
    assert vocabulary.decode([BOS, *ids, EOS, 4, PAD]) == expected
    assert [vocabulary.symbol(id) for id in ids] == vocabulary.symbols(text)
    assert vocabulary.unknown(text) == []
    assert all(len(SPECIALS) <= id < len(vocabulary) for id in ids)


@pytest.mark.parametrize("unit", UNITS)
def test_what_is_loaded_is_what_was_saved(tmp_path, unit):
    vocabulary = built(unit)
    vocabulary.save(tmp_path / "vocabulary.json")
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert loaded == vocabulary
    assert loaded.encode("the catz") == vocabulary.encode("the catz")


@pytest.mark.parametrize("unit", UNITS)
def test_the_same_text_gives_the_same_vocabulary(unit):
    assert built(unit) == built(unit, iter(TEXTS))


def test_ids_go_by_frequency_then_by_alphabet():
    vocabulary = Vocabulary.build(["b a c", "c d"], "tokens")
    assert vocabulary.entries == ("c", "a", "b", "d")
    assert [vocabulary.symbol(id) for id in range(len(vocabulary))] == [*SPECIALS, *"cabd"]
    assert Vocabulary.build(["b a c", "c d"], "tokens", size=6).entries == ("c", "a")
    assert Vocabulary.build(["b a c", "c d"], "tokens", min_count=2).entries == ("c",)


@pytest.mark.parametrize("unit", UNITS)
def test_text_that_reads_like_a_special_symbol_is_text(unit):
    vocabulary = built(unit, ["<pad> <s> </s> <unk>"] * 9)
    ids = vocabulary.encode("<s> <pad> </s> <unk>")
    assert not {PAD, BOS, EOS, UNK} & set(ids)
    decoded = vocabulary.decode(ids)
    assert decoded.replace(" ", "") == "<s><pad></s><unk>"
    assert unit == "words" or decoded == "<s> <pad> </s> <unk>"


@pytest.mark.parametrize(
    ("unit", "text", "unknown", "decoded"),
    [
        ("characters", "cat ŋxŋ", ["ŋ", "x"], "cat <unk><unk><unk>"),
        ("tokens", "cat ŋ\tx  ŋ", ["ŋ", "x"], "cat <unk> <unk> <unk>"),
        ("pieces", "cat ŋ", ["ŋ"], "cat <unk>"),
    ],
)
def test_unknown_symbols_are_listed_once_and_shown(unit, text, unknown, decoded):
    vocabulary = built(unit)
    assert vocabulary.unknown(text) == unknown
    assert UNK in vocabulary.encode(text)
    assert vocabulary.decode(vocabulary.encode(text)) == decoded


@pytest.mark.parametrize("id", [-1, 5, 99])
def test_an_id_of_another_vocabulary_is_refused(id):
    with pytest.raises(DataError, match=f"id {id} in a vocabulary of 5; use the model's own"):
        Vocabulary("tokens", ("a",)).decode([4, id])


@pytest.mark.parametrize(
    ("unit", "settings", "message"),
    [
        (
            "syllables",
            {},
            "'syllables' is unknown; choose one of characters, tokens, words, pieces",
        ),
        ("tokens", {"size": 4}, "size 4 and min_count 1; need above 4"),
        ("tokens", {"min_count": 0}, "size None and min_count 0; need above 4 and at least 1"),
        ("pieces", {}, "pieces needs a size"),
        ("pieces", {"size": 50, "min_count": 2}, "and no min_count"),
        ("pieces", {"size": 10}, "size 10 is too small for a text of 15 characters; give a larger"),
    ],
)
def test_settings_that_do_not_work_are_refused(unit, settings, message):
    with pytest.raises(ConfigError, match=message):
        Vocabulary.build(["the cat sat on", "a mud hole, my, my"], unit, **settings)


@pytest.mark.parametrize("texts", [[], [""], ["  "]])
@pytest.mark.parametrize("unit", ["tokens", "pieces"])
def test_no_text_gives_no_vocabulary(unit, texts):
    with pytest.raises(DataError, match="to build a vocabulary"):
        built(unit, texts)


def test_an_error_in_the_texts_comes_through_the_trainer():
    def texts():
        yield "the cat"
        raise DataError("words.tsv:2: is not JSON")

    with pytest.raises(DataError, match="words.tsv:2"):
        built("pieces", texts())


def test_training_pieces_is_quiet(capfd):
    built("pieces")
    assert capfd.readouterr() == ("", "")


def test_pieces_without_sentencepiece_say_what_to_install(tmp_path, monkeypatch):
    built("pieces").save(tmp_path / "vocabulary.json")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    for use in (lambda: built("pieces"), lambda: Vocabulary.load(tmp_path / "vocabulary.json")):
        with pytest.raises(ConfigError, match=r"pip install 'unrolled\[text\]'"):
            use()
    assert built("tokens").encode("the cat")


GOOD = {"format": "unrolled-vocabulary", "version": 1, "unit": "tokens", "symbols": ["a", "b"]}
PIECES = base64.b64encode(built("pieces").model).decode()
DAMAGED = {
    "cut": '{"format": "unrolled-voc',
    "empty": "",
    "nested": "[" * 100_000,
    "list": "[]",
    "foreign": {"vocabulary": ["a"]},
    "other-format": GOOD | {"format": "tokenizer", "model": ""},
    "newer": GOOD | {"version": 2, "model": ""},
    "no-format": {k: v for k, v in GOOD.items() if k != "format"} | {"model": ""},
    "no-model": GOOD,
    "unit": GOOD | {"unit": "syllables", "model": ""},
    "unit-list": GOOD | {"unit": ["tokens"], "model": ""},
    "symbols-text": GOOD | {"symbols": "ab", "model": ""},
    "symbols-none": GOOD | {"symbols": [], "model": ""},
    "symbol-number": GOOD | {"symbols": ["a", 1], "model": ""},
    "symbol-empty": GOOD | {"symbols": ["a", ""], "model": ""},
    "symbol-twice": GOOD | {"symbols": ["a", "a"], "model": ""},
    "symbol-of-two": GOOD | {"symbols": ["a", "b c"], "model": ""},
    "character-of-two": GOOD | {"unit": "characters", "symbols": ["a", "bc"], "model": ""},
    "model-unused": GOOD | {"model": PIECES},
    "model-no-base64": GOOD | {"unit": "pieces", "model": "%%"},
    "model-damaged": GOOD | {"unit": "pieces", "model": PIECES[:40]},
    "model-empty": GOOD | {"unit": "pieces", "model": ""},
    "model-of-other-symbols": GOOD | {"unit": "pieces", "model": PIECES},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_or_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "vocabulary.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match="is no vocabulary .*; copy or build it anew") as caught:
        Vocabulary.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none.json: no such file.*; name a vocabulary"):
        Vocabulary.load(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="binary.json: is no vocabulary"):
        Vocabulary.load(tmp_path / "binary.json")
