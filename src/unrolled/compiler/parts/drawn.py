"""Random numbers: all that is drawn in a step is made of `rand` and `randn`, for each row its own.

Those read nothing of a state: they are drawn before the loop, for all steps and sequences at once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from unrolled.compiler.parts.table import Parts

aten = torch.ops.aten

DRAWS = frozenset({aten.rand.default, aten.randn.default})
"""The operations that draw."""


def _uniform(x: Tensor) -> Tensor:
    return torch.rand(x.shape, dtype=x.dtype, device=x.device)


def _normal(x: Tensor) -> Tensor:
    return torch.randn(x.shape, dtype=x.dtype, device=x.device)


def _like(draw: Callable[[Tensor], Tensor]) -> Parts:
    def drawn(x: Tensor, *, dtype: torch.dtype | None = None, **_: object) -> Tensor:
        return draw(x if dtype in (None, x.dtype) else x.to(dtype))

    return drawn


def _where(x: Tensor, chance: "float | Tensor") -> Tensor:
    return (_uniform(x) < chance).to(x.dtype)


def _dropout(x: Tensor, chance: float, train: bool | None = True) -> tuple[Tensor, Tensor | None]:
    if train is False or chance == 0:
        return x.clone(), None
    if chance == 1:
        return x * 0.0, None
    return x * (_where(x, 1 - chance) / (1 - chance)), None


def _written(made: Callable[..., Tensor]) -> Parts:
    """Write what is drawn into a tensor."""

    def write(x: Tensor, *arguments: Any, generator: object = None, **named: Any) -> Any:
        if generator is not None:
            return NotImplemented
        return x.copy_(made(x, *arguments, **named))

    return write


def _given(made: Callable[..., Tensor]) -> Parts:
    """Give what is drawn."""

    def give(*arguments: Any, generator: object = None, **named: Any) -> Any:
        return made(*arguments, **named) if generator is None else NotImplemented

    return give


def _between(x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return _uniform(x) * (high - low) + low


def _around(x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return _normal(x) * std + mean


def _waiting(x: Tensor, rate: float = 1.0) -> Tensor:
    """Exponential: of 1 - u, which is never 0, as u is never 1."""
    return -torch.log1p(-_uniform(x)) / rate


DRAWN: dict[object, Parts] = {
    aten.rand_like.default: _like(_uniform),
    aten.randn_like.default: _like(_normal),
    aten.native_dropout.default: _dropout,
    aten.bernoulli.default: _given(lambda chances: _where(chances, chances)),
    aten.bernoulli.p: _given(_where),
    aten.bernoulli_.float: _written(lambda x, chance=0.5: _where(x, chance)),
    aten.bernoulli_.Tensor: _written(_where),
    aten.uniform_.default: _written(_between),
    aten.normal_.default: _written(_around),
    aten.exponential_.default: _written(_waiting),
    aten.normal.Tensor_Tensor: _given(lambda mean, std: _normal(mean) * std + mean),
    aten.normal.Tensor_float: _given(lambda mean, std=1.0: _normal(mean) * std + mean),
    aten.normal.float_Tensor: _given(lambda mean, std: _normal(std) * std + mean),
}


class Drawn(TorchDispatchMode):
    """Draws as a graph does, the same numbers every time, from a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in DRAWS:
            device = torch.device(kwargs.get("device") or "cpu")
            if device not in self.generators:
                self.generators[device] = torch.Generator(device).manual_seed(0)
            draw = func.overloadpacket.generator
            return draw(*args, generator=self.generators[device], **kwargs)
        if func in DRAWN:
            with self:
                found = DRAWN[func](*args, **kwargs)
            if found is not NotImplemented:
                return found
        if torch.Tag.nondeterministic_seeded in func.tags:  # it is refused: nothing is to remain
            with torch.random.fork_rng(devices=[]):
                return func(*args, **kwargs)
        return func(*args, **kwargs)
