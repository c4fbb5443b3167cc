"""The settings of tagging, and what the commands need to know of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unrolled.tasks import config
from unrolled.tasks.config import FROM_ONE, FROM_ZERO, SHARE, Range, check
from unrolled.tasks.kinds import Kind, presets_of

LETTERS: Range = ("at least 2", lambda value: value >= 2)


@dataclass(frozen=True)
class Data:
    """The tagged sentences to learn from."""

    train: Path | None = None
    """Sentences to learn from: CoNLL-U, or a word and its tag a line; plain or .gz."""
    dev: Path | None = None
    """Sentences to choose the best weights by; without it, a twentieth is held out."""
    form: Literal["auto", "conllu", "columns"] = "auto"
    """auto takes a file whose name ends in .conllu for CoNLL-U, others for columns."""
    column: Literal["upos", "xpos", "feats", "deprel"] = "upos"
    """Column of CoNLL-U that is learnt; of other files it is the last."""
    also: tuple[Literal["upos", "xpos", "feats", "deprel"], ...] = ()
    """Columns of CoNLL-U that are learnt beside it, where a file has them; not predicted."""
    spans: Literal["auto", "yes", "no"] = "auto"
    """Whether tags B-x, I-x and O are scored as spans; auto looks at the tags."""
    least_count: int = 1
    """Times that a word is seen at least to be known by itself, and not by its letters alone."""
    most_letters: int = 24
    """Letters of a word that are read; of a longer one the first and the last."""
    max_line: int = 20_000
    """Characters of the longest line; a longer one is an error."""
    max_words: int = 1000
    """Words of the longest sentence; a longer one is an error."""
    skip_bad: bool = False
    """Leave out sentences that cannot be used, and count them, where one would be an error."""

    def __post_init__(self) -> None:
        ranges = {"least_count": FROM_ONE, "most_letters": LETTERS}
        check(self, ranges | {"max_line": FROM_ONE, "max_words": FROM_ONE})


@dataclass(frozen=True)
class Model:
    """Bidirectional layers over words and over their letters."""

    cell: str = "LSTM"
    """Cell over words: of the zoo, module:Class, or as Zoneout(LSTM, h=0.1)."""
    letter_cell: str | None = None
    """Cell over letters, where it is another."""
    embedding: int = 100
    """Features of a word."""
    letter_embedding: int = 32
    """Features of a letter."""
    letter_hidden: int = 64
    """Units over letters, in each direction."""
    feature_embedding: int = 64
    """Width of what endings, beginnings and shapes of words give; 0 leaves them out."""
    hidden: int = 128
    """Units over words, in each direction."""
    layers: int = 1
    """Layers over words."""
    dropout: float = 0.4
    """Share of features dropped."""
    word_dropout: float = 0.25
    """Words seen n times become unknown with probability a / (a + n) in training; this is a."""
    crf: bool = False
    """Whether a word's tag depends on its neighbours' tags: a conditional random field."""

    def __post_init__(self) -> None:
        sizes = ("embedding", "letter_embedding", "letter_hidden", "hidden", "layers")
        check(
            self,
            {name: FROM_ONE for name in sizes}
            | {"feature_embedding": FROM_ZERO, "dropout": SHARE, "word_dropout": FROM_ZERO},
        )


@dataclass(frozen=True)
class Training(config.Training):
    """The training loop."""

    beside: float = 0.5
    """Weight of the columns that are learnt beside the wanted one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self, {"beside": FROM_ZERO})


@dataclass(frozen=True)
class TagConfig:
    """Train a tagger: parts of speech, names, or whatever words are marked with."""

    run: Path = Path("runs/tag")
    """Folder of the run: settings, weights, checkpoints, metrics, report."""
    resume: bool = False
    """Go on with a run that was stopped, with the settings it has."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run on tagged sentences; by default, on those that it chose its weights by."""

    data: Path | None = None
    """Sentences to score on: CoNLL-U, or a word and its tag a line; plain or .gz."""
    form: Literal["auto", "conllu", "columns"] = "auto"
    """auto takes a file whose name ends in .conllu for CoNLL-U, others for columns."""
    predictions: Path | None = None
    """Also write the sentences with the predicted tags here, in the form they have."""
    skip_bad: bool = False
    """Leave out sentences that cannot be used, and count them, where one would be an error."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""


@dataclass(frozen=True)
class PredictConfig:
    """Tag the sentences of FILE, or of standard input, as soon as they are there."""

    form: Literal["auto", "conllu", "columns", "lines"] = "auto"
    """conllu: tags go into their column; columns: a word a line, a blank line after a sentence;
    lines: a sentence a line. auto: by the name's end, .conllu, .txt (lines) or others (columns);
    standard input holds lines."""
    device: str = "auto"
    """cpu, cuda, cuda:1 ...; auto takes a GPU where there is one."""


KIND = Kind(
    name="tag",
    about="learn to tag words, from CoNLL-U or columns: parts of speech, names",
    config=TagConfig,
    evaluation=EvaluateConfig,
    prediction=PredictConfig,
    presets=presets_of(__file__),
)
