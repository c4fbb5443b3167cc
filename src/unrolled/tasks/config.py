"""What a run of a task is told: nested settings, each a flag and a line of TOML."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError

Unit = Literal["characters", "tokens", "pieces"]

Range = tuple[str, Callable[[float], bool]]  # in words, and the test; NaN and infinity fail all
POSITIVE: Range = ("above 0", lambda value: 0 < value < inf)
FROM_ZERO: Range = ("at least 0", lambda value: 0 <= value < inf)
FROM_ONE: Range = ("at least 1", lambda value: 1 <= value < inf)
SHARE: Range = ("at least 0 and below 1", lambda value: 0 <= value < 1)
SIZE: Range = ("at least 5: four symbols are special", lambda value: 5 <= value < inf)
SEED: Range = ("from 0 to 4294967295", lambda value: 0 <= value < 2**32)
THREADS: Range = ("from 0 to 1024", lambda value: 0 <= value <= 1024)


def check(settings: object, ranges: Mapping[str, Range]) -> None:
    """Raise a ConfigError that names the first setting outside of its range.

    Example:
        >>> check(Search(width=5), {"width": FROM_ONE})
        >>> Search(width=0)
        Traceback (most recent call last):
        unrolled.errors.ConfigError: width is 0; give a number at least 1
    """
    for name, (words, holds) in ranges.items():
        value = getattr(settings, name)
        if not holds(value):
            raise ConfigError(f"{name.replace('_', '-')} is {value}; give a number {words}")


@dataclass(frozen=True)
class Data:
    """The pairs to learn from, and how their text is cut into symbols."""

    train: Path | None = None
    """Pairs to learn from: TSV (source TAB target) or JSON lines, plain or .gz."""
    dev: Path | None = None
    """Pairs to choose the best weights by; without it, a twentieth of the sources is held out."""
    source_field: str = "source"
    """Name of the source in JSON lines."""
    target_field: str = "target"
    """Name of the target in JSON lines."""
    source_unit: Unit = "characters"
    """What a symbol of the source is; pieces are learnt with sentencepiece."""
    target_unit: Unit = "tokens"
    """What a symbol of the target is; tokens are what white space separates."""
    source_size: int = 8000
    """Symbols of the source's vocabulary at most."""
    target_size: int = 8000
    """Symbols of the target's vocabulary at most."""
    normalize: Literal["none", "nfc", "nfd"] = "nfc"
    """Unicode form that sources and targets are brought into; nfd parts letters from accents."""
    max_line: int = 20_000
    """Characters of the longest line; a longer one is an error."""

    def __post_init__(self) -> None:
        check(self, {"source_size": SIZE, "target_size": SIZE, "max_line": FROM_ONE})


@dataclass(frozen=True)
class Model:
    """The encoder-decoder with attention."""

    cell: str = "LSTM"
    """Cell on both sides: a name of the zoo, or module:Class for your own."""
    decoder_cell: str | None = None
    """Cell of the decoder, where it is another."""
    embedding: int = 128
    """Features of a symbol."""
    hidden: int = 256
    """Units of the decoder."""
    encoder_hidden: int | None = None
    """Units of the encoder in each direction; None takes half of those of the decoder."""
    encoder_layers: int = 1
    """Layers of the encoder, each in both directions."""
    decoder_layers: int = 1
    """Layers of the decoder."""
    attention: Literal["luong", "bahdanau"] = "luong"
    """Attention after the recurrence, or inside its step."""
    score: Literal["dot", "scaled_dot", "general", "scaled_general", "additive"] = "scaled_general"
    """How attention compares."""
    dropout: float = 0.2
    """Share of features dropped."""

    def __post_init__(self) -> None:
        check(
            self,
            {
                "embedding": FROM_ONE,
                "hidden": FROM_ONE,
                "encoder_layers": FROM_ONE,
                "decoder_layers": FROM_ONE,
                "dropout": SHARE,
            },
        )


