"""What speech to text is told: nested settings, each a flag and a line of TOML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unrolled.errors import ConfigError
from unrolled.tasks import config
from unrolled.tasks.config import FROM_ONE, FROM_ZERO, POSITIVE, SHARE, check
from unrolled.tasks.kinds import Kind, presets_of

MANY = 100_000  # files that predict may be given


@dataclass(frozen=True)
class Data:
    """The recordings to learn from, and what is read out of them."""

    train: Path | None = None
    """Manifest to learn from: path TAB transcript [TAB speaker], or JSON lines, plain or .gz."""
    dev: Path | None = None
    """Manifest to choose the best weights by; without it a twentieth is held out, by speaker if
    the manifest names them."""
    unit: Literal["characters", "tokens"] = "characters"
    """What a symbol is; tokens are what white space separates."""
    normalize: Literal["none", "nfc", "nfd"] = "nfc"
    """Unicode form that transcripts are brought into."""
    mels: int = 40
    """Mel bands of a frame, from sound files; feature files are taken as they are."""
    deltas: int = 0
    """Slopes added to each frame: 1 adds how features change, 2 also how that changes."""
    statistics: Literal["utterance", "speaker", "corpus", "none"] = "utterance"
    """Over what each feature is brought to mean 0 and variance 1."""
    frame_seconds: float = 0.01
    """Seconds from one frame to the next."""
    max_seconds: float = 60.0
    """Seconds of the longest recording; a longer one is a fault."""
    max_line: int = 20_000
    """Characters of the longest line of a manifest; a longer one is a fault."""
    skip_bad: bool = False
    """Leave out recordings and lines that cannot be used, and say so, instead of stopping."""

    def __post_init__(self) -> None:
        check(
            self,
            {
                "mels": FROM_ONE,
                "deltas": ("from 0 to 2", lambda value: value in (0, 1, 2)),
                "frame_seconds": POSITIVE,
                "max_seconds": POSITIVE,
                "max_line": FROM_ONE,
            },
        )


@dataclass(frozen=True)
class Model:
    """Layers of a recurrence over stacked frames, and a head that makes texts of their steps."""

    cell: str = "LSTM"
    """Cell: of the zoo, module:Class, or as Zoneout(LSTM, h=0.1)."""
    hidden: int = 256
    """Units in each direction."""
    layers: int = 3
    """Layers, one over the other."""
    bidirectional: bool = True
    """Also read from the end; without, the model can listen to a stream."""
    stack: int = 3
    """Frames that make one step."""
    layer_norm: bool = False
    """Normalise what each layer gives."""
    dropout: float = 0.3
    """Share of features dropped between layers."""
    head: Literal["ctc", "attention", "transducer"] = "ctc"
    """What makes texts of steps: ctc scores each step by itself; a transducer also reads what is
    written so far; attention writes, and looks at all steps for each symbol."""
    head_cell: str = ""
    """Cell that reads what is written so far, where the head has one; by default that of --cell."""
    head_hidden: int = 256
    """Units of that cell."""
    head_embedding: int = 64
    """Features of a symbol that it reads."""
    head_ctc: float = 0.3
    """Share of attention's loss that is CTC's, of a second head, which helps to learn."""

    def __post_init__(self) -> None:
        sizes = ("hidden", "layers", "stack", "head_hidden", "head_embedding")
        check(self, {**dict.fromkeys(sizes, FROM_ONE), "dropout": SHARE, "head_ctc": SHARE})


@dataclass(frozen=True)
class Augment:
    """How recordings are changed each time that they are learnt from (Park et al. 2019)."""

    speed: float = 0.1
    """Up to which share recordings are slowed down or sped up."""
    time_masks: int = 2
    """Stretches of time that are blanked."""
    time_mask: int = 10
    """Frames of the longest of them."""
    feature_masks: int = 1
    """Bands of features that are blanked."""
    feature_mask: int = 3
    """Features of the widest of them."""

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(
            ("time_masks", "time_mask", "feature_masks", "feature_mask"), FROM_ZERO
        )
        check(self, {"speed": SHARE, **sizes})


@dataclass(frozen=True)
class Training(config.Training):
    """The training loop."""

    epochs: float = 60.0
    """Times that all that is learnt from is seen."""
    batch: int = 16
    """Recordings in a step."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW."""
    smoothing: float = 0.0
    """Share of the loss that asks for all symbols to be alike at each step."""


