"""`lower`: Parts -> a Program for the loop, and pieces of PyTorch around it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.fx import Node

from unrolled.compiler.aten import LOWER
from unrolled.compiler.lowering import Lowering, Wide
from unrolled.compiler.partition import Parts
from unrolled.compiler.piece import ROWS, Builder, Piece
from unrolled.compiler.shapes import STILL
from unrolled.compiler.step import Step
from unrolled.errors import CaptureError
from unrolled.ir import Program, Value, rows, verify

MOST_OPERATIONS = 700
"""Operations of a program: more would take many seconds to compile."""


@dataclass(frozen=True)
class Lowered:
    """A step in four parts, ready to run.

    Pieces read parameters, buffers, x, and what other parts give, by their names.
    """

    cell: str
    fixed: Piece  # gives the program's fixed values, and what the other pieces read
    hoisted: Piece  # gives the program's inputs, (rows, width), and what `sunk` reads
    program: Program
    sunk: Piece  # reads the program's outputs, (rows, width), and gives y
    tensors: Mapping[str, str]  # parameters and buffers: their names here, and their paths
    values: Mapping[str, Tensor]  # tensors that the step's code makes from numbers
    states: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, str]  # those of the program: their names there, and in the step
    only_views_behind: bool  # `sunk` does no more than shape what the loop gives


def lower(step: Step, parts: Parts) -> Lowered:
    """Write the kept part as a program, and the others as pieces of PyTorch.

    Args:
        step: the captured step.
        parts: its parts.

    Raises:
        CaptureError: an operation of the loop has no row in the table `LOWER`.

    Example:
        >>> from unrolled.compiler.capture import capture
        >>> from unrolled.compiler.partition import partition
        >>> from unrolled.zoo import Elman
        >>> step = capture(Elman(3, 2), torch.zeros(2, 3))
        >>> print(lower(step, partition(step)).program)
        program float32
        input  linear: rows 2
        state  h: rows 2
        fixed  U_weight: 2x2
        fixed  U_bias: 2
        matmul = matmul h, U_weight : rows 2
        add = add matmul, U_bias : rows 2
        add_1 = add linear, add : rows 2
        tanh = tanh add_1 : rows 2
        output tanh = tanh
        next   h = tanh
    """
    fixed, hoisted, sunk = Builder(), Builder(), Builder()
    for builder, nodes in ((fixed, parts.fixed), (hoisted, parts.hoisted), (sunk, parts.sunk)):
        for node in nodes:
            builder.take(node)
    lowering = Lowering(step, parts, fixed, hoisted)
    for node in parts.kept:
        lowering.lower(node, LOWER)
    if len(lowering.body) > MOST_OPERATIONS:
        raise CaptureError(
            f"{step.cell} cannot be captured: its loop takes {len(lowering.body)} operations, and "
            f"more than {MOST_OPERATIONS} take too long to compile. "
            'Run this cell with backend="eager".'
        )
    after = [(name, lowering.rows_of(n)) for name, n in zip(step.states, step.after, strict=True)]
    sunk.gives["y"] = sunk.of(step.y)
    outputs = _crossings(step, parts, lowering, sunk)
    _lend(step, parts, fixed, hoisted, sunk)
    program = Program(
        dtype="float64" if step.dtype == torch.float64 else "float32",
        inputs=tuple(lowering.inputs),
        constants=tuple(lowering.constants),
        states=tuple(Value(n, rows(prod(size))) for n, size in step.states.items()),
        fixed=tuple(lowering.fixed_values),
        body=tuple(lowering.body),
        outputs=tuple(outputs),
        next=tuple(after),
    )
    return Lowered(
        cell=step.cell,
        fixed=fixed.built(),
        hoisted=hoisted.built(),
        program=verify(program),
        sunk=sunk.built(),
        tensors={node.name: path for node, path in step.tensors.items()},
        values={node.name: value for node, value in step.values.items()},
        states=step.states,
        constants=lowering.names,
        only_views_behind=all(node.target in STILL for node in parts.sunk)
        and {*sunk.reads} <= {ROWS, *(name for name, _ in outputs)},
    )


def _crossings(
    step: Step, parts: Parts, lowering: Lowering, sunk: Builder
) -> list[tuple[str, str]]:
    """Make outputs of what the loop gives to the sunk part, and shape them there as they were."""
    loop = {*parts.kept, *step.before}
    outputs: list[tuple[str, str]] = []
    by_name = {node.name: node for node in loop}
    for name in [name for name in sunk.reads if name in by_name]:
        node = by_name[name]
        wide = lowering.wide(node)
        outputs.append((name, lowering.as_rows(wide)))
        whole = None if wide.mask else node.meta["val"].dtype
        _restore(sunk, sunk.reads[name], wide, None if whole == step.dtype else whole)
    return outputs


def _restore(sunk: Builder, argument: Node, wide: Wide, whole: torch.dtype | None) -> None:
    """Give (rows, width) the shape and the type that the step's code had."""
    users = list(argument.users)
    given = next((name for name, node in sunk.gives.items() if node is argument), None)
    with sunk.graph.inserting_after(next(reversed(sunk.reads.values()))):
        shaped = sunk.call(torch.unflatten, argument, 1, wide.dims or (1,))
    last = shaped
    with sunk.graph.inserting_after(last):
        last = sunk.call(torch.squeeze, last, 1) if not wide.dims else last
    with sunk.graph.inserting_after(last):
        last = sunk.call(torch.movedim, last, 0, wide.axis) if wide.axis else last
    with sunk.graph.inserting_after(last):
        last = sunk.call(torch.ne, last, 0) if wide.mask else last
    with sunk.graph.inserting_after(last):
        last = sunk.call(torch.Tensor.to, last, whole) if whole else last
    for user in users:
        user.replace_input_with(argument, last)
    if given is not None:
        sunk.gives[given] = last


def _lend(step: Step, parts: Parts, fixed: Builder, hoisted: Builder, sunk: Builder) -> None:
    """Let the fixed and the hoisted part give what later parts read of them."""
    for giver, nodes, readers in (
        (fixed, parts.fixed, (hoisted, sunk)),
        (hoisted, parts.hoisted, (sunk,)),
    ):
        by_name = {node.name: node for node in nodes}
        for name in {name: None for reader in readers for name in reader.reads}:
            if name in by_name:
                giver.gives[name] = giver.of(by_name[name])
