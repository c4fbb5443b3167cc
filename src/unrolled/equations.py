"""The equations in a cell's docstring, read and computed in NumPy: the cell's second definition."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.errors import ConfigError

Array = np.ndarray

HEAD = re.compile(r"\s*([^\W\d]\w*'?)\s*=(.*)")
ALONE = re.compile(r"(?! )((for .*:| *\w+ *=.*)\n+)* *\w+' *=")  # no text behind: cleandoc cut in
FOR = re.compile(r"(\s*)for (\w+) = (\w+) \.\. (\w+):$")
TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:e[-+]?\d+)?)|([^\W\d]\w*'?)|(\S))")


def _softmax(a: Array) -> Array:
    powers = np.exp(a - a.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


FUNCTIONS: dict[str, tuple[int, Callable[..., Array]]] = {  # name -> arguments, what it computes
    "sigmoid": (1, lambda a: 0.5 + 0.5 * np.tanh(0.5 * a)),
    "tanh": (1, np.tanh),
    "relu": (1, lambda a: np.maximum(a, 0.0)),
    "silu": (1, lambda a: a * (0.5 + 0.5 * np.tanh(0.5 * a))),
    "identity": (1, lambda a: a),
    "softplus": (1, lambda a: np.logaddexp(0.0, a)),
    "logsigmoid": (1, lambda a: -np.logaddexp(0.0, -a)),
    "exp": (1, np.exp),
    "log": (1, np.log),
    "sqrt": (1, np.sqrt),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "abs": (1, np.abs),
    "floor": (1, np.floor),
    "round": (1, np.round),
    "sign": (1, np.sign),
    "cumax": (1, lambda a: np.cumsum(_softmax(a), -1)),
    "spread": (2, lambda a, count: np.repeat(a, int(count), -1)),
    "layernorm": (
        1,
        lambda a: (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5),
    ),
    "part": (3, lambda a, k, count: np.split(a, int(count), axis=-1)[int(k)]),  # the first is 0
    "max": (2, np.maximum),
    "min": (2, np.minimum),
    "unit": (1, lambda a: a / np.maximum(np.linalg.norm(a, axis=-1, keepdims=True), 1e-12)),
    "split": (2, lambda a, heads: a.reshape(len(a), int(heads), -1)),
    "flat": (1, lambda a: a.reshape(len(a), -1)),
}

OPERATORS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}

BIAS_OF = {"b": "W", "d": "U"}  # b_f is the bias of the Linear W_f, d_f that of U_f


@dataclass(frozen=True)
class Equation:
    """One line of a cell's docstring: a name, and the expression that gives it."""

    name: str  # h' is the new state h; y the output; any other a value on the way
    expression: str

    def __str__(self) -> str:
        return f"{self.name} = {self.expression}"


def equations(cell: Cell) -> list[Equation]:
    """Read the equations that a cell's docstring states.

    They are the indented block that follows the docstring's first paragraph, one equation a line;
    a line that does not start with ``name =`` continues the one before. Under
    ``for l = 2 .. depth:`` lines that are indented further stand for one each with ``_2``, ``_3``
    ... in place of the ending ``_l`` of their names, up to the cell's whole number ``depth``.

    Args:
        cell: the cell.

    Returns:
        The equations in order; none where the docstring has no such block.

    Raises:
        ConfigError: the block does not start with an equation, or the end of a ``for`` is unknown.

    Example:
        >>> from unrolled.zoo import GRU
        >>> print(equations(GRU(3, 5))[-1])
        h' = (1 - z) * n + z * h
    """
    found: list[Equation] = []
    for line in _written_out(cell, _block(type(cell).__doc__ or "")):
        head = HEAD.match(line)
        if head:
            found.append(Equation(head[1], head[2].strip()))
        elif found:
            found[-1] = Equation(found[-1].name, f"{found[-1].expression} {line.strip()}")
        else:
            raise ConfigError(
                f"the docstring of {type(cell).__name__} has {line.strip()!r} in its indented "
                "block: expected an equation, name = expression"
            )
    return found