@dataclass(frozen=True)
class Search:
    """How transcripts are looked for."""

    width: int = 16
    """Width of the beam; 1 takes the single best path, without a language model."""
    language: Literal["none", "symbols", "words"] = "words"
    """Language model learnt from the transcripts: of symbols, or of words spelled in symbols."""
    order: int = 3
    """Symbols or words of its n-grams."""
    weight: float = 0.5
    """How much the language model has to say."""
    bonus: float = 0.5
    """Added for each symbol, as the language model takes something away for each."""
    tune: bool = True
    """Choose weight and bonus on the dev recordings when the training has ended."""

    def __post_init__(self) -> None:
        ranges = {"width": FROM_ONE, "order": FROM_ONE, "weight": FROM_ZERO}
        check(self, {**ranges, "bonus": ("a number", lambda value: abs(value) < 1e6)})


@dataclass(frozen=True)
class TranscribeConfig:
    """Train a model that turns recordings of speech into text."""

    run: Path = Path("runs/transcribe")
    """Folder of the run: settings, weights, checkpoints, metrics, report."""
    resume: bool = False
    """Go on with a run that was stopped, with the settings it has."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    augment: Augment = field(default_factory=Augment)
    training: Training = field(default_factory=Training)
    search: Search = field(default_factory=Search)


@dataclass(frozen=True)
class Other:
    """What may differ from the run when transcripts are looked for; None takes the run's."""

    width: int | None = None
    """Width of the beam; 1 takes the single best path, without a language model."""
    language: Literal["none", "symbols", "words"] | None = None
    """Language model learnt from the transcripts: of symbols, or of words spelled in symbols."""
    order: int | None = None
    """Symbols or words of its n-grams."""
    weight: float | None = None
    """How much the language model has to say."""
    bonus: float | None = None
    """Added for each symbol, as the language model takes something away for each."""

    def over(self, search: Search) -> Search:
        """Put what is given over the settings of a run.

        >>> Other(width=4).over(Search(width=16, order=5))
        Search(width=4, language='words', order=5, weight=0.5, bonus=0.5, tune=True)
        """
        given = {name: value for name, value in vars(self).items() if value is not None}
        return Search(**{**vars(search), **given})

    def __post_init__(self) -> None:
        self.over(Search())


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run on recordings; by default, on those that it chose its weights by."""

    data: Path | None = None
    """Manifest of the recordings to score on."""
    predictions: Path | None = None
    """Also write path, transcript and what was expected here, tab-separated."""
    skip_bad: bool = False
    """Leave out recordings and lines that cannot be used, and say so, instead of stopping."""
    search: Other = field(default_factory=Other)
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""


@dataclass(frozen=True)
class PredictConfig:
    """Transcribe each FILE, or each file that standard input names, one a line."""

    best: int = 1
    """Transcripts for each file; more than one are written with their file and score."""
    format: Literal["text", "tsv", "jsonl"] = "text"
    """text: the transcript; tsv: file, transcript, score; jsonl: all, with the times of words."""
    chunk: float = 0.0
    """Seconds that are heard at a time, each followed by the text so far; 0 hears all at once."""
    search: Other = field(default_factory=Other)
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""

    def __post_init__(self) -> None:
        check(self, {"best": FROM_ONE, "chunk": FROM_ZERO})
        if self.best > 1 and self.search.width == 1:
            raise ConfigError("the single best path is one; give a --width of at least --best")


KIND = Kind(
    name="transcribe",
    about="learn to turn recordings of speech into text, from a manifest",
    config=TranscribeConfig,
    evaluation=EvaluateConfig,
    prediction=PredictConfig,
    presets=presets_of(__file__),
    files="[FILE ...]",
    most_files=MANY,
)
