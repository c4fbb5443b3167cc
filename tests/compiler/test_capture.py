import re
from collections.abc import Callable
from itertools import count

import pytest
import torch
from torch import Tensor, nn

from unrolled.backends import BACKENDS, Automatic
from unrolled.cell import Cell
from unrolled.compiler.capture import capture
from unrolled.compiler.structure import structure
from unrolled.errors import CaptureError
from unrolled.explanation import explain
from unrolled.layers.attending import AttendingCell
from unrolled.layers.attention import Attention
from unrolled.recurrence import unroll
from unrolled.zoo import GRU, Elman


class Base(Cell):
    def __init__(self) -> None:
        super().__init__(h=5)
        self.U, self.steps = nn.Linear(5, 5), 0
        self.own = nn.BatchNorm1d(5)
        self.shared = nn.BatchNorm1d(5, track_running_stats=False)
        self.register_buffer("count", torch.zeros(5))


class Clipped(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        if h.sum() > 0:
            h = self.U(h)
        return h, h


class Branches(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        if (h > 0).all():
            h = self.U(h)
            h = h * 2
        return h, h


class ReadsNumber(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h * h.sum().item()
        return h, h


class Normalises(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.own(self.U(h))
        return h, h


class NormalisesAfresh(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.shared(self.U(h))
        return h, h


class Centres(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h - h.mean(0)
        return h, h


class Chooses(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            h = h * h.softmax(-1).multinomial(1)
        return h, h


class Shakes(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h * torch.rand(5)
        return h, h


class Counts(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        self.steps += 1
        return h, h * self.steps


class ChangesBuffer(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        self.count += 1
        return h, h * self.count


class ChangesState(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h += 1
        return h, h


class Sorts(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h.repeat(1, 4).sort(-1).values[:, ::4]
        return h, h


class Narrows(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return h, h[:, :4]


class CountsRows(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[0] > 2:
            h = self.U(h)
        return h, h


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, a: Tensor) -> Tensor:  # pyright: ignore
        return a.sign()


class OwnGradient(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = Sign.apply(h)
        return h, h


class Guesses(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = h * next(GUESSES)
        return h, h


GUESSES = count(1.0)


class Stops(Base):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            gate = torch.sigmoid(self.U(h))
        h = torch.tanh(gate * self.U(h) + x)
        return h, h


class Writes(Base):
    """Writes in place, through views of views, and reads others that see the same numbers."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        new = self.U(h)
        new.mul_(2.0).add_(x)
        left, middle, right = new[:, :2], new[:, 1:3], new[:, 3:]
        grid = new.view(-1, 5, 1).transpose(1, 2)
        middle.sub_(x[:, :2])
        right[:, 1] = left[:, 0]
        grid[..., 0] += h[:, 4:]
        out = torch.zeros_like(h)
        out[:, 1:4] = new[:, 1:4]
        out[:, 0].fill_(0.5)
        out[:, -1:].copy_(middle.sum(-1, keepdim=True))
        return left + right, out


OTHER = "Write it with other operations"
REFUSED: dict[str, tuple[Callable[[], Cell], str, str | None, str]] = {
    "branch-to-one-value": (
        Clipped,
        "it branches on a value of its state",
        "if h.sum() > 0:",
        "One program stands for every step, so the work may not depend on values. Write\n"
        "torch.where(h.sum() > 0, self.U(h), h)",
    ),
    "branch": (
        Branches,
        "it branches on a value of its state",
        "if (h > 0).all():",
        "One program stands for every step, so the work may not depend on values. Write\n"
        "torch.where(condition, one, other)",
    ),
    "item": (
        ReadsNumber,
        "it reads a number out of a tensor",
        "h = h * h.sum().item()",
        "Use the tensor itself, without .item()",
    ),
    "batch-norm": (
        Normalises,
        "it mixes the rows of a batch (_native_batch_norm_legit_functional)",
        "h = self.own(self.U(h))",
        "Use operations over features only, such as layer_norm for batch_norm",
    ),
    "batch-norm-without-statistics": (
        NormalisesAfresh,
        "it mixes the rows of a batch (_native_batch_norm_legit)",
        "h = self.shared(self.U(h))",
        "Use operations over features only, such as layer_norm for batch_norm",
    ),
    "mean-over-the-batch": (
        Centres,
        "it mixes the rows of a batch (mean)",
        "h = h - h.mean(0)",
        "Use operations over features only, such as layer_norm for batch_norm",
    ),
    "choice": (
        Chooses,
        "it draws random numbers (multinomial)",
        "h = h * h.softmax(-1).multinomial(1)",
        "Use rand, randn, bernoulli or dropout",
    ),
    "numbers-for-all-rows": (
        Shakes,
        "it draws random numbers that all rows share (rand)",
        "h = h * torch.rand(5)",
        "Use numbers for each row, (batch, ...)",
    ),
    "attribute": (
        Counts,
        "it changes an attribute of its own",
        None,
        "Use a state for what it keeps",
    ),
    "buffer": (ChangesBuffer, "it changes its buffer count", None, "Use a state for it"),
    "shape": (
        Narrows,
        "it turns a state (5,) into (4,)",
        "return h, h[:, :4]",
        "Use the same shape",
    ),
    "size-of-the-batch": (
        CountsRows,
        "it depends on how many rows a batch has",
        "if x.shape[0] > 2:",
        "Use x.shape[0] for shapes only",
    ),
    "gradient-of-its-own": (
        OwnGradient,
        "the backward of Sign does more than scale its gradient",
        "return a.sign()",
        "Use operations and .detach()",
    ),
    "another-number-each-time": (
        Guesses,
        "it does not give the same every time",
        None,
        "Use operations of PyTorch",
    ),
    "unknown-operation": (
        Sorts,
        "it has the operation aten.sort in the loop: no program has it",
        "h = h.repeat(1, 4).sort(-1).values[:, ::4]",
        OTHER,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_one_program_is_named(case: str) -> None:
    make, what, line, way_out = REFUSED[case]
    with pytest.raises(CaptureError) as caught:
        unroll(make(), torch.zeros(3, 2, 5), backend="interpreter")
    shown = [rf"    test_capture\.py:\d+   {re.escape(line)}"] if line else []
    expected = [re.escape(f"{make.__name__} cannot be captured: {what}"), *shown]
    expected.append(re.escape(f'{way_out}, or run this cell with backend="eager".'))
    assert re.fullmatch("\n".join(expected), str(caught.value))


def test_a_change_of_an_argument_is_named() -> None:
    with pytest.raises(CaptureError, match="it changes its argument .* in place"):
        capture(ChangesState(), torch.zeros(2, 5))


def test_a_write_that_no_graph_has_is_named_with_its_line() -> None:
    class Spreads(Cell):
        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = h + x
            h.expand(1, *h.shape).mul_(2)
            return h, h

    with pytest.raises(CaptureError, match=r"captured: it writes in place through expand\n.*mul_"):
        capture(Spreads(h=5), torch.zeros(2, 5))


def test_a_mode_without_the_obstacle_is_captured() -> None:
    assert "multinomial" not in str(capture(Chooses().eval(), torch.zeros(2, 5)))
    assert "rsqrt" in str(capture(Normalises().eval(), torch.zeros(2, 5)))


@pytest.mark.parametrize("make", [Stops, Writes])
def test_what_changes_or_stops_gradients_comes_out_as_it_does_in_eager(
    make: Callable[[], Cell],
) -> None:
    cell, xs = make().double(), torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    weight = cell.get_parameter("U.weight")
    found, expected = (unroll(cell, xs, backend=b) for b in ("interpreter", "eager"))
    leaves = [xs, weight]
    slopes = [
        torch.autograd.grad(ys.sum() + last["h"].sum(), leaves) for ys, last in (found, expected)
    ]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*slopes)


def test_no_order_of_products_is_looked_for_that_depends_on_the_batch() -> None:
    seen: list[bool] = []

    class Asking(Cell):
        def __init__(self) -> None:
            super().__init__(h=2)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(torch.backends.opt_einsum.enabled)
            h = torch.tanh(x + h)
            return h, h

    before = torch.backends.opt_einsum.enabled
    capture(Asking(), torch.zeros(3, 2))
    assert False in seen
    assert torch.backends.opt_einsum.enabled == before


def test_capturing_leaves_the_cell_as_it_is() -> None:
    cell = Counts()
    with pytest.raises(CaptureError):
        capture(cell, torch.zeros(2, 5))
    assert cell.steps == 0


def test_cells_of_one_structure_share_what_is_compiled() -> None:
    assert structure(GRU(3, 5)) == structure(GRU(3, 5))
    different = [
        GRU(3, 4),
        GRU(3, 5, bias=False),
        GRU(3, 5).double(),
        GRU(3, 5).eval(),
        Elman(3, 5),
        Elman(3, 5, activation="relu"),
    ]
    keys = [structure(cell) for cell in (GRU(3, 5), *different)]
    assert all(a != b for i, a in enumerate(keys) for b in keys[:i])


def test_automatic_passes_by_what_cannot_run_the_cell_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BACKENDS, "automatic", Automatic())
    with pytest.warns(RuntimeWarning, match=r"ReadsNumber cannot be captured: it reads a num"):
        ys, _ = unroll(ReadsNumber(), torch.zeros(3, 2, 5), backend="automatic")
    unroll(ReadsNumber(), torch.zeros(3, 2, 5), backend="automatic")
    assert ys.shape == (3, 2, 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_states_of_half_the_bits_run_as_a_loop_that_says_so(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unrolled.backends.AUTO", Automatic())
    cell, xs = GRU(3, 5).to(dtype), torch.randn(4, 2, 3, dtype=dtype)
    with pytest.warns(RuntimeWarning, match=f"its states are {dtype}"):
        ys, _ = unroll(cell, xs)
    torch.testing.assert_close(ys, unroll(cell, xs, backend="eager")[0], rtol=0.02, atol=0.01)


def test_explain_tells_the_whole_way() -> None:
    page = str(explain(GRU(3, 5)))
    assert page.startswith("GRU: full mixing\n\ncaptured:\n  linear = linear(x, W_r.weight")
    for title in ("parts:", "program:", "stored for the backward:", "backward program:"):
        assert f"\n\n{title}\n" in page
    assert page.splitlines()[-1].startswith("backend: llvm: the step is one program")


def test_explain_tells_why_there_is_no_program() -> None:
    page = str(explain(ReadsNumber()))
    assert page.startswith("ReadsNumber cannot be captured: it reads a number out of a tensor")
    assert page.endswith("backend: torch or eager: the step cannot be captured")


def test_explain_reads_a_memory() -> None:
    attention = Attention("general", 6, 4)
    memory = attention.memory(torch.randn(5, 3, 4), [5, 2, 1])
    found = explain(AttendingCell(GRU(7, 6), attention), 3, constants=memory)
    assert found.obstacle is None
    assert "constant values: rows 20" in str(found)
