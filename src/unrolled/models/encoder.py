"""The encoder: symbols in, one vector for each and a summary of all out."""

from torch import Tensor, nn

from unrolled.cell import CellFactory, State
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent


class Encoder(nn.Module):
    """Embed symbols and run a bidirectional recurrence over them.

    Args:
        symbols: how many there are; 0 is padding.
        embedding: features of a symbol.
        hidden: units of the recurrence, in each direction.
        cell: what makes the cells.
        layers: how many, one over the other.
        dropout: share of features dropped from symbols, between layers and from the outputs, the
            same at all times (`SharedDropout`).

    Example:
        >>> import torch
        >>> from unrolled import zoo
        >>> encoder = Encoder(30, embedding=8, hidden=16, cell=zoo.GRU)
        >>> ys, state = encoder(torch.randint(1, 30, (7, 2)), torch.tensor([7, 4]))
        >>> ys.shape, state["h"].shape
        (torch.Size([7, 2, 32]), torch.Size([2, 2, 16]))
    """

    def __init__(
        self,
        symbols: int,
        *,
        embedding: int,
        hidden: int,
        cell: CellFactory,
        layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding, padding_idx=0)
        self.recurrent = Recurrent(
            cell, embedding, hidden, layers=layers, bidirectional=True, dropout=dropout
        )
        self.dropout = SharedDropout(dropout)
        self.outputs = self.recurrent.outputs

    def forward(self, symbols: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        """Encode a batch.

        Args:
            symbols: (time, batch) ids.
            lengths: (batch,) how many of them there are.

        Returns:
            A vector for each symbol, (time, batch, outputs), and the last state of each layer and
            direction, (layers * 2, batch, *size) for each name.
        """
        ys, state = self.recurrent(self.dropout(self.embedding(symbols)), lengths=lengths)
        return self.dropout(ys), state
