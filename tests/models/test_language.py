"""A language model's state is a value, its weights can be one matrix, its text comes one by one."""

from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from unrolled import zoo
from unrolled.errors import ConfigError, ShapeError
from unrolled.models import language
from unrolled.models.language import LanguageModel, generate

SYMBOLS = 9


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    """Spare the time to compile what goes back."""
    with torch.no_grad():
        yield


def made(tied: bool = False, **settings: float) -> LanguageModel:
    model = LanguageModel(
        SYMBOLS, cell=zoo.GRU, embedding=4, hidden=6, layers=2, tied=tied, **settings
    )
    return model.eval()


def test_a_text_in_two_calls_is_a_text_in_one() -> None:
    model, ids = made(), torch.randint(SYMBOLS, (7, 3))
    whole, last = model(ids)
    first, state = model(ids[:4])
    second, state = model(ids[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("tied", [False, True])
def test_losses_are_those_of_the_scores_however_they_are_cut(
    tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = made(tied), torch.randint(SYMBOLS, (8, 3))
    scores, _ = model(ids[:-1])
    expected = F.cross_entropy(scores.flatten(0, 1), ids[1:].flatten(), reduction="none")
    whole, _ = model.losses(ids[:-1], ids[1:])
    monkeypatch.setattr(language, "PLACES", 4 * SYMBOLS)
    cut, _ = model.losses(ids[:-1], ids[1:])
    torch.testing.assert_close(whole, expected.view(7, 3))
    torch.testing.assert_close(cut, whole)


def test_tied_weights_are_one_matrix_behind_a_map_where_widths_differ() -> None:
    model = made(tied=True)
    assert model.weight is model.embedding.weight
    assert model.project.weight.shape == (4, 6)
    shapes = [tuple(p.shape) for p in model.parameters()]
    assert shapes.count((SYMBOLS, 4)) == 1
    assert isinstance(
        LanguageModel(SYMBOLS, cell=zoo.GRU, embedding=6, hidden=6, tied=True).project,
        torch.nn.Identity,
    )


def test_a_dropped_symbol_reads_as_nothing_wherever_it_stands() -> None:
    model, seen = made(symbol_dropout=0.5).train(), []
    model.input_dropout.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    ids = torch.randint(SYMBOLS, (40, 2))
    model.features(ids)
    gone = (seen[0] == 0).all(-1)
    assert gone.any() and not gone.all()
    for symbol in range(SYMBOLS):
        there = gone[ids == symbol]
        assert there.all() or not there.any()
    kept = seen[0][~gone]
    torch.testing.assert_close(kept, 2 * model.embedding(ids[~gone]))


def test_the_coldest_text_is_the_likeliest_and_is_not_read_twice() -> None:
    model, read = made(), []
    model.embedding.register_forward_hook(lambda module, given, out: read.append(given[0].numel()))
    found = list(generate(model, [3, 1], 6, temperature=0))
    assert read == [2, 1, 1, 1, 1, 1]
    ids = [3, 1]
    for _ in range(6):
        scores, _ = model(torch.tensor(ids)[:, None])
        ids.append(int(scores[-1, 0].argmax()))
    assert found == ids[2:]


def test_what_is_never_drawn_is_not_and_a_seed_is_a_text() -> None:
    model = made()

    def draw(seed: int) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        return list(generate(model, [0], 60, never=(0, 1, 2), generator=generator))

    assert set(draw(1)) == set(range(3, SYMBOLS))
    assert draw(1) == draw(1) != draw(2)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ConfigError, match="symbol_dropout is 1"):
        made(symbol_dropout=1.0)
    with pytest.raises(ShapeError, match=r"ids has shape \(3,\): expected \(time, batch\)"):
        made()(torch.tensor([1, 2, 3]))
