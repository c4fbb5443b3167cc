"""Sequence to sequence: an encoder, a memory, and a decoder that reads it."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from unrolled.cell import CellFactory, State
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.attention import Memory
from unrolled.models.decoder import Decoder
from unrolled.models.encoder import Encoder
from unrolled.models.pointer import Decoded, Pointer


class Bridge(nn.Module):
    """Turn the last states of an encoder into the first states of a decoder.

    One tanh layer from all states of the encoder's top layer to all states of the decoder
    (Bahdanau et al. 2015, A.2.2, where it reads the backward direction only).

    Args:
        given: the encoder's states, (layers * 2, *size) for each name.
        wanted: the decoder's states, (layers, *size) for each name.
    """

    def __init__(
        self, given: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]
    ) -> None:
        super().__init__()
        self.wanted = wanted
        self.sizes = [prod(shape) for shape in wanted.values()]
        self.layer = nn.Linear(
            2 * sum(prod(shape[1:]) for shape in given.values()), sum(self.sizes)
        )

    def forward(self, state: State) -> State:
        """Give the decoder's first state, (layers, batch, *size) for each name."""
        top = torch.cat([s[-2:].transpose(0, 1).flatten(1) for s in state.values()], -1)
        parts = torch.tanh(self.layer(top)).split(self.sizes, -1)
        return {
            name: part.unflatten(-1, shape).transpose(0, 1)
            for (name, shape), part in zip(self.wanted.items(), parts, strict=True)
        }


