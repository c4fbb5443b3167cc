"""Attention: a query looks at a memory, one memory for each row of the batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.errors import ConfigError, ShapeError
from unrolled.recurrence import checked_lengths, padding

Memory = Mapping[str, Tensor]
"""What attention reads, rows first; a mapping, so that it can be a recurrence's constants:

keys (batch, source, features), what queries are compared with; values (batch, source, values),
what is read, zero where there is nothing; visible (batch, source) bool, false where there is
nothing.
"""


class Score(nn.Module, ABC):
    """How well queries of so many features fit the values of a memory.

    Args:
        queries: features of a query.
        values: features of a value.
        hidden: units inside, where the score has any.

    Attributes:
        linear: whether the score of a sum of keys is the sum of their scores.
    """

    linear = False

    def __init__(self, queries: int, values: int, hidden: int) -> None:
        super().__init__()

    @abstractmethod
    def keys(self, values: Tensor) -> Tensor:
        """Give what queries are compared with, once for all of them, (batch, source, features)."""

    @abstractmethod
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Score (batch, time, queries) against the keys: (batch, time, source)."""


class Dot(Score):
    """Score a query against a key by their product: q k. Luong et al. 2015, arXiv:1508.04025."""

    scale = 1.0
    linear = True

    def __init__(self, queries: int, values: int, hidden: int) -> None:
        super().__init__(queries, values, hidden)
        if queries != values:
            raise ConfigError(
                f"dot scores compare queries of {queries} features with values of {values}: "
                "they must be equal; take the score 'general' or 'additive'"
            )

    def keys(self, values: Tensor) -> Tensor:
        """Give the values themselves."""
        return values

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Give q k, scaled."""
        return self.scale * torch.bmm(queries, keys.transpose(1, 2))


class ScaledDot(Dot):
    """Score by the product over sqrt(features). Vaswani et al. 2017, arXiv:1706.03762, eq. 1."""

    def __init__(self, queries: int, values: int, hidden: int) -> None:
        super().__init__(queries, values, hidden)
        self.scale = queries**-0.5


class General(Score):
    """Score a query against a key through a matrix: q (W k). Luong et al. 2015, eq. 8."""

    linear = True

    def __init__(self, queries: int, values: int, hidden: int) -> None:
        super().__init__(queries, values, hidden)
        self.W = nn.Linear(values, queries, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """Give W k."""
        return self.W(values)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Give q (W k)."""
        return torch.bmm(queries, keys.transpose(1, 2))


class ScaledGeneral(General):
    """Score by q (W k) / sqrt(features): Luong et al. 2015, eq. 8; Vaswani et al. 2017, eq. 1.

    Without the scale the softmax is all but 0 and 1 early on and learns little from then on: on a
    dictionary of pronunciations the loss after half an epoch is 0.35 with it and 0.45 without.
    """

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Give q (W k), scaled."""
        return super().forward(queries * queries.shape[-1] ** -0.5, keys)


class Additive(Score):
    """Score by a layer: v tanh(W q + U k + b). Bahdanau et al. 2015, arXiv:1409.0473, A.1.2."""

    def __init__(self, queries: int, values: int, hidden: int) -> None:
        super().__init__(queries, values, hidden)
        self.W = nn.Linear(queries, hidden, bias=False)
        self.U = nn.Linear(values, hidden)
        self.v = nn.Linear(hidden, 1, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """Give U k + b."""
        return self.U(values)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Give v tanh(W q + U k + b)."""
        return self.v(torch.tanh(self.W(queries)[:, :, None] + keys[:, None])).squeeze(-1)


SCORES: dict[str, type[Score]] = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "general": General,
    "scaled_general": ScaledGeneral,
    "additive": Additive,
}


