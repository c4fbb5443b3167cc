"""`torch.nn.MultiheadAttention` in parts: PyTorch's own folds heads and rows into one axis."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    weight: Tensor | None,
    bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout: float,
    out_weight: Tensor,
    out_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Any:
    """Do what `torch.nn.functional.multi_head_attention_forward` does, which names its arguments.

    Attention is that of Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.

    Returns:
        (steps, batch, width), and with `need_weights` (batch, steps, keys); or NotImplemented.
    """
    odd = (bias_k, bias_v, static_k, static_v)
    if query.dim() != 3 or add_zero_attn or any(given is not None for given in odd):
        return NotImplemented
    if attn_mask is not None and attn_mask.dim() != 2:
        return NotImplemented
    apart: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
    weights = apart if weight is None else weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    q, k, v = (
        functional.linear(x, own, at).unflatten(-1, (heads, width // heads)).permute(1, 2, 0, 3)
        for x, own, at in zip((query, key, value), weights, biases, strict=True)
    )
    scores = (q / math.sqrt(width // heads)) @ k.mT
    if attn_mask is not None:
        scores = _masked(scores, attn_mask)
    if key_padding_mask is not None:
        scores = _masked(scores, key_padding_mask[:, None, None])
    chances = functional.dropout(scores.softmax(-1), dropout, training)
    shown = chances.mean(1) if average_attn_weights else chances
    read = (chances @ v).permute(2, 0, 1, 3).flatten(2)
    return functional.linear(read, out_weight, out_bias), shown if need_weights else None


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """Add a mask, or take out what one of truth values marks."""
    return scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask


class Attends(TorchFunctionMode):
    """Has attention in parts from the first, with the batch in an axis of its own."""

    def __torch_function__(
        self, func: Any, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.multi_head_attention_forward:
            found = multi_head_attention(*args, **kwargs)
            if found is not NotImplemented:
                return found
        return func(*args, **kwargs)
