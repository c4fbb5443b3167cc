"""What a capture depends on: a cell's structure, without the values of its parameters."""

import copy
import pickle
import types
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import chain, repeat
from operator import attrgetter, is_, is_not, methodcaller
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.errors import CaptureError

NO_PART = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})

CONSTANT = (
    *(int, float, complex, str, bytes, bool, types.NoneType, type, torch.dtype, torch.device),
    *(types.FunctionType, types.BuiltinFunctionType),
)
"""Types whose values stay what they are."""


class Structure:
    """A structure: it can be compared and hashed, and its hash is computed once."""

    def __init__(self, parts: tuple[Hashable, ...]) -> None:
        self.parts, self.hash = parts, hash(parts)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Structure) and self.parts == other.parts)


def structure(cell: nn.Module) -> Structure:
    """Give what makes the capture of one cell good for another.

    Two cells of the same classes, sizes, types, mode and plain attributes share their programs;
    their parameters and buffers may differ in value, and are tied in the same way. Of other
    attributes, a tensor is compared by itself and how often it was changed; an object by its own
    equality if its class defines one and a hash, and by what it pickles to otherwise.

    Example:
        >>> from unrolled.zoo import GRU
        >>> [structure(GRU(3, 5)) == structure(GRU(3, hidden)) for hidden in (5, 4)]
        [True, False]
    """
    return Structure(tuple(_described(cell, {})))


def _described(module: nn.Module, seen: dict[int, int]) -> Iterator[Hashable]:
    yield type(module)
    for name, value in vars(module).items():
        if name not in NO_PART:
            yield name, _comparable(value)
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        place = seen.setdefault(id(tensor), len(seen))  # the same for tensors that are tied
        yield name, None if tensor is None else (*_type(tensor), place)
    for name, child in module._modules.items():
        yield name, None if child is None else tuple(_described(child, seen))


def _type(tensor: Tensor) -> tuple[Hashable, ...]:
    return tuple(tensor.shape), tensor.dtype, tensor.device


@dataclass(frozen=True, eq=False)
class _Same:
    """A value, equal to itself only."""

    value: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def _comparable(value: object) -> Hashable:
    if isinstance(value, nn.Module) or (isinstance(value, Tensor) and value.requires_grad):
        raise CaptureError(
            f"a cell cannot be captured that keeps a {type(value).__name__} where its own "
            "parameters() do not find it: make it an attribute, or an item of an nn.ModuleList or "
            'nn.ParameterList, or run this cell with backend="eager".'
        )
    if isinstance(value, Tensor):
        return *_type(value), _Same(value), -1 if value.is_inference() else value._version
    if isinstance(value, dict):
        return tuple((key, _comparable(item)) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value), tuple(map(_comparable, value))
    if type(value) is float:
        return repr(value)  # NaN is not equal to itself
    if type(value) in CONSTANT or isinstance(value, Enum):
        return type(value), value
    if isinstance(value, types.MethodType):
        return value.__func__, _Same(value.__self__)
    if isinstance(value, partial):
        return _comparable((value.func, value.args, value.keywords))
    if type(value).__hash__ not in (None, object.__hash__):
        return type(value), value
    try:
        return type(value), pickle.dumps(value)
    except Exception:  # whatever pickle raises says that it cannot be told by its contents
        return type(value), _Same(value)


Tensors = Mapping[str, Tensor | None]
Kind = tuple[torch.Size, torch.dtype, torch.device]

KIND: Callable[[Tensor], Kind] = attrgetter("shape", "dtype", "device")

_is_there = partial(is_not, None)


def _keys(mappings: Sequence[Mapping[Any, object]]) -> list[object]:
    """Give the keys of all, and how many each has."""
    return [*map(len, mappings), *chain.from_iterable(mappings)]


def _values(mappings: Sequence[Mapping[Any, Any]]) -> list[Any]:
    return list(chain.from_iterable(map(methodcaller("values"), mappings)))


