"""`torch.nn.MultiheadAttention` inside a step."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.compiler.capture import capture
from unrolled.errors import CaptureError
from unrolled.recurrence import unroll

PADDING = torch.tensor([[False, False, True]])
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of the module, of the call
    "plain": ({}, {}),
    "batch-first": ({"batch_first": True}, {}),
    "without-biases": ({"bias": False}, {"need_weights": False}),
    "other-widths": ({"kdim": 6, "vdim": 6}, {}),
    "each-head": ({}, {"average_attn_weights": False}),
    "mask": ({}, {"attn_mask": torch.tensor([[False, True, False]])}),
    "added-mask": ({}, {"attn_mask": torch.tensor([[0.5, -1.0, 0.0]], dtype=torch.float64)}),
    "padding": ({"batch_first": True}, {"key_padding_mask": PADDING}),
}


class Reads(Cell):
    """A step that reads a memory by its state, with four heads."""

    def __init__(self, options: dict[str, Any], named: dict[str, Any]) -> None:
        super().__init__(h=8)
        self.W = nn.Linear(6, 8)
        self.attention, self.named = nn.MultiheadAttention(8, 4, **options), named

    def forward(self, x: Tensor, h: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        first = 1 if self.attention.batch_first else 0
        keys = memory if first else memory.transpose(0, 1)
        keys = keys if self.attention.kdim == 6 else torch.cat([keys, keys[..., :2]], -1)
        named = dict(self.named)
        if "key_padding_mask" in named:
            named["key_padding_mask"] = named["key_padding_mask"].expand(x.shape[0], 3)
        read, weights = self.attention(h.unsqueeze(first), keys, keys, **named)
        seen = 0 if weights is None else weights.flatten(1).square().sum(-1, keepdim=True)
        h = torch.tanh(self.W(x) + read.squeeze(first) + seen)
        return h, h


@pytest.mark.parametrize("frozen", [False, True], ids=["learnt", "frozen"])
@pytest.mark.parametrize("name", KINDS)
def test_it_is_compiled(name: str, frozen: bool) -> None:
    cell = Reads(*KINDS[name]).double()
    if frozen:
        cell.attention.requires_grad_(False)
    xs, memory = (torch.randn(4, 2, 6, dtype=torch.float64) for _ in range(2))
    memory = memory[:3].transpose(0, 1).clone()
    found = []
    for backend in ("llvm", "eager"):
        given = [xs.clone().requires_grad_(), memory.clone().requires_grad_()]
        ys, _ = unroll(cell, given[0], backend=backend, constants={"memory": given[1]})
        learnt = [p for p in cell.parameters() if p.requires_grad]
        found.append((ys, *torch.autograd.grad(ys.sin().sum(), [*given, *learnt])))
    torch.testing.assert_close(*found)


def test_the_weights_that_it_gives_are_those_that_it_used() -> None:
    cell = Reads({"dropout": 0.5}, {"average_attn_weights": False})
    xs, memory, found = torch.zeros(2, 3, 6), torch.randn(3, 3, 6), []
    for backend in ("llvm", "interpreter"):
        torch.manual_seed(2)
        found.append(unroll(cell, xs, backend=backend, constants={"memory": memory})[0])
    torch.testing.assert_close(*found)


def test_what_it_has_besides_is_refused() -> None:
    cell, zeros = Reads({"add_bias_kv": True}, {}), torch.zeros(2, 6)
    with pytest.raises(CaptureError):
        capture(cell, zeros, constants={"memory": torch.zeros(2, 3, 6)})
