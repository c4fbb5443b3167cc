"""A language model: symbols so far in, scores of the symbol after each out, its state a value."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import CellFactory, State
from unrolled.errors import ConfigError, ShapeError
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent
from unrolled.models.candidates import sampled_losses
from unrolled.models.sampling import draw_symbols

SPREAD = 0.1  # the first embeddings are between -SPREAD and SPREAD
PLACES = 3 << 20  # scores that are there at a time while a loss is computed


class LanguageModel(nn.Module):
    """Embed symbols, run recurrent layers over them, and score what comes next.

    With tied weights a symbol's scores are read out with its own embedding (Press & Wolf 2017,
    arXiv:1608.05859; Inan et al. 2017, arXiv:1611.01462), behind a linear map if the layers are not
    as wide as it.

    Args:
        symbols: how many there are.
        cell: what makes the cells.
        embedding: features of a symbol.
        hidden: units of each layer.
        layers: how many, one over the other.
        tied: whether embeddings are also what scores are read out with.
        dropout: share of features dropped between layers and before the scores, the same at all
            times (`SharedDropout`).
        input_dropout: the same for the features of the symbols.
        symbol_dropout: share of the symbols whose embedding is dropped, wherever they stand (Gal &
            Ghahramani 2016, arXiv:1512.05287).

    Raises:
        ConfigError: a setting is out of its range.

    Example:
        >>> from unrolled import zoo
        >>> model = LanguageModel(30, cell=zoo.GRU, embedding=8, hidden=16, tied=True)
        >>> ids = torch.randint(30, (7, 2))
        >>> scores, state = model(ids[:4])
        >>> scores, state = model(ids[4:], state)  # goes on where it stopped
        >>> scores.shape, state["h"].shape
        (torch.Size([3, 2, 30]), torch.Size([1, 2, 16]))
    """

    def __init__(
        self,
        symbols: int,
        *,
        cell: CellFactory,
        embedding: int,
        hidden: int,
        layers: int = 1,
        tied: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        symbol_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= symbol_dropout < 1:
            raise ConfigError(f"symbol_dropout is {symbol_dropout}: expected 0 to below 1")
        self.embedding = nn.Embedding(symbols, embedding)
        self.recurrent = Recurrent(cell, embedding, hidden, layers=layers, dropout=dropout)
        width = self.recurrent.outputs
        self.project = nn.Linear(width, embedding) if tied and width != embedding else nn.Identity()
        self.readout = None if tied else nn.Parameter(torch.empty(symbols, width))
        self.bias = nn.Parameter(torch.zeros(symbols))
        self.input_dropout, self.dropout = SharedDropout(input_dropout), SharedDropout(dropout)
        self.symbol_dropout = symbol_dropout
        for weight in (self.embedding.weight, self.readout):
            if weight is not None:
                nn.init.uniform_(weight, -SPREAD, SPREAD)

    def forward(
        self, ids: Tensor, state: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """Score the symbol after each.

        Args:
            ids: (time, batch) symbols.
            state: (layers, batch, *size) for each name of ``recurrent.states``, as an earlier call
                gave it; by default where a text begins.

        Returns:
            Scores (time, batch, symbols), and the state after the last symbol.

        Raises:
            ShapeError: a shape does not fit.
        """
        ys, last = self.features(ids, state)
        return F.linear(ys, self.weight, self.bias), last

    def features(
        self, ids: Tensor, state: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """Give what scores are read out of, (time, batch, width), and the state, as `forward`."""
        if ids.dim() != 2:
            raise ShapeError(f"ids has shape {tuple(ids.shape)}: expected (time, batch)")
        xs = self.embedding(ids)
        if self.training and self.symbol_dropout:
            kept = F.dropout(xs.new_ones(self.embedding.num_embeddings), self.symbol_dropout)
            xs = xs * kept[ids][..., None]
        ys, last = self.recurrent(self.input_dropout(xs), state)
        return self.project(self.dropout(ys)), last

    def losses(
        self,
        ids: Tensor,
        targets: Tensor,
        state: Mapping[str, Tensor] | None = None,
        *,
        candidates: int = 0,
    ) -> tuple[Tensor, State]:
        """Give how surprised it is by each target, in nats, (time, batch), and the state.

        Args:
            ids: (time, batch) symbols.
            targets: (time, batch), the symbol after each.
            state: as in `forward`.
            candidates: symbols that each is compared with, see `sampled_losses`; 0 is all.
        """
        ys, last = self.features(ids, state)
        rows, wanted = ys.flatten(0, 1), targets.flatten()
        weight = self.weight
        if 0 < candidates < len(weight):
            found = sampled_losses(rows, wanted, weight, self.bias, candidates)
            return found.view(targets.shape), last
        at_once = max(1, PLACES // len(weight))
        parts = [
            F.cross_entropy(F.linear(some, weight, self.bias).float(), right, reduction="none")
            for some, right in zip(rows.split(at_once), wanted.split(at_once), strict=True)
        ]
        return torch.cat(parts).view(targets.shape), last

    @property
    def weight(self) -> Tensor:
        """What scores are read out with, (symbols, width)."""
        return self.embedding.weight if self.readout is None else self.readout


@torch.no_grad()
def generate(
    model: LanguageModel,
    prompt: Sequence[int],
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    never: Sequence[int] = (),
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Go on from a prompt, symbol by symbol, each as soon as it is drawn.

    Args:
        model: in eval mode.
        prompt: ids, at least one.
        length: symbols to give.
        temperature: above 0 divides the log-probabilities; 0 always takes the likeliest.
        top_k: symbols that are drawn from; 0 is all.
        top_p: of those, the fewest that reach this probability, as in `sample`.
        never: ids that are not drawn.
        generator: of the CPU, what to draw with; by default torch's own.

    Example:
        >>> from unrolled import zoo
        >>> model = LanguageModel(50, cell=zoo.GRU, embedding=8, hidden=16).eval()
        >>> len(list(generate(model, [4, 7], 5)))
        5
    """
    device = model.embedding.weight.device
    allowed = torch.zeros(model.embedding.num_embeddings, device=device)
    allowed[list(never)] = -math.inf
    read = torch.tensor(prompt, device=device)[:, None]
    state: State | None = None
    for _ in range(length):
        ys, state = model.features(read, state)
        scores = F.linear(ys[-1], model.weight, model.bias) + allowed
        draw = torch.rand(1, generator=generator).to(device)
        read = draw_symbols(scores, draw, temperature or 1.0, top_k if temperature else 1, top_p)
        yield int(read)
