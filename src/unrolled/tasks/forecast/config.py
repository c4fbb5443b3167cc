"""What forecasting is told: nested settings, each a flag and a line of TOML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks import config
from unrolled.tasks.config import FROM_ONE, FROM_ZERO, SHARE, check
from unrolled.tasks.kinds import Kind, presets_of

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


@dataclass(frozen=True)
class Columns:
    """How series stand in a file."""

    layout: Literal["wide", "long", "rows"] = "wide"
    """wide: a column for each series; long: a line for each value; rows: a line for each series."""
    time_column: str = ""
    """Column of the time; by default the first."""
    id_column: str = "id"
    """Column of the series' name in a long file."""
    value_column: str = "value"
    """Column of the value in a long file."""
    covariates: tuple[str, ...] = ()
    """Columns of numbers that are known beforehand, for the steps to come too."""
    time_format: str = ""
    """How a time is written, as strptime reads it; by default as in ISO 8601, or a whole number."""
    max_line: int = 1_000_000
    """Characters of the longest line; a longer one is an error."""

    def __post_init__(self) -> None:
        check(self, {"max_line": FROM_ONE})


@dataclass(frozen=True)
class Data:
    """The series to learn from, and what is to be forecast."""

    train: Path | None = None
    """Series to learn from: CSV or TSV, plain or .gz."""
    dev: Path | None = None
    """What comes after them, to choose the best weights by; without it, their ends are held out."""
    held_out: int = 1
    """Horizons at the end of each series that are held out where there is no dev file."""
    horizon: int = 24
    """Steps to forecast."""
    season: int = 0
    """Steps of a season, as the seasonal naive forecast has it; 0 tells it from the times."""
    skip_bad: bool = False
    """Leave out series that cannot be used, and count them (long files and rows)."""
    columns: Columns = field(default_factory=Columns)

    def __post_init__(self) -> None:
        check(self, {"held_out": FROM_ONE, "horizon": FROM_ONE, "season": FROM_ZERO})


@dataclass(frozen=True)
class Model:
    """The encoder of the past and the decoder of the steps to come."""

    cell: str = "LSTM"
    """Cell on both sides: of the zoo, module:Class, or as Zoneout(LSTM, h=0.1)."""
    context: int = 168
    """Past steps that are read."""
    lags: tuple[int, ...] = ()
    """Further periods, beside the season, whose values are read."""
    calendar: bool = True
    """Read the hour of the day, the day of the week and the day of the year, where they vary."""
    scaling: Literal["standard", "mean", "none"] = "standard"
    """What a window is brought to: mean 0 and deviation 1, a mean size of 1, or as it is."""
    hidden: int = 128
    """Units."""
    layers: int = 1
    """Layers on both sides."""
    identity: int = 0
    """Features that tell a series from the others; 0 treats all alike."""
    highway: int = 0
    """Past steps that a linear forecast reads, which the recurrence corrects; 0 has none."""
    dropout: float = 0.1
    """Share of features dropped."""
    output: Literal["quantiles", "mean", "normal", "student_t", "negative_binomial"] = "quantiles"
    """What is said of each step; negative_binomial is for counts, and mean has no intervals."""
    levels: tuple[float, ...] = LEVELS
    """The quantiles, rising."""

    def __post_init__(self) -> None:
        names = ("context", "hidden", "layers")
        ranges = dict.fromkeys(names, FROM_ONE) | dict.fromkeys(("identity", "highway"), FROM_ZERO)
        check(self, ranges | {"dropout": SHARE})
        if self.highway > self.context:
            raise ConfigError(f"highway is {self.highway}; give at most context, {self.context}")
        if min(self.lags, default=1) < 1:
            raise ConfigError(f"lags is {self.lags}; give numbers at least 1")
        rising = sorted(set(self.levels)) == list(self.levels)
        if not rising or not 0 < min(self.levels) <= max(self.levels) < 1:
            raise ConfigError(f"levels is {self.levels}; give rising numbers between 0 and 1")
        if self.output == "negative_binomial" and self.scaling != "mean":
            raise ConfigError(f"scaling is {self.scaling}; counts need --scaling mean")


@dataclass(frozen=True)
class ForecastConfig:
    """Train a forecaster of one series or many."""

    run: Path = Path("runs/forecast")
    """Folder of the run: settings, weights, checkpoints, metrics, report."""
    resume: bool = False
    """Go on with a run that was stopped, with the settings it has."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    training: config.Training = field(default_factory=config.Training)


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run on what came after its history; by default, on what it chose its weights by."""

    data: Path | None = None
    """What came after: a file as the one that was learnt from."""
    history: Path | None = None
    """What came before, from its beginning; by default the run's own train and dev data."""
    stride: int = 1
    """Steps from one forecast to the next."""
    predictions: Path | None = None
    """Also write every forecast and what came here (CSV)."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"stride": FROM_ONE})


@dataclass(frozen=True)
class PredictConfig:
    """Forecast what comes after the series in FILE, or after those that were learnt from."""

    digits: int = 6
    """Digits of the numbers that are written."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"digits": FROM_ONE})


KIND = Kind(
    name="forecast",
    about="learn to foretell series, with intervals",
    config=ForecastConfig,
    evaluation=EvaluateConfig,
    prediction=PredictConfig,
    presets=presets_of(__file__),
)