def evaluate(cell: Cell, x: Array, state: Mapping[str, Array]) -> dict[str, Array]:
    """Compute one step from a cell's equations, in float64 and without its code.

    In an expression ``W_f x`` and ``U (f * h)`` are products with the cell's Linear (or 2-D
    parameter) of that name, and ``W^T x`` with its transpose; ``b_f`` and ``d_f`` are the biases
    of W_f and U_f, 0 where they have none; any other name is an earlier line, x, a state, or a
    tensor or number of the cell. ``+ - * / ^`` work element by element; functions are those of
    `FUNCTIONS`, and an attribute of the cell that is one of them, such as ``act``.

    Where states are matrices, ``S k`` and ``S^T k`` are products of a row's matrix and vector,
    ``n^T q`` of two vectors, and ``v k^T`` is a matrix of all products. ``split(q, heads)`` cuts a
    vector into those of the heads, each of which then works alone, and ``flat`` joins them; a
    number for each head, or for each row of its matrix, multiplies all that it stands for. A 3-D
    parameter ``R h`` holds a matrix for each head, applied to its part of h.

    Args:
        cell: the cell; its docstring states the equations.
        x: the input, (batch, inputs).
        state: the state before the step, (batch, *size) for each name.

    Returns:
        The output under ``y``, which is the first state unless a line gives it, and each new state
        under its own name.

    Raises:
        ConfigError: a line cannot be read, a name is unknown, or a state has no equation.

    Example:
        >>> from unrolled.zoo import GRU
        >>> step = evaluate(GRU(3, 5), np.zeros((2, 3)), {"h": np.ones((2, 5))})
        >>> {name: value.shape for name, value in step.items()}
        {'y': (2, 5), 'h': (2, 5)}
    """
    values = named_values(cell, x, state)
    missing = [name for name in cell.states if f"{name}'" not in values]
    if missing:
        raise ConfigError(
            f"the docstring of {type(cell).__name__} has no equation for {missing[0]}': expected "
            "one for every state"
        )
    new = {name: values[f"{name}'"] for name in cell.states}
    return {"y": values.get("y", next(iter(new.values()))), **new}


def named_values(cell: Cell, x: Array, state: Mapping[str, Array]) -> dict[str, Array]:
    """Compute every value that a cell's equations name, as `evaluate` does.

    Args:
        cell: the cell.
        x: the input, (batch, inputs).
        state: the state before the step, (batch, *size) for each name.

    Returns:
        x, the states before the step, and each line's value under its name: ``f``, ``h'``.

    Raises:
        ConfigError: a line cannot be read, or a name is unknown.

    Example:
        >>> from unrolled.zoo import GRU
        >>> list(named_values(GRU(3, 5), np.zeros((2, 3)), {"h": np.ones((2, 5))}))
        ['x', 'h', 'r', 'z', 'n', "h'"]
    """
    values = {name: np.asarray(value, np.float64) for name, value in {"x": x, **state}.items()}
    for equation in equations(cell):
        values[equation.name] = _Reader(cell, equation, values).whole()
    return values


def _block(docstring: str) -> list[str]:
    """Give the lines of the indented block that follows the first paragraph."""
    _, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    if ALONE.match(rest):
        return [line for line in rest.splitlines() if line]
    lines: list[str] = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return [line for line in lines if line]


def _written_out(cell: Cell, lines: Sequence[str]) -> list[str]:
    """Repeat what is indented under a ``for``, once for each number."""
    found: list[str] = []
    rest = list(lines)
    while rest:
        line = rest.pop(0)
        if not (head := FOR.match(line)):
            found.append(line)
            continue
        inner = list(takewhile(lambda other, margin=head[1]: other.startswith(f"{margin} "), rest))
        del rest[: len(inner)]
        first, last = (_bound(cell, name, line) for name in head.group(3, 4))
        for number in range(first, last + 1):
            found += [re.sub(rf"_{head[2]}\b", f"_{number}", each) for each in inner]
    return found


def _bound(cell: Cell, name: str, line: str) -> int:
    value = int(name) if name.isdigit() else getattr(cell, name, None)
    if not isinstance(value, int):
        raise ConfigError(
            f"the docstring of {type(cell).__name__} has {line.strip()!r}: expected {name} to be a "
            "whole number of the cell"
        )
    return value


