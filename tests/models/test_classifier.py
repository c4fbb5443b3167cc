import pytest
import torch

from unrolled import zoo
from unrolled.errors import ConfigError
from unrolled.models.classifier import POOLINGS, Classifier, SeriesReader, SymbolReader

LENGTHS = [6, 1, 4]


def make(pooling: str = "attention", window: int = 3) -> Classifier:
    reader = SeriesReader(2, 5, window)
    return Classifier(reader, 3, cell=zoo.GRU, hidden=4, layers=2, pooling=pooling).eval()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_padded_batch_gives_what_its_items_give_alone(pooling: str) -> None:
    model = make(pooling)
    steps = torch.randn(6, 3, 2)
    alone = [model(steps[:n, i : i + 1], torch.tensor([n])) for i, n in enumerate(LENGTHS)]
    for i, n in enumerate(LENGTHS):
        steps[n:, i] = torch.nan
    together = model(steps, torch.tensor(LENGTHS))
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_item_of_no_steps_has_finite_scores_and_gradients(pooling: str) -> None:
    model = make(pooling).train()
    model(torch.full((2, 2, 2), torch.nan), torch.tensor([0, 0])).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)


def test_the_last_outputs_are_those_of_each_direction() -> None:
    ys = torch.arange(12.0).view(3, 1, 4)
    pooled = POOLINGS["last"](4, 2)(ys, torch.tensor([2]))
    assert pooled.tolist() == [[4, 5, 2, 3]]


def test_a_window_reads_the_neighbours_and_zeros_beyond_the_ends() -> None:
    reader = SeriesReader(1, 1, window=3)
    torch.nn.init.ones_(reader.map.weight)
    torch.nn.init.zeros_(reader.map.bias)  # pyright: ignore[reportArgumentType]
    steps = torch.tensor([1.0, 2, 4, 99]).view(4, 1, 1)
    assert reader(steps, torch.tensor([3])).flatten()[:3].tolist() == [3, 7, 6]


def test_symbols_are_embedded() -> None:
    model = Classifier(SymbolReader(9, 5), 2, cell=zoo.GRU, hidden=4, layers=2, dropout=0.1)
    assert model(torch.randint(0, 9, (6, 3)), torch.tensor(LENGTHS)).shape == (3, 2)


def test_what_cannot_be_is_named() -> None:
    with pytest.raises(ConfigError, match="no pooling 'max': choose one of last, mean, attention"):
        make("max")
    with pytest.raises(ConfigError, match="window has 2 steps: expected an odd number"):
        SeriesReader(1, 1, 2)
