"""A program, compiled: called with tensors, it runs over all of time."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from unrolled.backends.llvm import cache
from unrolled.backends.llvm.arguments import Layout, lay_out
from unrolled.backends.llvm.emit import FUNCTIONS, emit
from unrolled.backends.llvm.memory import POOL
from unrolled.backends.llvm.plan import Plan, plan
from unrolled.backends.llvm.table import Table, even_schedule, ragged_schedule
from unrolled.backends.llvm.target import Target, choose_target, with_tiles
from unrolled.backends.llvm.team import LINE
from unrolled.backends.llvm.threads import run_parallel, team_functions
from unrolled.backends.llvm.tiles import MORE_ROWS
from unrolled.errors import ShapeError
from unrolled.ir import Program, without_slopes

NEAR = 1 << 17
"""Bytes that a core keeps near: rows that no product joins go through time so many at once."""

WORTH_SHARING = 1 << 15
"""Weights that take longer to pack than it takes to wake a thread."""

WORTH_WAITING = 1 << 12
"""Weights for each thread whose reading takes longer than a meeting of threads."""

PAST_CACHES = 16, 1 << 22
"""Rows, and bytes of all outputs, from which on these are written past the caches: these would not
keep them until they are read, and would read from memory first what is written over."""

FEW_ROWS = 4
"""Rows for each thread up to which they run all rows together."""

ROWS_TOGETHER = {
    True: ((1 << 18, 16), (1 << 21, 96)),
    False: ((1 << 20, 16), (1 << 21, 48)),
}
"""From how many bytes of weights in tiles on threads run all rows together, up to so many rows of
all threads: one tile of them, or more where a core's cache does not keep the weights. By whether
products widen: each thread cuts the operands of all rows for itself."""


@dataclass(frozen=True)
class Results:
    """What a program gives over a sequence."""

    outputs: dict[str, Tensor]  # (time, batch, width)
    states: dict[str, Tensor]  # after each sequence's own last step, (batch, width)
    before: dict[str, Tensor]  # of states that are outputs too: as each step read it, like outputs


class Kernel:
    """The machine code of one program, for any batch and any time.

    Args:
        program: a verified program.
        target: the instruction set.
    """

    def __init__(self, program: Program, target: Target) -> None:
        program = without_slopes(program)
        self.program, self.target = program, target
        self.plan: Plan = plan(program)
        self.layout: Layout = lay_out(self.plan, target)
        name = cache.key(str(program), target)
        write = partial(emit, self.plan, self.layout, target)
        self.library = cache.library(name, write, FUNCTIONS, target)
        self.dtype = torch.float32 if program.dtype == "float32" else torch.float64
        groups = {
            "input": program.inputs,
            "constant": program.constants,
            "state": program.states,
            "fixed": program.fixed,
        }
        self.given = {
            kind: [(value.name, f"{kind} {value.name}", value.type.shape) for value in values]
            for kind, values in groups.items()
        }
        """Of each kind of what is given: names, slots, and shapes without time and batch."""

    def __call__(
        self,
        inputs: Mapping[str, Tensor],
        constants: Mapping[str, Tensor],
        states: Mapping[str, Tensor],
        fixed: Mapping[str, Tensor],
        *,
        time: int,
        lengths: Tensor | None = None,
        reverse: bool = False,
        threads: int | None = None,
    ) -> Results:
        """Run the program over sequences.

        Args:
            inputs: (time, batch, width) each; numbers of a row lie side by side.
            constants: (batch, width) each.
            states: before the first step, (batch, width) each.
            fixed: in the shapes that the program declares.
            time: steps.
            lengths: (batch,) steps of each sequence; by default all have `time`.
            reverse: run from each sequence's last step to its first.
            threads: by default `torch.get_num_threads()`, and no more than there are rows.

        Returns:
            The outputs, zero behind each sequence's end, and the last states.

        Raises:
            ShapeError: a tensor has not the shape, the type or the device that the program needs.
        """
        batch = next(iter(states.values())).shape[0]
        table, last = Table(self.layout.slots), {}
        for name, slot, shape in self.given["input"]:
            x = self._fitting(slot, inputs[name], (time, batch, *shape))
            table.stream(slot, _side_by_side(x), time, reverse)
        for name, slot, shape in self.given["constant"]:
            x = self._fitting(slot, constants[name], (batch, *shape))
            table.rows(slot, _side_by_side(x))
        for name, slot, shape in self.given["state"]:
            x = self._fitting(slot, states[name], (batch, *shape))
            table.rows(f"first {name}", _side_by_side(x))
            last[name] = POOL.take((batch, *shape), self.dtype)
            table.rows(f"last {name}", last[name])
        for name, slot, shape in self.given["fixed"]:
            x = self._fitting(slot, fixed[name], shape)
            table.matrix(slot, x if x.dim() > 1 else x.contiguous())
        outputs, before = self._outputs(table, time, batch, reverse)
        most = threads or torch.get_num_threads()
        team = self._team(table, batch, most)
        threads = team or max(1, min(most, batch))
        parts = 1 if team else max(threads, min(batch, -(-batch // self.rows_near)))
        if lengths is None:
            table.share_out(even_schedule(time, batch, parts))
        else:
            table.share_out(ragged_schedule(time, lengths, reverse, parts))
        for slot, number in (("parts", parts), ("time", time), ("batch", batch)):
            table.set(slot, number)
        self._run(table, batch, threads, most, team=team > 0)
        if lengths is not None:
            ended = torch.arange(time)[:, None, None] >= lengths.cpu()[:, None]
            shared = [self.plan.carried[state].name for state in before]
            outputs |= {n: outputs[n].masked_fill(ended, 0.0) for n in (*shared, *self.plan.before)}
        return Results(outputs, last, before)

    @cached_property
    def rows_near(self) -> int:
        """Rows of a part at most; all of them where a product reads its weights once for all."""
        if any(self.layout.products.values()):
            return sys.maxsize
        width = self.layout.buffer_width + sum(self.layout.outputs.values())
        width += sum(value.type.width for value in self.program.inputs)
        return max(1, NEAR // (width * self.dtype.itemsize))

    @cached_property
    def rows_in_tiles(self) -> int:
        """Rows of all threads up to which they share out the weights of tiles."""
        own = [product for each in self.layout.products.values() for product in each]
        size = sum(product.bytes_in_tiles for product in own)
        units = sum(product.segments * product.width * len(product.factors) for product in own)
        widen = units > sum(product.segments * product.terms for product in own)
        return max((rows for least, rows in ROWS_TOGETHER[widen] if size > least), default=0)

    def _team(self, table: Table, batch: int, threads: int) -> int:
        """Let threads share out the weights where reading them is dear; give how many do."""
        functions = team_functions()
        team = min(threads, self.layout.packed_size // WORTH_WAITING)
        if team < 2 or not 0 < batch <= max(threads * FEW_ROWS, self.rows_in_tiles):
            return 0
        if functions is None:
            return 0
        for slot, address in zip(("count threads", "yield"), functions, strict=True):
            table.set(slot, address)
        return team

    def _fitting(self, name: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Give a tensor that is as it has to be: a kernel takes an address on trust."""
        if x.shape != shape or x.dtype != self.dtype or not x.is_cpu:
            found = f"{x.dtype} of shape {tuple(x.shape)} on {x.device}"
            raise ShapeError(
                f"{name} is {found}: expected {self.dtype} of shape {shape} on the cpu"
            )
        return x.resolve_neg() if x.is_neg() else x

    def _outputs(
        self, table: Table, time: int, batch: int, reverse: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Make room for the outputs; one that is a state too has a step more, before the first."""
        carried = {home.name: s for s, home in self.plan.carried.items() if home.kind == "output"}
        outputs, before = {}, {}
        for name, width in self.layout.outputs.items():
            extra = int(name in carried)
            room = POOL.take((time + extra, batch, width), self.dtype)
            later = 0 if reverse else extra
            table.steps(f"output {name}", room, time - 1 if reverse else later)
            outputs[name] = room[later : time + later] if extra else room
            if extra:
                before[carried[name]] = room[1:] if reverse else room[:time]
        table.set("output step", -batch if reverse else batch)
        size = time * batch * sum(self.layout.outputs.values()) * self.dtype.itemsize
        table.set("past caches", int(batch >= PAST_CACHES[0] and size >= PAST_CACHES[1]))
        outputs |= {name: before[state] for name, state in self.plan.before.items()}
        return outputs, before

    def _run(self, table: Table, batch: int, threads: int, packers: int, *, team: bool) -> None:
        """Pack the weights and run, with memory for what is in between."""
        # where there are products, threads have a part of the rows each, or in a team all of them
        rows = (batch + MORE_ROWS) * threads if team else batch + MORE_ROWS * threads
        layout, size = self.layout, self.dtype.itemsize
        rooms = {
            "packed": layout.packed_size * size,
            "buffers": layout.buffer_width * batch * size,
            "pieces": layout.pieces_width * rows * size,
        }
        if team:
            rooms["rounds"] = LINE * (threads + 2) * 8
        table.rooms(rooms)
        if team:
            table.clear("rounds", rooms["rounds"])
        addresses = self.library.addresses
        packers = packers if layout.packed_size >= WORTH_SHARING else 1
        run_parallel(addresses["pack"], table.address, packers)
        run_parallel(addresses["run"], table.address, threads)


def compile_program(program: Program, *, pieces: int = 0) -> Kernel:
    """Compile a program for this machine, or find it compiled.

    Args:
        program: a verified program.
        pieces: of bfloat16 that stand for a factor of a product, see `backends.precision`, if the
            program is in float32 and the machine has instructions for that; 0: factors as they are.

    Example:
        >>> from unrolled.ir import parse
        >>> kernel = compile_program(parse('''program float32
        ... input  a: rows 1
        ... state  h: rows 1
        ... h_1 = add h, a : rows 1
        ... output y = h_1
        ... next   h = h_1'''))
        >>> given = {"a": torch.ones(3, 2, 1)}, {}, {"h": torch.zeros(2, 1)}, {}
        >>> kernel(*given, time=3, lengths=torch.tensor([3, 1])).outputs["y"][..., 0].tolist()
        [[1.0, 1.0], [2.0, 0.0], [3.0, 0.0]]
    """
    target = choose_target()
    if pieces and program.dtype == "float32":
        target = with_tiles(target, pieces) or target
    return Kernel(program, target)


def _side_by_side(x: Tensor) -> Tensor:
    return x if x.shape[-1] == 1 or x.stride(-1) == 1 else x.contiguous()
