"""What sequence to sequence is told: nested settings, each a flag and a line of TOML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks import config
from unrolled.tasks.config import FROM_ONE, FROM_ZERO, POSITIVE, SHARE, SIZE, check
from unrolled.tasks.kinds import Kind, presets_of

Unit = Literal["characters", "tokens", "words", "pieces"]


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
    """What a symbol of the source is; pieces are learnt with sentencepiece, words part marks."""
    target_unit: Unit = "tokens"
    """What a symbol of the target is; tokens are what white space separates."""
    source_size: int = 8000
    """Symbols of the source's vocabulary at most."""
    target_size: int = 8000
    """Symbols of the target's vocabulary at most."""
    joint: bool = False
    """One vocabulary for both sides, of --source-size symbols at most."""
    source_limit: int = 0
    """Symbols that are read of a source at most, its first; 0 reads all."""
    target_limit: int = 0
    """Symbols that are learnt of a target at most, and that a prediction has; 0 is no limit."""
    normalize: Literal["none", "nfc", "nfd", "lower"] = "nfc"
    """Unicode form of sources and targets; nfd parts letters from accents; lower: small letters."""
    max_line: int = 20_000
    """Characters of the longest line; a longer one is an error."""

    def __post_init__(self) -> None:
        check(
            self,
            {
                "source_size": SIZE,
                "target_size": SIZE,
                "source_limit": FROM_ZERO,
                "target_limit": FROM_ZERO,
                "max_line": FROM_ONE,
            },
        )


@dataclass(frozen=True)
class Model:
    """The encoder-decoder with attention."""

    cell: str = "LSTM"
    """Cell on both sides: of the zoo, module:Class, or as Zoneout(LSTM, h=0.1)."""
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
    attention: Literal["luong", "gnmt", "bahdanau"] = "luong"
    """Attention after the recurrence, between its first layer and the others, or in its step."""
    score: Literal["dot", "scaled_dot", "general", "scaled_general", "additive"] = "scaled_general"
    """How attention compares."""
    tied: bool = False
    """Read scores out with the embeddings of the target's symbols: fewer weights."""
    dropout: float = 0.2
    """Share of features dropped."""
    copy: bool = False
    """Let the decoder copy symbols of the source, those too that no vocabulary has."""
    coverage: float = 0.0
    """Weight of the coverage loss: do not look twice at the same place; 0 is without coverage."""

    def __post_init__(self) -> None:
        check(
            self,
            {
                "embedding": FROM_ONE,
                "hidden": FROM_ONE,
                "encoder_layers": FROM_ONE,
                "decoder_layers": FROM_ONE,
                "dropout": SHARE,
                "coverage": FROM_ZERO,
            },
        )


@dataclass(frozen=True)
class Training(config.Training):
    """The training loop."""

    sampling: float = 0.0
    """Scheduled sampling: probability of feeding back the model's own symbol, at the end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, {"sampling": SHARE})


@dataclass(frozen=True)
class Search:
    """How predictions are looked for, and how they are compared with what is right."""

    width: int = 5
    """Width of the beam; 1 is greedy search."""
    length_penalty: float = 0.6
    """Exponent of Wu et al. 2016, eq. 14; 0 compares plain sums, which favours short ones."""
    length_ratio: float = 2.0
    """Symbols of a prediction at most, for each symbol of the source (and ten more)."""
    metric: Literal["errors", "bleu", "rouge"] = "errors"
    """What is counted: errors; for translations BLEU, for summaries ROUGE."""

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

    def check(self) -> None:
        """Raise a ConfigError for settings that contradict each other.

        Not when they are made: a preset, a file and flags may each give a part.
        """
        data, model = self.data, self.model
        if data.source_unit != data.target_unit and (data.joint or model.copy):
            flag = "copy" if model.copy else "joint"
            raise ConfigError(
                f"--{flag} needs the same symbols on both sides, but the source has "
                f"{data.source_unit} and the target {data.target_unit}; "
                "give the same --source-unit and --target-unit"
            )
        if model.copy and data.source_unit == "pieces" and not data.joint:
            raise ConfigError(
                "--copy needs the same symbols on both sides, but pieces are learnt for each side; "
                "add --joint"
            )
        if model.coverage and model.attention == "bahdanau":
            raise ConfigError(
                f"--coverage is for attention after a recurrence, not {model.attention}; "
                "leave out --coverage or give --attention luong or gnmt"
            )
        if model.attention == "gnmt" and model.decoder_layers < 2:
            raise ConfigError(
                "--attention gnmt gives what it reads to the layers above the first, and there are "
                "none; give --decoder-layers 2"
            )


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


KIND = Kind(
    name="seq2seq",
    about="learn to turn sources into targets, from pairs of texts",
    config=Seq2SeqConfig,
    evaluation=EvaluateConfig,
    prediction=PredictConfig,
    presets=presets_of(__file__),
)
