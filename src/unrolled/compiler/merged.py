"""`split_rows`: rows that count the batch and something else are counted apart.

Modules of two dimensions, such as `torch.nn.GRUCell`, are given slots, heads or nodes of a graph as
rows: ``cell(xs.view(-1, 8), h.view(-1, 8)).view(-1, 3, 8)``. In the middle a row is one of batch x
3, which no program has. What is computed there is recorded once more, of (batch, 3, 8): whatever
works on the last dimensions does the same to both, and dimensions that are counted from the first
one on are one further. What cannot be told apart so stays as it is, and is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from string import ascii_letters
from typing import TYPE_CHECKING, Any

import torch
from torch import SymInt, Tensor
from torch.fx import Node

from unrolled.compiler.parts.products import convolution
from unrolled.ir.surrogate import surrogate

if TYPE_CHECKING:
    from unrolled.compiler.recorder import Recorder

aten = torch.ops.aten

VIEWS = frozenset({aten.view.default, aten._unsafe_view.default, aten.clone.default})
"""What keeps all numbers in their order: the result's shape says everything."""

PLACES = frozenset({"dim", "dims", "dim0", "dim1", "dim2"})
"""Names of arguments that are dimensions."""

PRODUCTS: Mapping[object, Callable[..., Tensor]] = {
    aten.mm.default: torch.matmul,
    aten.bmm.default: torch.matmul,
    aten.addmm.default: lambda bias, a, b: bias + torch.matmul(a, b),
    aten.baddbmm.default: lambda bias, a, b: bias + torch.matmul(a, b),
}
"""Products of matrices and of pairs of them, for any number of dimensions."""


class _Mixed(Exception):
    """An operation works on the rows themselves."""


def split_rows(recorder: "Recorder") -> None:
    """Record once more, with a dimension of its own, what is counted together with the batch."""
    rows = _Rows(recorder)
    for node in list(recorder.graph.nodes):
        rows.split(node)


class _Rows:
    """What is computed of rows that count more than the batch, and of them apart."""

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.apart: dict[Node, Any] = {}  # by the node that has the same with rows together

    def split(self, node: Node) -> None:
        """Record a node once more, if rows are counted together in it or in what it reads."""
        made = node.meta.get("val")
        parts: list[Any] = [*made] if isinstance(made, (tuple, list)) else [made]
        if node.op != "call_function" or not all(isinstance(part, Tensor) for part in parts):
            return
        together = any(map(self._times, parts))
        if not (together or any(operand in self.apart for operand in node.all_input_nodes)):
            return
        try:
            found = self.recorder.again(node, partial(self._again, node), self._given)
        except (_Mixed, RuntimeError, TypeError):
            return
        if together:
            self.apart[node] = found
        elif isinstance(found, Tensor):
            node.replace_all_uses_with(self.recorder.nodes[id(found)])

    def _times(self, value: Tensor) -> int:
        """Give how many rows a value has for each of the batch; 0: it has none, or one."""
        size = value.shape[0] if value.dim() else 0
        if not isinstance(size, SymInt):
            return 0
        times = size.node.expr / self.recorder.batch.node.expr
        return int(times) if times.is_Integer and times > 1 else 0

    def _shape(self, value: Tensor) -> tuple[Any, ...]:
        """Give the shape that a value has with its rows apart."""
        times = self._times(value)
        return (self.recorder.batch, times, *value.shape[1:]) if times else tuple(value.shape)

    def _given(self, operand: Node) -> Any:
        """Give what stands for an operand."""
        if operand in self.apart:
            return self.apart[operand]
        value = operand.meta["val"]
        if isinstance(value, Tensor) and self._times(value):
            raise _Mixed
        return self.recorder.value(operand)

    def _again(self, node: Node, *args: Any, **kwargs: Any) -> Any:
        """Compute a node's value of operands whose rows are apart."""
        made, target = node.meta["val"], node.target
        if target in VIEWS or _is_whole(node):
            found = args[0].reshape(self._shape(made))
        elif target is aten.expand.default:
            found = args[0].expand(self._shape(made))
        elif target is aten.full.default:
            found = torch.full(self._shape(made), args[1], **kwargs)
        elif target is aten.einsum.default:
            found = torch.einsum(_equation(args[0], node.args[1], self.apart), *args[1])
        elif target is aten.repeat.default:
            found = self._repeated(made, *args)
        elif target is aten.convolution.default:
            found = convolution(*args, rows=2)
        elif target is surrogate:
            found = self.recorder.surrogate(*args)
        elif target in PRODUCTS and not kwargs:
            found = PRODUCTS[target](*args)
        else:
            given, named = _further(node, args, kwargs)
            found = target(*given, **named)  # pyright: ignore[reportCallIssue]
        if found is NotImplemented:
            raise _Mixed
        both = [(found, made)] if isinstance(made, Tensor) else zip(found, made, strict=True)
        if any(tuple(own.shape) != self._shape(before) for own, before in both):
            raise _Mixed
        return found

    def _repeated(self, made: Tensor, value: Tensor, times: Sequence[Any]) -> Tensor:
        """Give every sequence the same rows."""
        (first, *others), rows = times, self._times(made)
        batch = isinstance(first, SymInt) and first.node.expr == self.recorder.batch.node.expr
        if not batch or value.shape[0] != rows or set(others) - {1}:
            raise _Mixed
        return value.expand(self._shape(made))


def _is_whole(node: Node) -> bool:
    """Tell whether a slice takes everything, as the first one of ``rows[:, 1:]`` does."""
    given = node.all_input_nodes[0].meta["val"]
    return node.target is aten.slice.Tensor and given.shape == node.meta["val"].shape


def _further(
    node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Give the arguments of an operation with its dimensions one further."""
    if not isinstance(node.target, torch._ops.OpOverload):  # one of several values
        return [*args], {**kwargs}
    rank = node.all_input_nodes[0].meta["val"].dim() + (node.target is aten.unsqueeze.default)

    def further(dim: int) -> int:
        if dim % rank == 0:
            raise _Mixed
        return dim % rank + 1

    arguments = node.target._schema.arguments
    named = {**dict(zip((a.name for a in arguments), args, strict=False)), **kwargs}
    for argument in arguments:
        value = named.get(argument.name, argument.default_value)
        if argument.name not in PLACES or value is None:
            continue
        if isinstance(value, int):
            named[argument.name] = further(value)
        elif node.target is not aten.permute.default:
            named[argument.name] = [*map(further, value)]
        elif value[0] % rank == 0:
            named[argument.name] = [0, 1, *map(further, value[1:])]
        else:
            raise _Mixed
    return [], named


def _equation(equation: str, operands: Any, apart: Mapping[Node, Any]) -> str:
    """Put a letter for what is apart behind that of the batch."""
    terms, arrow, out = equation.replace(" ", "").partition("->")
    letters = terms.split(",")
    batches = {own[0] for own, operand in zip(letters, operands, strict=True) if operand in apart}
    if len(batches) != 1 or not arrow or "." in equation:
        raise _Mixed
    (batch,) = batches
    unused = next(letter for letter in ascii_letters if letter not in equation)
    return f"{terms}->{out}".replace(batch, batch + unused)
