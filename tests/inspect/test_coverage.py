"""Where attention looked, summed up; what recurrences read, as text."""

import pytest
import torch

from unrolled import Recurrent, zoo
from unrolled.errors import ShapeError
from unrolled.inspect.coverage import alignment
from unrolled.inspect.doctor import examine
from unrolled.inspect.looks import Looked
from unrolled.inspect.page import Grid, Prose, Table
from unrolled.inspect.reading import alike, looks
from unrolled.inspect.texts import Read

STRAIGHT = torch.tensor([[0, 1, 2, 3], [3, 1, 1, 0]])  # places of two rows, step by step
LENGTHS, SOURCES = [4, 3], [5, 4]


def looked() -> torch.Tensor:
    weights = 0.8 * torch.nn.functional.one_hot(STRAIGHT.T, 5).double()
    weights += 0.01 * torch.tensor([[4, 4, 4, 4, 4], [5, 5, 5, 5, 0]])
    weights[3:, 1] = torch.nan  # behind its end
    return weights


def test_coverage_counts_what_was_looked_at() -> None:
    weights = looked()
    found = alignment(weights, LENGTHS, sources=SOURCES)
    assert found.places.T.tolist() == [[0, 1, 2, 3], [3, 1, 1, -1]]
    torch.testing.assert_close(found.coverage[0], weights[:, 0].sum(0))
    torch.testing.assert_close(found.coverage[1, :4], weights[:3, 1, :4].sum(0))
    assert found.coverage[1, 4].isnan()
    assert found.monotone.tolist() == [1.0, 0.5]
    assert found.unread.tolist() == pytest.approx([0.2, 0.5])
    before, repeated = torch.zeros(5).double(), []
    for look in weights[:3, 1]:
        repeated.append(float(torch.minimum(look, before).sum()))
        before = before + look
    assert found.repeated[:3, 1].tolist() == pytest.approx(repeated)
    assert found.repeated[3, 1] == 0
    assert float(found.repetition[1]) == pytest.approx(sum(repeated) / 3)


def test_weights_of_no_place_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(4, 2, 0\): expected \(time, batch, source\)"):
        alignment(torch.zeros(4, 2, 0))


READS = [
    Read("encoder", [["t", "h", "u", "m", "b"], ["c", "o", "m", "b"]]),
    Read("decoder", [list("<TUM"), list("<KO")], " ", [["T", "U", "M", "/"], ["K", "O", "/"]]),
]


def test_a_map_names_what_was_read_and_written() -> None:
    visible = torch.arange(5) < torch.tensor(SOURCES)[:, None]
    one = Looked("decoder.recurrence.attention", looked().nan_to_num(), visible)
    grid, _, table, prose = looks([one], None, READS)
    assert isinstance(grid, Grid) and isinstance(table, Table) and isinstance(prose, Prose)
    drawn = grid.figures[1].markup
    assert "K looks at b: 0.85" in drawn and "/ looks at o: 0.85" in drawn
    assert table.rows[1][:3] == ("2: comb", "c m", "o")
    assert table.rows[1][4] == "50%"
    plain = list(looks([one], None))
    assert isinstance(plain[0], Grid) and "1 looks at 1: 0.84" in plain[0].figures[0].markup


def test_contexts_that_leave_like_states_stand_beside_each_other() -> None:
    layers = Recurrent(zoo.GRU, 4, 5, layers=2, bidirectional=True, backend="eager")
    rows = [list("abcd"), list("dcba"), list("bca"), list("c")]
    xs = torch.zeros(4, 4, 4)
    for row, symbols in enumerate(rows):
        for step, symbol in enumerate(symbols):
            xs[step, row, "abcd".index(symbol)] = 1
    model = torch.nn.ModuleDict({"encoder": layers})
    lengths = [4, 4, 3, 1]
    seen = examine(lambda: layers(xs, lengths=lengths)[0].pow(2).mean(), model)
    (table, _) = alike(seen.recurrences, [Read("encoder", rows)])
    assert isinstance(table, Table) and table.caption.startswith("encoder layer 1: contexts")
    asked = [row[0] for row in table.rows]
    assert asked == [text for text in ("a", "dc", "bca", "c") for _ in range(3)]
    written = {"".join(row[:end]) for row in rows for end in range(1, len(row) + 1)}
    assert all(near in written and near != own for own, near, _ in table.rows)
    assert not list(alike(seen.recurrences, [Read("decoder", rows)]))
    assert not list(alike(seen.recurrences, [Read("encoder", rows[:3])]))