@dataclass(frozen=True)
class Training:
    """The training loop."""

    epochs: float = 10.0
    """Times that the training pairs are seen."""
    least_steps: int = 0
    """Steps at least, however few pairs an epoch has."""
    minutes: float = 0.0
    """Plan for at most this long, anew after every scoring; 0 is no limit."""
    batch: int = 256
    """Pairs in a step."""
    learning_rate: float = 2e-3
    """Highest learning rate of AdamW."""
    warmup: int = 300
    """Steps over which the learning rate rises; it then falls along a cosine."""
    final_rate: float = 0.02
    """Where the learning rate ends, as a share of the highest."""
    weight_decay: float = 0.01
    """AdamW's weight decay, of matrices only."""
    clip: float = 1.0
    """Norm that the gradient is clipped to."""
    smoothing: float = 0.1
    """Label smoothing: probability spread over all symbols."""
    sampling: float = 0.0
    """Scheduled sampling: probability of feeding back the model's own symbol, at the end."""
    average: float = 0.998
    """Decay of the average of weights that is scored and kept; 0 keeps the last weights."""
    patience: int = 0
    """Scorings without a better one before training stops; 0 never stops early."""
    score_every: float = 1.0
    """Epochs between scorings of the dev pairs."""
    score_steps: int = 200
    """Steps between scorings at least."""
    score_items: int = 2000
    """Dev sources that are scored at most."""
    keep_every: float = 30.0
    """Seconds between checkpoints."""
    keep: int = 3
    """Checkpoints that are kept."""
    seed: int = 1
    """Seed of weights, order and dropout."""
    threads: int = 0
    """Threads of the processor; 0 takes torch's choice."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 is mixed precision; auto takes it where a GPU has it."""
    tensorboard: bool = False
    """Also write curves for TensorBoard into the run."""

    def __post_init__(self) -> None:
        check(
            self,
            {
                "epochs": POSITIVE,
                "least_steps": FROM_ZERO,
                "minutes": FROM_ZERO,
                "batch": FROM_ONE,
                "learning_rate": POSITIVE,
                "warmup": FROM_ZERO,
                "final_rate": SHARE,
                "weight_decay": FROM_ZERO,
                "clip": POSITIVE,
                "smoothing": SHARE,
                "sampling": SHARE,
                "average": SHARE,
                "patience": FROM_ZERO,
                "score_every": POSITIVE,
                "score_steps": FROM_ONE,
                "score_items": FROM_ONE,
                "keep_every": FROM_ZERO,
                "keep": FROM_ONE,
                "seed": SEED,
                "threads": THREADS,
            },
        )


@dataclass(frozen=True)
class Search:
    """How predictions are looked for."""

    width: int = 5
    """Width of the beam; 1 is greedy search."""
    length_penalty: float = 0.6
    """Exponent of Wu et al. 2016, eq. 14; 0 compares plain sums, which favours short ones."""
    length_ratio: float = 2.0
    """Symbols of a prediction at most, for each symbol of the source (and ten more)."""

    def __post_init__(self) -> None:
        check(self, {"width": FROM_ONE, "length_penalty": FROM_ZERO, "length_ratio": POSITIVE})


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Train a sequence-to-sequence model with attention on pairs of texts."""

    run: Path = Path("runs/seq2seq")
    """Folder of the run: settings, weights, checkpoints, metrics, report."""
    resume: bool = False
    """Go on with a run that was stopped, with the settings it has."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    search: Search = field(default_factory=Search)


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run on pairs; by default, on those that it chose its weights by."""

    data: Path | None = None
    """Pairs to score on: TSV or JSON lines, plain or .gz."""
    predictions: Path | None = None
    """Also write source, prediction and references here, tab-separated."""
    width: int = 0
    """Width of the beam; 0 takes the run's, 1 is greedy search."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"width": FROM_ZERO})


@dataclass(frozen=True)
class ExperimentConfig:
    """Run one of the lecture's experiments, print its table and write its page."""

    out: Path = Path("runs/experiments")
    """Folder for the pages: NAME/page.html."""


@dataclass(frozen=True)
class PredictConfig:
    """Predict for each line of FILE, or of standard input, as soon as it is there."""

    best: int = 1
    """Predictions for each line; more than one are written with their source and score."""
    format: Literal["text", "tsv", "jsonl"] = "text"
    """text: the prediction; tsv: source, prediction, score; jsonl: all, with attention weights."""
    width: int = 5
    """Width of the beam; 1 is greedy search."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"best": FROM_ONE, "width": FROM_ONE})
