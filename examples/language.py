"""Learn to write from a text that is made up here, and go on from a prompt: about ten seconds.

    python examples/language.py [--run runs/language-example]

The same from the command line, with a text of your own:

    unrolled train language --train text.txt --run runs/text
    unrolled predict runs/text --prompt "Once upon"
"""

import argparse
import random
from pathlib import Path

import torch

from unrolled.tasks import commands
from unrolled.tasks.kinds import find_kind
from unrolled.tasks.language.commands import open_run
from unrolled.tasks.language.config import Data, LanguageConfig, Model, PredictConfig, Training

WHO = ("the cat", "a dog", "the old captain", "my sister", "nobody")
DID = ("saw", "forgot", "painted", "waited for", "sang of")
WHAT = ("the sea", "a green door", "the moon", "two ships", "the rain")


def main() -> None:
    """Make a text, learn it character by character, and write more of it."""
    parser = argparse.ArgumentParser(description="Learn to write.")
    parser.add_argument("--run", type=Path, default=Path("runs/language-example"), help="new")
    run = parser.parse_args().run
    text = run.with_name(f"{run.name}.txt")
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text(made_up(lines=1500), encoding="utf-8")

    settings = LanguageConfig(
        run=run,
        data=Data(train=text),
        model=Model(cell="GRU", embedding=16, hidden=64, dropout=0.0),
        training=Training(
            epochs=5, batch=16, steps=32, learning_rate=1e-2, warmup=20, average=0.9, score_steps=50
        ),
    )
    commands.train(find_kind("language"), settings)

    _, writer = open_run(run)
    how = PredictConfig(length=200, temperature=0.7)
    generator = torch.Generator().manual_seed(1)
    print("the old", end="")
    for symbol in writer.write("the old", how, generator):
        print(symbol, end="", flush=True)
    print(f"\n\nLook at {run / 'report.html'}")


def made_up(lines: int) -> str:
    """Make sentences of a subject, a verb and an object."""
    chance = random.Random(1)
    return "".join(f"{' '.join(map(chance.choice, (WHO, DID, WHAT)))}.\n" for _ in range(lines))


if __name__ == "__main__":
    main()
