"""Every pass, before and after, as text.

``UNROLLED_UPDATE_GOLDEN=1`` writes the texts anew: read the difference before committing it.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from unrolled import unroll
from unrolled.backends import interpret
from unrolled.cell import Cell, wrap
from unrolled.compiler import compile_cell
from unrolled.compiler.adjoint import adjoint
from unrolled.compiler.bias import bias
from unrolled.compiler.capture import capture
from unrolled.compiler.join import join
from unrolled.compiler.lower import lower
from unrolled.compiler.maps import maps
from unrolled.compiler.memory import memory
from unrolled.compiler.narrow import narrow
from unrolled.compiler.partition import is_size, partition
from unrolled.compiler.resets import with_resets
from unrolled.compiler.separate import separate
from unrolled.compiler.simplify import simplify
from unrolled.compiler.totals import totals
from unrolled.compiler.unswap import unswap
from unrolled.ir import Program, parse
from unrolled.zoo import GLA, GRU, HGRN, LSTMP, QRNN, S6, DeltaNet, Elman, IntersectionRNN, RetNet

GOLDEN = Path(__file__).parent / "golden"


class Norm(Cell):
    """A norm in the loop, an output behind it, and a fixed part of its own."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(h=hidden)
        self.W, self.U = nn.Linear(inputs, hidden), nn.Parameter(torch.randn(hidden, hidden))
        self.norm, self.out = nn.LayerNorm(hidden), nn.Linear(hidden, 2)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        turning = self.U - self.U.T
        h = torch.tanh(self.norm(h @ turning) + self.W(x))
        return self.out(h), h


CELLS: dict[str, Callable[[int, int], nn.Module]] = {
    "Elman": Elman,
    "GRU": GRU,
    "LSTMP": LSTMP,
    "Norm": Norm,
    "RetNet": RetNet,
}


def pages(make: Callable[[int, int], nn.Module]) -> dict[str, str]:
    """Give what each pass makes of a cell."""
    captured = capture(wrap(make(3, 4)), torch.zeros(2, 3))
    joined = separate(join(maps(captured.copied())))
    parts = partition(joined)
    narrower = narrow(joined, parts)
    first = {
        "captured": str(captured),
        "joined": str(joined),
        "parts": str(parts),
        "narrower": str(narrower),
    }
    joined, inside = bias(joined, narrower)  # in the same graph
    lowered = lower(joined, inside)
    simple = simplify(unswap(simplify(lowered.program)))
    back = totals(adjoint(simple))
    training = memory(simple, back)
    return first | {
        "biases": str(inside),
        "program": str(lowered.program),
        "simplified": str(simple),
        "adjoint": str(back),
        "forward that stores": str(training.forward),
        "backward": str(training.backward),
        "with resets": str(with_resets(simple)),
    }


