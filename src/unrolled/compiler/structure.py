"""What a capture depends on: a cell's structure, without the values of its tensors."""

import copy
from collections.abc import Hashable, Iterator

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.errors import CaptureError

NO_PART = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})


def structure(cell: Cell) -> Hashable:
    """Give what makes the capture of one cell good for another.

    Two cells of the same classes, sizes, types, mode and plain attributes share their programs;
    their parameters and buffers may differ in value, and are tied in the same way. An attribute
    that cannot be compared, such as a NumPy array, makes the cell its own structure.

    Example:
        >>> from unrolled.zoo import GRU
        >>> [structure(GRU(3, 5)) == structure(GRU(3, hidden)) for hidden in (5, 4)]
        [True, False]
    """
    return tuple(_described(cell, {}))


def _described(module: nn.Module, seen: dict[int, int]) -> Iterator[Hashable]:
    yield type(module)
    for name, value in vars(module).items():
        if name not in NO_PART:
            yield name, _comparable(value, module)
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        place = seen.setdefault(id(tensor), len(seen))  # the same for tensors that are tied
        yield name, _comparable(tensor, module), None if tensor is None else place
    for name, child in module._modules.items():
        yield name, None if child is None else tuple(_described(child, seen))


def _comparable(value: object, module: nn.Module) -> Hashable:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.device
    if isinstance(value, dict):
        return tuple((key, _comparable(item, module)) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value), tuple(_comparable(item, module) for item in value)
    if isinstance(value, float):
        return repr(value)  # NaN is not equal to itself
    return type(value), value if isinstance(value, Hashable) else module


def skeleton(cell: Cell) -> Cell:
    """Copy a cell with random numbers for its parameters, to trace and to try out.

    The cell itself is not touched: tracing runs its code. Whole numbers and truth values keep their
    values, since they may be indices.

    Raises:
        CaptureError: the cell cannot be copied.
    """
    random = torch.Generator().manual_seed(0)
    memo: dict[int, object] = {}
    for part in cell.modules():
        for tensor in part._parameters.values():
            if tensor is not None:
                memo[id(tensor)] = nn.Parameter(_like(tensor, random), tensor.is_floating_point())
        for tensor in part._buffers.values():
            if tensor is not None:
                memo[id(tensor)] = _like(tensor, random)
    try:
        return copy.deepcopy(cell, memo)
    except (RuntimeError, TypeError) as error:
        raise CaptureError(
            f"{type(cell).__name__} cannot be captured: it cannot be copied ({error})"
        ) from error


def _like(tensor: Tensor, random: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        return torch.zeros_like(tensor) if tensor.is_meta else tensor.detach().clone()
    numbers = torch.rand(tensor.shape, generator=random, dtype=torch.float64)
    return (0.2 + 0.6 * numbers).to(tensor)
