"""Words from their letters, and the tagger over them."""

import random

import pytest
import torch
from torch import nn

from unrolled import zoo
from unrolled.models.spelling import Spelling, end_to_end
from unrolled.models.tagger import Sentences, Tagger, WordDropout


def some_words() -> list[list[int]]:
    chance = random.Random(0)
    return [[chance.randrange(1, 9) for _ in range(chance.randrange(1, 20))] for _ in range(50)]


def test_words_end_to_end_have_all_their_letters_and_little_filling() -> None:
    words = some_words()
    letters = end_to_end(words)
    flat, (steps, rows) = letters.ids.flatten(), letters.ids.shape
    for word, first, last in zip(words, letters.first, letters.last, strict=True):
        assert flat[first : last + 1 : rows].tolist() == word
        assert letters.begins.flatten()[first : last + 1 : rows].tolist() == [
            i == 0 for i in range(len(word))
        ]
    assert int((letters.ids == 0).sum()) == steps * rows - sum(map(len, words)) < steps


def test_a_word_is_spelt_as_if_it_were_alone() -> None:
    words = some_words()
    spelling = Spelling(9, embedding=3, hidden=5, cell=zoo.GRU).double()
    found = spelling(end_to_end(words))
    for word, vector in zip(words, found, strict=True):
        xs = spelling.embedding(torch.tensor(word))[:, None]
        _, state = spelling.recurrent(xs)
        torch.testing.assert_close(vector, state["h"][:, 0].flatten())


def test_word_dropout_takes_rare_words_most_often_and_nothing_in_evaluation() -> None:
    counts = torch.tensor([0, 0, 1, 9, 10**9])
    drop = WordDropout(counts, 1.0)
    ids = torch.arange(5).repeat(4000, 1)
    dropped = (drop(ids) != ids).double().mean(0)
    torch.testing.assert_close(
        dropped, torch.tensor([0, 0, 0.5, 0.1, 0]).double(), atol=0.03, rtol=0
    )
    assert drop.eval()(ids) is ids


@pytest.fixture
def tagger() -> Tagger:
    return Tagger(
        torch.ones(6), 9, [4, 2], cell=zoo.GRU, features=7, embedding=3, hidden=5, letter_hidden=5,
        letter_embedding=3, feature_embedding=2, crf=True,
    )  # fmt: skip


def batch(*sentences: list[int]) -> Sentences:
    """Give sentences of words 2 to 5, which are spelt as many letters and have two features."""
    ids = nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sentences])
    letters = end_to_end([[1] * 2, [2] * 3, [3] * 4, [4] * 5])
    features = torch.tensor([[0, 3], [1, 4], [2, 5], [0, 6]])
    lengths = torch.tensor([len(s) for s in sentences])
    return Sentences(ids, lengths, (ids - 2).clamp(min=0), letters, features)


def test_a_sentence_is_scored_as_if_it_were_alone(tagger: Tagger) -> None:
    tagger.eval()
    sentences = [2, 3, 5], [4], [2, 2, 4, 5, 3]
    together = tagger(batch(*sentences))
    decoded = tagger.decode(batch(*sentences))
    for row, sentence in enumerate(sentences):
        for many, alone in zip(together, tagger(batch(sentence)), strict=True):
            torch.testing.assert_close(many[: len(sentence), row], alone[:, 0])
        assert torch.equal(decoded[: len(sentence), row], tagger.decode(batch(sentence))[:, 0])


def test_the_loss_is_per_word_and_counts_what_is_learnt_beside(tagger: Tagger) -> None:
    sentences = batch([2, 3, 5], [4])
    tags = torch.tensor([[0, 3], [1, -100], [2, -100]])
    others = torch.tensor([[0, 1], [1, -100], [0, -100]])
    tagger.eval()
    scores, beside = tagger(sentences)
    assert tagger.crf is not None
    first = -tagger.crf(scores, tags.clamp(min=0), sentences.lengths).sum() / 4
    real = others >= 0
    second = nn.functional.cross_entropy(beside[real], others[real])
    found = tagger.loss(sentences, [tags, others], beside=0.5)
    torch.testing.assert_close(found, first + 0.5 * second)
    found.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in tagger.parameters())
