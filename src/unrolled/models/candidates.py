"""Sampled softmax: a loss over many symbols, at the price of some of them."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def sampled_losses(
    features: Tensor, wanted: Tensor, weight: Tensor, bias: Tensor, candidates: int
) -> Tensor:
    """Estimate the cross-entropy of symbols from the scores of some candidates, for training.

    With scores s_v = w_v x + b_v and the symbol t that is wanted, the cross-entropy is

        log(exp s_t + sum over v != t of exp s_v) - s_t

    and the sum is estimated: by its first symbols, which are the most frequent ones where a
    vocabulary is ordered so, and by others drawn from the rest, each for as many as it stands for.
    The estimate of the sum has the right mean, so the loss is a little low, by less the more
    candidates there are. Bengio & Senecal 2008, IEEE Trans. Neural Networks 19(4), eq. 10; sharing
    the drawn ones among all rows: Jean et al. 2015, arXiv:1412.2007, section 3.1.

    Args:
        features: (rows, width) x.
        wanted: (rows,) t.
        weight: (symbols, width) w.
        bias: (symbols,) b.
        candidates: symbols that each row is compared with, the same for all, at least 1: half of
            them the first, half drawn, anew in every call. As many as there are symbols, or more,
            give the cross-entropy itself.

    Returns:
        (rows,) in nats.

    Example:
        >>> features, weight, bias = torch.randn(5, 4), torch.randn(1000, 4), torch.zeros(1000)
        >>> sampled_losses(features, torch.arange(5), weight, bias, candidates=100).shape
        torch.Size([5])
    """
    symbols, device = len(weight), weight.device
    candidates = min(candidates, symbols)
    first = candidates // 2
    drawn = torch.randperm(symbols - first, device=device)[: candidates - first] + first
    ids = torch.cat([torch.arange(first, device=device), drawn])
    vectors = F.embedding(torch.cat([ids, wanted]), weight)  # one gradient for both
    others, own = vectors.split([len(ids), len(wanted)])
    stands_for = torch.zeros(len(ids), device=device)
    stands_for[first:] = math.log((symbols - first) / len(drawn))
    scores = F.linear(features, others, bias[ids] + stands_for)
    wide = torch.promote_types(scores.dtype, torch.float32)  # for a sum, where they are narrow
    scores = scores.to(wide)
    place = torch.full((symbols,), -1, device=device)
    place[ids] = torch.arange(len(ids), device=device)
    column = place[wanted]
    there = (column >= 0).nonzero()[:, 0]
    scores[there, column[there]] = -math.inf  # what is wanted is counted once
    right = ((features * own).sum(-1) + bias[wanted]).to(wide)
    return torch.logaddexp(right, scores.logsumexp(-1)) - right
