"""The recurrent neural transducer: a head that reads what is written while it listens."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unrolled.cell import CellFactory, State
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent
from unrolled.models.head import Head
from unrolled.models.lattice import best_way, log_likelihood
from unrolled.models.prefixes import Fusion, Scores, Searching, Span
from unrolled.models.transducing import Beam, Greedy
from unrolled.recurrence import padding

BLANK = 0
KEPT = 1 << 26  # numbers that a lattice keeps for its gradient; a larger one is computed twice
PLACES = 1 << 22  # numbers that are there at a time while it is computed


class Writer(nn.Module):
    """Read what is written so far: the prediction network of a transducer.

    Args:
        symbols: how many there are; 0 stands before the first.
        outputs: features that it gives.
        cell: what makes the cells.
        embedding: features of a symbol.
        hidden: units of the recurrence.
        dropout: share of features dropped from symbols and from what the recurrence gives.
    """

    def __init__(
        self,
        symbols: int,
        outputs: int,
        *,
        cell: CellFactory,
        embedding: int,
        hidden: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding)
        self.recurrent = Recurrent(cell, embedding, hidden)
        self.project = nn.Linear(self.recurrent.outputs, outputs, bias=False)
        self.dropout = SharedDropout(dropout)

    def forward(
        self,
        symbols: Tensor,
        state: Mapping[str, Tensor] | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Read symbols (time, batch); give (time, batch, outputs) and the state after them."""
        xs = self.dropout(self.embedding(symbols))
        ys, last = self.recurrent(xs, state, lengths=lengths)
        return self.project(self.dropout(ys)), last


