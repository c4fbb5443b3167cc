"""Speech to text: a listener that reads frames, and a head that makes texts of its steps."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import CellFactory, State
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent
from unrolled.models import ctc
from unrolled.models.head import Head
from unrolled.models.prefixes import Fusion, Scores, Searching, Span
from unrolled.recurrence import padding


class Listener(nn.Module):
    """Lay neighbouring frames side by side and run layers of a recurrence over them.

    Stacking shortens the sequence: a hundred frames a second are far more than symbols. It is what
    every head reads, whatever it makes of it.

    Args:
        features: of a frame.
        hidden: units of the recurrence, in each direction.
        cell: what makes the cells.
        layers: how many, one over the other.
        stack: frames that make one step.
        bidirectional: whether each layer also reads from the end; without, it can listen to a
            stream.
        layer_norm: whether each layer's outputs are normalised.
        dropout: share of features dropped between layers and from the outputs, the same at all
            times (`SharedDropout`).

    Raises:
        ConfigError: a size is below 1, or the dropout is out of its range.

    Example:
        >>> import torch
        >>> from unrolled import zoo
        >>> listener = Listener(13, 8, cell=zoo.GRU, stack=3)
        >>> ys, steps, _ = listener(torch.zeros(10, 2, 13), torch.tensor([10, 4]))
        >>> ys.shape, steps.tolist()
        (torch.Size([4, 2, 16]), [4, 2])
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        cell: CellFactory,
        layers: int = 1,
        stack: int = 1,
        bidirectional: bool = True,
        layer_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(features, stack) < 1:
            raise ConfigError(f"{features} features, {stack} frames a step: expected at least 1")
        self.features, self.stack = features, stack
        self.recurrent = Recurrent(
            cell,
            features * stack,
            hidden,
            layers=layers,
            bidirectional=bidirectional,
            layer_norm=layer_norm,
            dropout=dropout,
        )
        self.dropout = SharedDropout(dropout)
        self.outputs = self.recurrent.outputs

    def forward(
        self, frames: Tensor, lengths: Tensor, state: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Listen to a batch of recordings, or to the next part of a stream.

        Args:
            frames: (time, batch, features); what lies behind a recording's end is not read.
            lengths: (batch,) frames of each.
            state: what the call on the part before gave, where nothing is read from the end; that
                part had a multiple of `stack` frames.

        Returns:
            A vector for each step, (steps, batch, outputs), where the last step of a recording may
            be filled up with zeros; the steps of each, (batch,); and the state after them.

        Raises:
            ShapeError: the frames do not have these features.
        """
        if frames.dim() != 3 or frames.shape[-1] != self.features:
            raise ShapeError(
                f"frames have shape {tuple(frames.shape)}: expected (time, batch, {self.features})"
            )
        frames = frames.masked_fill(padding(lengths, len(frames))[..., None], 0)
        frames = F.pad(frames, (0, 0, 0, 0, 0, -len(frames) % self.stack))
        steps = (lengths + self.stack - 1) // self.stack
        stacked = frames.unflatten(0, (-1, self.stack)).transpose(1, 2).flatten(2)
        ys, last = self.recurrent(stacked, state, lengths=steps)
        return self.dropout(ys), steps, last


class CTCHead(Head):
    """Score the symbols of each step, or none of them: connectionist temporal classification.

    Graves et al. 2006, doi:10.1145/1143844.1143891. Symbol 0 is the blank.

    Args:
        inputs: features of a step.
        symbols: how many there are, the blank included.
    """

    def __init__(self, inputs: int, symbols: int) -> None:
        super().__init__(inputs, symbols)
        self.scores = nn.Linear(inputs, symbols)

    def forward(self, ys: Tensor) -> Tensor:
        """Give the log-probabilities (steps, batch, symbols) of ys (steps, batch, inputs)."""
        return self.scores(ys).float().log_softmax(-1)

    def loss(
        self, heard: Tensor, steps: Tensor, targets: Tensor, sizes: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """Give the loss of CTC; arguments as of `Head.loss`."""
        loss = F.ctc_loss(
            heard, targets, steps, sizes, ctc.BLANK, reduction="sum", zero_infinity=True
        )
        return (1 - smoothing) * loss + smoothing * _unlike(heard, steps) if smoothing else loss

    def searching(self, width: int, fusion: Fusion | None = None) -> Searching:
        """Take the best path, or begin a prefix beam search."""
        return ctc.Greedy() if width == 1 else ctc.Beam(width, fusion)

    def align(self, heard: Scores, symbols: Sequence[int]) -> list[Span]:
        """Give the steps of each symbol on the best path of the text."""
        return ctc.align(heard, symbols)

    def least_steps(self, target: Sequence[int]) -> int:
        """Count one a symbol, and a blank between two equal ones."""
        return least_steps(target)

    def seen(self, heard: Scores, symbols: Sequence[int]) -> tuple[list[int], Scores]:
        """Give each symbol that the text has, and how likely it is at each step."""
        rows = list(dict.fromkeys(symbols))
        return rows, np.exp(heard[:, rows]).T


def _unlike(log_probs: Tensor, steps: Tensor) -> Tensor:
    """Add up over the steps how far all symbols are from equally likely.

    The cross-entropy of the uniform distribution, as in Kim et al. 2017, arXiv:1711.02212.
    """
    places = torch.arange(len(log_probs), device=log_probs.device)[:, None]
    return -(log_probs.mean(-1) * (places < steps)).sum()


class Transcriber(nn.Module):
    """A listener with a head: frames in, what texts are found in out.

    Args:
        listener: reads the frames.
        head: makes texts of its steps.

    Example:
        >>> import torch
        >>> from unrolled import zoo
        >>> listener = Listener(13, 8, cell=zoo.GRU, stack=3)
        >>> model = Transcriber(listener, CTCHead(listener.outputs, 30))
        >>> log_probs, steps, _ = model(torch.zeros(10, 2, 13), torch.tensor([10, 4]))
        >>> log_probs.shape
        torch.Size([4, 2, 30])
    """

    def __init__(self, listener: Listener, head: Head) -> None:
        super().__init__()
        self.listener, self.head = listener, head

    def forward(
        self, frames: Tensor, lengths: Tensor, state: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Give what the head makes of a batch; arguments and further results as of `Listener`."""
        ys, steps, last = self.listener(frames, lengths, state)
        return self.head(ys), steps, last


def least_steps(target: Sequence[int]) -> int:
    """Count the steps that a target needs: one a symbol, and a blank between two equal ones.

    >>> least_steps([5, 6, 6])
    4
    """
    return len(target) + sum(a == b for a, b in zip(target, target[1:], strict=False))