@pytest.mark.parametrize("cell", CELLS)
def test_every_pass_prints_what_it_did(cell: str) -> None:
    text = "".join(f"=== {title}\n{page}\n\n" for title, page in pages(CELLS[cell]).items())
    file = GOLDEN / f"{cell}.txt"
    if os.environ.get("UNROLLED_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("cell", CELLS)
def test_every_operation_is_in_one_part(cell: str) -> None:
    step = join(capture(wrap(CELLS[cell](3, 4)), torch.zeros(2, 3)))
    parts = partition(step)
    narrower = narrow(step, parts)
    for whole, own in ((step, parts), (step, narrower), bias(step, narrower)):
        operations = [node for node in whole.nodes if not is_size(node)]
        placed = [*own.fixed, *own.hoisted, *own.kept, *own.sunk]
        assert len(placed) == len(set(placed))
        assert set(placed) == set(operations)


def test_what_no_state_needs_waits_until_after_the_loop() -> None:
    step = join(capture(IntersectionRNN(3, 4), torch.zeros(2, 3)))
    parts = partition(step)
    maps = [
        [
            node.meta["val"].shape[-1]
            for node in part
            if node.target is torch.ops.aten.linear.default
        ]
        for part in (parts.kept, parts.sunk)
    ]
    assert maps == [[4 + 4], [3 + 3]]


def test_matrices_that_are_computed_of_parameters_are_joined_too() -> None:
    class Masked(Cell):
        """Its second matrix is made behind the first product."""

        def __init__(self) -> None:
            super().__init__(h=4)
            self.U, self.V = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            gate = torch.sigmoid(nn.functional.linear(h, self.U.weight * 2) + x)
            h = gate * torch.tanh(nn.functional.linear(h, self.V.weight - self.V.weight.T) + x)
            return h, h

    step = join(capture(Masked(), torch.zeros(2, 4)))
    linear = torch.ops.aten.linear.default
    assert [n.meta["val"].shape[-1] for n in step.nodes if n.target is linear] == [4 + 4]
    cell, xs = Masked(), torch.randn(5, 3, 4, requires_grad=True)
    results = []
    for backend in ("eager", "interpreter"):
        ys, _ = unroll(cell, xs, backend=backend)
        results.append((ys, *torch.autograd.grad(ys.square().sum(), (xs, *cell.parameters()))))
    torch.testing.assert_close(*results)


def test_products_with_matrices_are_joined_like_maps() -> None:
    class Gates(Cell):
        def __init__(self) -> None:
            super().__init__(h=4)
            self.U, self.V = (nn.Parameter(torch.randn(4, 4)) for _ in range(2))
            self.W = nn.Linear(4, 4)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.sigmoid(h @ self.U) * torch.tanh(torch.mm(h, self.V) + self.W(h) + x)
            return h, h

    step = join(maps(capture(Gates(), torch.zeros(2, 4))))
    linear = torch.ops.aten.linear.default
    widths = [n.meta["val"].shape[-1] for n in step.nodes if n.target is linear]
    assert widths == [4 + 4, 4]  # with a bias and without


class Both(Cell):
    """Maps the input and the state by one matrix, and what comes after by another."""

    def __init__(self, inputs: int, *, first: bool) -> None:
        super().__init__(h=5)
        self.W, self.V, self.first = nn.Linear(inputs + 5, 5), nn.Linear(10, 5), first

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a = self.W(torch.cat([x, h] if self.first else [h, x], -1))
        h = torch.tanh(self.V(torch.cat([a, h], -1)))
        return h, h


@pytest.mark.parametrize("first", [True, False], ids=["x, h", "h, x"])
@pytest.mark.parametrize("inside", [0, 3, 4, 20])
def test_what_is_beside_the_state_is_mapped_on_its_own(first: bool, inside: int) -> None:
    step = separate(join(capture(Both(4, first=first), torch.zeros(2, 4))), inside=inside)
    linear = torch.ops.aten.linear.default
    parts = partition(step)
    assert sum(node.target is linear for node in parts.kept) == 2
    assert sum(node.target is linear for node in parts.hoisted) == (inside < 4)


def test_products_of_narrow_inputs_go_in_for_many_rows() -> None:
    limit, kept = 20, {}
    for inputs in (limit, limit + 1):
        compiled = compile_cell(GRU(inputs, 50), torch.zeros(2, inputs))
        many = compiled.for_many_rows(limit, limit)
        for name, one in (("few", compiled), ("many", many)):
            linear = torch.ops.aten.linear.default
            kept[inputs, name] = sum(node.target is linear for node in one.parts.kept)
        assert (many is compiled) == (inputs > limit)
    assert kept == {
        (limit, "few"): 1,
        (limit, "many"): 2,
        (limit + 1, "few"): 1,
        (limit + 1, "many"): 1,
    }


@pytest.mark.parametrize(("inputs", "inside"), [(4, 2), (5, 2), (6, 1)])
def test_a_product_goes_in_unless_its_input_is_wider(inputs: int, inside: int) -> None:
    many = compile_cell(Elman(inputs, 5), torch.zeros(2, inputs)).for_many_rows(20, 0)
    linear = torch.ops.aten.linear.default
    assert sum(node.target is linear for node in many.parts.kept) == inside


class Read(Cell):
    """An output that is made of a product of its state, perhaps with a gate behind it."""

    def __init__(self, width: int, *, gated: bool) -> None:
        super().__init__(h=4)
        self.W, self.V, self.gated = nn.Linear(3, 4), nn.Linear(4, width), gated
        self.outputs = width

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.W(x) + h)
        read = self.V(h)
        return (torch.sigmoid(read) * read if self.gated else read), h


@pytest.mark.parametrize("gated", [True, False], ids=["gated", "the output itself"])
@pytest.mark.parametrize("limit", [0, 3, 4])
def test_products_for_outputs_go_in_unless_they_are_the_output(limit: int, gated: bool) -> None:
    compiled = compile_cell(Read(7, gated=gated), torch.zeros(2, 3)).for_many_rows(limit, limit)
    sunk = [node.target for node in compiled.parts.sunk]
    inside = gated and limit == 4
    assert (torch.ops.aten.linear.default in sunk) != inside
    assert inside == (sunk == [])


