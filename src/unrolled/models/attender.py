"""Listen, attend and spell: a head that writes a text while it looks at all steps at once."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cell import CellFactory, State
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attention import Memory
from unrolled.models.decoder import Decoder
from unrolled.models.head import Head
from unrolled.models.prefixes import END, Fusion, Scores, Searching, Span
from unrolled.models.transcriber import CTCHead
from unrolled.models.writing import Beam
from unrolled.recurrence import padding


class AttentionHead(Head):
    """Score the next symbol of a text, or its end, given those before it and all steps.

    Chan et al. 2015, arXiv:1508.01211. Departs from the paper in: attention comes after the
    recurrence (`Luong`), so that a whole text is learnt in one call, and what was read is not fed
    back. A text has at most as many symbols as there are steps. Symbol 0 is the end, and also
    stands before the first symbol. Of a step it reads all that the listener gives.

    Args:
        inputs: features of a step.
        symbols: how many there are, the end included.
        cell: what makes the cells of the decoder.
        embedding: features of a symbol.
        hidden: units of these cells.
        dropout: see `Decoder`.
        ctc: share of the loss that is CTC's, of a second head on the same steps, which shows the
            listener early where symbols are (Kim, Hori & Watanabe 2017, arXiv:1609.06773); it takes
            no part in the search. From 0, which leaves it out, to below 1.

    Raises:
        ConfigError: a setting is out of its range.

    Example:
        >>> from unrolled import zoo
        >>> head = AttentionHead(16, 30, cell=zoo.GRU, embedding=8, hidden=12)
        >>> ys, targets = head(torch.randn(9, 2, 16)), torch.tensor([[3, 4, 4], [5, 0, 0]])
        >>> steps, sizes = torch.tensor([9, 4]), torch.tensor([3, 1])
        >>> bool(head.loss(ys, steps, targets, sizes) > 0)
        True
        >>> len(head.align(ys[:, 0].numpy(), [3, 4, 4]))
        3
    """

    streams = False

    def __init__(
        self,
        inputs: int,
        symbols: int,
        *,
        cell: CellFactory,
        embedding: int,
        hidden: int,
        dropout: float = 0.0,
        ctc: float = 0.0,
    ) -> None:
        super().__init__(inputs, symbols)
        if not 0 <= ctc < 1:
            raise ConfigError(f"ctc is {ctc}: expected a share, from 0 to below 1")
        self.decoder = Decoder(
            symbols,
            embedding=embedding,
            hidden=hidden,
            values=inputs,
            cell=cell,
            dropout=dropout,
        )
        self.aid = CTCHead(inputs, symbols) if ctc else None
        self.ctc = ctc

    def forward(self, ys: Tensor) -> Tensor:
        """Give the steps as they are, in single precision at least."""
        return ys.to(torch.promote_types(ys.dtype, torch.float32))

    def loss(
        self, heard: Tensor, steps: Tensor, targets: Tensor, sizes: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """Give the cross-entropy of the symbols and the end; arguments as of `Head.loss`."""
        fits = steps >= sizes
        targets = targets.T.masked_fill(padding(sizes, targets.shape[1]), END)
        before, nexts = F.pad(targets, (0, 0, 1, 0), value=END), F.pad(targets, (0, 0, 0, 1))
        memory = self.decoder.recurrence.attention.memory(heard, steps)
        scores, _, _ = self.decoder(before, self._start(len(steps)), memory)
        rows = {"reduction": "none", "label_smoothing": smoothing}
        losses = F.cross_entropy(scores.flatten(0, 1).float(), nexts.flatten(), **rows)
        behind = padding(sizes + 1, len(nexts)) | ~fits
        loss = losses.view(nexts.shape).masked_fill(behind, 0).sum()
        if self.aid is None:
            return loss
        aid = self.aid.loss(self.aid(heard), steps, targets.T, sizes, smoothing)
        return (1 - self.ctc) * loss + self.ctc * aid

    def _start(self, rows: int) -> State:
        like = self.decoder.scores.weight
        sizes = self.decoder.recurrence.states.items()
        return {name: like.new_zeros(size[0], rows, *size[1:]) for name, size in sizes}

    def searching(self, width: int, fusion: Fusion | None = None) -> Searching:
        """Begin a search; it looks for texts when it is asked, as attention needs all steps."""
        return Beam(lambda heard: _Spelling(self, heard), width, fusion)

    def align(self, heard: Scores, symbols: Sequence[int]) -> list[Span]:
        """Give a step for each symbol: where attention looked, never before the symbol before."""
        if len(symbols) > len(heard):
            raise ShapeError(f"{len(symbols)} symbols do not fit into {len(heard)} steps")
        weights, chances = self._looked(heard, symbols)
        spans = zip(monotone(weights), chances, strict=True)
        return [Span(t, t + 1, float(p)) for t, p in spans]

    def least_steps(self, target: Sequence[int]) -> int:
        """Count one for each symbol."""
        return len(target)

    def seen(self, heard: Scores, symbols: Sequence[int]) -> tuple[list[int], Scores]:
        """Give where attention looked for each symbol of the text, in order."""
        return list(symbols), self._looked(heard, symbols)[0]

    @torch.no_grad()
    def _looked(self, heard: Scores, symbols: Sequence[int]) -> tuple[Scores, Scores]:
        """Give where attention looked for each symbol (symbols, steps), and its probability."""
        spelling = _Spelling(self, heard)
        before = torch.tensor([[END, *symbols[:-1]][: len(symbols)]], dtype=torch.long).T
        before = before.to(self.decoder.scores.weight.device)
        scores, _, weights = self.decoder(before, self._start(1), spelling.memory, weights=True)
        assert weights is not None
        chances = scores[:, 0].float().softmax(-1).cpu().numpy()
        return weights[:, 0].float().cpu().numpy(), chances[range(len(symbols)), list(symbols)]


class _Spelling:
    """Writes texts from one recording (steps, features): a symbol of each at a call."""

    @torch.no_grad()
    def __init__(self, head: AttentionHead, heard: Scores) -> None:
        self.head = head
        given = torch.from_numpy(np.asarray(heard)).to(head.decoder.scores.weight)
        self.memory: Memory = head.decoder.recurrence.attention.memory(given[:, None])

    @torch.no_grad()
    def __call__(
        self, symbols: Sequence[int], states: Sequence[State | None]
    ) -> tuple[Scores, list[State]]:
        """Score what follows, (texts, symbols), and give the state of each."""
        rows, decoder = len(symbols), self.head.decoder
        start = self.head._start(1)
        known = [start if state is None else state for state in states]
        state = {name: torch.cat([one[name] for one in known], 1) for name in start}
        memory = {name: some.expand(rows, *some.shape[1:]) for name, some in self.memory.items()}
        given = torch.tensor([list(symbols)], device=decoder.scores.weight.device)
        scores, last, _ = decoder(given, state, memory)
        states = [{name: s[:, i : i + 1] for name, s in last.items()} for i in range(rows)]
        return scores[0].float().log_softmax(-1).cpu().numpy(), states


def monotone(weights: Scores) -> list[int]:
    """Give a step for each symbol that never goes back, so that their weights multiply to most.

    weights: (symbols, steps).

    >>> monotone(np.array([[0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.0, 0.3, 0.7]]))
    [1, 1, 2]
    """
    logs = np.log(np.maximum(weights, np.finfo(np.float32).tiny)).astype(np.float64)
    totals: list[Scores] = []
    for row in logs:
        before = np.maximum.accumulate(totals[-1]) if totals else 0.0
        totals.append(before + row)
    steps, last = list[int](), weights.shape[1]
    for total in reversed(totals):
        last = int(total[:last].argmax()) + 1
        steps.append(last - 1)
    return steps[::-1]