class _Reader:
    """Reads one expression from left to right and computes it on the way.

    A method a level, the loosest first: sum, product, factor, power, operand.
    """

    def __init__(self, cell: Cell, equation: Equation, values: Mapping[str, Array]) -> None:
        self.cell, self.equation, self.values = cell, equation, values
        self.tokens = [match.group().strip() for match in TOKEN.finditer(equation.expression)]

    def whole(self) -> Array:
        value = self.sum()
        if self.tokens:
            raise self.error(f"{self.tokens[0]!r} follows a value", "an operator between the two")
        return value

    def sum(self) -> Array:
        return self.chain(("+", "-"), self.product)

    def product(self) -> Array:
        return self.chain(("*", "/"), self.factor)

    def chain(self, operators: tuple[str, ...], operand: Callable[[], Array]) -> Array:
        value = operand()
        while self.next in operators:
            operate = OPERATORS[self.take()]
            value = operate(*_aligned(value, operand()))
        return value

    def factor(self) -> Array:
        if self.next == "-":
            self.take()
            return -self.factor()
        return self.power()

    def power(self) -> Array:
        value = self.operand()
        if self.next == "^":
            self.take()
            return value ** self.factor()
        return value

    def operand(self) -> Array:
        token = self.take()
        if token == "(":
            value = self.sum()
            self.expect(")")
            return self.applied(value)
        if token[:1].isdigit():
            return np.asarray(float(token))
        if not _is_name(token):
            found = repr(token) if token else "the end"
            raise self.error(f"{found} stands where a value should", "a name, a number or (")
        if token in self.values:
            return self.applied(self.values[token])
        if self.next == "(" and (function := self.function(token)):
            return self.call(token, *function)
        return self.of_cell(token)

    def applied(self, value: Array) -> Array:
        """Give a value of the step, or its product with the operand that follows it."""
        turned = self.tokens[:2] == ["^", "T"] and self.follows(2)
        if turned:
            del self.tokens[:2]
        elif not self.follows(0):
            return value
        second, other = self.next, self.operand()
        if self.tokens[:2] == ["^", "T"]:
            del self.tokens[:2]
            return value[..., :, None] * other[..., None, :]
        if value.ndim == other.ndim and turned:
            return (value * other).sum(-1)
        if value.ndim != other.ndim + 1:
            raise self.error(f"{second!r} follows a value", "an operator between the two")
        matrix = value.swapaxes(-1, -2) if turned else value
        return (matrix @ other[..., None])[..., 0]

    def function(self, name: str) -> tuple[int, Callable[..., Array]] | None:
        attribute = getattr(self.cell, name, None)
        given = getattr(attribute, "__name__", type(attribute).__name__.lower())
        return FUNCTIONS.get(name) or FUNCTIONS.get(given)

    def call(self, name: str, count: int, function: Callable[..., Array]) -> Array:
        self.expect("(")
        arguments = [self.sum()]
        while self.next == ",":
            self.take()
            arguments.append(self.sum())
        self.expect(")")
        if len(arguments) != count:
            raise self.error(f"{name} is given {len(arguments)}", f"{count}")
        return function(*arguments)

    def of_cell(self, name: str) -> Array:
        """Give a tensor or a number of the cell, or its product with the operand that follows."""
        value = _array(self.cell, name)
        if value is None:
            raise self.error(
                f"{name} is unknown", "x, a state, an earlier line, or a tensor or number of it"
            )
        if value.ndim == 2 and self.tokens[:2] == ["^", "T"]:
            del self.tokens[:2]
            value = value.T
        if value.ndim < 2 or not self.follows(0):
            return value[None] if value.ndim > 1 else value  # the same for all rows
        other = self.power()
        if value.ndim == 2:
            return other @ value.T
        heads = other.reshape(len(other), len(value), -1)
        return np.einsum("bhi,hoi->bho", heads, value).reshape(len(other), -1)

    def follows(self, place: int) -> bool:
        """Say whether an operand stands at a place among the tokens to come."""
        token = "".join(self.tokens[place : place + 1])
        return token == "(" or _is_name(token)

    @property
    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self) -> str:
        return self.tokens.pop(0) if self.tokens else ""

    def expect(self, token: str) -> None:
        if (found := self.take()) != token:
            raise self.error(f"{found or 'the end'} stands where {token} should", token)

    def error(self, found: str, expected: str) -> ConfigError:
        return ConfigError(
            f"the docstring of {type(self.cell).__name__} cannot be computed: {found} in "
            f"{str(self.equation)!r}: expected {expected}"
        )


def _aligned(a: Array, b: Array) -> tuple[Array, Array]:
    """Repeat what has fewer dimensions over the last ones: a number for each row or head."""
    least = max(a.ndim, b.ndim)
    a, b = (v.reshape(v.shape + (1,) * (least - v.ndim)) if v.ndim > 1 else v for v in (a, b))
    return a, b


def _is_name(token: str) -> bool:
    return token.rstrip("'").isidentifier()


def _array(cell: Cell, name: str) -> Array | None:
    """Give the tensor or the number that `name` stands for in a cell, or None."""
    value = getattr(cell, name, None)
    if value is None and name[0] in BIAS_OF and name[1:2] in ("", "_"):
        linear = getattr(cell, BIAS_OF[name[0]] + name[1:], None)
        if isinstance(linear, nn.Linear):
            value = 0.0 if linear.bias is None else linear.bias
    if isinstance(value, nn.Linear):
        value = value.weight
    if isinstance(value, Tensor):
        return value.detach().double().cpu().numpy()
    return np.asarray(float(value)) if isinstance(value, (int, float)) else None
