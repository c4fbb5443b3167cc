"""What attention made of its memory: where each step looked most, and what was read at all."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import ShapeError
from unrolled.inspect.through_time import averaged
from unrolled.recurrence import checked_lengths, padding

READ = 0.5  # of a look, all steps together: a place that got less counts as not read


@dataclass(frozen=True)
class Alignment:
    """Where steps looked most, and how much each place of the memory was looked at in all."""

    places: Tensor  # (time, batch) the place of each step's largest weight; -1 behind an end
    weights: Tensor  # (time, batch) that weight; 0 behind an end
    coverage: Tensor  # (batch, source) the sum of a place's weights; NaN where there is no place
    repeated: Tensor  # (time, batch) the share of a look that earlier steps had had; 0 behind ends

    @property
    def unread(self) -> Tensor:
        """Which share of its places each sequence hardly looked at, (batch,)."""
        there = self.coverage.isfinite()
        return ((self.coverage < READ) & there).sum(1) / there.sum(1)

    @property
    def monotone(self) -> Tensor:
        """Which share of its moves do not go back, (batch,); NaN where there is no move."""
        moves = self.places[1:] >= 0
        return ((self.places.diff(dim=0) >= 0) & moves).sum(0) / moves.sum(0)

    @property
    def repetition(self) -> Tensor:
        """Which share of its looks went where earlier ones had been, (batch,)."""
        return averaged(self.repeated.T, (self.places >= 0).T)


def alignment(
    weights: Tensor,
    lengths: Tensor | Sequence[int] | None = None,
    *,
    sources: Tensor | Sequence[int] | None = None,
) -> Alignment:
    """Sum up where attention looked.

    Coverage is the coverage vector of Tu et al. 2016, arXiv:1601.04811, after the last step; what
    is repeated is each step's term of the coverage loss of See et al. 2017, arXiv:1704.04368,
    eq. 13: the sum over places of min(weight, sum of the earlier weights).

    Args:
        weights: (time, batch, source), each step's sum to 1, from `looking` or from a model.
        lengths: how many steps each sequence has; by default all.
        sources: how many places each memory has; by default all.

    Raises:
        ShapeError: a shape or a length does not fit.

    Example:
        >>> looks = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]])[:, None]
        >>> found = alignment(looks)
        >>> found.places[:, 0].tolist(), found.unread
        ([0, 1], tensor([0.3333]))
        >>> found.repeated[:, 0]  # the second step looks where the first did: 0.2 + 0.1
        tensor([0.0000, 0.3000])
    """
    if weights.dim() != 3 or not weights.shape[2]:
        raise ShapeError(
            f"weights has shape {tuple(weights.shape)}: expected (time, batch, source), a place at "
            "least"
        )
    time, batch, source = weights.shape
    runs = _within(lengths, time, batch, weights.device)[..., None]
    there = _within(sources, source, batch, weights.device).T
    looks = torch.where(runs & there, weights.detach(), 0)
    before = looks.cumsum(0) - looks
    most, places = looks.max(2)
    return Alignment(
        places.masked_fill(~runs[..., 0], -1),
        most,
        looks.sum(0).masked_fill(~there, torch.nan),
        torch.minimum(looks, before).sum(2),
    )


def _within(
    lengths: Tensor | Sequence[int] | None, time: int, batch: int, device: torch.device
) -> Tensor:
    """Say which steps each row has, (time, batch) bool."""
    ends = None if lengths is None else checked_lengths(lengths, time, batch, device)
    if ends is None:
        return torch.ones(time, batch, dtype=torch.bool, device=device)
    return ~padding(ends, time)
