"""Writing in place, as new values: a graph has no tensor that changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from unrolled.compiler.blame import Unrecordable

if TYPE_CHECKING:
    from unrolled.compiler.recorder import Recorder

aten = torch.ops.aten


@dataclass(frozen=True)
class View:
    """How a tensor came about that shares the numbers of another."""

    func: OpOverload
    base: Tensor
    args: tuple[Any, ...]  # without the base
    kwargs: dict[str, Any]
    index: int | None  # where there are several results

    def again(self) -> Tensor:
        """Take the view of what the base is now."""
        found = self.func(self.base, *self.args, **self.kwargs)
        return found if self.index is None else found[self.index]


class Aliases:
    """Which tensors see the numbers of which others, and what each is now.

    A write into a view is a new value of its base; other views of it are taken again once they are
    read.
    """

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.views: dict[int, View] = {}  # by the identity of a tensor, as all of these
        self.latest: dict[int, Tensor] = {}
        self.seen: dict[int, int] = {}  # how often its root had been written to by then
        self.writes: dict[int, int] = {}  # to a root

    def see(self, func: OpOverload, args: Any, kwargs: Any, result: Any) -> None:
        """Note what an operation gives that shares the numbers of its first operand."""
        if not _is_view(func):
            return
        one = isinstance(result, Tensor)
        for index, part in enumerate([result] if one else result):
            if part is not args[0]:
                view = View(func, args[0], args[1:], kwargs, None if one else index)
                self.views[id(part)] = view
                self.seen[id(part)] = self._written(part)

    def forget(self, func: OpOverload, made: Sequence[Tensor]) -> None:
        """Let what an operation is put together of share numbers only if it says so itself."""
        if not _is_view(func):
            for tensor in made:
                self.views.pop(id(tensor), None)

    def now(self, value: Any) -> Any:
        """Give what a tensor is now, if something was written to it; anything else as it is."""
        if not self.writes or not isinstance(value, Tensor):
            return value
        view, written = self.views.get(id(value)), self._written(value)
        if view is not None and self.seen[id(value)] != written:
            with self.recorder:
                self.latest[id(value)] = view.again()
            self.seen[id(value)] = written
        return self.latest.get(id(value), value)

    def is_written(self, tensor: Tensor) -> bool:
        """Tell whether something was written to a tensor that is no view."""
        return id(tensor) in self.writes

    def write(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        """Do what an operation does that writes, with new values.

        Args:
            func: the operation.
            args: its operands.
            kwargs: its operands by name.

        Returns:
            What it returns.
        """
        targets, rest = [], {}
        named = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | kwargs
        for argument in func._schema.arguments:
            if argument.name in named:
                value = named[argument.name]
                if argument.alias_info is not None and argument.alias_info.is_write:
                    targets.append(value)
                if not argument.is_out:
                    rest[argument.name] = value
        results = WRITES[func](**rest) if func in WRITES else _twin(func)(**rest)
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        for target, value in zip(targets, results[-len(targets) :], strict=True):
            self._put(target, value)
        own = results[: -len(targets)] or targets
        return own[0] if len(func._schema.returns) == 1 else tuple(own)

    def _put(self, target: Tensor, value: Tensor) -> None:
        value = value if value.dtype == target.dtype else value.to(target.dtype)
        value = value if _is_alike(value, target) else value.expand(target.shape)
        if not torch.is_grad_enabled() and value.is_floating_point():
            value = _past_gradients(self.now(target), value)
        view = self.views.get(id(target))
        if view is None:
            self.writes[id(target)] = self.writes.get(id(target), 0) + 1
        else:
            if view.func not in INTO:
                raise Unrecordable(f"it writes in place through {_name(view.func)}")
            into = INTO[view.func](view, value)
            self._put(view.base, into)
        self.latest[id(target)] = self.now(value)
        self.seen[id(target)] = self._written(target)

    def _written(self, tensor: Tensor) -> int:
        while (view := self.views.get(id(tensor))) is not None:
            tensor = view.base
        return self.writes.get(id(tensor), 0)


def _past_gradients(old: Tensor, new: Tensor) -> Tensor:
    """Give new numbers with the gradient of the old ones: a write under `no_grad` leaves that."""
    with torch.enable_grad():
        nothing = old - old.detach()
        return new.detach() + torch.where(nothing == 0, nothing, 0.0)  # of infinity it is NaN


def _is_view(func: OpOverload) -> bool:
    return any(value.alias_info for value in func._schema.returns)


def sizes(shape: Sequence[Any]) -> list[object]:
    """Give a shape to compare: comparing the batch to a number would tie it to a number."""
    return [n.node.expr if isinstance(n, torch.SymInt) else n for n in shape]


def _is_alike(one: Tensor, other: Tensor) -> bool:
    return sizes(one.shape) == sizes(other.shape)


def is_write(func: OpOverload) -> bool:
    """Tell whether an operation changes one of its operands."""
    return func._schema.is_mutable


@cache
def _twin(func: OpOverload) -> OpOverload:
    """Give the operation that returns what another writes."""

    def described(op: OpOverload) -> list[tuple[str, str]]:
        return [(a.name, str(a.type)) for a in op._schema.arguments if not a.is_out]

    if torch.Tag.inplace_view not in func.tags:
        name = _name(func).removesuffix("_")
        for packet in (getattr(aten, n, None) for n in (name, f"{name}_functional")):
            for op in () if packet is None else (getattr(packet, o) for o in packet.overloads()):
                if not op._schema.is_mutable and described(op) == described(func):
                    return op
    raise Unrecordable(f"it writes in place by {_name(func)}")


def _name(func: OpOverload) -> str:
    return func.overloadpacket.__name__


# self, src: named as the operations' operands are
WRITES: dict[object, Callable[..., Tensor]] = {
    aten.copy_.default: lambda self, src, non_blocking=False: src,
    aten.fill_.Scalar: torch.full_like,
    aten.fill_.Tensor: lambda self, value: value,
    aten.zero_.default: lambda self: torch.full_like(self, 0),
}


def _slice_into(
    base: Tensor,
    value: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """Put a value in the place of a piece of another."""
    size = base.shape[dim]
    if isinstance(size, torch.SymInt) or _is_alike(value, base):
        whole = _is_alike(value, base)
        return value if whole else torch.slice_scatter(base, value, dim, start, end, step)
    if step != 1:
        places = range(size)[slice(start, end, step)]
        value = value.expand(*base.shape[:dim], len(places), *base.shape[dim:][1:])
        among = {place: value.narrow(dim, number, 1) for number, place in enumerate(places)}
        return torch.cat([among.get(i, base.narrow(dim, i, 1)) for i in range(size)], dim)
    first, last, _ = slice(start, end).indices(size)
    pieces = (base.narrow(dim, 0, first), value, base.narrow(dim, last, size - last))
    return torch.cat([piece for piece in pieces if piece.shape[dim]], dim)


def _select_into(base: Tensor, value: Tensor, dim: int, index: int) -> Tensor:
    at = index % base.shape[dim]
    return _slice_into(base, value.unsqueeze(dim), dim, at, at + 1)


def _permute_into(base: Tensor, value: Tensor, order: Sequence[int]) -> Tensor:
    places = [place % len(order) for place in order]
    return value.permute([places.index(i) for i in range(len(order))]).contiguous()


def _by_base(into: Callable[..., Tensor]) -> Callable[[View, Tensor], Tensor]:
    return lambda view, value: into(view.base, value, *view.args, **view.kwargs)


def _reshaped(view: View, value: Tensor) -> Tensor:
    return value.reshape(view.base.shape)


INTO: dict[object, Callable[[View, Tensor], Tensor]] = {
    aten.slice.Tensor: _by_base(_slice_into),
    aten.select.int: _by_base(_select_into),
    aten.permute.default: _by_base(_permute_into),
    aten.view.default: _reshaped,
    aten.unsqueeze.default: _reshaped,
    aten.squeeze.default: _reshaped,
    aten.squeeze.dim: _reshaped,
    aten.squeeze.dims: _reshaped,
    aten.alias.default: lambda view, value: value,
    aten.detach.default: lambda view, value: _past_gradients(view.base, value),
}
"""The new value of a base, by the view of it that was written to."""
