"""What a kernel is given: one table of 64 bit numbers, and which slot holds what.

Kernels take a single pointer, so that any thread can start one. Strides count numbers, not bytes;
a stride of time may be negative, which runs a sequence backward.
"""

from dataclasses import dataclass

from unrolled.backends.llvm.in_place import in_place
from unrolled.backends.llvm.plan import Plan
from unrolled.backends.llvm.products import Product, products
from unrolled.backends.llvm.target import FLOATS, Target

CONTROL = (
    "ticket",  # the next part that no thread has taken yet
    "panel",  # the next panel of weights that no thread has packed yet
    "rounds",  # pointer: what threads that run the same rows have taken and done
    "count threads",  # pointer to a function: how many run the same rows; 0: each has its own rows
    "yield",  # pointer to a function: let another thread have the processor
    "parts",  # how many parts the rows are shared out into
    "bounds",  # pointer: part p has the rows order[bounds[p]] to order[bounds[p + 1] - 1]
    "order",  # pointer: rows, in each part in the order in which they begin
    "begin",  # pointer: the first step of each row
    "end",  # pointer: the step behind each row's last
    "time",  # steps
    "batch",  # rows
    "past caches",  # whether outputs are written past the caches
    "output step",  # rows from a step of the outputs to the next: the batch, negative if reversed
    "packed",  # pointer: weights as the matmuls read them
    "buffers",  # pointer: rows that lie between nests, and states
    "pieces",  # pointer: rows of operands in pieces of bfloat16
)


@dataclass(frozen=True)
class Layout:
    """Where in the table, in the buffers and in the packed weights everything lies."""

    slots: dict[str, int]
    outputs: dict[str, int]  # numbers in a row of each that is stored
    buffers: dict[str, int]  # where each buffer begins, in numbers for each row of the batch
    widths: dict[str, int]  # numbers in a row of each buffer, up to whole vectors
    buffer_width: int  # numbers for each row of the batch, of all buffers
    products: dict[int, tuple[Product, ...]]  # of each nest
    packed_size: int  # numbers
    pieces_width: int  # numbers in a row of operands in pieces of bfloat16; 0: none are


def lay_out(plan: Plan, target: Target) -> Layout:
    """Give everything its place."""
    program = plan.program
    names = list(CONTROL)
    for value in program.inputs:
        names += [f"input {value.name}", f"input {value.name} time", f"input {value.name} row"]
    stored = [(name, value) for name, value in program.outputs if name not in plan.before]
    names += [f"output {name}" for name, _ in stored]
    for value in program.constants:
        names += [f"constant {value.name}", f"constant {value.name} row"]
    for value in program.states:
        names += [f"first {value.name}", f"first {value.name} row"]
        names += [f"last {value.name}", f"last {value.name} row"]
    for value in program.fixed:
        names += [f"fixed {value.name}"]
        names += [f"fixed {value.name} {axis}" for axis in range(len(value.type.shape))]
    lanes = target.lanes(FLOATS[program.dtype])
    buffers, widths, total = {}, {}, 0
    wanted = {f"buffer {name}": width for name, width in plan.buffers.items()}
    same = in_place(plan)
    for value in program.states:  # two, for what is read in a step and what is written
        if plan.carried[value.name].kind == "next":
            rooms = ("even",) if value.name in same else ("even", "odd")
            wanted |= {f"{room} {value.name}": value.type.width for room in rooms}
    for name, width in wanted.items():
        widths[name] = -(-width // lanes) * lanes
        buffers[name] = total
        total += widths[name]
    found, packed, pieces = products(plan, target)
    slots = {name: slot for slot, name in enumerate(names)}
    outputs = {name: program.types[str(value)].width for name, value in stored}
    return Layout(slots, outputs, buffers, widths, total, found, packed, pieces)
