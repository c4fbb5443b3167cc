"""How fast a tagger trains beside the same one built from torch.nn with packed sequences.

    export UNROLLED_DATA=...
    python benchmarks/tagging_speed.py --repeats 5

Both have the same weights and must give the same scores before anything is timed. By turns each
takes the same batches of English words: forward, loss, backward, clipping and AdamW. torch.nn's
spells every word of a batch, or with --distinct each of them once, as unrolled's does. --precision
says how products are made; `unrolled train` takes bfloat16 where a processor has it.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from measure import PRECISIONS, autocast, interleaved, origin, products
from unrolled import zoo
from unrolled.models.tagger import Tagger
from unrolled.tasks.batches import bucketed
from unrolled.tasks.progress import Progress
from unrolled.tasks.tag.config import Data
from unrolled.tasks.tag.data import build_lexicon, load_sentences, make_form
from unrolled.tasks.tag.lexicon import Lexicon, Speller

FILE = "tagging/ud_english_ewt/en_ewt-ud-train.conllu.gz"
RESULTS = Path(__file__).parent / "results"
GATES = "ifgo"
EMBEDDING, LETTER_EMBEDDING, LETTER_HIDDEN = 100, 50, 100


class Packed(nn.Module):
    """The same tagger from modules of torch.nn."""

    def __init__(self, ours: Tagger, hidden: int, layers: int, distinct: bool) -> None:
        super().__init__()
        self.distinct = distinct
        self.words = nn.Embedding.from_pretrained(ours.embedding.weight.detach().clone(), False)
        letters = ours.spelling.embedding.weight.detach().clone()
        self.letters = nn.Embedding.from_pretrained(letters, False)
        self.spelling = nn.LSTM(letters.shape[1], LETTER_HIDDEN, bidirectional=True)
        inputs = self.words.embedding_dim + 2 * LETTER_HIDDEN
        self.recurrent = nn.LSTM(inputs, hidden, num_layers=layers, bidirectional=True)
        self.head = nn.Linear(2 * hidden, ours.head.out_features)
        self.head.load_state_dict(ours.head.state_dict())
        _copy(ours.spelling.recurrent.cells, self.spelling)
        _copy(ours.recurrent.cells, self.recurrent)

    def forward(self, sentences: Sequence[tuple[list[int], list[list[int]]]]) -> Tensor:
        """Score the tags of sentences of words and their letters, (time, batch, tags)."""
        spelt = [tuple(word) for _, words in sentences for word in words]
        places = None
        if self.distinct:
            place = {word: i for i, word in enumerate(dict.fromkeys(spelt))}
            places = torch.tensor([place[word] for word in spelt])
            spelt = list(place)
        letters = pad_sequence([torch.tensor(word) for word in spelt])
        lengths = torch.tensor([len(word) for word in spelt])
        packed = pack_padded_sequence(self.letters(letters), lengths, enforce_sorted=False)
        _, (last, _) = self.spelling(packed)
        spelling = torch.cat([last[0], last[1]], -1)
        if places is not None:
            spelling = spelling[places]
        ids = pad_sequence([torch.tensor(ids) for ids, _ in sentences])
        lengths = torch.tensor([len(ids) for ids, _ in sentences])
        rows = pad_sequence(list(spelling.split(lengths.tolist())))
        words = torch.cat([self.words(ids), rows], -1)
        ys, _ = self.recurrent(pack_padded_sequence(words, lengths, enforce_sorted=False))
        return self.head(pad_packed_sequence(ys)[0])


def main() -> None:
    """Check, time, print and record."""
    parser = argparse.ArgumentParser(description="Time the training of a tagger.")
    parser.add_argument("--hidden", type=int, default=256, help="units over words, one direction")
    parser.add_argument("--layers", type=int, default=1, help="over words")
    parser.add_argument("--batch", type=int, default=32, help="sentences of a step")
    parser.add_argument("--steps", type=int, default=10, help="of a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--distinct", action="store_true", help="torch.nn spells each word once")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of both")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    arguments = parser.parse_args()
    folder = os.environ.get("UNROLLED_DATA")
    if not folder:
        sys.exit("set UNROLLED_DATA to the folder of the data sets")
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    path = Path(folder) / FILE
    data = Data(path)
    form = make_form(path, "auto", data)
    sentences = load_sentences(path, form, data, skip_bad=False, progress=Progress())
    lexicon = build_lexicon(sentences, data)
    speller, tags = Speller(lexicon, data.most_letters), lexicon.tags["upos"]
    ours = Tagger(
        lexicon.counts(),
        lexicon.size,
        [len(tags)],
        cell=zoo.LSTM,
        embedding=EMBEDDING,
        letter_embedding=LETTER_EMBEDDING,
        letter_hidden=LETTER_HIDDEN,
        hidden=arguments.hidden,
        layers=arguments.layers,
    )
    theirs = Packed(ours, arguments.hidden, arguments.layers, arguments.distinct)
    lengths = [len(s.words) for s in sentences]
    batches = bucketed(lengths, arguments.batch, seed=1)[: arguments.steps]
    texts = [[sentences[i].words for i in batch] for batch in batches]
    wanted = [
        pad_sequence(
            [torch.tensor([tags.index(t[0]) for t in sentences[i].tags]) for i in batch],
            padding_value=-100,
        )
        for batch in batches
    ]
    entries = [[_entries(lexicon, words) for words in text] for text in texts]
    check(ours, theirs, speller, texts[0], entries[0])
    precision = arguments.precision
    runs = [
        lambda: train(ours, map(speller.batch, texts), wanted, lambda o: o[0], precision),
        lambda: train(theirs, entries, wanted, lambda o: o, precision),
    ]
    with products(precision):
        times = interleaved(runs, arguments.repeats)
    words = sum(len(sentence) for text in texts for sentence in text)
    speeds = [[words / seconds for seconds in some] for some in times]
    medians = [statistics.median(some) for some in speeds]
    ratios = [a / b for a, b in zip(*speeds, strict=True)]
    for name, some in zip(("unrolled", "torch.nn"), speeds, strict=True):
        print(f"{name}: {statistics.median(some):,.0f} words/s ({min(some):,.0f}-{max(some):,.0f})")
    print(f"ratio: {medians[0] / medians[1]:.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
    if arguments.record:
        distinct = ["distinct"] if arguments.distinct else []
        name = "-".join(["tagging_speed", *distinct, arguments.precision])
        record(name.removesuffix("-float32"), speeds, medians[0] / medians[1])


def record(name: str, speeds: Sequence[list[float]], ratio: float) -> None:
    """Write down the words per second of both sides."""
    found = {
        **origin(),
        "words_per_second": dict(zip(("unrolled", "torch.nn"), speeds, strict=True)),
        "median_ratio": ratio,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def check(ours: Tagger, theirs: Packed, speller: Speller, text: list, entries: list) -> None:
    """Hold both to the same scores."""
    with torch.no_grad():
        one, other = ours.eval()(speller.batch(text))[0], theirs(entries)
    for row, words in enumerate(text):
        torch.testing.assert_close(
            one[: len(words), row], other[: len(words), row], rtol=1e-3, atol=1e-4
        )


def train(
    model: nn.Module, inputs: Iterable, wanted: Sequence[Tensor], scores, precision: str
) -> None:
    """Take a step on each batch."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for batch, tags in zip(inputs, wanted, strict=True):
        with autocast(precision):
            loss = F.cross_entropy(scores(model(batch)).flatten(0, 1), tags.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def _entries(lexicon: Lexicon, words: Sequence[str]) -> tuple[list[int], list[list[int]]]:
    entries = [lexicon.entry(word) for word in words]
    return [entry.id for entry in entries], [entry.letters for entry in entries]


def _copy(cells: nn.ModuleList, lstm: nn.LSTM) -> None:
    """Give a torch.nn LSTM the matrices of unrolled's cells."""
    with torch.no_grad():
        for number, cell in enumerate(cells):
            end = f"l{number // 2}{'_reverse' if number % 2 else ''}"
            for side, name in (("W", "ih"), ("U", "hh")):
                maps = [getattr(cell, f"{side}_{gate}") for gate in GATES]
                getattr(lstm, f"weight_{name}_{end}").copy_(torch.cat([m.weight for m in maps]))
                getattr(lstm, f"bias_{name}_{end}").copy_(torch.cat([m.bias for m in maps]))


if __name__ == "__main__":
    main()
