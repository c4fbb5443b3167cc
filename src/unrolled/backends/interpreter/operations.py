"""What every operation of a program computes, in PyTorch: the definition that all backends keep.

An operand is rows (batch, width), a mask of that shape, a fixed tensor, or a number.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.ir import Op
from unrolled.ir.surrogate import surrogate

Number = int | float
Compute = Callable[..., Tensor]
"""(operands, attributes, an example of rows) -> the value."""


def _of(function: Callable[..., Tensor]) -> Compute:
    """An operation that is a function of PyTorch by itself."""
    return lambda operands, attributes, like: function(*operands)


def _tensors(function: Callable[..., Tensor]) -> Compute:
    """As `_of`, for a function that takes no numbers."""

    def compute(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
        return function(*(o if isinstance(o, Tensor) else like.new_tensor(o) for o in operands))

    return compute


def _compared(name: str) -> Compute:
    """A comparison; the operator of Python takes a number on either side."""
    function = getattr(torch, name)
    mirror = getattr(torch, {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}.get(name, name))

    def compute(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
        left, right = operands
        return function(left, right) if isinstance(left, Tensor) else mirror(right, left)

    return compute


def _commuting(function: Callable[..., Tensor]) -> Compute:
    """Arithmetic whose operands may change places; a number comes second."""

    def compute(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
        left, right = operands
        return function(left, right) if isinstance(left, Tensor) else function(right, left)

    return compute


def _sub(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return operands[0] - operands[1]


def _div(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return operands[0] / operands[1]


def _clamp(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return operands[0].clamp(*attributes)


def _pow(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return operands[0].pow(attributes[0])


def _where(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    mask, *values = operands
    return torch.where(mask, *(v if isinstance(v, Tensor) else like.new_tensor(v) for v in values))


def _surrogate(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    tensors = (o if isinstance(o, Tensor) else like.new_tensor(o) for o in operands)
    return surrogate(*torch.broadcast_tensors(*tensors))


def _matmul(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    value, matrix = operands
    if matrix.dim() == 2:
        return value @ matrix
    blocks = value.unflatten(1, (matrix.shape[0], matrix.shape[1])).transpose(0, 1)
    return torch.bmm(blocks, matrix).transpose(0, 1).flatten(1)


def _matmul_t(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    value, matrix = operands
    return _matmul([value, matrix.transpose(-1, -2)], attributes, like)


def _seen(value: Tensor, attributes: tuple[Number, ...]) -> Tensor:
    return value.reshape(value.shape[0], *map(int, attributes))


def _sum(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return _seen(operands[0], attributes).sum(2).flatten(1)


def _max(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return _seen(operands[0], attributes).amax(2).flatten(1)


def _expand(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    outer, middle, inner = map(int, attributes)
    value = operands[0].reshape(-1, outer, 1, inner)
    return value.expand(-1, outer, middle, inner).reshape(-1, outer * middle * inner)


def _slice(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    begin, end = map(int, attributes)
    return operands[0][:, begin:end]


def _concat(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return torch.cat(operands, 1)


def _swap(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return _seen(operands[0], attributes).transpose(2, 3).flatten(1)


def _fill(operands: list, attributes: tuple[Number, ...], like: Tensor) -> Tensor:
    return like.new_full((like.shape[0], int(attributes[1])), attributes[0])


INTERPRET: dict[Op, Compute] = {
    Op.NEG: _of(torch.neg),
    Op.ABS: _of(torch.abs),
    Op.SIGN: _of(torch.sign),
    Op.FLOOR: _of(torch.floor),
    Op.ROUND: _of(torch.round),
    Op.EXP: _of(torch.exp),
    Op.EXPM1: _of(torch.expm1),
    Op.LOG: _of(torch.log),
    Op.LOG1P: _of(torch.log1p),
    Op.SQRT: _of(torch.sqrt),
    Op.RSQRT: _of(torch.rsqrt),
    Op.RECIPROCAL: _of(torch.reciprocal),
    Op.SIN: _of(torch.sin),
    Op.COS: _of(torch.cos),
    Op.ERF: _of(torch.erf),
    Op.ATAN: _of(torch.atan),
    Op.SIGMOID: _of(torch.sigmoid),
    Op.TANH: _of(torch.tanh),
    Op.RELU: _of(torch.relu),
    Op.SOFTPLUS: _of(functional.softplus),
    Op.DETACH: _of(torch.detach),
    Op.CLAMP: _clamp,
    Op.POW: _pow,
    Op.ADD: _commuting(torch.add),
    Op.SUB: _sub,
    Op.MUL: _commuting(torch.mul),
    Op.DIV: _div,
    Op.MINIMUM: _tensors(torch.minimum),
    Op.MAXIMUM: _tensors(torch.maximum),
    Op.LT: _compared("lt"),
    Op.LE: _compared("le"),
    Op.GT: _compared("gt"),
    Op.GE: _compared("ge"),
    Op.EQ: _compared("eq"),
    Op.NE: _compared("ne"),
    Op.AND: _of(torch.logical_and),
    Op.OR: _of(torch.logical_or),
    Op.NOT: _of(torch.logical_not),
    Op.WHERE: _where,
    Op.SURROGATE: _surrogate,
    Op.MATMUL: _matmul,
    Op.MATMUL_T: _matmul_t,
    Op.SUM: _sum,
    Op.MAX: _max,
    Op.EXPAND: _expand,
    Op.SLICE: _slice,
    Op.CONCAT: _concat,
    Op.SWAP: _swap,
    Op.FILL: _fill,
}
