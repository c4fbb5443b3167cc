"""Neighbours of states, against a search written plainly, and against cells that only count."""

import pytest
import torch
from torch import Tensor, nn

from unrolled import Recurrent, unroll, zoo
from unrolled.cell import Cell
from unrolled.errors import ConfigError, ShapeError
from unrolled.inspect.contexts import neighbours
from unrolled.inspect.recording import Recurrence, record

TIME, BATCH, SYMBOLS = 9, 6, 3


def ran(cell: nn.Module, ids: Tensor, **options: object) -> Recurrence:
    one_hot = torch.eye(SYMBOLS, dtype=torch.float64)[ids]
    run = record(lambda: unroll(cell, one_hot, backend="eager", **options))  # pyright: ignore
    return run.recurrences[0]


def test_neighbours_are_those_that_a_plain_search_finds() -> None:
    ids, lengths = torch.randint(SYMBOLS, (TIME, BATCH)), [9, 4, 7, 9, 1, 6]
    seen = ran(zoo.LSTM(SYMBOLS, 5).double(), ids, lengths=lengths)
    found = neighbours(seen, [(3, 1), (8, 0)], state="c", count=4, symbols=ids)
    for (step, row), places, apart in zip(found.asked, found.places, found.distances, strict=True):
        context, every = ids[: step + 1, row].tolist(), []
        for other in range(BATCH):
            for t in range(lengths[other]):
                read = ids[: t + 1, other].tolist()
                distance = (seen.states["c"][t, other] - seen.states["c"][step, row]).norm()
                if other != row and read != context:
                    every.append((float(distance), read))
        mean = sum(distance for distance, _ in every) / len(every)
        wanted = dict((tuple(read), distance) for distance, read in sorted(every)[::-1])
        nearest = sorted(wanted, key=lambda read: wanted[read])[:4]
        assert [tuple(ids[: t + 1, r].tolist()) for t, r in places] == nearest
        assert apart == pytest.approx([wanted[read] / mean for read in nearest])


class Parity(Cell):
    """Remembers whether it has read an odd number of ones, and nothing else."""

    def __init__(self) -> None:
        super().__init__(odd=1)

    def forward(self, x: Tensor, odd: Tensor) -> tuple[Tensor, Tensor]:
        ones = x[:, 1:2]
        odd = odd + ones - 2 * odd * ones
        return odd, odd


@pytest.mark.parametrize("resets", [False, True])
def test_contexts_that_a_cell_takes_for_the_same_are_at_no_distance(resets: bool) -> None:
    ids = torch.randint(2, (TIME, BATCH))
    begin = torch.zeros(TIME, BATCH, dtype=torch.bool)
    begin[4] = resets
    seen = ran(Parity().double(), ids, resets=begin)
    step, row = 7, 2
    (places,), (apart,) = (
        getattr(neighbours(seen, [(step, row)], count=3, symbols=ids), name)
        for name in ("places", "distances")
    )
    assert apart == (0.0, 0.0, 0.0)
    first = 4 if resets else 0
    contexts = [ids[first if t >= 4 else 0 : t + 1, r].tolist() for t, r in places]
    own = ids[first : step + 1, row]
    assert all(sum(context) % 2 == int(own.sum()) % 2 for context in contexts)
    assert own.tolist() not in contexts and len(set(map(tuple, contexts))) == 3


def test_padding_and_numbers_that_are_none_are_left_out() -> None:
    ids = torch.randint(SYMBOLS, (TIME, BATCH))
    ids[5:, 3] = -1
    seen = ran(zoo.GRU(SYMBOLS, 4).double(), ids.clamp_min(0))
    seen.states["h"][:, 4] = torch.nan
    found = neighbours(seen, [(6, 0)], count=1000, symbols=ids)
    rows = {row for _, row in found.places[0]}
    assert rows == {1, 2, 3, 5} and all(t < 5 for t, row in found.places[0] if row == 3)
    with pytest.raises(ShapeError, match="step 5 of row 3 is no state of GRU"):
        neighbours(seen, [(5, 3)], symbols=ids)


def test_every_step_of_other_rows_is_compared_without_symbols() -> None:
    layers = Recurrent(zoo.GRU, SYMBOLS, 4, backend="eager")
    seen = record(lambda: layers(torch.randn(TIME, BATCH, SYMBOLS)), layers).recurrences[0]
    found = neighbours(seen, [(0, 0)], count=1000)
    assert sorted(found.places[0]) == [(t, r) for t in range(TIME) for r in range(1, BATCH)]
    assert sum(found.distances[0]) / len(found.distances[0]) == pytest.approx(1.0)
    alone = record(lambda: layers(torch.randn(TIME, 1, SYMBOLS)), layers).recurrences[0]
    assert neighbours(alone, [(0, 0)]).places == ((),)


def test_what_does_not_fit_says_so() -> None:
    seen = ran(zoo.GRU(SYMBOLS, 4).double(), torch.zeros(TIME, BATCH, dtype=torch.long))
    with pytest.raises(ConfigError, match="GRU has no state c: choose one of h"):
        neighbours(seen, [(0, 0)], state="c")
    with pytest.raises(ShapeError, match=r"expected \(9, 6\), one for each step of GRU"):
        neighbours(seen, [(0, 0)], symbols=torch.zeros(9, 5))
