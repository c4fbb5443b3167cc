"""Every pointwise operation in every instruction set, over its whole range, against PyTorch."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.backends.llvm.kernel import Kernel
from unrolled.backends.llvm.pointwise import POINTWISE
from unrolled.backends.llvm.target import targets
from unrolled.ir import OPS, Op, parse, verify

TARGETS = targets()
MOST_ULP = 3.0
"""How far a result may be from the true one, in units of its own last place."""

SPECIAL = [float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-40, -1e-40, 1e30, -1e30, 1.0]

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # what long double has a word for
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.where(x > 20, x, np.logaddexp(x, np.longdouble(0))),
    "sin": np.sin,
    "cos": np.cos,
}
PRECISE_TO = {"sin": 1e-7, "cos": 1e-7}
"""Absolute errors where the result is near 0 but its argument is not."""


def apply(operations: Sequence[str], target: str, dtype: str, *operands: Tensor) -> list[Tensor]:
    """Apply operations to the same vectors, by one kernel whose state is one row of them."""
    width = operands[0].numel()
    names = ", ".join(f"x{i}" for i in range(len(operands)))
    lines = [f"program {dtype}", *(f"input x{i}: rows {width}" for i in range(len(operands)))]
    lines += ["state h: rows 1"]
    lines += [f"y{i} = {one} {names} : rows {width}" for i, one in enumerate(operations)]
    lines += [f"output y{i} = y{i}" for i in range(len(operations))]
    kernel = Kernel(verify(parse("\n".join([*lines, "next h = h"]))), TARGETS[target])
    inputs = {f"x{i}": x.reshape(1, 1, -1) for i, x in enumerate(operands)}
    state = {"h": torch.zeros(1, 1, dtype=operands[0].dtype)}
    found = kernel(inputs, {}, state, {}, time=1).outputs
    return [found[f"y{i}"].flatten() for i in range(len(operations))]


def samples(dtype: str) -> np.ndarray:
    random = np.random.default_rng(0)
    parts = [
        random.uniform(-110, 110, 2000),
        random.normal(size=2000),
        np.exp(random.uniform(-80, 80, 2000)),
        -np.exp(random.uniform(-80, 80, 1000)),
        random.uniform(0.9, 1.1, 1003),
    ]
    return np.concatenate(parts).astype(dtype)


@cache
def of_functions(dtype: str, target: str) -> dict[str, Tensor]:
    """Give what one kernel makes of the samples."""
    given = torch.from_numpy(samples(dtype))
    return dict(zip(FUNCTIONS, apply([*FUNCTIONS], target, dtype, given), strict=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", FUNCTIONS)
def test_a_function_is_within_a_few_units_in_the_last_place(
    op: str, dtype: str, target: str
) -> None:
    x = samples(dtype)
    found = of_functions(dtype, target)[op].numpy()
    with np.errstate(all="ignore"):
        wanted = FUNCTIONS[op](x.astype(np.longdouble))
        rounded = wanted.astype(dtype)
        error = np.abs(found.astype(np.longdouble) - wanted)
        ulps = error / np.spacing(np.abs(rounded))
    normal = np.isfinite(rounded) & (np.abs(rounded) > np.finfo(dtype).tiny)
    near_0 = error < PRECISE_TO.get(op, 0.0) * (1.0 if dtype == "float32" else 1e-9)
    assert np.isfinite(found[normal]).all()
    assert float(np.where(normal & ~near_0, ulps, 0).max()) <= MOST_ULP


UNARY = [op for op, spec in OPS.items() if spec.kind == "pointwise" and spec.arity == 1]
UNARY.remove(Op.NOT)
BINARY = ["add", "sub", "mul", "div", "minimum", "maximum"]
ATTRIBUTES = {Op.CLAMP: "[-1.0, 2.0]", Op.POW: "[3.0]"}


def meaning(op: Op) -> Callable[..., Tensor]:
    names = {"softplus": torch.nn.functional.softplus, "pow": torch.pow}
    return names.get(op) or getattr(torch, op)


def special(dtype: str) -> Tensor:
    return torch.tensor(SPECIAL + [0.5, 1.5, 2.5, -0.5, -1.5, 7.25], dtype=getattr(torch, dtype))


@cache
def of_special(dtype: str, target: str) -> dict[Op, Tensor]:
    """Give what one kernel makes of numbers that are none."""
    operations = [f"{op}{ATTRIBUTES.get(op, '')}" for op in UNARY]
    return dict(zip(UNARY, apply(operations, target, dtype, special(dtype)), strict=True))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", UNARY)
def test_nan_and_infinity_come_out_as_in_pytorch(op: Op, dtype: str, target: str) -> None:
    arguments = {Op.CLAMP: (-1.0, 2.0), Op.POW: (3.0,)}.get(op, ())
    found, wanted = of_special(dtype, target)[op], meaning(op)(special(dtype), *arguments)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-37, equal_nan=True)


EXPONENTS = [0.0, 1.0, 2.0, 7.0, 0.5, -0.5, -2.0, 2.5, 0.3, -1.7]


def test_powers() -> None:
    x = torch.tensor([0.25, 1.0, 3.5, 100.0, 0.0, float("nan")], dtype=torch.float64)
    operations = [f"pow[{exponent}]" for exponent in EXPONENTS]
    for exponent, y in zip(EXPONENTS, apply(operations, "portable", "float64", x), strict=True):
        torch.testing.assert_close(y, x**exponent, rtol=1e-13, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("target", TARGETS)
def test_two_operands(target: str) -> None:
    grid = torch.tensor(SPECIAL)
    a, b = (x.flatten().clone() for x in torch.meshgrid(grid, grid, indexing="ij"))
    for op, found in zip(BINARY, apply(BINARY, target, "float32", a, b), strict=True):
        torch.testing.assert_close(found, getattr(torch, op)(a, b), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("op", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_and_logic(op: str, target: str) -> None:
    grid = torch.tensor(SPECIAL)
    a, b = (x.flatten().clone() for x in torch.meshgrid(grid, grid, indexing="ij"))
    width = a.numel()
    text = f"""program float32
        input a: rows {width}
        input b: rows {width}
        state h: rows 1
        m = {op} a, b : mask {width}
        g = gt a, 0.0 : mask {width}
        n = not g : mask {width}
        o = or m, n : mask {width}
        p = and o, m : mask {width}
        y = where p, a, 2.0 : rows {width}
        output y = y
        next h = h"""
    inputs = {"a": a.reshape(1, 1, -1), "b": b.reshape(1, 1, -1)}
    kernel = Kernel(verify(parse(text)), TARGETS[target])
    found = kernel(inputs, {}, {"h": torch.zeros(1, 1)}, {}, time=1).outputs["y"].flatten()
    wanted = torch.where(getattr(torch, op)(a, b), a, 2.0)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


def test_every_pointwise_operation_of_the_table_has_a_row() -> None:
    assert set(POINTWISE) == {op for op, spec in OPS.items() if spec.kind == "pointwise"}