class Trace:
    """A cell's structure, where its tensors are, and a quick look whether that is still so.

    The look is at the objects that the modules hold, and at the sizes and types of parameters and
    buffers and which of them are tied. `quick` is False where a module holds an object that could
    change inside: its structure has to be made anew for every call. `sealed`: see `seal`.
    """

    sealed = False

    def __init__(self, cell: nn.Module) -> None:
        self.structure, self.quick = structure(cell), True
        self.parts: list[nn.Module] = []  # of the cell, which is not kept itself
        self.empty: list[object] = []  # containers that hold nothing
        self.filled: list[Mapping[Any, object]] = []
        self.owners: list[Tensors] = []
        self.places: dict[str, tuple[Tensors, str]] = {}
        self._module(cell, "")
        self.kinds = [type(cell), *map(type, self.parts)]
        self.keys, self.values = _keys(self.filled), _values(self.filled)
        self.tensors = self._tensors()

    def holds(self, cell: nn.Module) -> bool:
        """Tell whether the structure of this cell is what it was.

        Everything is looked at for every call, so no loop here is one of Python's own.
        """
        return (
            [type(cell), *map(type, self.parts)] == self.kinds
            and not any(self.empty)
            and _keys(self.filled) == self.keys
            and all(map(is_, _values(self.filled), self.values))
            and self._tensors() == self.tensors
        )

    def tensor(self, path: str) -> Tensor:
        """Give a parameter or a buffer by its path in the cell."""
        owner, name = self.places[path]
        found = owner[name]
        assert found is not None
        return found

    def _tensors(self) -> tuple[list[object], list[bool], list[Kind], list[int]]:
        """Describe the tensors: names, which are None, the others' kinds, and which are tied."""
        found = _values(self.owners)
        there = list(filter(_is_there, found))
        last = dict(zip(map(id, found), range(len(found)), strict=True))
        return (
            _keys(self.owners),
            list(map(is_, found, repeat(None))),
            list(map(KIND, there)),
            list(map(last.__getitem__, map(id, found))),
        )

    def _module(self, module: nn.Module, path: str) -> None:
        for name, value in vars(module).items():
            if name not in NO_PART:
                self._watch(value)
        self._watch_dict(vars(module))
        self._watch_dict(module._modules)
        for owner in (module._parameters, module._buffers):
            self.owners.append(owner)
            self.places |= {f"{path}{name}": (owner, name) for name in owner}
        for name, child in module._modules.items():
            if child is not None:
                self.parts.append(child)
                self._module(child, f"{path}{name}.")

    def _watch(self, value: object) -> None:
        """Keep what is needed to see whether a value changes inside."""
        if isinstance(value, (dict, list, set)) and not value:
            self.empty.append(value)
        elif isinstance(value, dict):
            self._watch_dict(value)
            for item in value.values():
                self._watch(item)
        elif type(value) is tuple:
            for item in value:
                self._watch(item)
        elif type(value) not in CONSTANT and not isinstance(value, Enum):
            self.quick = False

    def _watch_dict(self, held: Mapping[Any, object]) -> None:
        self.filled.append(held)


_TRACES: WeakKeyDictionary[nn.Module, Trace] = WeakKeyDictionary()


def trace(cell: nn.Module) -> Trace:
    """Give the trace of a cell: the last one, if it still holds."""
    found = _TRACES.get(cell)
    if found is None or not (found.sealed or (found.quick and found.holds(cell))):
        found = _TRACES[cell] = Trace(cell)
    return found


def seal(cell: nn.Module) -> None:
    """Promise that the structure of a cell will not change any more: nobody looks again.

    Its tensors may still be replaced by others of their shapes, types and devices that are tied in
    the same way.
    """
    trace(cell).sealed = True


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
                memo[id(tensor)] = nn.Parameter(_like(tensor, random), _has_slope(tensor))
        for tensor in part._buffers.values():
            if tensor is not None:
                memo[id(tensor)] = _like(tensor, random)
    try:
        return copy.deepcopy(cell, memo)
    except (RuntimeError, TypeError) as error:
        raise CaptureError(
            f"{type(cell).__name__} cannot be captured: it cannot be copied ({error})"
        ) from error


def _has_slope(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _like(tensor: Tensor, random: torch.Generator) -> Tensor:
    """Give a tensor of the same shape, type and device; a tracer may have hidden the numbers."""
    if tensor.is_complex():
        view = torch.view_as_real(tensor.detach())
        return torch.view_as_complex(_like(view, random))
    if tensor.is_floating_point():
        numbers = 0.2 + 0.6 * torch.rand(tensor.shape, generator=random, dtype=torch.float64)
        return numbers.to(tensor.device, tensor.dtype)
    if tensor.is_meta or type(tensor) not in (Tensor, nn.Parameter):
        return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
    return tensor.detach().clone()
