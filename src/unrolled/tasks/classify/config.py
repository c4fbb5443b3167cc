"""What classification is told: nested settings, each a flag and a line of TOML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unrolled.tasks import config
from unrolled.tasks.config import FROM_ONE, FROM_ZERO, SHARE, SIZE, check
from unrolled.tasks.kinds import Kind, presets_of


@dataclass(frozen=True)
class Fields:
    """What the parts of an item are called in its file, and how a line is read."""

    text_field: str = "text"
    """Column or JSON field of the text."""
    label_field: str = "label"
    """Column or JSON field of the label."""
    series_array: str = "x"
    """Array of the series in an .npz file."""
    label_array: str = "y"
    """Array of the labels in an .npz file."""
    normalize: Literal["none", "nfc", "nfd"] = "nfc"
    """Unicode form that texts are brought into; nfd parts letters from accents."""
    max_line: int = 1_000_000
    """Characters of the longest line; a longer one is an error."""

    def __post_init__(self) -> None:
        check(self, {"max_line": FROM_ONE})


@dataclass(frozen=True)
class Data:
    """The items to learn from, and how texts are cut into symbols."""

    train: Path | None = None
    """Items to learn from: texts (.csv, .tsv, .jsonl; .gz) or series (.npz, .ts)."""
    dev: Path | None = None
    """Items to choose the best weights by; without it, a share of the others is held out."""
    held_out: float = 0.1
    """Share of the items of each class that is held out where there is no dev file."""
    unit: Literal["characters", "tokens", "pieces"] = "tokens"
    """What a symbol of a text is; pieces are learnt with sentencepiece."""
    size: int = 8000
    """Symbols of the vocabulary at most."""
    skip_bad: bool = False
    """Leave out items that cannot be used, and count them, instead of stopping."""
    fields: Fields = field(default_factory=Fields)

    def __post_init__(self) -> None:
        check(self, {"held_out": SHARE, "size": SIZE})


@dataclass(frozen=True)
class Model:
    """The recurrence, what it reads and how its outputs become one."""

    cell: str = "LSTM"
    """Cell: of the zoo, module:Class, or as Zoneout(LSTM, h=0.1)."""
    embedding: int = 128
    """Features that a symbol, or a step of a series, is turned into."""
    window: int = 1
    """Steps of a series that are read together, an odd number."""
    hidden: int = 128
    """Units of each direction."""
    layers: int = 1
    """Layers of the recurrence."""
    bidirectional: bool = True
    """Read the sequence backwards too."""
    pooling: Literal["last", "mean", "attention"] = "attention"
    """What the classes are told from: the last outputs, the mean of all, or a weighed mean."""
    dropout: float = 0.2
    """Share of features dropped."""

    def __post_init__(self) -> None:
        names = ("embedding", "window", "hidden", "layers")
        check(self, dict.fromkeys(names, FROM_ONE) | {"dropout": SHARE})


@dataclass(frozen=True)
class Augmentation:
    """How items are varied while they are learnt from; zeros leave them as they are."""

    noise: float = 0.0
    """Noise on a series, as a share of each feature's standard deviation."""
    stretch: float = 0.0
    """Share by which the values of a series grow or shrink at most."""
    roll: float = 0.0
    """Share of its length that a series is rolled by at most: what leaves at one end comes back."""
    forget: float = 0.0
    """Share of the symbols of a text that are taken for unknown ones."""

    def __post_init__(self) -> None:
        check(self, {"noise": FROM_ZERO, "stretch": SHARE, "roll": SHARE, "forget": SHARE})


@dataclass(frozen=True)
class ClassifyConfig:
    """Train a classifier of texts or series."""

    run: Path = Path("runs/classify")
    """Folder of the run: settings, weights, checkpoints, metrics, report."""
    resume: bool = False
    """Go on with a run that was stopped, with the settings it has."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    augmentation: Augmentation = field(default_factory=Augmentation)
    training: config.Training = field(default_factory=config.Training)


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run on items; by default, on those that it chose its weights by."""

    data: Path | None = None
    """Items to score on, in a file as those that were learnt from."""
    series_array: str = ""
    """Array of the series in an .npz file, where it is another than in training."""
    label_array: str = ""
    """Array of the labels in an .npz file, where it is another than in training."""
    predictions: Path | None = None
    """Also write place, label, prediction and probability of each item here, tab-separated."""
    skip_bad: bool = False
    """Leave out items that cannot be used, and count them, instead of stopping."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""


@dataclass(frozen=True)
class PredictConfig:
    """Classify each item of FILE, or each line of standard input, as soon as it is there."""

    best: int = 1
    """Classes for each item, the likeliest first."""
    format: Literal["tsv", "jsonl"] = "tsv"
    """tsv: label, probability, and so on for further classes; jsonl: an object of them."""
    series_array: str = ""
    """Array of the series in an .npz file, where it is another than in training."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"best": FROM_ONE})


KIND = Kind(
    name="classify",
    about="learn to tell the class of texts or series",
    config=ClassifyConfig,
    evaluation=EvaluateConfig,
    prediction=PredictConfig,
    presets=presets_of(__file__),
)
