"""What a program computes, written once more, plainly, in PyTorch: what the kernels are held to."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unrolled.ir import Op, Program, Type, parse, verify

MEANING: dict[Op, Callable[..., Tensor]] = {
    Op.NEG: torch.neg,
    Op.ABS: torch.abs,
    Op.SIGN: torch.sign,
    Op.FLOOR: torch.floor,
    Op.ROUND: torch.round,
    Op.EXP: torch.exp,
    Op.EXPM1: torch.expm1,
    Op.LOG: torch.log,
    Op.LOG1P: torch.log1p,
    Op.SQRT: torch.sqrt,
    Op.RSQRT: torch.rsqrt,
    Op.RECIPROCAL: torch.reciprocal,
    Op.SIN: torch.sin,
    Op.COS: torch.cos,
    Op.ERF: torch.erf,
    Op.ATAN: torch.atan,
    Op.SIGMOID: torch.sigmoid,
    Op.TANH: torch.tanh,
    Op.RELU: torch.relu,
    Op.SOFTPLUS: torch.nn.functional.softplus,
    Op.DETACH: torch.detach,
    Op.CLAMP: torch.clamp,
    Op.POW: torch.pow,
    Op.ADD: torch.add,
    Op.SUB: torch.sub,
    Op.MUL: torch.mul,
    Op.DIV: torch.div,
    Op.MINIMUM: torch.minimum,
    Op.MAXIMUM: torch.maximum,
    Op.LT: torch.lt,
    Op.LE: torch.le,
    Op.GT: torch.gt,
    Op.GE: torch.ge,
    Op.EQ: torch.eq,
    Op.NE: torch.ne,
    Op.AND: torch.logical_and,
    Op.OR: torch.logical_or,
    Op.NOT: torch.logical_not,
    Op.WHERE: torch.where,
    Op.SURROGATE: lambda value, at, slope: value,
    Op.MATMUL: lambda x, w: _product(x, w),
    Op.MATMUL_T: lambda x, w: _product(x, w.mT),
    Op.SUM: lambda x, o, m, i: x.reshape(-1, o, m, i).sum(2).flatten(1),
    Op.MAX: lambda x, o, m, i: x.reshape(-1, o, m, i).amax(2).flatten(1),
    Op.EXPAND: lambda x, o, m, i: x.reshape(-1, o, 1, i).expand(-1, o, m, i).flatten(1),
    Op.SLICE: lambda x, begin, end: x[:, begin:end],
    Op.CONCAT: lambda *xs: torch.cat(xs, 1),
    Op.SWAP: lambda x, o, a, b, i: x.reshape(-1, o, a, b, i).transpose(2, 3).flatten(1),
}


def _product(x: Tensor, w: Tensor) -> Tensor:
    if w.dim() == 2:
        return x @ w
    blocks, k, _ = w.shape
    return torch.einsum("rbk,bkn->rbn", x.reshape(-1, blocks, k), w).flatten(1)


def run_step(program: Program, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every value of one step."""
    values = dict(given)
    like = next(iter(given[s.name] for s in program.states))
    for operation in program.body:
        if operation.op == Op.FILL:
            number, width = operation.attributes
            values[operation.name] = like.new_full((len(like), int(width)), number)
            continue
        operands = [
            values[o] if isinstance(o, str) else like.new_tensor(o) for o in operation.operands
        ]
        values[operation.name] = MEANING[operation.op](*operands, *operation.attributes)
    return values


def reference(
    program: Program,
    inputs: dict[str, Tensor],
    constants: dict[str, Tensor],
    states: dict[str, Tensor],
    fixed: dict[str, Tensor],
    *,
    time: int,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Give the outputs (time, batch, width) and the last states, in float64."""
    wide = [{n: x.double() for n, x in group.items()} for group in (inputs, constants, fixed)]
    inputs, constants, fixed = wide
    state = {name: x.double() for name, x in states.items()}
    batch = len(next(iter(state.values())))
    ends = torch.full((batch,), time) if lengths is None else lengths
    outputs = {
        name: torch.zeros(time, batch, program.types[str(value)].width, dtype=torch.float64)
        for name, value in program.outputs
    }
    for t in range(time - 1, -1, -1) if reverse else range(time):
        active = (t < ends)[:, None]
        step = {name: torch.where(active, x[t], 0.0) for name, x in inputs.items()}
        values = run_step(program, step | constants | state | fixed)
        for name, value in program.outputs:
            outputs[name][t] = torch.where(active, values[str(value)], 0.0)
        state = {s: torch.where(active, values[str(v)], state[s]) for s, v in program.next}
    return outputs, state


@pytest.fixture(name="reference")
def reference_fixture() -> Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Give `reference`; test files cannot import one another."""
    return reference


def build(name: str, hidden: int, dtype: str) -> Program:
    """Give one of the folder's programs, for so many units."""
    text = (Path(__file__).parent / "programs" / f"{name}.txt").read_text()
    text = text.replace("{dtype}", dtype).replace("{P}", str(hidden // 2 + 1))
    for factor in (1, 2, 3, 4):
        text = text.replace("{%sH}" % ("" if factor == 1 else factor), str(factor * hidden))
    return verify(parse(text.replace("{3H+3}", str(3 * hidden + 3)).replace("{3}", "3")))


@pytest.fixture
def program() -> Callable[[str, int, str], Program]:
    """Give `build`."""
    return build


def draw(program: Program, time: int, batch: int) -> dict[str, dict[str, Tensor]]:
    """Draw what a program is given."""
    dtype = getattr(torch, program.dtype)

    def normal(type: Type, *sizes: int) -> Tensor:
        scale = type.shape[-2] ** -0.5 if len(type.shape) > 1 else 1.0
        return (torch.randn((*sizes, *type.shape)) * scale).to(dtype)

    return {
        "inputs": {v.name: normal(v.type, time, batch) for v in program.inputs},
        "constants": {v.name: normal(v.type, batch) for v in program.constants},
        "states": {v.name: normal(v.type, batch) for v in program.states},
        "fixed": {v.name: normal(v.type) for v in program.fixed},
    }


@pytest.fixture
def arguments() -> Callable[[Program, int, int], dict[str, dict[str, Tensor]]]:
    """Give `draw`."""
    return draw
