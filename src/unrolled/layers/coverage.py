"""Coverage: attention that knows where it has looked, and what looking there again costs."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unrolled.layers.attention import Attention, Memory, Score

COVERED = "covered"
"""The name, among a decoder's states, of how much attention each value has had: (1, batch, source)
for whole sequences, as the states of a layer are."""


class Coverage(nn.Module):
    """Let attention see, at each key, the sum c of the weights that it gave there before.

    Each key becomes k + w c: See, Liu & Manning 2017, arXiv:1704.04368, eq. 10-11, where scores are
    additive, and the like for the others. The queries of all times must be known beforehand, as
    they are after a recurrence: then nothing but the weights is computed step by step. The vector
    w begins as zeros, with which nothing changes.

    Args:
        attention: whose weights are summed; it stays its owner's.

    Example:
        >>> attention = Attention("general", queries=4, values=6)
        >>> memory = attention.memory(torch.randn(5, 2, 6))
        >>> coverage = Coverage(attention)
        >>> read, weights, covered = coverage(attention, torch.randn(7, 2, 4), memory)
        >>> read.shape, weights.shape, torch.allclose(covered, weights.sum(0))
        (torch.Size([7, 2, 6]), torch.Size([7, 2, 5]), True)
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        features = attention.score.keys(torch.zeros(1, 1, attention.values)).shape[-1]
        self.w = nn.Parameter(torch.zeros(features))

    def forward(
        self,
        attention: Attention,
        queries: Tensor,
        memory: Memory,
        covered: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Read the memory for each query in turn.

        Args:
            attention: as in `__init__`.
            queries: (time, batch, queries); time may be 0.
            memory: from `Attention.memory`, of the same batch.
            covered: (batch, source), the sum of the weights before; by default none.

        Returns:
            What was read (time, batch, values), the weights (time, batch, source), and their sum
            (batch, source), to carry on from.

        Raises:
            ShapeError: the queries do not fit, or not to this memory.
        """
        attention.check(queries, memory)
        keys, visible = memory["keys"], memory["visible"]
        score = self._scorer(attention.score, queries.transpose(0, 1), keys)
        given = torch.zeros_like(keys[..., 0]) if covered is None else covered
        looked: list[Tensor] = []
        for t in range(len(queries)):
            looked.append(attention.weigh(score(t, given), visible))
            given = given + looked[-1]
        weights = torch.stack(looked, 1) if looked else keys.new_zeros(len(keys), 0, keys.shape[1])
        read = torch.bmm(weights.to(memory["values"]), memory["values"])
        return read.transpose(0, 1), weights.transpose(0, 1), given

    def _scorer(self, score: Score, rows: Tensor, keys: Tensor) -> Callable[[int, Tensor], Tensor]:
        """Give what scores the query of a time against the keys and how they are covered."""
        if not score.linear:
            return lambda t, covered: score(
                rows[:, t : t + 1], keys + covered[..., None] * self.w
            ).squeeze(1)
        base = score(rows, keys)  # so all products are done at once, before the loop
        gain = score(rows, self.w.to(keys).expand(len(keys), 1, -1))
        return lambda t, covered: base[:, t] + gain[:, t] * covered


def coverage_loss(weights: Tensor) -> Tensor:
    """Give what it costs to look where attention has looked: the sum of min(weight, sum before).

    See, Liu & Manning 2017, eq. 12. It is at most 1.

    Args:
        weights: (time, batch, source), as attention gives them.

    Returns:
        The loss of each time, (time, batch).

    Example:
        >>> looks = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
        >>> coverage_loss(looks[:, None])[:, 0].tolist()
        [0.0, 0.0, 1.0]
    """
    return torch.minimum(weights, weights.cumsum(0) - weights).sum(-1)