class Seq2Seq(nn.Module):
    """An encoder-decoder with attention, with any cell on either side.

    Sutskever et al. 2014, arXiv:1409.3215; attention as in `Luong`, `GNMT` and `Bahdanau`. With
    `copy` and `coverage` it is the pointer-generator of See, Liu & Manning 2017, arXiv:1704.04368,
    which can give symbols of the source that are none of the target's.

    Args:
        sources: symbols of the source; 0 is padding.
        targets: symbols of the target; 0 is padding.
        embedding: features of a symbol.
        hidden: units of the decoder.
        encoder_hidden: units of the encoder in each direction; by default half of `hidden`.
        encoder_cell: what makes the encoder's cells.
        decoder_cell: what makes the decoder's cells.
        encoder_layers: how many, one over the other.
        decoder_layers: how many, one over the other.
        attention: "luong" (after the recurrence), "gnmt" (between its first layer and the others)
            or "bahdanau" (inside its step).
        score: how attention compares, see `Attention`.
        dropout: share of features dropped, see `Encoder` and `Decoder`.
        copy: whether symbols of the source can be copied, see `Pointer`.
        coverage: whether attention sees where it has looked; not with "bahdanau".
        unknown: what stands, as the last symbol, for a copied one that is none of `targets`.
        tied: whether scores are read out with the embeddings of the targets, see `Decoder`.

    Raises:
        ConfigError: a setting is unknown, out of its range, or contradicts another.

    Example:
        >>> from unrolled import zoo
        >>> model = Seq2Seq(30, 40, hidden=16, encoder_cell=zoo.GRU, decoder_cell=zoo.LSTM)
        >>> source, target = torch.randint(1, 30, (7, 2)), torch.randint(1, 40, (5, 2))
        >>> model(source, torch.tensor([7, 4]), target).shape
        torch.Size([5, 2, 40])
    """

    def __init__(
        self,
        sources: int,
        targets: int,
        *,
        encoder_cell: CellFactory,
        decoder_cell: CellFactory,
        embedding: int = 128,
        hidden: int = 256,
        encoder_hidden: int | None = None,
        encoder_layers: int = 1,
        decoder_layers: int = 1,
        attention: str = "luong",
        score: str = "scaled_general",
        dropout: float = 0.0,
        copy: bool = False,
        coverage: bool = False,
        unknown: int = 3,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            sources,
            embedding=embedding,
            hidden=encoder_hidden or max(1, hidden // 2),
            cell=encoder_cell,
            layers=encoder_layers,
            dropout=dropout,
        )
        self.decoder = Decoder(
            targets,
            embedding=embedding,
            hidden=hidden,
            values=self.encoder.outputs,
            cell=decoder_cell,
            attention=attention,
            layers=decoder_layers,
            score=score,
            dropout=dropout,
            copy=copy,
            coverage=coverage,
            unknown=unknown,
            tied=tied,
        )
        self.copy = copy
        self.bridge = Bridge(self.encoder.recurrent.states, self.decoder.recurrence.states)

    def encode(
        self, source: Tensor, lengths: Tensor, copies: Tensor | None = None
    ) -> tuple[State, Memory]:
        """Read the source, (time, batch) ids; give the decoder's first state and its memory."""
        wanted = source.shape if self.copy else None
        given = None if copies is None else copies.shape
        if given != wanted:
            raise ShapeError(
                f"copies have shape {given}: expected {wanted}, as a model has that "
                f"{'copies' if self.copy else 'does not copy'}"
            )
        ys, state = self.encoder(source, lengths)
        memory = self.decoder.recurrence.attention.memory(ys, lengths)
        if copies is not None:
            memory = {**memory, "copies": copies.T}
        return self.bridge(state), memory

    def forward(
        self,
        source: Tensor,
        lengths: Tensor,
        target: Tensor,
        *,
        copies: Tensor | None = None,
        sampling: float = 0.0,
    ) -> Tensor:
        """Score every next symbol of a target, given the ones before it.

        Args:
            source: (time, batch) ids.
            lengths: (batch,) how many of them there are.
            target: (time, batch) ids, the begin symbol first.
            copies: (time, batch) the source once more, by the ids of the target, where the model
                copies. Symbols that are none of `targets` go on from there, in each source anew;
                in the target they have the same ids.
            sampling: probability, from 0 to 1, with which a symbol before is not the target's but
                drawn from the model's own scores (scheduled sampling, Bengio et al. 2015,
                arXiv:1506.03099). 0 is teacher forcing, in one call; above it, one call a step,
                and a dropout mask of its own for each.

        Returns:
            Scores (time, batch, targets) of the symbol that follows each of the target; where the
            model copies, log-probabilities of `targets` and of what else the sources have.

        Raises:
            ConfigError: the probability is out of its range.
            ShapeError: the source, its lengths and the target do not fit each other.
        """
        return self.decode(source, lengths, target, copies=copies, sampling=sampling).scored()

    def decode(
        self,
        source: Tensor,
        lengths: Tensor,
        target: Tensor,
        *,
        copies: Tensor | None = None,
        sampling: float = 0.0,
        weights: bool = False,
    ) -> Decoded:
        """Give what `forward` makes its scores of; losses need no scores of all symbols.

        Args:
            source: this and the others are as in `forward`.
            lengths: see there.
            target: see there.
            copies: see there.
            sampling: see there.
            weights: also give where attention looked; where the model copies, it is always given.
        """
        if not 0 <= sampling <= 1:
            raise ConfigError(f"sampling is {sampling}: expected a probability, from 0 to 1")
        if source.dim() != 2 or target.dim() != 2 or source.shape[1] != target.shape[1]:
            raise ShapeError(
                f"source has shape {tuple(source.shape)} and target {tuple(target.shape)}: "
                "expected (time, batch) of both, with the same batch"
            )
        state, memory = self.encode(source, lengths, copies)
        if sampling == 0 or not len(target):
            return self.decoder.decode(target, state, memory, weights=weights)
        symbols, steps = target[0], list[Decoded]()
        for t in range(len(target)):
            if t:
                with torch.no_grad():
                    scores = steps[-1].scored()[0]
                noise = -torch.empty_like(scores).exponential_().log()
                drawn = (scores + noise).argmax(-1)  # by the scores' softmax (Gumbel)
                free = torch.rand(drawn.shape, device=drawn.device) < sampling
                symbols = torch.where(free, drawn, target[t])
            steps.append(self.decoder.decode(symbols[None], state, memory, weights=weights))
            state = steps[-1].state
        return _joined(steps)

    def start(
        self, source: Tensor, lengths: Tensor, copies: Tensor | None = None
    ) -> tuple[State, Memory]:
        """Give the state and the constants of `step`, all with the rows first, as search wants."""
        state, memory = self.encode(source, lengths, copies)
        return {name: s.transpose(0, 1) for name, s in state.items()}, memory

    def step(
        self, symbols: Tensor, state: State, memory: Memory
    ) -> tuple[Tensor, State, Tensor | None]:
        """Take one step of decoding.

        Args:
            symbols: (rows,) the last symbol of each row.
            state: (rows, layers, *size) for each name.
            memory: the rows' memory.

        Returns:
            Log-probabilities (rows, targets [+ what else the sources have]), the next state, and
            where each row looked, (rows, source).
        """
        inner = {name: s.transpose(0, 1) for name, s in state.items()}
        scores, inner, weights = self.decoder(symbols[None], inner, memory, weights=True)
        state = {name: s.transpose(0, 1) for name, s in inner.items()}
        return scores[0] if self.copy else scores[0].log_softmax(-1), state, weights[0]


def _joined(steps: Sequence[Decoded]) -> Decoded:
    """Lay the steps of one sequence behind each other."""
    last = steps[-1]
    weights, pointer = None, None
    if last.weights is not None:
        weights = torch.cat([s.weights for s in steps if s.weights is not None])
    if last.pointer is not None:
        gates = torch.cat([s.pointer.gate for s in steps if s.pointer is not None])
        pointer = Pointer(gates, last.pointer.copies)
    return Decoded(torch.cat([s.scores for s in steps]), last.state, weights, pointer)
