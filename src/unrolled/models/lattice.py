"""The transducer's lattice: all ways to write a text while frames go by, and the best of them.

A place (t, u) of the lattice stands for a text of which u symbols are written when step t is heard.
A blank goes on to (t + 1, u), the next symbol of the text to (t, u + 1); a way ends with the blank
of the last step. Graves 2012, arXiv:1211.3711, section 2.4.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unrolled.cell import Cell
from unrolled.errors import ShapeError
from unrolled.recurrence import checked_lengths, padding, unroll

NEVER = -1e30  # the logarithm of nothing: finite, so that differences are no NaN
NARROWEST = 16  # of the cells that are compiled: each width is a kernel of its own


class Diagonal(Cell):
    """One diagonal of the lattice to the next: log-probabilities of all ways to its places.

        a'[u] = log(exp(a[u] + b[u]) + exp(a[u-1] + l[u-1]))

    Graves 2012, eq. 16. The places of a diagonal, t + u the same for all, need only those of the
    diagonal before, so that time and text are one recursion, elementwise in the semiring of log and
    sum. x (batch, 2 * width) holds the blanks b and then the labels l of the diagonal, place u of
    it being (t - u, u); a, which is also the output, (batch, width).
    """

    def __init__(self, width: int) -> None:
        super().__init__(a=width)
        self.width = width

    def forward(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step."""
        waits, writes = a + x[:, : self.width], a + x[:, self.width :]
        first = torch.full_like(a[:, :1], NEVER)
        writes = torch.cat([first, writes[:, :-1]], -1)
        far = torch.abs(waits - writes)
        a = torch.maximum(waits, writes) + torch.log1p(torch.exp(-far))
        return a, a


def log_likelihood(blanks: Tensor, labels: Tensor, steps: Tensor, sizes: Tensor) -> Tensor:
    """Give the log-probability of texts, over all ways through their lattices.

    It is differentiable by the recursion's own backward pass, and holds four numbers for each place
    of the lattice, both of its axes padded, beside what it is given.

    Args:
        blanks: (steps, batch, symbols + 1) log-probability of a blank at each place.
        labels: the same of the text's next symbol; what stands at its end is not read.
        steps: (batch,) how many steps there are of each. What lies behind is not read.
        sizes: (batch,) how many symbols each text has. What lies behind is not read.

    Returns:
        (batch,), in the type of `blanks`; about `NEVER` for a text that has symbols and no step.

    Raises:
        ShapeError: the shapes do not fit, or a length is more than there is.

    Example:
        Two steps, one symbol, each choice one half: it may be written at either of them.

        >>> half = torch.full((2, 1, 2), 0.5).log()
        >>> log_likelihood(half, half, torch.tensor([2]), torch.tensor([1])).exp().item()
        0.25
    """
    if blanks.dim() != 3 or blanks.shape != labels.shape or not blanks.shape[2]:
        raise ShapeError(
            f"blanks has shape {tuple(blanks.shape)} and labels {tuple(labels.shape)}: expected "
            "(steps, batch, symbols + 1) of both"
        )
    time, batch, places = blanks.shape
    heard = _ends(steps, time, batch, blanks.device)
    written = _ends(sizes, places - 1, batch, blanks.device)
    width = max(NARROWEST, 1 << (places - 1).bit_length())
    # a symbol is written neither behind the last step nor behind the end of the text
    silent = padding(heard, time)[..., None] | padding(written, places).T[None]
    beyond = padding(written + 1, places).T[None]
    gone = padding(heard, time)[..., None] | beyond
    both = torch.stack([blanks.masked_fill(gone, NEVER), labels.masked_fill(silent, NEVER)], 2)
    xs = _skewed(F.pad(both, (0, width - places), value=NEVER))[: time + places - 1]
    start = blanks.new_full((batch, width), NEVER)
    start[:, 0] = 0
    _, last = unroll(Diagonal(width), xs.flatten(2), {"a": start}, lengths=heard + written)
    return last["a"].gather(1, written[:, None])[:, 0]


def _ends(lengths: Tensor, most: int, batch: int, device: torch.device) -> Tensor:
    ends = checked_lengths(lengths, most, batch, device)
    return torch.full((batch,), most, device=device) if ends is None else ends


def _skewed(places: Tensor) -> Tensor:
    """Turn (time, batch, 2, width) into diagonals (time + width - 1, batch, 2, width)."""
    time, _, _, width = places.shape
    columns = F.pad(places.permute(1, 2, 3, 0), (0, width), value=NEVER)
    # each row ends one number early: row u begins u numbers later
    shifted = columns.flatten(2)[..., : width * (time + width - 1)].unflatten(2, (width, -1))
    return shifted.permute(3, 0, 1, 2)


def best_way(blanks: NDArray[np.floating], labels: NDArray[np.floating]) -> list[int]:
    """Say at which step each symbol of a text is written, on the likeliest way.

    Args:
        blanks: (steps, symbols + 1), as for `log_likelihood`.
        labels: the same.

    Returns:
        A step for each symbol, none before the one of the symbol before.

    Raises:
        ShapeError: there are symbols, and no step.

    Example:
        >>> blanks = np.log([[0.9, 0.5], [0.1, 0.9], [0.5, 0.9]])
        >>> best_way(blanks, np.log1p(-np.exp(blanks)))
        [1]
    """
    steps, places = blanks.shape
    if not steps:
        if places > 1:
            raise ShapeError(f"{places - 1} symbols do not fit into 0 steps")
        return []
    # All ways to (t, u) that come from (t - 1, v) write v to u in step t, and no way is better
    # than the best v: a running maximum, where what writing cost so far is left out.
    wide = labels.astype(np.float64)
    cost = np.concatenate([np.zeros((steps, 1)), wide.cumsum(1)[:, :-1]], 1)
    arrived = np.where(np.arange(places) == 0, 0.0, NEVER)
    froms = np.zeros((steps, places), np.int64)
    for t in range(steps):
        ahead = arrived - cost[t]
        top = np.maximum.accumulate(ahead)
        reached = np.where(ahead == top, np.arange(places), 0)
        froms[t] = np.maximum.accumulate(reached)
        arrived = top + cost[t] + blanks[t]
    found: list[int] = []
    place = places - 1
    for t in range(steps - 1, -1, -1):
        found += [t] * (place - int(froms[t, place]))
        place = int(froms[t, place])
    return found[::-1]