@pytest.mark.parametrize("limit", [0, 20])
def test_a_state_that_the_input_alone_makes_is_made_in_the_loop(limit: int) -> None:
    compiled = compile_cell(QRNN(3, 4), torch.zeros(2, 3)).for_many_rows(limit, limit)
    inputs = [value.name for value in compiled.lowered.program.inputs]
    assert inputs == ["x"] if limit else len(inputs) == 3  # one for each map


def test_a_bias_that_more_than_the_loop_reads_stays_with_its_map() -> None:
    class Both(Cell):
        """Its input's map is read by the state and by the output."""

        def __init__(self) -> None:
            super().__init__(h=4)
            self.W, self.V = nn.Linear(3, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            read = self.W(x)
            h = torch.tanh(read + h)
            return h + self.V(read), h

    step = join(capture(Both(), torch.zeros(2, 3)))
    _, parts = bias(step, narrow(step, partition(step)))
    assert [len(node.args) for node in parts.hoisted if "linear" in node.name] == [3, 2]


class Stacked(Cell):
    """Maps by what is cut of one matrix."""

    def __init__(self, cut: Callable[[Tensor], Sequence[Tensor]]) -> None:
        super().__init__(h=2)
        self.stack, self.cut = nn.Parameter(torch.randn(6, 2)), cut

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        maps = [nn.functional.linear(h, matrix) for matrix in self.cut(self.stack)]
        h = torch.tanh(x + sum(number * map_ for number, map_ in enumerate(maps, 1)))
        return h, h


CUTS: dict[str, Callable[[Tensor], Sequence[Tensor]]] = {
    "in order": lambda stack: stack.chunk(3),
    "as slices": lambda stack: [stack[:2], stack.narrow(0, 2, 2), stack[4:]],
    "out of order": lambda stack: [*stack.chunk(3)][::-1],
    "not all": lambda stack: stack.chunk(3)[:2],
    "not from the first": lambda stack: stack.chunk(3)[1:],
    "twice": lambda stack: [stack.chunk(3)[i] for i in (0, 1, 1)],
    "one detached": lambda stack: [stack[:2], stack[2:4].detach(), stack[4:]],
    "with steps": lambda stack: [stack[0::3], stack[1::3], stack[2::3]],
    "turned": lambda stack: [part.t() for part in stack.chunk(3)],
}


@pytest.mark.parametrize("kind", CUTS)
def test_maps_by_all_that_is_cut_of_one_matrix_are_one_map_by_it(kind: str) -> None:
    cell = Stacked(CUTS[kind]).double()
    lines = str(join(capture(cell, torch.zeros(3, 2, dtype=torch.float64))))
    assert ("linear(h, stack)" in lines) == (kind in ("in order", "as slices"))
    xs = torch.randn(4, 3, 2, dtype=torch.float64)
    results = []
    for backend in ("interpreter", "llvm", "eager"):
        ys = unroll(cell, xs, backend=backend)[0]
        results.append((ys, *torch.autograd.grad(ys.sum(), cell.stack)))
    for found in results[:2]:
        torch.testing.assert_close(found, results[2])


@pytest.mark.parametrize("cell", [RetNet, GLA, DeltaNet, S6])
def test_a_matrix_of_every_step_stays_in_the_loop(cell: Callable[[int, int], Cell]) -> None:
    program = compile_cell(cell(3, 20), torch.zeros(2, 3)).program(resets=False, states=False)[0]
    widths = [value.type.width for value in program.inputs]
    widths += [program.types[str(value)].width for _, value in program.outputs]
    assert max(widths) < program.states[0].type.width


def test_around_the_loop_stay_products_with_parameters() -> None:
    step = join(capture(HGRN(3, 4), torch.zeros(2, 3)))
    before, parts = partition(step), narrow(step, partition(step))
    targets = [{node.target for node in part} for part in (parts.hoisted, parts.sunk)]
    aten = torch.ops.aten
    assert aten.sigmoid.default in {node.target for node in before.hoisted}
    assert targets == [{aten.linear.default}, {aten.linear.default, aten.add.Tensor}]


class MeanOfBatch(Cell):
    """Its output mixes the rows of the state behind the loop."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(S=(hidden, hidden))
        self.outputs, self.W = hidden, nn.Linear(inputs, hidden)

    def forward(self, x: Tensor, S: Tensor) -> tuple[Tensor, Tensor]:
        v = self.W(x)
        S = 0.9 * S + v[:, :, None] * v[:, None]
        return torch.cumsum(S.sum(2), 1), S


def test_what_the_loop_cannot_have_stays_behind_it() -> None:
    step = join(capture(MeanOfBatch(3, 4), torch.zeros(2, 3)))
    left = [node.target for node in narrow(step, partition(step)).sunk]
    assert left == [torch.ops.aten.cumsum.default]


UNSWAPPED = {
    "sum-over-one": ("sum[3, 2, 1]", "rows 3", "sum[1, 2, 3]"),
    "sum-over-the-other": ("sum[1, 3, 2]", "rows 2", "sum[2, 3, 1]"),
    "maximum": ("max[3, 2, 1]", "rows 3", "max[1, 2, 3]"),
}


@pytest.mark.parametrize("case", UNSWAPPED)
@pytest.mark.parametrize("repeated", ["expand[3, 2, 1] q", "expand[1, 3, 2] p"])
def test_a_swap_is_taken_up_by_a_reduction(case: str, repeated: str) -> None:
    reduced, width, turned = UNSWAPPED[case]
    program = parse(
        "program float64\ninput  q: rows 3\ninput  p: rows 2\nstate  S: rows 6\n"
        f"T = swap[1, 2, 3, 1] S : rows 6\ne = {repeated} : rows 6\n"
        f"m = mul T, e : rows 6\ny = {reduced} m : {width}\noutput y = y\nnext   S = S"
    )
    found = unswap(program)
    assert "swap" not in str(found)
    assert turned in str(found)
    given = {v.name: torch.randn(2, 3, v.type.width, dtype=torch.float64) for v in program.inputs}
    state = {"S": torch.randn(3, 6, dtype=torch.float64)}
    results = [interpret(p)(_read(p, given), {}, state, {}, time=2) for p in (program, found)]
    torch.testing.assert_close(results[0].outputs["y"], results[1].outputs["y"], rtol=0, atol=0)


def _read(program: Program, given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {value.name: given[value.name] for value in program.inputs}


def test_a_swap_that_no_reduction_takes_up_stays() -> None:
    text = (
        "program float32\nstate  S: rows 6\nT = swap[1, 2, 3, 1] S : rows 6\n"
        "m = mul T, 2.0 : rows 6\nnext   S = m"
    )
    assert unswap(parse(text)) == parse(text)


SIMPLER = {
    "the-same-twice": (
        "a = mul h, g : rows 2\nb = mul g, h : rows 2\nc = add a, b : rows 2\nnext   h = c",
        "a = mul h, g : rows 2\nc = add a, a : rows 2\nnext   h = c",
    ),
    "not-the-other-way": (
        "a = sub h, g : rows 2\nb = sub g, h : rows 2\nc = mul a, b : rows 2\nnext   h = c",
        "a = sub h, g : rows 2\nb = sub g, h : rows 2\nc = mul a, b : rows 2\nnext   h = c",
    ),
    "neutral": (
        "a = mul 1.0, h : rows 2\nb = sub a, 0.0 : rows 2\nc = add b, 0.0 : rows 2\nnext   h = c",
        "next   h = h",
    ),
    "unread": ("a = exp h : rows 2\nnext   h = h", "next   h = h"),
    "double-negation": ("a = neg h : rows 2\nb = neg a : rows 2\nnext   h = b", "next   h = h"),
    "whole-slice": (
        "a = slice[0, 2] h : rows 2\nb = expand[2, 1, 1] a : rows 2\nnext   h = b",
        "next   h = h",
    ),
    "slice-of-concat": (
        "a = concat g, h : rows 4\nb = slice[2, 4] a : rows 2\nnext   h = b",
        "next   h = h",
    ),
    "powers": (
        "a = pow[2.0] h : rows 2\nb = pow[0.5] a : rows 2\nc = pow[1.5] b : rows 2\nnext   h = c",
        "a = mul h, h : rows 2\nb = sqrt a : rows 2\nc = pow[1.5] b : rows 2\nnext   h = c",
    ),
}


@pytest.mark.parametrize("case", SIMPLER)
def test_a_program_becomes_simpler(case: str) -> None:
    before, after = SIMPLER[case]
    head = "program float32\ninput  g: rows 2\nstate  h: rows 2\n"
    found = str(simplify(parse(head + before)))
    expected = head + after
    assert found == (expected if " g" in after else expected.replace("input  g: rows 2\n", ""))