def padded(memory: Memory) -> dict[str, Tensor]:
    """Append values that nobody sees, so that memories have few lengths.

    A kernel that reads a memory at every step is compiled for the memory's length. From one power
    of two to the next there are four lengths; at most three values, or a quarter, are new, four of
    an empty memory. Under a tracer, which may leave lengths open, nothing is appended.

    Example:
        >>> visible = torch.ones(2, 33, dtype=torch.bool)
        >>> memory = {"keys": torch.ones(2, 33, 5), "values": torch.ones(2, 33, 4)}
        >>> longer = padded({**memory, "visible": visible})
        >>> longer["keys"].shape, longer["visible"][0].sum().item()
        (torch.Size([2, 40, 5]), 33)
    """
    if torch.compiler.is_compiling():
        return dict(memory)
    source = memory["visible"].shape[1]
    step = max(4, 1 << max(0, source.bit_length() - 3))
    more = max(1, -(-source // step)) * step - source
    return {
        "keys": F.pad(memory["keys"], (0, 0, 0, more)),
        "values": F.pad(memory["values"], (0, 0, 0, more)),
        "visible": F.pad(memory["visible"], (0, more)),
    }


class Attention(nn.Module):
    """Read a memory: weigh its values by how well their keys score with the query.

    Args:
        score: a name from `SCORES`: "dot", "scaled_dot", "general", "scaled_general", "additive".
        queries: features of a query, at least 1.
        values: features of a value of the memory, at least 1.
        hidden: units inside an additive score, at least 1; by default, as many as a query has
            features.

    Raises:
        ConfigError: the score is unknown, a size is below 1, or a dot score is to compare unequal
            features.

    Example:
        >>> attention = Attention("additive", queries=4, values=6)
        >>> memory = attention.memory(torch.randn(5, 2, 6), lengths=[5, 3])
        >>> context, weights = attention(torch.randn(7, 2, 4), memory)
        >>> context.shape, weights.shape
        (torch.Size([7, 2, 6]), torch.Size([7, 2, 5]))
        >>> weights[:, 1, 3:].abs().max().item()
        0.0
    """

    def __init__(self, score: str, queries: int, values: int, hidden: int | None = None) -> None:
        super().__init__()
        if score not in SCORES:
            raise ConfigError(f"there is no score {score!r}: choose one of {', '.join(SCORES)}")
        hidden = queries if hidden is None else hidden
        if min(queries, values, hidden) < 1:
            raise ConfigError(
                f"attention has queries={queries}, values={values} and hidden={hidden}: "
                "sizes start at 1"
            )
        self.queries, self.values = queries, values
        self.score = SCORES[score](queries, values, hidden)

    def memory(self, values: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Memory:
        """Prepare a memory, once for all queries.

        Args:
            values: (source, batch, values), as a recurrence gives them.
            lengths: (batch,) how much of each row there is, from 0 to source; by default all. What
                lies behind is never read, NaN included.

        Returns:
            The memory, rows first.

        Raises:
            ShapeError: the values or the lengths do not fit.
        """
        if values.dim() != 3 or values.shape[-1] != self.values:
            raise ShapeError(
                f"values has shape {tuple(values.shape)}: expected (source, batch, {self.values})"
            )
        source, batch = values.shape[:2]
        if lengths is not None:
            lengths = checked_lengths(lengths, source, batch, values.device)
        if lengths is None:
            visible = torch.ones(batch, source, dtype=torch.bool, device=values.device)
        else:
            visible = ~padding(lengths, source).T
        values = torch.where(visible[..., None], values.transpose(0, 1), 0)
        return {"keys": self.score.keys(values), "values": values, "visible": visible}

    def forward(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Read the memory for each query.

        Args:
            queries: (time, batch, queries), or (batch, queries) for one time; time may be 0.
            memory: from `memory`, of the same batch.

        Returns:
            What was read, (time, batch, values), and the weights (time, batch, source), which are
            0 where there is nothing and sum to 1 over each row that has anything; without the
            time where the queries have none. A row that has nothing gives zeros.

        Raises:
            ShapeError: the queries do not fit, or not to this memory.
        """
        self.check(queries, memory)
        single = queries.dim() == 2
        rows = queries[:, None] if single else queries.transpose(0, 1)
        weights = self.weigh(self.score(rows, memory["keys"]), memory["visible"][:, None])
        context = torch.bmm(weights, memory["values"])
        if single:
            return context[:, 0], weights[:, 0]
        return context.transpose(0, 1), weights.transpose(0, 1)

    def weigh(self, scores: Tensor, visible: Tensor) -> Tensor:
        """Turn scores (..., source) into weights that sum to 1 over what is visible."""
        # The lowest number, not -inf, whose softmax is NaN in a row that has nothing to see.
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~visible, lowest).softmax(-1).masked_fill(~visible, 0)

    def check(self, queries: Tensor, memory: Memory) -> None:
        """Raise a ShapeError for queries that do not fit, or not to this memory."""
        batch = memory["values"].shape[0]
        if queries.dim() not in (2, 3) or queries.shape[-2:] != (batch, self.queries):
            raise ShapeError(
                f"queries has shape {tuple(queries.shape)}: expected ([time,] {batch}, "
                f"{self.queries}), a memory of {batch} rows and queries of {self.queries} features"
            )
