"""The decoder: symbols so far and a memory in, scores of the next symbol out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import CellFactory, State
from unrolled.errors import ConfigError
from unrolled.layers.attending import ATTENDING
from unrolled.layers.attention import Memory
from unrolled.layers.dropout import SharedDropout
from unrolled.models.pointer import Decoded, Pointer

SPREAD = 0.1  # tied embeddings start from here at most: they are read out with, too


class Decoder(nn.Module):
    """Embed symbols, run a recurrence that reads a memory, and score the next symbol.

    The scores are read out of the recurrence's output y and what it read m, as in Luong et al.
    2015, eq. 5-6: W tanh(C [y, m]).

    With `copy` it can also point at a symbol of the source: what is read, the output and the input
    decide how likely that is (See, Liu & Manning 2017, arXiv:1704.04368, eq. 8).

    Args:
        symbols: how many there are; 0 is padding.
        embedding: features of a symbol.
        hidden: units of the recurrence.
        values: features of a value of the memory.
        cell: what makes the cells.
        attention: "luong" (after the recurrence), "gnmt" (between its first layer and the others)
            or "bahdanau" (inside its step).
        layers: how many, one over the other.
        score: how attention compares, see `Attention`.
        dropout: share of features dropped from symbols, between layers and before the scores, the
            same at all times (`SharedDropout`).
        copy: whether symbols can be copied: the memory then has "copies", see `Pointer`.
        coverage: whether attention sees where it has looked, see `Luong`.
        unknown: the symbol that stands for a copied one which is not among `symbols`, once it is
            the last symbol.
        tied: whether a symbol's scores are read out with its own embedding (Press & Wolf 2017,
            arXiv:1608.05859); C then gives as many features as that has.

    Raises:
        ConfigError: the attention is unknown, or a setting out of its range.

    Example:
        >>> decoder = Decoder(40, embedding=8, hidden=16, values=32, cell=nn.GRUCell)
        >>> memory = decoder.recurrence.attention.memory(torch.randn(7, 2, 32))
        >>> state = {"h": torch.zeros(1, 2, 16)}
        >>> scores, state, weights = decoder(torch.ones(5, 2, dtype=torch.long), state, memory)
        >>> scores.shape
        torch.Size([5, 2, 40])
    """

    def __init__(
        self,
        symbols: int,
        *,
        embedding: int,
        hidden: int,
        values: int,
        cell: CellFactory,
        attention: str = "luong",
        layers: int = 1,
        score: str = "scaled_general",
        dropout: float = 0.0,
        copy: bool = False,
        coverage: bool = False,
        unknown: int = 3,
        tied: bool = False,
    ) -> None:
        super().__init__()
        if attention not in ATTENDING:
            raise ConfigError(
                f"there is no attention {attention!r}: choose one of {', '.join(ATTENDING)}"
            )
        self.embedding = nn.Embedding(symbols, embedding, padding_idx=0)
        if copy and not 0 <= unknown < symbols:
            raise ConfigError(f"unknown is symbol {unknown} of {symbols}; give one of them")
        self.symbols, self.unknown = symbols, unknown
        self.recurrence = ATTENDING[attention](
            cell,
            embedding,
            hidden,
            values,
            layers=layers,
            score=score,
            dropout=dropout,
            coverage=coverage,
        )
        width = embedding if tied else hidden
        self.combine = nn.Linear(self.recurrence.outputs + values, width)
        self.scores = nn.Linear(width, symbols)
        if tied:
            self.scores.register_parameter("weight", None)
            nn.init.uniform_(self.embedding.weight, -SPREAD, SPREAD)
        self.gate = nn.Linear(values + self.recurrence.outputs + embedding, 1) if copy else None
        self.dropout = SharedDropout(dropout)

    def forward(
        self, symbols: Tensor, state: State, memory: Memory, *, weights: bool = False
    ) -> tuple[Tensor, State, Tensor | None]:
        """Score the symbol that follows each.

        Args:
            symbols: (time, batch) ids.
            state: (layers, batch, *size) for each name of ``recurrence.states``.
            memory: from ``recurrence.attention.memory``; with `copy` also "copies".
            weights: also give where attention looked.

        Returns:
            Scores (time, batch, symbols), or those of `Decoded.scored`; the last state; and the
            weights (time, batch, source) or None.
        """
        found = self.decode(symbols, state, memory, weights=weights)
        return found.scored(), found.state, found.weights if weights else None

    def decode(
        self, symbols: Tensor, state: State, memory: Memory, *, weights: bool = False
    ) -> Decoded:
        """Give what `forward` makes its scores of, and the weights also where it can copy."""
        if self.gate is not None:
            symbols = symbols.masked_fill(symbols >= self.symbols, self.unknown)
        xs = self.dropout(self.embedding(symbols))
        ys, read, state, looked = self.recurrence(
            xs, state, memory, weights=weights or self.gate is not None
        )
        combined = torch.tanh(self.combine(self.dropout(torch.cat([ys, read], -1))))
        weight = self.embedding.weight if self.scores.weight is None else self.scores.weight
        scores = F.linear(self.dropout(combined), weight, self.scores.bias)
        if self.gate is None:
            return Decoded(scores, state, looked)
        gate = self.gate(torch.cat([read, ys, xs], -1))[..., 0]
        return Decoded(scores, state, looked, Pointer(gate, memory["copies"]))
