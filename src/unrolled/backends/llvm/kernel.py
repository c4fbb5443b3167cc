"""A program, compiled: called with tensors, it runs over all of time."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.backends.llvm import cache
from unrolled.backends.llvm.arguments import Layout, lay_out
from unrolled.backends.llvm.emit import FUNCTIONS, emit
from unrolled.backends.llvm.jit import Library, compile_module
from unrolled.backends.llvm.plan import Plan, plan
from unrolled.backends.llvm.target import Target, choose_target
from unrolled.backends.llvm.threads import run_parallel
from unrolled.errors import ShapeError
from unrolled.ir import Program

ALIGNMENT = 64


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
        self.program, self.target = program, target
        self.plan: Plan = plan(program)
        self.layout: Layout = lay_out(self.plan, target)
        name = cache.key(str(program), target)
        image = cache.load(name)
        if image is None:
            image = compile_module(emit(self.plan, self.layout, target), target)
            cache.save(name, image)
        self.library = Library(image, FUNCTIONS, target)
        self.dtype = torch.float32 if program.dtype == "float32" else torch.float64

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
        given = {"input": inputs, "constant": constants, "state": states, "fixed": fixed}
        self._check(given, {"input": (time, batch), "constant": (batch,), "state": (batch,)})
        table = _Table(self.layout.slots)
        outputs, before = self._outputs(table, time, batch, lengths is not None, reverse)
        for value in self.program.inputs:
            x = inputs[value.name]
            table.stream(f"input {value.name}", _side_by_side(x), time, reverse)
        for value in self.program.constants:
            table.rows(f"constant {value.name}", _side_by_side(constants[value.name]))
        last = {}
        for value in self.program.states:
            table.rows(f"first {value.name}", _side_by_side(states[value.name]))
            last[value.name] = torch.empty(batch, value.type.width, dtype=self.dtype)
            table.rows(f"last {value.name}", last[value.name])
        for value in self.program.fixed:
            x = fixed[value.name]
            table.matrix(f"fixed {value.name}", x if x.dim() > 1 else x.contiguous())
        table.buffer("packed", self._space(self.layout.packed_size))
        table.buffer("buffers", self._space(self.layout.buffer_width * batch))
        threads = max(1, min(threads or torch.get_num_threads(), batch))
        table.schedule(time, batch, lengths, reverse, threads)
        self.library.call("pack", table.address)
        run_parallel(self.library.addresses["run"], table.address, threads)
        if lengths is not None and reverse:  # what a row begins with lies where no step of it is
            ended = torch.arange(time)[:, None, None] >= lengths.cpu()[:, None]
            outputs |= {
                name: outputs[name].masked_fill(ended, 0.0)
                for name in (home.name for home in self.plan.carried.values())
                if name in outputs
            }
        return Results(outputs, last, before)

    def _check(
        self, given: Mapping[str, Mapping[str, Tensor]], before: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Check every tensor: a kernel takes an address on trust."""
        declared = (
            ("input", self.program.inputs),
            ("constant", self.program.constants),
            ("state", self.program.states),
            ("fixed", self.program.fixed),
        )
        for kind, values in declared:
            for value in values:
                x, shape = given[kind][value.name], (*before.get(kind, ()), *value.type.shape)
                if x.shape != shape or x.dtype != self.dtype or x.device.type != "cpu":
                    found = f"{x.dtype} of shape {tuple(x.shape)} on {x.device}"
                    raise ShapeError(
                        f"{kind} {value.name} is {found}: "
                        f"expected {self.dtype} of shape {shape} on the cpu"
                    )

    def _outputs(
        self, table: "_Table", time: int, batch: int, ragged: bool, reverse: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Make room for the outputs; one that is a state too has a step more, before the first."""
        carried = {home.name: s for s, home in self.plan.carried.items() if home.kind == "output"}
        outputs, before = {}, {}
        for name, value in self.program.outputs:
            width = self.program.types[str(value)].width
            make = torch.zeros if ragged else torch.empty
            room = make(time + 1 if name in carried else time, batch, width, dtype=self.dtype)
            later = int(name in carried and not reverse)
            outputs[name] = room[later : time + later]
            table.stream(f"output {name}", room, time, reverse, later)
            if name in carried:
                before[carried[name]] = room[1:] if reverse else room[:time]
        return outputs, before

    def _space(self, numbers: int) -> Tensor:
        return torch.empty(numbers + ALIGNMENT // self.dtype.itemsize, dtype=self.dtype)


def compile_program(program: Program) -> Kernel:
    """Compile a program for this machine, or find it compiled.

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
    return Kernel(program, choose_target())


class _Table:
    """The arguments, being filled in; it keeps alive what they point to."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self.slots = slots
        self.numbers = (ctypes.c_int64 * len(slots))()
        self.alive: list[object] = []
        self.address = ctypes.addressof(self.numbers)

    def set(self, slot: str, number: int) -> None:
        self.numbers[self.slots[slot]] = number

    def rows(self, slot: str, x: Tensor) -> None:
        """Point to rows (batch, width)."""
        self.alive.append(x)
        self.set(slot, x.data_ptr())
        self.set(f"{slot} row", x.stride(0))

    def stream(self, slot: str, x: Tensor, time: int, reverse: bool, skip: int = 0) -> None:
        """Point to (time, batch, width) behind some steps, or to its last step and run back."""
        self.alive.append(x)
        stride, first = x.stride(0), time - 1 if reverse else skip
        self.set(slot, x.data_ptr() + first * stride * x.element_size())
        self.set(f"{slot} time", -stride if reverse else stride)
        self.set(f"{slot} row", x.stride(1))

    def matrix(self, slot: str, x: Tensor) -> None:
        """Point to a fixed value."""
        self.alive.append(x)
        self.set(slot, x.data_ptr())
        for axis, stride in enumerate(x.stride()):
            self.set(f"{slot} {axis}", stride)

    def buffer(self, slot: str, x: Tensor) -> None:
        """Point to room for numbers, at the beginning of a cache line."""
        self.alive.append(x)
        self.set(slot, -(-x.data_ptr() // ALIGNMENT) * ALIGNMENT)

    def schedule(
        self, time: int, batch: int, lengths: Tensor | None, reverse: bool, threads: int
    ) -> None:
        """Share the rows out among threads: longest first, each thread every n-th of them."""
        steps = np.full(batch, time) if lengths is None else lengths.cpu().numpy().astype(np.int64)
        order = np.argsort(-steps, kind="stable")
        dealt = [order[thread::threads] for thread in range(threads)]
        if lengths is None:  # rows that lie side by side stay together
            dealt = np.array_split(order, threads)
        bounds = np.cumsum([0, *map(len, dealt)])
        arrays = {
            "bounds": bounds,
            "order": np.concatenate(dealt),
            "begin": time - steps if reverse else np.zeros(batch),
            "end": np.full(batch, time) if reverse else steps,
        }
        for slot, array in arrays.items():
            whole = np.ascontiguousarray(array, dtype=np.int64)
            self.alive.append(whole)
            self.set(slot, whole.ctypes.data)
        for slot, number in (
            ("parts", min(threads, batch)),
            ("time", time),
            ("batch", batch),
            ("ticket", 0),
        ):
            self.set(slot, number)


def _side_by_side(x: Tensor) -> Tensor:
    return x if x.shape[-1] == 1 or x.stride(-1) == 1 else x.contiguous()
