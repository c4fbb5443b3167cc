"""The linear-chain conditional random field: scores of whole sequences of tags."""

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.errors import ConfigError, ShapeError
from unrolled.recurrence import checked_lengths, padding, unroll


class LogSum(Cell):
    """The forward recursion: log of the summed weights of all beginnings that end in each tag.

        a' = x + log(exp(a) exp(T))

    x (batch, tags) the scores of a step; a, which is also the output, (batch, tags). Row i of T
    (tags, tags) holds the scores of going on from tag i. It is a linear recurrence in the semiring
    of log and sum, computed below the largest of a so that no exponential overflows; beginnings
    that weigh e^87 times less than another are rounded away in single precision.
    """

    def __init__(self, tags: int) -> None:
        super().__init__(a=tags)
        self.T = nn.Parameter(torch.zeros(tags, tags))

    def forward(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step."""
        top = a.amax(-1, keepdim=True).detach()  # it cancels out, and so does its gradient
        a = x + top + torch.log(torch.exp(a - top) @ torch.exp(self.T))
        return a, a


class CRF(nn.Module):
    """A linear-chain conditional random field over tags.

    A sequence of tags y weighs ``exp(begin[y_1] + sum_t x_t[y_t] + sum_t T[y_t, y_t+1] +
    end[y_n])``; its probability is its weight over that of all sequences of its length. Lafferty,
    McCallum & Pereira 2001; over recurrent layers Huang, Xu & Yu 2015, arXiv:1508.01991.

    In every method the scores x are (time, batch, tags), and `lengths` (batch,) says how many steps
    each sequence has, at least 1; without it all have `time`. What lies behind them is never read.

    Args:
        tags: how many there are.

    Attributes:
        transitions: the scores T (tags, tags) of going from one tag, the row, to the next.
        begins: (tags,) bool, the tags that `decode` may begin with; all, unless it is set.
        follows: (tags, tags) bool, whether `decode` may go from the row's tag to the column's; all,
            unless it is set. From every tag that can be reached, one has to be allowed. Both are
            saved with the weights; probabilities are over all sequences, allowed or not.

    Raises:
        ConfigError: there is no tag.

    Example:
        >>> crf = CRF(3)
        >>> scores, lengths = torch.randn(7, 2, 3), torch.tensor([7, 4])
        >>> paths, _ = crf.decode(scores, lengths)
        >>> paths.shape, bool((crf(scores, paths, lengths) < 0).all())
        (torch.Size([7, 2]), True)
    """

    begins: Tensor
    follows: Tensor

    def __init__(self, tags: int) -> None:
        super().__init__()
        if tags < 1:
            raise ConfigError(f"CRF has {tags} tags: expected at least 1")
        self.recursion = LogSum(tags)
        self.begin = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        self.register_buffer("begins", torch.ones(tags, dtype=torch.bool))
        self.register_buffer("follows", torch.ones(tags, tags, dtype=torch.bool))

    @property
    def transitions(self) -> Tensor:
        """The scores of going from one tag, the row, to the next, the column."""
        return self.recursion.T

    def forward(self, scores: Tensor, tags: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the log-probability (batch,) of sequences of tags (time, batch).

        Raises:
            ShapeError: the shapes do not fit, or a sequence has no step.
        """
        return self.score(scores, tags, lengths) - self.log_partition(scores, lengths)

    def score(self, scores: Tensor, tags: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the log of the weight (batch,) of sequences of tags. Raises as `forward` does."""
        lengths = self._lengths(scores, lengths)
        if tags.shape != scores.shape[:2]:
            raise ShapeError(
                f"tags has shape {tuple(tags.shape)} and scores {tuple(scores.shape)}: "
                "expected (time, batch) and (time, batch, tags)"
            )
        behind = padding(lengths, len(scores))
        tags = tags.masked_fill(behind, 0)  # padding may be any number
        found = scores.gather(2, tags[..., None])[..., 0].masked_fill(behind, 0)
        between = self.transitions[tags[:-1], tags[1:]].masked_fill(behind[1:], 0)
        last = tags.gather(0, lengths[None] - 1)[0]
        return found.sum(0) + between.sum(0) + self.begin[tags[0]] + self.end[last]

    def log_partition(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the log (batch,) of the summed weights of all sequences.

        By the forward recursion, which runs as a cell. Raises as `forward` does.
        """
        lengths = self._lengths(scores, lengths)
        first = {"a": self.begin + scores[0]}
        _, last = unroll(self.recursion, scores[1:], first, lengths=lengths - 1)
        return (last["a"] + self.end).logsumexp(-1)

    def marginals(self, scores: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Give the probability (time, batch, tags) of every tag at every step, zero behind the end.

        It is the gradient of the log partition by the scores: the backward recursion is the forward
        one's own backward pass (Eisner 2016). It carries no gradient itself. Raises as `forward`.
        """
        with torch.enable_grad():
            free = scores.detach().requires_grad_()
            return torch.autograd.grad(self.log_partition(free, lengths).sum(), free)[0]

    @torch.no_grad()
    def decode(self, scores: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find the best sequence of tags of each row (Viterbi 1967, doi:10.1109/TIT.1967.1054010).

        Returns:
            The tags (time, batch), 0 behind the end; and the log of their weight (batch,).

        Raises:
            ShapeError: the shapes do not fit, or a sequence has no step.
        """
        lengths = self._lengths(scores, lengths)
        never = scores.new_full((), -torch.inf)
        step = self.transitions.where(self.follows, never)
        begin = self.begin.where(self.begins, never)
        best = [begin + scores[0]]
        for x in scores[1:]:
            best.append(x + (best[-1][:, :, None] + step).amax(1))
        paths = torch.zeros(scores.shape[:2], dtype=torch.long, device=scores.device)
        total = best[0].new_zeros(len(lengths))
        tag = lengths.new_zeros(len(lengths))
        for t in reversed(range(len(scores))):
            ends, inside = lengths == t + 1, lengths > t
            found, last = (best[t] + self.end).max(-1)
            total = torch.where(ends, found, total)
            before = (best[t] + step[:, tag].T).argmax(-1)  # the best to go on to `tag` from
            tag = torch.where(ends, last, torch.where(inside, before, 0))
            paths[t] = tag
        return paths, total

    def _lengths(self, scores: Tensor, lengths: Tensor | None) -> Tensor:
        if scores.dim() != 3 or scores.shape[2] != len(self.begin) or not len(scores):
            raise ShapeError(
                f"scores has shape {tuple(scores.shape)}: expected (time, batch, "
                f"{len(self.begin)}), at least one step"
            )
        time, batch, _ = scores.shape
        ends = None
        if lengths is not None:
            ends = checked_lengths(lengths, time, batch, scores.device)
        if ends is None:
            return torch.full((batch,), time, device=scores.device)
        if (ends < 1).any():
            raise ShapeError("lengths holds 0: a sequence of tags has at least one step")
        return ends
