"""`Pairs`: the complex tensors of a step that is being recorded."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_map

from unrolled.compiler.aliases import is_write
from unrolled.compiler.blame import Unrecordable
from unrolled.compiler.complex.pair import Pair, even, filled, is_pair
from unrolled.compiler.complex.rules import COMPLEX

if TYPE_CHECKING:
    from unrolled.compiler.recorder import Recorder

aten = torch.ops.aten

OF_REAL = frozenset(
    {aten.view_as_complex.default, aten.complex.default, aten.polar.default}
    | {aten.fft_fft.default, aten.fft_ifft.default, aten.fft_rfft.default}
)
"""What gives complex numbers for real ones."""


class Pairs:
    """The complex tensors of a step that is being recorded."""

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.known: dict[int, Pair] = {}  # by the identity of a tensor

    def concern(self, func: OpOverload, args: Any, kwargs: Any) -> bool:
        """Tell whether an operation takes complex numbers, or gives some."""
        if func in OF_REAL:
            return True
        return any(map(_is_complex, _leaves((args, tuple(kwargs.values())))))

    def run(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        """Do with pairs what an operation does with complex numbers."""
        name = func.overloadpacket.__name__
        if is_write(func):
            raise Unrecordable(f"it writes in place to complex numbers ({name})")
        try:
            return self._in_parts(func, args, kwargs)
        except Unrecordable:
            given = _leaves((args, tuple(kwargs.values())))
            sizes = [size for x in given if isinstance(x, Tensor) for size in x.shape]
            if not all(isinstance(size, int) for size in sizes):
                raise
            return self.recorder.as_it_is(func, args, kwargs)  # of parameters: PyTorch does it

    def _in_parts(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        rule = COMPLEX.get(func)
        if rule is None and not func._can_decompose():
            name = func.overloadpacket.__name__
            raise Unrecordable(f"it computes with complex numbers ({name})")
        given, named = tree_map(self._as_pair, (args, kwargs)) if rule else (args, kwargs)
        with self.recorder:
            if rule is None:
                return func.decompose(*args, **kwargs)
            found = tree_map(even, rule(*given, **named), is_leaf=is_pair)
        return tree_map(self._as_tensor, found, is_leaf=is_pair)

    def of(self, tensor: Tensor) -> Pair:
        """Give the parts of a tensor; one that the step was given is cut into them."""
        if id(tensor) not in self.known:
            both = self.recorder.real_parts(tensor)
            with self.recorder:
                self.known[id(tensor)] = Pair(both.select(-1, 0), both.select(-1, 1))
        return self.known[id(tensor)]

    def whole(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Give both parts as tensors."""
        pair = self.of(tensor)
        with self.recorder:
            return pair.real, filled(pair.imag, pair.real)

    def _as_pair(self, value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_complex():
            return self.of(self.recorder._fake(value))
        return Pair.of(value) if isinstance(value, complex) else value

    def _as_tensor(self, value: Any) -> Any:
        """Give a tensor without numbers that stands for a pair."""
        if not isinstance(value, Pair):
            return value
        found = self.recorder.complex_like(value.real)
        self.known[id(found)] = value
        return found


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _is_complex(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_complex()
    return isinstance(value, complex) or (isinstance(value, torch.dtype) and value.is_complex)
