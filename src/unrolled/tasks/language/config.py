"""What a language model is told: nested settings, each a flag and a line of TOML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unrolled.tasks import config
from unrolled.tasks.config import (
    FROM_ONE,
    FROM_ZERO,
    SEED,
    SHARE,
    SIZE,
    Range,
    check,
)
from unrolled.tasks.kinds import Kind, presets_of

TOP_P: Range = ("above 0 and at most 1", lambda value: 0 < value <= 1)
BETWEEN: Range = ("above 0 and below 1", lambda value: 0 < value < 1)


@dataclass(frozen=True)
class Data:
    """The text to learn from, and how it is cut into symbols."""

    train: Path | None = None
    """Text to learn from, in UTF-8, plain or .gz; it may be larger than memory."""
    dev: Path | None = None
    """Text to choose the best weights by; without it, the end of the other is held out."""
    unit: Literal["characters", "tokens", "pieces"] = "characters"
    """What a symbol is; tokens are what white space separates, pieces are learnt."""
    size: int = 20_000
    """Symbols of the vocabulary at most; rarer ones are learnt as unknown."""
    held_out: float = 0.1
    """Share of the text's characters, its end, that is held out where there is no dev file."""
    normalize: Literal["none", "nfc", "nfd"] = "nfc"
    """Unicode form that the text is brought into; nfd parts letters from accents."""

    def __post_init__(self) -> None:
        check(self, {"size": SIZE, "held_out": BETWEEN})


@dataclass(frozen=True)
class Model:
    """The recurrence that reads the text."""

    cell: str = "LSTM"
    """Cell of every layer: of the zoo, module:Class, or as Zoneout(LSTM, h=0.1)."""
    embedding: int = 128
    """Features of a symbol."""
    hidden: int = 512
    """Units of a layer."""
    layers: int = 1
    """Layers, one over the other."""
    dropout: float = 0.2
    """Share of features dropped between layers and before the scores, the same at all times."""
    input_dropout: float = 0.0
    """Share of features dropped from symbols, the same at all times."""
    symbol_dropout: float = 0.0
    """Share of the vocabulary's symbols that read as nothing, others in every step."""
    tied: bool = False
    """Score symbols by their embeddings, so that both are one matrix (Press & Wolf 2017)."""

    def __post_init__(self) -> None:
        shares = ("dropout", "input_dropout", "symbol_dropout")
        sizes = ("embedding", "hidden", "layers")
        check(self, {**dict.fromkeys(sizes, FROM_ONE), **dict.fromkeys(shares, SHARE)})


@dataclass(frozen=True)
class Training(config.Training):
    """The training loop."""

    batch: int = 32
    """Places of the text that are read side by side."""
    steps: int = 128
    """Symbols that are read before the gradient goes back through time; the state goes on."""
    candidates: int = 0
    """Symbols that a step compares each with, half of them the vocabulary's first; 0 is all."""
    smoothing: float = 0.0
    """Label smoothing: not for language models, whose score it would spoil; 0."""
    score_items: int = 200_000
    """Dev symbols that are scored at most while training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        zero: config.Range = (
            "of 0: a language model is scored by its probabilities",
            lambda v: v == 0,
        )
        check(self, {"steps": FROM_ONE, "candidates": FROM_ZERO, "smoothing": zero})


@dataclass(frozen=True)
class LanguageConfig:
    """Train a language model on plain text."""

    run: Path = Path("runs/language")
    """Folder of the run: settings, weights, checkpoints, metrics, report."""
    resume: bool = False
    """Go on with a run that was stopped, with the settings it has."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run on a text; by default, on the one that it chose its weights by."""

    data: Path | None = None
    """Text to score on, plain or .gz."""
    streams: int = 0
    """Places of the text that are read side by side; 0: one for each 250,000 symbols."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"streams": FROM_ZERO})


@dataclass(frozen=True)
class PredictConfig:
    """Write text that goes on from a prompt, as it comes; FILE or a pipe holds a prompt a line."""

    prompt: str | None = None
    """How the text begins; without it each line of FILE, or of standard input, is a prompt."""
    length: int = 500
    """Symbols to write."""
    temperature: float = 0.8
    """Below 1 the likely becomes likelier; 0 always takes the likeliest."""
    top_k: int = 0
    """Draw from so many of the likeliest symbols; 0 draws from all."""
    top_p: float = 1.0
    """Draw from the fewest symbols that reach this probability."""
    seed: int = 1
    """Another seed gives another text."""
    format: Literal["text", "jsonl"] = "text"
    """text: as it comes, a blank line after each; jsonl: an object a prompt, when it is done."""
    device: str = "cpu"
    """cpu, cuda, cuda:1 ...; one symbol at a time, a processor is as fast as a GPU."""

    def __post_init__(self) -> None:
        ranges = {"length": FROM_ONE, "temperature": FROM_ZERO, "top_k": FROM_ZERO}
        check(self, {**ranges, "top_p": TOP_P, "seed": SEED})


KIND = Kind(
    name="language",
    about="learn to write: a language model of characters, tokens or pieces, from plain text",
    config=LanguageConfig,
    evaluation=EvaluateConfig,
    prediction=PredictConfig,
    presets=presets_of(__file__),
)