class TransducerHead(Head):
    """Score the next symbol of a text at each step, or that none is written there any more.

    Graves 2012, arXiv:1211.3711; the joint network is a tanh layer (Graves, Mohamed & Hinton 2013,
    arXiv:1303.5778, eq. 15-18). Symbol 0 is the blank. What it makes of a step are that step's
    features of the joint layer.

    Training computes the scores recording by recording, without padding, and keeps two numbers of
    each place of the lattice, (step, symbols written): its blank and its next symbol. Beside them
    a gradient needs `hidden` + `symbols` numbers of each place. Where these are more than 2^26
    (256 MB), they are computed anew in the backward pass, 2^22 at a time.

    Args:
        inputs: features of a step.
        symbols: how many there are, the blank included.
        cell: what makes the cells that read what is written.
        embedding: features of a symbol.
        hidden: units of these cells, and of the joint layer.
        dropout: see `Writer`.

    Example:
        >>> from unrolled import zoo
        >>> head = TransducerHead(16, 30, cell=zoo.GRU, embedding=8, hidden=12)
        >>> heard = head(torch.randn(9, 2, 16))
        >>> targets, sizes = torch.tensor([[3, 4, 4], [5, 0, 0]]), torch.tensor([3, 1])
        >>> bool(head.loss(heard, torch.tensor([9, 4]), targets, sizes) > 0)
        True
        >>> len(head.align(heard[:, 0].detach().numpy(), [3, 4, 4]))
        3
    """

    def __init__(
        self,
        inputs: int,
        symbols: int,
        *,
        cell: CellFactory,
        embedding: int,
        hidden: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(inputs, symbols)
        sizes = {"embedding": embedding, "hidden": hidden}
        self.writer = Writer(symbols, hidden, cell=cell, dropout=dropout, **sizes)
        self.listens = nn.Linear(inputs, hidden)
        self.scores = nn.Linear(hidden, symbols)

    def forward(self, ys: Tensor) -> Tensor:
        """Give the joint layer's features (steps, batch, hidden), in single precision at least."""
        heard = self.listens(ys)
        return heard.to(torch.promote_types(heard.dtype, torch.float32))

    def loss(
        self, heard: Tensor, steps: Tensor, targets: Tensor, sizes: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """Give the loss of the transducer; arguments as of `Head.loss`.

        Smoothing is over the symbols at each place, averaged over the places of a step.
        """
        found, alike = self.lattice(heard, steps, targets, sizes)
        likely = log_likelihood(found[0], found[1], steps, sizes)
        loss = -likely.where(steps > 0, 0).sum()
        return (1 - smoothing) * loss + smoothing * alike if smoothing else loss

    def lattice(
        self, heard: Tensor, steps: Tensor, targets: Tensor, sizes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Score all places of a batch's lattices; arguments as of `Head.loss`.

        Returns:
            The log-probabilities of blanks and of next symbols, (2, steps, batch, symbols + 1), and
            zero behind the ends; how far all symbols are from alike, added up over the steps.
        """
        targets = F.pad(targets, (1, 0))[:, : int(sizes.max()) + 1].T
        targets = targets.masked_fill(padding(sizes + 1, len(targets)), BLANK)
        written, _ = self.writer(targets, None, sizes + 1)
        places = int((steps * (sizes + 1)).sum())
        twice = torch.is_grad_enabled() and places * (self.symbols + heard.shape[2]) > KEPT
        rows, alike = [], heard.new_zeros(())
        for row, (time, size) in enumerate(zip(steps.tolist(), sizes.tolist(), strict=True)):
            reads, nexts = written[: size + 1, row], F.pad(targets[1 : size + 1, row], (0, 1))
            at_once = max(1, PLACES // ((size + 1) * heard.shape[2]))
            parts = [
                checkpoint(self._places, some, reads, nexts, use_reentrant=False)
                if twice
                else self._places(some, reads, nexts)
                for some in heard[:time, row].split(at_once)
            ]
            found, means = (torch.cat(some, 1) for some in zip(*parts, strict=True))
            alike = alike - means.sum() / (size + 1)
            rows.append(F.pad(found, (0, len(targets) - size - 1, 0, len(heard) - time)))
        return torch.stack(rows, 2), alike

    def _places(self, heard: Tensor, reads: Tensor, nexts: Tensor) -> tuple[Tensor, Tensor]:
        """Score the places (steps, symbols + 1) of a recording: what is next, and the mean."""
        scores = self.scores(torch.tanh(heard[:, None] + reads[None]))
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        total = scores.logsumexp(-1)
        labels = scores.gather(-1, nexts.expand(total.shape)[..., None])[..., 0]
        return torch.stack([scores[..., BLANK], labels]) - total, (scores.mean(-1) - total)[None]

    def searching(self, width: int, fusion: Fusion | None = None) -> Searching:
        """Take the best symbol at each place, or begin a beam search that is one step at a time."""
        joint = _Joint(self)
        return Greedy(joint) if width == 1 else Beam(joint, width, fusion)

    def align(self, heard: Scores, symbols: Sequence[int]) -> list[Span]:
        """Give the step at which each symbol is written, on the best way through the lattice."""
        with torch.no_grad():
            blanks, labels = self._alone(heard, symbols).cpu().numpy()
        steps = best_way(blanks, labels)
        chances = np.exp(labels[steps, range(len(steps))])
        return [Span(t, t + 1, float(p)) for t, p in zip(steps, chances, strict=True)]

    def least_steps(self, target: Sequence[int]) -> int:
        """Count one: a step may hold any number of symbols."""
        return 1

    def seen(self, heard: Scores, symbols: Sequence[int]) -> tuple[list[int], Scores]:
        """Give how likely each symbol of the text, in order, was written at each step.

        It is the gradient of the log-likelihood by the symbol's scores.
        """
        with torch.no_grad():
            blanks, labels = self._alone(heard, symbols)[:, :, None]
        with torch.enable_grad():
            labels.requires_grad_()
            steps, sizes = labels.new_tensor([[len(heard)], [len(symbols)]]).long()
            likely = log_likelihood(blanks, labels, steps, sizes)
            [shares] = torch.autograd.grad(likely.sum(), labels)
        return list(symbols), shares[:, 0, : len(symbols)].T.cpu().numpy()

    def _alone(self, heard: Scores, symbols: Sequence[int]) -> Tensor:
        """Score the places of one recording, (2, steps, symbols + 1)."""
        like = self.listens.weight
        given = torch.from_numpy(np.asarray(heard)).to(like)
        target = torch.tensor([list(symbols)], device=like.device, dtype=torch.long)
        steps, sizes = torch.tensor([[len(given)], [len(symbols)]], device=like.device)
        return self.lattice(given[:, None], steps, target, sizes)[0][:, :, 0]


class _Joint:
    """A head's scores for a search: the joint layer in NumPy, as its calls are many and small."""

    def __init__(self, head: TransducerHead) -> None:
        self.head, self.names = head, tuple(head.writer.recurrent.states)
        weights = (head.scores.weight, head.scores.bias)
        self.weight, self.bias = (w.detach().float().cpu().numpy() for w in weights)

    @torch.no_grad()
    def read(
        self, symbols: Sequence[int], states: Sequence[State | None]
    ) -> list[tuple[Scores, State]]:
        """Read a symbol of each text, all at once, as `Joint.read` says."""
        given = torch.tensor([list(symbols)], device=self.head.listens.weight.device)
        known = [state for state in states if state is not None]
        state = {name: torch.cat([s[name] for s in known], 1) for name in self.names if known}
        ys, last = self.head.writer(given, state or None)
        rows = ys[0].float().cpu().numpy()
        return [
            (row, {name: s[:, i : i + 1] for name, s in last.items()}) for i, row in enumerate(rows)
        ]

    def score(self, step: Scores, written: Sequence[Scores]) -> Scores:
        """Score what each text goes on with, as `Joint.score` says."""
        scores = np.tanh(np.stack(written) + step) @ self.weight.T + self.bias
        scores -= scores.max(1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(1, keepdims=True))
