"""The forecaster: the past of a series in, what each later step may be out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, NegativeBinomial, Normal, StudentT
from torch.nn.functional import softplus

from unrolled.cell import CellFactory
from unrolled.errors import ConfigError
from unrolled.layers.dropout import SharedDropout
from unrolled.layers.recurrent import Recurrent

NARROW = 1.5  # where quantiles begin: softplus(-1.5) is a fifth of the window's scale
SAMPLES = 1000  # that quantiles are taken of, where a distribution has no formula for them
LEAST = 1e-3  # of a deviation, as a share of the window's scale: nothing is foreseen exactly


@dataclass(frozen=True)
class Windows:
    """Pasts of series, each on its own scale, and what is known of the steps to come.

    values (context, batch): the series, scaled; 0 where it has not begun.
    present (context, batch): 1 where there is a value, 0 where there is none.
    past_lags (context, batch, lags), future_lags (horizon, batch, lags): for each period, the
    scaled value one period before; of later steps the last one that is known at that place.
    past_known (context, batch, known), future_known (horizon, batch, known): what is known of each
    step beforehand, such as its hour of the day.
    series (batch,): the number of the series; 0 is one that was not learnt from.
    scale (batch,): what a unit of the scaled values is.
    """

    values: Tensor
    present: Tensor
    past_lags: Tensor
    future_lags: Tensor
    past_known: Tensor
    future_known: Tensor
    series: Tensor
    scale: Tensor

    def to(self, device: torch.device) -> "Windows":
        """Move all of it to a device."""
        return Windows(*(tensor.to(device) for tensor in vars(self).values()))


class Output(ABC):
    """What a forecast says of a step: `size` numbers beside a base that it corrects.

    Args:
        levels: the quantiles that are wanted, rising, between 0 and 1.
    """

    size: int

    def __init__(self, levels: Sequence[float]) -> None:
        self.levels = tuple(levels)

    @abstractmethod
    def loss(self, raw: Tensor, base: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Give the loss of each step.

        Args:
            raw: (horizon, batch, size), any numbers.
            base: (horizon, batch), a first guess of the scaled values.
            target: (horizon, batch), the scaled values.
            scale: (batch,), what a unit of them is.
        """

    @abstractmethod
    def point(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give one scaled value for each step, (horizon, batch)."""

    @abstractmethod
    def quantiles(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give the scaled quantiles of each step, (horizon, batch, levels), rising."""


class Mean(Output):
    """The mean alone, by squared error: no quantiles."""

    size = 1

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__(())

    def loss(self, raw: Tensor, base: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Give the squared error."""
        return (self.point(raw, base, scale) - target).square()

    def point(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give the mean."""
        return base + raw[..., 0]

    def quantiles(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give none."""
        return raw[..., :0]


class Quantiles(Output):
    """Quantiles, by the pinball loss: Wen et al. 2017, arXiv:1711.11053, eq. 1.

    The median is free, and each further level lies beyond the one before it: they never cross.
    """

    def __init__(self, levels: Sequence[float]) -> None:
        super().__init__(levels)
        if 0.5 not in self.levels:
            raise ConfigError(f"the quantiles {self.levels} lack the median: add 0.5")
        self.size, self.middle = len(self.levels), self.levels.index(0.5)

    def loss(self, raw: Tensor, base: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Give twice the mean pinball loss, which of the median alone is the absolute error."""
        over = target[..., None] - self.quantiles(raw, base, scale)
        levels = over.new_tensor(self.levels)
        return 2 * torch.maximum(levels * over, (levels - 1) * over).mean(-1)

    def point(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give the median."""
        return base + raw[..., self.middle]

    def quantiles(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give the quantiles."""
        below, middle, above = raw.tensor_split((self.middle, self.middle + 1), -1)
        below = -softplus(below - NARROW).flip(-1).cumsum(-1).flip(-1)
        return (
            base[..., None]
            + middle
            + torch.cat([below, 0 * middle, softplus(above - NARROW).cumsum(-1)], -1)
        )


class Distributed(Output):
    """A distribution, by its likelihood."""

    @abstractmethod
    def distribution(self, raw: Tensor, base: Tensor, scale: Tensor) -> Distribution:
        """Give the distribution of each step's scaled value."""

    def loss(self, raw: Tensor, base: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Give -log p of the value."""
        return -self.distribution(raw, base, scale).log_prob(target)

    def point(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give the mean."""
        return self.distribution(raw, base, scale).mean

    def quantiles(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give quantiles of samples, the same ones every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            samples = self.distribution(raw.cpu(), base.cpu(), scale.cpu()).sample((SAMPLES,))
        return samples.quantile(samples.new_tensor(self.levels), 0).movedim(0, -1).to(raw.device)


class Gaussian(Distributed):
    """A normal distribution."""

    size = 2

    def distribution(self, raw: Tensor, base: Tensor, scale: Tensor) -> Normal:
        """Give it."""
        deviation = softplus(raw[..., 1]) + LEAST
        return Normal(base + raw[..., 0], deviation, validate_args=False)

    def quantiles(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give its quantiles."""
        one = self.distribution(raw, base, scale)
        return torch.stack([one.icdf(base.new_tensor(level)) for level in self.levels], -1)


class Student(Distributed):
    """Student's distribution of more than two degrees of freedom: its tails expect surprises."""

    size = 3

    def distribution(self, raw: Tensor, base: Tensor, scale: Tensor) -> StudentT:
        """Give it."""
        freedom, scale = 2.01 + softplus(raw[..., 2]), softplus(raw[..., 1]) + LEAST
        return StudentT(freedom, base + raw[..., 0], scale, validate_args=False)


class Counts(Distributed):
    """A negative binomial distribution of counts: Salinas et al. 2017, arXiv:1704.04110, eq. 5.

    The values are counts, so windows must be scaled without taking anything off.
    """

    size = 2

    def distribution(self, raw: Tensor, base: Tensor, scale: Tensor) -> NegativeBinomial:
        """Give that of the counts themselves."""
        mean = scale * softplus(base + raw[..., 0]) + 1e-6
        count = 1 / (softplus(raw[..., 1]) + LEAST)
        return NegativeBinomial(count, logits=(mean / count).log(), validate_args=False)

    def loss(self, raw: Tensor, base: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        """Give -log p of the count."""
        return -self.distribution(raw, base, scale).log_prob((target * scale).round().clamp(min=0))

    def point(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give the scaled mean."""
        return super().point(raw, base, scale) / scale

    def quantiles(self, raw: Tensor, base: Tensor, scale: Tensor) -> Tensor:
        """Give the scaled quantiles."""
        return super().quantiles(raw, base, scale) / scale[:, None]


OUTPUTS: dict[str, type[Output]] = {
    "mean": Mean,
    "quantiles": Quantiles,
    "normal": Gaussian,
    "student_t": Student,
    "negative_binomial": Counts,
}


class Forecaster(nn.Module):
    """An encoder of the past and a decoder of the steps to come, with any cell.

    The encoder reads each past step with the values one period before it; the decoder goes on from
    its last state and reads what is known of each later step. What comes out corrects a base: the
    values one period before, and a linear map of the last steps, the autoregressive highway of
    LSTNet (Lai et al. 2017, arXiv:1703.07015, 3.6). All steps come out at once; none of them reads
    the one before.

    Args:
        horizon: steps to come.
        lags: periods whose values are read, at least 1.
        known: numbers that are known of each step beforehand, from 0.
        series: how many series there are to tell apart, from 0.
        output: what is said of a step; a row of `OUTPUTS`.
        cell: what makes the cells.
        hidden: units.
        layers: how many, one over the other; each from the second on is added to what it reads.
        identity: features of a series' number; 0 tells none apart.
        highway: past steps that the linear map reads; 0 leaves it out.
        dropout: share of features dropped between layers and from the decoder's outputs, the same
            at all times (`SharedDropout`); in training, also the share of series whose number is
            hidden, so that new ones can be forecast.

    Example:
        >>> from unrolled import zoo
        >>> model = Forecaster(5, 1, 2, 0, Quantiles([0.1, 0.5, 0.9]), cell=zoo.GRU, hidden=8)
        >>> past, future = torch.randn(9, 4), torch.randn(5, 4, 1)
        >>> windows = Windows(past, torch.ones(9, 4), past[..., None], future,
        ...     torch.randn(9, 4, 2), torch.randn(5, 4, 2), torch.zeros(4).long(), torch.ones(4))
        >>> raw, base = model(windows)
        >>> raw.shape, base.shape
        (torch.Size([5, 4, 3]), torch.Size([5, 4]))
    """

    def __init__(
        self,
        horizon: int,
        lags: int,
        known: int,
        series: int,
        output: Output,
        *,
        cell: CellFactory,
        hidden: int = 128,
        layers: int = 1,
        identity: int = 0,
        highway: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.horizon, self.output, self.span = horizon, output, highway
        self.hide = dropout
        self.identity = nn.Embedding(series + 1, identity) if identity else None
        beside = lags + known + identity
        settings = {"layers": layers, "residual": True, "dropout": dropout}
        self.encoder = Recurrent(cell, 2 + beside, hidden, **settings)
        self.decoder = Recurrent(cell, 1 + beside, hidden, **settings)
        self.dropout = SharedDropout(dropout)
        self.out = nn.Linear(self.decoder.outputs, output.size)
        self.lag = nn.Linear(lags, 1, bias=False)
        self.highway = nn.Linear(highway, horizon) if highway else None
        self._begin_at_the_season()

    @torch.no_grad()
    def _begin_at_the_season(self) -> None:
        """Let the first forecasts be the values one period before."""
        self.lag.weight.zero_()
        self.lag.weight[0, 0] = 1
        self.out.weight.mul_(0.1)
        self.out.bias.zero_()
        if self.highway is not None:
            self.highway.weight.zero_()
            self.highway.bias.zero_()

    def forward(self, windows: Windows) -> tuple[Tensor, Tensor]:
        """Forecast.

        Returns:
            The numbers of each step (horizon, batch, size) and the base that they correct (horizon,
            batch), both as the `Output` reads them.
        """
        beside = self._identities(windows)
        past = [windows.values[..., None], windows.present[..., None], windows.past_lags]
        _, state = self.encoder(_join([*past, windows.past_known], beside))
        place = torch.linspace(-1, 1, self.horizon, device=windows.values.device)
        future = [place[:, None, None].expand(-1, windows.values.shape[1], 1), windows.future_lags]
        ys, _ = self.decoder(_join([*future, windows.future_known], beside), state)
        base = self.lag(windows.future_lags).squeeze(-1)
        if self.highway is not None:
            base = base + self.highway(windows.values[-self.span :].T).T
        return self.out(self.dropout(ys)), base

    def _identities(self, windows: Windows) -> Tensor:
        """Give the features of each series' number, (batch, identity)."""
        if self.identity is None:
            return windows.values.new_zeros(len(windows.series), 0)
        series = windows.series
        if self.training and self.hide:
            hidden = torch.rand(series.shape).to(series.device) < self.hide
            series = series.masked_fill(hidden, 0)
        return self.identity(series)

    def loss(self, windows: Windows, target: Tensor) -> Tensor:
        """Give the mean loss over all steps of scaled values (horizon, batch)."""
        raw, base = self(windows)
        return self.output.loss(raw, base, target, windows.scale).mean()

    def forecast(self, windows: Windows) -> tuple[Tensor, Tensor]:
        """Give scaled points (horizon, batch) and quantiles (horizon, batch, levels)."""
        raw, base = self(windows)
        outputs = raw, base, windows.scale
        return self.output.point(*outputs), self.output.quantiles(*outputs)


def _join(parts: Sequence[Tensor], beside: Tensor) -> Tensor:
    """Lay side by side what is read at each step, (time, batch, ...), and what stays the same."""
    return torch.cat([*parts, beside.expand(len(parts[0]), -1, -1)], -1)
