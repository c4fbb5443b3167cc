"""What every head of a transcriber can do: learn from steps, find texts in them, and place them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from unrolled.models.prefixes import Fusion, Hypothesis, Scores, Searching, Span


class Head(nn.Module, ABC):
    """Makes texts of the steps of a listener.

    What its `forward` makes of the steps is all that its other methods read: as tensors of a batch
    for `loss`, as an array (steps, features) of one recording elsewhere. Symbols are numbers from 1
    on; what 0 is, is up to the head.

    Args:
        inputs: features of a step.
        symbols: how many there are, 0 included.

    Attributes:
        streams: whether a text can be found before all steps are there.
    """

    streams = True

    def __init__(self, inputs: int, symbols: int) -> None:
        super().__init__()
        self.inputs, self.symbols = inputs, symbols

    @abstractmethod
    def forward(self, ys: Tensor) -> Tensor:
        """Make of ys (steps, batch, inputs) what the head reads, (steps, batch, features)."""

    @abstractmethod
    def loss(
        self, heard: Tensor, steps: Tensor, targets: Tensor, sizes: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """Give minus the log-likelihood of targets, added up over the batch.

        A target that does not fit into its steps, see `least_steps`, adds nothing.

        Args:
            heard: (steps, batch, features), as `forward` gives it.
            steps: (batch,) how many of them there are.
            targets: (batch, symbols) ids from 1 on, filled up with anything.
            sizes: (batch,) how many of them there are.
            smoothing: share of the loss that asks for all symbols to be alike.
        """

    @abstractmethod
    def searching(self, width: int, fusion: Fusion | None = None) -> Searching:
        """Begin a search that keeps `width` texts; 1 takes the best symbol at each step."""

    @abstractmethod
    def align(self, heard: Scores, symbols: Sequence[int]) -> list[Span]:
        """Say at which steps each symbol of a text is."""

    @abstractmethod
    def least_steps(self, target: Sequence[int]) -> int:
        """Count the steps that a target needs."""

    @abstractmethod
    def seen(self, heard: Scores, symbols: Sequence[int]) -> tuple[list[int], Scores]:
        """Show where a text is: symbols, and from 0 to 1 how much each is there, (rows, steps)."""

    def search(
        self, heard: Scores, width: int, *, best: int = 1, fusion: Fusion | None = None
    ) -> list[Hypothesis]:
        """Find texts in a recording (steps, features), at most `best`, the best first."""
        search = self.searching(width, fusion)
        search.hear(heard)
        return search.found(best)
