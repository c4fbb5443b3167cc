"""The classifier: symbols or series in, a score for each class out."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from unrolled.cell import CellFactory
from unrolled.errors import ConfigError
from unrolled.layers.attention import Attention
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent
from unrolled.recurrence import padding


class Reader(nn.Module, ABC):
    """What turns the steps of a sequence, whatever they are, into features.

    Args:
        outputs: features of a step.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    @abstractmethod
    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Read (time, batch, ...), of which each row has lengths (batch,): (time, batch, outputs).

        What stands behind a row's end may be anything, and anything comes out there.
        """


class SymbolReader(Reader):
    """Read symbols: each has features of its own.

    Args:
        symbols: how many there are; 0 is padding.
        outputs: features of a symbol.
    """

    def __init__(self, symbols: int, outputs: int) -> None:
        super().__init__(outputs)
        self.embedding = nn.Embedding(symbols, outputs, padding_idx=0)

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Read ids (time, batch)."""
        return self.embedding(steps)


class SeriesReader(Reader):
    """Read a series: one linear map of each step and its neighbours, zeros beyond the ends.

    Args:
        features: of a step.
        outputs: features that come out.
        window: steps that are read together, an odd number; 1 reads each alone.

    Example:
        >>> reader = SeriesReader(2, 8, window=3)
        >>> reader(torch.randn(7, 4, 2), torch.tensor([7, 0, 3, 1])).shape
        torch.Size([7, 4, 8])
    """

    def __init__(self, features: int, outputs: int, window: int = 1) -> None:
        super().__init__(outputs)
        if window < 1 or window % 2 == 0:
            raise ConfigError(f"the window has {window} steps: expected an odd number from 1 on")
        self.map = nn.Conv1d(features, outputs, window, padding=window // 2)

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Read (time, batch, features)."""
        behind = padding(lengths, len(steps))[..., None]
        return self.map(steps.masked_fill(behind, 0).permute(1, 2, 0)).permute(2, 0, 1)


class Pooling(nn.Module, ABC):
    """What makes one vector of a sequence of them.

    Args:
        features: of each step; as many come out.
        directions: 1, or 2 where the second half of the features was computed backwards.
    """

    def __init__(self, features: int, directions: int) -> None:
        super().__init__()
        self.features, self.directions = features, directions

    @abstractmethod
    def forward(self, ys: Tensor, lengths: Tensor) -> Tensor:
        """Pool (time, batch, features), zero behind the ends: (batch, features).

        There is one step at least; a sequence of none gives zeros.
        """


class Last(Pooling):
    """Take what each direction gave at its last step."""

    def forward(self, ys: Tensor, lengths: Tensor) -> Tensor:
        """Give the last step forwards and the first one backwards."""
        last = ys[(lengths - 1).clamp(min=0), torch.arange(ys.shape[1], device=ys.device)]
        if self.directions == 1:
            return last
        half = self.features // 2
        return torch.cat([last[:, :half], ys[0, :, half:]], -1)


class Mean(Pooling):
    """Take the mean of all steps."""

    def forward(self, ys: Tensor, lengths: Tensor) -> Tensor:
        """Give the mean."""
        return ys.sum(0) / lengths.clamp(min=1)[:, None]


class Attentive(Pooling):
    """Take the mean weighed by attention with a query that is learnt.

    Yang et al. 2016, doi:10.18653/v1/N16-1174, eq. 5 to 7.
    """

    def __init__(self, features: int, directions: int) -> None:
        super().__init__(features, directions)
        self.attention = Attention("additive", features, features)
        self.query = nn.Parameter(torch.zeros(features))

    def forward(self, ys: Tensor, lengths: Tensor) -> Tensor:
        """Give the weighed mean."""
        memory = self.attention.memory(ys, lengths)
        return self.attention(self.query.expand(ys.shape[1], -1), memory)[0]


POOLINGS: dict[str, type[Pooling]] = {"last": Last, "mean": Mean, "attention": Attentive}


class Classifier(nn.Module):
    """A recurrence over a sequence, pooled into one vector, and a linear layer of classes.

    Args:
        reader: what turns steps into features: `SymbolReader` or `SeriesReader`.
        classes: how many there are.
        cell: what makes the cells.
        hidden: units of each direction.
        layers: how many, one over the other; each from the second on is added to what it reads.
        bidirectional: whether the sequence is read backwards too.
        pooling: a name from `POOLINGS`: "last", "mean", "attention".
        dropout: share of features dropped from the steps and between layers, the same at all times
            (`SharedDropout`), and from the pooled vector.

    Raises:
        ConfigError: a setting is unknown or out of its range.

    Example:
        >>> from unrolled import zoo
        >>> model = Classifier(SymbolReader(30, 8), classes=3, cell=zoo.GRU, hidden=16)
        >>> model(torch.randint(1, 30, (7, 2)), torch.tensor([7, 4])).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        reader: Reader,
        classes: int,
        *,
        cell: CellFactory,
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = True,
        pooling: str = "attention",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ConfigError(
                f"there is no pooling {pooling!r}: choose one of {', '.join(POOLINGS)}"
            )
        self.reader = reader
        self.recurrent = Recurrent(
            cell,
            reader.outputs,
            hidden,
            layers=layers,
            bidirectional=bidirectional,
            residual=True,
            dropout=dropout,
        )
        features = self.recurrent.outputs
        self.pooling = POOLINGS[pooling](features, self.recurrent.directions)
        self.drop_steps, self.drop_pooled = SharedDropout(dropout), nn.Dropout(dropout)
        self.classes = nn.Linear(features, classes)

    def forward(self, steps: Tensor, lengths: Tensor) -> Tensor:
        """Score a batch.

        Args:
            steps: (time, batch, ...), as the reader takes them; time is 1 at least.
            lengths: (batch,) how many of them there are; what stands behind is never read.

        Returns:
            A logit for each class, (batch, classes).
        """
        ys, _ = self.recurrent(self.drop_steps(self.reader(steps, lengths)), lengths=lengths)
        return self.classes(self.drop_pooled(self.pooling(ys, lengths)))
