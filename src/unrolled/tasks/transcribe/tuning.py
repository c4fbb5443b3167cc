"""How much a language model should have to say: what gets the dev recordings right."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from unrolled.errors import DataError
from unrolled.files import write_atomically
from unrolled.models.prefixes import Fusion
from unrolled.tasks.progress import Progress
from unrolled.tasks.transcribe.config import Search
from unrolled.tasks.transcribe.corpus import Corpus
from unrolled.tasks.transcribe.evaluation import rates
from unrolled.tasks.transcribe.recogniser import Recogniser

HEARD = 100  # dev recordings that decide, at most
WIDTH = 8  # of the beam, at most: a wide one takes minutes, and chooses alike
WEIGHTS = (0.3, 0.6, 1.0, 1.5, 2.0)
GIVEN_BACK = (0.0, 0.5, 1.0, 1.5)  # for each symbol, in units of the weight
FILE = "search.json"


def tune(recogniser: Recogniser, corpus: Corpus, progress: Progress) -> Recogniser:
    """Try weights and bonuses of a recogniser's language model on recordings.

    Those that leave the fewest word errors win; of equal ones those with fewer character errors,
    and of these the first, which has the smaller weight. No language model at all is tried, too.

    Args:
        recogniser: the trained model; without a language model it comes back as it is.
        corpus: the dev recordings, of which the first hundred decide.
        progress: where what was chosen is said.

    Returns:
        The recogniser with the best of these settings.
    """
    language = recogniser.language
    if language is None:
        return recogniser
    items = range(min(len(corpus), HEARD))
    progress.note(f"choosing the weight of the language model on {len(items):,} recordings ...")
    heard = recogniser.listen([corpus[i] for i in items])
    expected = [corpus.entries[i].transcript for i in items]

    def errors(tried: Recogniser) -> tuple[int, int]:
        found = [tried.transcribe(one)[0].text for one in heard]
        words, characters = rates(expected, found)
        return words.symbol_edits, characters.symbol_edits

    width = min(recogniser.search.width, WIDTH)
    narrow = replace(recogniser, search=replace(recogniser.search, width=width))
    tried = min((_with(narrow, language, *pair) for pair in _pairs()), key=errors).search
    progress.note(f"--weight {tried.weight:g} --bonus {tried.bonus:g} are the best")
    return _with(recogniser, language, tried.weight, tried.bonus)


def _pairs() -> Sequence[tuple[float, float]]:
    return [(0.0, 0.0)] + [
        (weight, round(weight * share, 3)) for weight in WEIGHTS for share in GIVEN_BACK
    ]


def _with(recogniser: Recogniser, language: Fusion, weight: float, bonus: float) -> Recogniser:
    return replace(
        recogniser,
        search=replace(recogniser.search, weight=weight, bonus=bonus),
        language=replace(language, weight=weight, bonus=bonus),
    )


def save_search(folder: Path, search: Search) -> None:
    """Write how transcripts are looked for into a run; raise RunError if that fails."""
    write_atomically(folder / FILE, (json.dumps(asdict(search), indent=2) + "\n").encode())


def load_search(folder: Path, default: Search) -> Search:
    """Read what `save_search` wrote into a run, if it has; raise DataError if it is damaged."""
    path = folder / FILE
    if not path.exists():
        return default
    try:
        return Search(**json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        raise DataError(f"{path}: is damaged; delete it to look as config.toml says") from None
