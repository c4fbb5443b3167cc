"""Training speed of the demo's model against the same model on torch.nn.LSTM, side by side.

    export UNROLLED_DATA=...
    python benchmarks/demo.py [--preset demo] [--steps 40] [--repeats 5]

Both start from the same weights and must give the same loss and gradients. torch.nn's side packs
the ragged sources, as its users do; everything but the recurrences is shared code. Both train on
the same batches by turns; the record goes to benchmarks/results. --precision says how
products are made; `unrolled train` makes them in bfloat16 where a processor is faster with it.
"""

import argparse
import copy
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from measure import PRECISIONS, autocast, interleaved, origin, products
from unrolled.cell import State
from unrolled.models.seq2seq import Seq2Seq
from unrolled.tasks.seq2seq.config import KIND, Seq2SeqConfig
from unrolled.tasks.seq2seq.data import Vocabularies, load_pairs
from unrolled.tasks.seq2seq.lesson import Seq2SeqLesson
from unrolled.tasks.seq2seq.translator import build_model
from unrolled.tasks.settings import merge, read_toml

RESULTS = Path(__file__).parent / "results"
TRAIN = "g2p/cmudict_wikipron_split/eng_cmudict_train.tsv"


def main() -> None:
    """Check that both sides are the same model, and time them."""
    parser = argparse.ArgumentParser(description="Measure the demo's training speed.")
    parser.add_argument("--preset", default="demo", help="of unrolled train seq2seq")
    parser.add_argument("--steps", type=int, default=40, help="training steps in a run")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of both")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    ours = make_task(arguments.preset)
    theirs = copy.copy(ours)
    theirs.model = with_torch(ours.model)
    check(ours, theirs)
    batches = ours.batches(0)[: arguments.steps]
    runs = [trainer(task, batches, arguments.precision) for task in (ours, theirs)]
    with products(arguments.precision):
        times = [statistics.median(t) for t in interleaved(runs, arguments.repeats)]
    symbols = sum(len(ours.targets[i]) - 1 for batch in batches for i in batch)
    speeds = [round(symbols / seconds) for seconds in times]
    print(f"unrolled {speeds[0]:,}, torch.nn {speeds[1]:,} symbols a second: ", end="")
    print(f"{times[1] / times[0]:.2f} times as fast")
    record = {
        **origin(),
        "symbols_per_second": dict(zip(("unrolled", "torch.nn"), speeds, strict=True)),
        "ratio": round(times[1] / times[0], 2),
        "steps": arguments.steps,
        "repeats": arguments.repeats,
    }
    name = ["speed", arguments.preset, arguments.precision]
    path = RESULTS / f"{'-'.join(name).removesuffix('-float32')}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(path)


def make_task(preset: str) -> Seq2SeqLesson:
    """Make the preset's model and its batches."""
    folder = os.environ.get("UNROLLED_DATA") or sys.exit("set UNROLLED_DATA to the data sets")
    settings = merge(Seq2SeqConfig(), read_toml(KIND.presets[preset]))
    pairs = load_pairs(Path(folder) / TRAIN, settings.data)
    vocabularies = Vocabularies.build(pairs, settings.data)
    model = build_model(settings.model, vocabularies)
    return Seq2SeqLesson(model, vocabularies, pairs, [], settings)


class TorchRecurrent(nn.Module):
    """Stands in for `Recurrent` over LSTM cells, with torch.nn.LSTM and packed sequences."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        cells = list(cast(nn.ModuleList, recurrent.cells))
        hidden, inputs = cast(nn.Linear, cells[0].W_i).weight.shape
        self.lstm = nn.LSTM(inputs, hidden, bidirectional=len(cells) == 2)
        for cell, end in zip(cells, ("_l0", "_l0_reverse"), strict=False):
            for name, side in (("W", "ih"), ("U", "hh")):
                linears = [getattr(cell, f"{name}_{gate}") for gate in "ifgo"]
                for kind in ("weight", "bias"):
                    whole = torch.cat([getattr(linear, kind) for linear in linears]).detach()
                    setattr(self.lstm, f"{kind}_{side}{end}", nn.Parameter(whole))
        self.lstm.flatten_parameters()

    def forward(
        self, xs: Tensor, state: State | None = None, *, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run a whole batch."""
        hx = None if state is None else (state["h"], state["c"])
        if lengths is None:
            ys, (h, c) = self.lstm(xs, hx)
            return ys, {"h": h, "c": c}
        packed = pack_padded_sequence(xs, lengths, enforce_sorted=False)
        ys, (h, c) = self.lstm(packed, hx)
        return pad_packed_sequence(ys, total_length=len(xs))[0], {"h": h, "c": c}


def with_torch(model: nn.Module) -> Seq2Seq:
    """Copy a model of one layer of LSTM on either side, its recurrences replaced by torch.nn's."""
    copied = cast(Seq2Seq, copy.deepcopy(model))
    encoder, recurrence = cast(nn.Module, copied.encoder), copied.decoder.recurrence
    encoder.recurrent = TorchRecurrent(copied.encoder.recurrent)
    cast(nn.Module, recurrence).recurrent = TorchRecurrent(cast(nn.Module, recurrence.recurrent))
    return copied


def check(ours: Seq2SeqLesson, theirs: Seq2SeqLesson) -> None:
    """Stop unless both sides give the same loss and the same gradient of an embedding."""
    sides = []
    for task in (ours, theirs):
        model = cast(Seq2Seq, task.model.eval())
        loss, _ = task.loss(task.batches(0)[0], 0.0)
        weights = [model.encoder.embedding.weight, model.decoder.embedding.weight]
        sides.append((loss, *torch.autograd.grad(loss, weights)))
    torch.testing.assert_close(*sides, rtol=1e-4, atol=1e-6)


def trainer(task: Seq2SeqLesson, batches: list[list[int]], precision: str) -> Callable[[], None]:
    """Give a run of training steps, as the training loop takes them."""
    optimizer = torch.optim.AdamW(task.model.parameters(), fused=True)

    def run() -> None:
        task.model.train()
        for batch in batches:
            with autocast(precision):
                loss, _ = task.loss(batch, 0.0)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(task.model.parameters(), 1.0)
            optimizer.step()

    return run


if __name__ == "__main__":
    main()
