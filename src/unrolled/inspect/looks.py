"""Where attention looked while a model ran."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from unrolled.layers.attending import Bahdanau
from unrolled.layers.attention import Attention, Memory


@dataclass(frozen=True)
class Looked:
    """Where one attention of a model looked."""

    name: str  # its place in the model
    weights: Tensor  # (time, batch, source)
    visible: Tensor  # (batch, source) bool: which places each memory has

    @property
    def breadth(self) -> Tensor:
        """Over how many places each look spreads, (time, batch): e to the entropy, from 1."""
        return torch.special.entr(self.weights).sum(-1).exp()


@contextmanager
def looking(model: nn.Module) -> Iterator[list[Looked]]:
    """Note where every `Attention` of a model looks, inside; it is known at the end.

    Only runs with gradients are noted: what an inspection computes again, without them, is not.
    Attention inside a step, which a kernel would not show, runs step by step meanwhile.

    Example:
        >>> attention = Attention("dot", 4, 4)
        >>> with looking(nn.ModuleDict({"look": attention})) as seen:
        ...     _ = attention(torch.randn(7, 2, 4), attention.memory(torch.randn(5, 2, 4)))
        >>> seen[0].name, seen[0].weights.shape
        ('look', torch.Size([7, 2, 5]))
    """
    pieces: dict[str, list[Tensor]] = {}
    visible: dict[str, Tensor] = {}

    def note(
        name: str, _: nn.Module, given: tuple[Tensor, Memory], results: tuple[Tensor, Tensor]
    ) -> None:
        weights = results[1].detach()
        if torch.is_grad_enabled():
            pieces.setdefault(name, []).append(weights if weights.dim() == 3 else weights[None])
            visible[name] = given[1]["visible"]

    hooks = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if isinstance(module, Attention)
    ]
    found: list[Looked] = []
    inside = {m: m.backend for m in model.modules() if isinstance(m, Bahdanau)}
    for module in inside:
        module.backend = "eager"
    try:
        yield found
    finally:
        for module, backend in inside.items():
            module.backend = backend
        for hook in hooks:
            hook.remove()
        found += [Looked(n, torch.cat(some), visible[n]) for n, some in pieces.items()]
