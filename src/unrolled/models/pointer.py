"""A decoder that can point: the next symbol is generated, or copied from the source.

See, Liu & Manning 2017, arXiv:1704.04368, eq. 8-9. Symbols of the source that the decoder cannot
generate have numbers of their own, in each source, behind those that it can: an extended
vocabulary. Everything is computed in logarithms.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cell import State


@dataclass(frozen=True)
class Pointer:
    """What decides, for each symbol, whether it is generated or copied.

    gate (time, batch): the logit of p_gen, the chance to generate. copies (batch, source): the
    symbols of the source by their numbers among those of the target; from that of the first
    symbol that cannot be generated on they differ from source to source.
    """

    gate: Tensor
    copies: Tensor


@dataclass(frozen=True)
class Decoded:
    """What a decoder says of the symbols that follow, and where it stands after them.

    scores (time, batch, symbols): of those that it can generate; state: after the last step;
    weights (time, batch, source): where it looked, if asked; pointer: if it can copy.
    """

    scores: Tensor
    state: State
    weights: Tensor | None
    pointer: Pointer | None = None

    def scored(self) -> Tensor:
        """Give scores of all symbols; where it can copy, log-probabilities, copies included.

        Returns:
            (time, batch, symbols), or (time, batch, symbols + extra) with so many as the most
            symbols of a source that cannot be generated; -inf where a source does not have them.
        """
        if self.pointer is None or self.weights is None:
            return self.scores
        copies = self.pointer.copies
        scores, weights, gate = _widened(self.scores, self.weights, self.pointer.gate)
        highest = int(copies.max()) if copies.numel() else 0
        extra = max(0, highest + 1 - scores.shape[-1])
        logs = scores.log_softmax(-1) + F.logsigmoid(gate)[..., None]
        logs = F.pad(logs, (0, extra), value=-torch.inf)
        copies = copies.expand_as(weights)
        mass = torch.zeros_like(logs).scatter_add(-1, copies, weights).gather(-1, copies)
        copied = _log(mass) + F.logsigmoid(-gate)[..., None]
        found = torch.logaddexp(logs.gather(-1, copies), copied)
        # a symbol may be at several places of a source, all with the same sum: amax takes it once
        return logs.scatter_reduce(-1, copies, found, "amax")

    def losses(self, expected: Tensor, smoothing: float = 0.0) -> Tensor:
        """Give the cross-entropy of the symbols that are expected, zero where there is none (0).

        Args:
            expected: (time, batch) ids; those of symbols that can only be copied must be among
                the copies of their source.
            smoothing: label smoothing, the share of the loss that is the mean over all symbols
                (Szegedy et al. 2016, arXiv:1512.00567). Where it can copy, the mean over those
                that it can generate, of their chances if it generates: pointing is left alone.

        Returns:
            (time, batch).
        """
        if self.pointer is None or self.weights is None:
            scores, ids = self.scores.flatten(0, 1), expected.flatten()
            settings = {"ignore_index": 0, "label_smoothing": smoothing}
            return F.cross_entropy(scores, ids, reduction="none", **settings).view_as(expected)
        scores, weights, gate = _widened(self.scores, self.weights, self.pointer.gate)
        total = scores.logsumexp(-1)
        known = expected < scores.shape[-1]
        own = scores.gather(-1, expected.where(known, 0)[..., None])[..., 0] - total
        generated = (own + F.logsigmoid(gate)).masked_fill(~known, -torch.inf)
        same = self.pointer.copies == expected[..., None]  # (time, batch, source)
        copied = _log((weights * same).sum(-1)) + F.logsigmoid(-gate)
        copied = copied.masked_fill(known & ~same.any(-1), -torch.inf)
        loss = -torch.logaddexp(generated, copied)
        if smoothing:
            loss = (1 - smoothing) * loss + smoothing * (total - scores.mean(-1))
        return loss.masked_fill(expected == 0, 0)


def _widened(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Bring narrow floats to float32: a sum of chances needs the digits."""
    return tuple(t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors)


def _log(chance: Tensor) -> Tensor:
    """Give the logarithm; attention that is exactly 0, by underflow, would have no gradient."""
    return chance.clamp(min=torch.finfo(chance.dtype).tiny).log()
