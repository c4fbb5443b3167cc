"""The names of a step's gates: those of the equations in the docstring that they are values of."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from unrolled.backends import Call
from unrolled.cell import Cell
from unrolled.compiler.structure import skeleton
from unrolled.equations import BIAS_OF, Equation, equations, named_values
from unrolled.errors import CaptureError, ConfigError

KINDS = {  # torch's operation -> the kind of gate
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "hardsigmoid": "sigmoid",
    "tanh": "tanh",
    "tanh_": "tanh",
    "hardtanh": "tanh",
    "relu": "relu",
    "relu_": "relu",
}


class Activations(TorchDispatchMode):
    """Notes the value of every sigmoid, tanh and ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        value = func(*args, **(kwargs or {}))
        kind = KINDS.get(func.overloadpacket.__name__)
        if kind:
            self.seen.append((kind, value))
        return value


def gate_names(cell: Cell, call: Call) -> list[str | None]:
    """Name a step's activations, in their order, after the equations that they are the values of.

    Done on a copy with random numbers, so that no two gates have the same value by chance. None
    stands for an activation inside an equation.
    """
    try:
        copied = skeleton(cell).double()
    except CaptureError:  # a cell that cannot be copied
        return []
    values: list[tuple[str, Tensor]] = []

    def note(part: Any, arguments: tuple[Tensor, ...]) -> None:
        x, *state = (a.double().cpu().numpy() for a in arguments)
        lines = named_values(part, x, dict(zip(part.states, state, strict=True)))
        values.extend((e.name, torch.as_tensor(lines[e.name])) for e in equations_of(part))

    for part in copied.modules():
        if isinstance(part, Cell) and equations_of(part):
            part.register_forward_pre_hook(note)
    x, state, constants = _samples(call)
    try:
        with torch.no_grad(), Activations() as found:
            copied(x, *state, **constants)
    except ConfigError:  # an equation that NumPy cannot read
        return []
    return _matched([value for _, value in found.seen], values) if values else []


def numbered(kinds: Iterable[str]) -> list[str | None]:
    """Name activations by their kinds and their order.

    Example:
        >>> numbered(["sigmoid", "tanh", "sigmoid"])
        ['sigmoid 1', 'tanh 1', 'sigmoid 2']
    """
    counts: dict[str, int] = {}
    names: list[str | None] = []
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
        names.append(f"{kind} {counts[kind]}")
    return names


def _samples(call: Call) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Give a few rows of numbers so small that no gate of the copy saturates."""
    random = torch.Generator().manual_seed(0)
    rows = slice(0, min(3, call.xs.shape[1]))

    def numbers(like: Tensor) -> Tensor:
        if not like.is_floating_point():
            return like
        found = torch.rand(like.shape, generator=random, dtype=torch.float64)
        return (found / max(1, prod(like.shape[1:]))).to(like.device)

    constants = {name: numbers(value[rows]) for name, value in call.constants.items()}
    return numbers(call.xs[0, rows]), [numbers(s[rows]) for s in call.state], constants


def _matched(seen: Sequence[Tensor], values: Sequence[tuple[str, Tensor]]) -> list[str | None]:
    names: list[str | None] = []
    left = list(values)
    for value in seen:
        same = [place for place, (_, wanted) in enumerate(left) if _equal(value, wanted)]
        name = left.pop(same[0])[0] if same else None
        names.append(name if name not in names or name is None else f"{name} {names.count(name)}")
    return names


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double().cpu(), b, rtol=1e-9, atol=1e-12)


def equations_of(cell: Cell) -> list[Equation]:
    """Give a cell's equations; none where its docstring has other things in their place."""
    try:
        found = equations(cell)
    except ConfigError:
        return []
    stated = {equation.name for equation in found}
    return found if all(f"{name}'" in stated for name in cell.states) else []


def keeps(gate: str, state: str, expression: str) -> int:
    """Tell whether a state's equation multiplies its old value by a gate: 1; by 1 - gate: -1.

    Example:
        >>> keeps("z", "h", "(1 - z) * n + z * h"), keeps("f", "h", "(1 - f) * h + f * n")
        (1, -1)
    """
    sides = {1: re.escape(gate), -1: rf"\(1 - {re.escape(gate)}\)"}
    for side, factor in sides.items():
        if re.search(rf"(?<![\w']){factor} *\* *{re.escape(state)}(?![\w'])", expression):
            return side
    return 0


def bias_of(cell: Cell, expression: str) -> Tensor | None:
    """Add up the biases that an equation names: (units,); None where it has none."""
    found: list[Tensor] = []
    for name in dict.fromkeys(re.findall(r"[^\W\d]\w*", expression)):
        value = getattr(cell, name, None)
        if value is None and name[0] in BIAS_OF and name[1:2] in ("", "_"):
            linear = getattr(cell, BIAS_OF[name[0]] + name[1:], None)
            value = linear.bias if isinstance(linear, nn.Linear) else None
        if isinstance(value, Tensor) and value.dim() == 1:
            found.append(value.detach())
    return torch.stack(found).sum(0) if found else None
