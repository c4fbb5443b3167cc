"""Learn to write down what a telephone keypad plays: speech to text on recordings made here.

Run it with ``pip install 'unrolled[audio]'``:

    python examples/transcribe.py [--run runs/keypad]

A key plays two tones at once (ITU-T Q.23). The recordings are of one to five keys, at any speed and
loudness, in noise; the transcripts are words. It takes some seconds.
"""

import argparse
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unrolled.tasks import commands
from unrolled.tasks.transcribe import commands as speech
from unrolled.tasks.transcribe.config import (
    KIND,
    Augment,
    Data,
    Model,
    Search,
    TranscribeConfig,
)
from unrolled.tasks.transcribe.config import Training as Learning

RATE = 8000  # samples a second
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)  # hertz
KEYS: dict[str, tuple[int, int]] = dict(  # a word, and the row and the column of its key
    zip(
        "one two three four five six seven eight nine star zero hash".split(),
        ((row, column) for row in ROWS for column in COLUMNS),
        strict=True,
    )
)
SAID = 240  # recordings to learn from


def main() -> None:
    """Record, learn, and transcribe what was not learnt from."""
    parser = argparse.ArgumentParser(description="Learn to hear the keys of a telephone.")
    parser.add_argument("--run", type=Path, default=Path("runs/keypad"), help="a new folder")
    run = parser.parse_args().run
    folder, chance = run.with_name(f"{run.name}-data"), np.random.default_rng(1)
    texts = [chance.choice(list(KEYS), chance.integers(1, 6)).tolist() for _ in range(SAID + 43)]
    train = record(folder / "train.tsv", texts[:SAID], chance)
    dev = record(folder / "dev.tsv", texts[SAID : SAID + 40], chance)
    record(folder / "new.tsv", texts[SAID + 40 :], chance)

    settings = TranscribeConfig(
        run=run,
        data=Data(train=train, dev=dev, mels=32, unit="tokens"),
        model=Model(cell="GRU", hidden=32, layers=1, stack=2, dropout=0.0),
        augment=Augment(speed=0.1, time_masks=0, feature_masks=0),
        training=Learning(epochs=16, learning_rate=1e-2, average=0.95, warmup=30),
        search=Search(width=8, language="words", order=2, weight=0.1),
    )
    commands.train(KIND, settings)

    _, recogniser, format = speech.open_run(run)
    ear = speech.Ear(speech.reader_of(settings.data), format, settings.data.statistics)
    for number, said in enumerate(texts[SAID + 40 :]):
        path = folder / f"new-{number}.wav"
        [heard] = recogniser.listen([ear.frames(path)])
        found = recogniser.transcribe(heard)[0]
        words = ", ".join(
            f"{word.text} at {word.start:.2f} s" for word in recogniser.words(heard, found)
        )
        print(f"{path}: {words} (played: {' '.join(said)})")


def record(manifest: Path, texts: Sequence[Sequence[str]], chance: np.random.Generator) -> Path:
    """Play keys into files beside a manifest, and write it: path, transcript."""
    manifest.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, keys in enumerate(texts):
        path = manifest.with_name(f"{manifest.stem}-{number}.wav")
        sound = np.concatenate([play(key, chance) for key in keys])
        sound = chance.uniform(0.1, 0.4) * sound + 0.03 * chance.normal(size=len(sound))
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((32767 * sound.clip(-1, 1)).astype("<i2").tobytes())
        lines.append(f"{path.name}\t{' '.join(keys)}\n")
    manifest.write_text("".join(lines), encoding="utf-8")
    return manifest


def play(key: str, chance: np.random.Generator) -> np.ndarray:
    """Give the samples of a key, and of the silence after it."""
    time = np.arange(int(RATE * chance.uniform(0.07, 0.15))) / RATE
    tones = sum(np.sin(2 * np.pi * hertz * time) for hertz in KEYS[key])
    return np.concatenate([tones, np.zeros(int(RATE * chance.uniform(0.05, 0.12)))])


if __name__ == "__main__":
    main()
