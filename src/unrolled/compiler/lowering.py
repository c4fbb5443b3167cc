"""What the rows of the table `LOWER` work with: values of a step as values of a program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.fx import Node

from unrolled.compiler.blame import unsupported
from unrolled.compiler.partition import Parts
from unrolled.compiler.piece import Builder, to_loop
from unrolled.compiler.step import Step, batch_axis, features
from unrolled.errors import CaptureError, ProgramError
from unrolled.ir import OPS, Op, Operand, Operation, Type, Value, fixed, rows

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Wide:
    """A value with rows: a name in the program, and the shape that it has in the step."""

    name: str
    dims: Shape  # without the batch; the program's row is this, flattened
    axis: int  # where the batch lies among them
    mask: bool = False


@dataclass(frozen=True)
class Plain:
    """A value that is the same for all rows: a node of the fixed part, or of what it reads."""

    node: Node
    dims: Shape  # that it is seen in


Given = Wide | Plain | float
Rule = Callable[..., Wide | tuple[Wide | None, ...]]
"""(lowering, node, *arguments) -> the value of the node, or its values."""


class Lowering:
    """The program as far as it is written, and where each value of the step is in it."""

    def __init__(self, step: Step, parts: Parts, fixed: Builder, hoisted: Builder) -> None:
        self.step, self.dtype = step, step.dtype
        self.fixed, self.hoisted = fixed, hoisted
        self.body: list[Operation] = []
        self.inputs: list[Value] = []
        self.constants: list[Value] = []
        self.names: dict[str, str] = {}  # of constants: in the program, in the step
        self.fixed_values: list[Value] = []
        self.types: dict[str, Type] = {}
        self.values: dict[Node, Wide | tuple[Wide | None, ...]] = {}
        self.views: dict[object, str] = {}
        self.before_loop = {step.x, *parts.hoisted}
        self.plain = {*step.tensors, *step.values, *parts.fixed}
        for (name, size), node in zip(step.states.items(), step.before, strict=True):
            self.types[name] = rows(prod(size))
            self.values[node] = Wide(name, size, 0)

    def lower(self, node: Node, table: Mapping[object, Rule]) -> None:
        """Write one operation of the kept part."""
        if node.target not in table:
            raise self.error(node, "no program has it")
        try:
            self.values[node] = table[node.target](self, node, *node.args, **node.kwargs)
        except ProgramError as error:
            raise self.error(node, str(error)) from error

    def error(self, node: Node, why: str) -> CaptureError:
        """Give the error that says why an operation cannot be in the loop."""
        return unsupported(self.step.cell, node, why)

    # Values.

    def given(self, argument: object) -> Given:
        """Give an argument of a node as a value of the program, or as a number."""
        if isinstance(argument, (bool, int, float)):
            return float(argument)
        if not isinstance(argument, Node):
            raise CaptureError(f"{self.step.cell} cannot be captured: it computes with {argument}")
        if argument in self.plain:
            number = _number(argument, self.step)
            return Plain(argument, tuple(argument.meta["val"].shape)) if number is None else number
        return self.wide(argument)

    def wide(self, node: Node) -> Wide:
        """Give a node that has rows; what was computed before the loop becomes an input."""
        if node not in self.values:
            constant = node in self.step.constants.values()
            self.values[node] = self._constant(node) if constant else self._input(node)
        value = self.values[node]
        if not isinstance(value, Wide):
            raise self.error(node, "it gives several values")
        return value

    def _constant(self, node: Node) -> Wide:
        dims = features(node)
        name = self._name(node.name)
        self.constants.append(Value(name, rows(prod(dims))))
        self.names[name] = node.name
        self.types[name] = rows(prod(dims))
        return self._as_given(node, Wide(name, dims, 0))

    def _as_given(self, node: Node, value: Wide) -> Wide:
        """Give a value of the program as the step has it: a mask if that is one."""
        if node.meta["val"].dtype != torch.bool:
            return value
        return Wide(self.emit(Op.NE, value.name, 0.0), value.dims, value.axis, mask=True)

    def _input(self, node: Node) -> Wide:
        if node not in self.before_loop:
            raise self.error(node, "a state or an output has to have rows")
        axis, dims, dtype = batch_axis(node), features(node), node.meta["val"].dtype
        if axis is None or (dtype not in (self.dtype, torch.bool)):
            raise self.error(node, f"that is {dtype}, and the state {self.dtype}")
        value = self.hoisted.of(node)
        if axis:
            value = self.hoisted.call(torch.movedim, value, axis, 0)
        if len(dims) != 1:
            value = self.hoisted.call(torch.flatten, value, 1) if dims else value
            value = value if dims else self.hoisted.call(torch.unsqueeze, value, 1)
        if dtype == torch.bool:
            value = self.hoisted.call(torch.Tensor.to, value, self.dtype)
        name = self._name(node.name)
        self.hoisted.gives[to_loop(name)] = value
        self.inputs.append(Value(name, rows(prod(dims))))
        self.types[name] = rows(prod(dims))
        return self._as_given(node, Wide(name, dims, axis))

    def view(self, value: Plain, order: Sequence[int], spread: Shape, shape: Shape) -> str:
        """Give a fixed value permuted, then expanded, then reshaped, as the program reads it."""
        key = (value.node, value.dims, tuple(order), spread, shape)
        if key not in self.views:
            node = self.fixed.of(value.node)
            if value.dims != tuple(value.node.meta["val"].shape):
                node = self.fixed.call(torch.reshape, node, value.dims)
            if list(order) != sorted(order):
                node = self.fixed.call(torch.permute, node, tuple(order))
            if spread != tuple(value.dims[i] for i in order):
                node = self.fixed.call(torch.Tensor.expand, node, spread)
            if spread != shape:
                node = self.fixed.call(torch.reshape, node, shape)
            if value.node.meta["val"].dtype != self.dtype:
                node = self.fixed.call(torch.Tensor.to, node, self.dtype)
            name = self._name(value.node.name)
            self.fixed.gives[to_loop(name)] = node
            self.fixed_values.append(Value(name, fixed(*shape)))
            self.types[name] = fixed(*shape)
            self.views[key] = name
        return self.views[key]

    # Operations.

    def emit(self, op: Op, *operands: Operand, attributes: tuple[int | float, ...] = ()) -> str:
        """Write an operation and give the name of its value; of masks, what moves are numbers."""
        if OPS[op].kind == "shape" and any(map(self._is_mask, operands)):
            moved = self.emit(op, *map(self.number, operands), attributes=attributes)
            return str(self.truth(moved, self.types[moved].width))
        given = tuple(self.types[o] if isinstance(o, str) else None for o in operands)
        type = OPS[op].rule(given, attributes)
        name = self._name(op.value)
        self.types[name] = type
        self.body.append(Operation(name, op, tuple(operands), attributes, type))
        return name

    def spread(self, value: Wide, dims: Shape) -> str:
        """Repeat a value over the features in which it has width 1, as broadcasting does."""
        name, now = value.name, [1] * (len(dims) - len(value.dims)) + list(value.dims)
        end = len(dims)
        while end:
            begin = end = end - 1
            if now[end] != dims[end]:
                while begin and now[begin - 1] == 1:
                    begin -= 1
                view = (prod(now[:begin]), prod(dims[begin : end + 1]), prod(now[end + 1 :]))
                name = self.emit(Op.EXPAND, name, attributes=view)
                now[begin : end + 1] = dims[begin : end + 1]
            end = begin
        return name

    def operand(self, argument: object, node: Node) -> Operand:
        """Give an operand of a pointwise operation, spread over the result's features."""
        value, dims, axis = self.given(argument), features(node), batch_axis(node)
        if isinstance(value, (int, float)):
            return value
        if axis is None:
            raise self.error(node, "it gives a value without rows")
        rank = len(dims) + 1
        if isinstance(value, Plain):
            if prod(value.dims) == 1:
                return self.view(value, range(len(value.dims)), value.dims, ())
            own = [1] * (rank - len(value.dims)) + list(value.dims)
            if own.pop(axis) != 1:
                raise self.error(node, "it treats the rows of a batch differently")
            seen = Plain(value.node, tuple(own))
            return self.view(seen, range(len(own)), dims, (prod(dims),))
        if value.axis + rank - len(value.dims) - 1 != axis:
            raise self.error(node, "it mixes the rows of a batch")
        return self.spread(value, dims)

    def number(self, operand: Operand) -> Operand:
        """Give a mask as rows of 1 and 0; other operands as they are."""
        return self.emit(Op.WHERE, operand, 1.0, 0.0) if self._is_mask(operand) else operand

    def _is_mask(self, operand: Operand) -> bool:
        return isinstance(operand, str) and self.types[operand].kind == "mask"

    def truth(self, operand: Operand, width: int) -> Operand:
        """Give rows, or what is the same for all of them, as the mask of what is not 0."""
        if self._is_mask(operand):
            return operand
        if not isinstance(operand, str) or self.types[operand].kind == "fixed":
            filled = self.emit(Op.FILL, attributes=(0.0, width))
            operand = self.emit(Op.ADD, filled, operand)
        return self.emit(Op.NE, operand, 0.0)

    def result(self, node: Node, operand: Operand) -> Wide:
        """Give what a pointwise operation made as the value of its node."""
        dims, axis = features(node), batch_axis(node)
        if axis is None:
            raise self.error(node, "it gives a value without rows")
        if not isinstance(operand, str) or self.types[operand].kind == "fixed":
            filled = self.emit(Op.FILL, attributes=(0.0, prod(dims)))
            operand = self.emit(Op.ADD, filled, operand)
        return Wide(operand, dims, axis, mask=self.types[operand].kind == "mask")

    def permuted(self, value: Wide, order: Sequence[int]) -> Wide:
        """Reorder the features of a value; the batch stays."""
        name, now, dims = value.name, list(range(len(value.dims))), list(value.dims)
        for place, wanted in enumerate(order):
            at = now.index(wanted)
            if at != place:
                between, own = prod(dims[place:at]), dims[at]
                if between != 1 and own != 1:
                    view = (prod(dims[:place]), between, own, prod(dims[at + 1 :]))
                    name = self.emit(Op.SWAP, name, attributes=view)
                now.insert(place, now.pop(at))
                dims.insert(place, dims.pop(at))
        return Wide(name, tuple(dims), value.axis, value.mask)

    def as_rows(self, value: Wide) -> str:
        """Give the name of a value as rows of numbers: of a mask, 1 and 0."""
        return str(self.number(value.name))

    def rows_of(self, node: Node) -> str:
        """Give the name of a node's value as rows, of a fixed one too."""
        if node in self.plain:
            raise self.error(node, "a state has to have rows")
        return self.as_rows(self.wide(node))

    def _name(self, wanted: str) -> str:
        base = "".join(c if c.isalnum() else "_" for c in wanted)
        base = f"v_{base}" if base in RESERVED or base[0].isdigit() else base
        name, count = base, 0
        while name in self.types:
            count += 1
            name = f"{base}_{count}"
        return name


RESERVED = frozenset({"inf", "nan", "program", "input", "constant", "state", "fixed", "next"})


def _number(node: Node, step: Step) -> float | None:
    """Give the number that a fixed node stands for, if it is one in the step's code."""
    if node.target in (torch.ops.aten.full.default, torch.ops.aten.scalar_tensor.default):
        return float(node.args[-1]) if not node.meta["val"].shape else None  # pyright: ignore
    if node.target is torch.ops.aten.clone.default:
        return _number(node.all_input_nodes[0], step)
    value: Tensor | None = step.values.get(node)
    return None if value is None or value.dim() else float(value)
