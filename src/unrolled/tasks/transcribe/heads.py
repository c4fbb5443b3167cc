"""The heads that a transcriber may have, by the names that settings give them."""

from collections.abc import Callable
from typing import Any

from unrolled.models.attender import AttentionHead
from unrolled.models.head import Head
from unrolled.models.transcriber import CTCHead
from unrolled.models.transducer import TransducerHead
from unrolled.tasks.cells import find_cell
from unrolled.tasks.transcribe import config


def _ctc(settings: config.Model, inputs: int, symbols: int) -> Head:
    return CTCHead(inputs, symbols)


def _attention(settings: config.Model, inputs: int, symbols: int) -> Head:
    return AttentionHead(inputs, symbols, **_reader(settings), ctc=settings.head_ctc)


def _transducer(settings: config.Model, inputs: int, symbols: int) -> Head:
    return TransducerHead(inputs, symbols, **_reader(settings))


def _reader(settings: config.Model) -> dict[str, Any]:
    """Give what a head needs that reads what is written."""
    return {
        "cell": find_cell(settings.head_cell or settings.cell),
        "embedding": settings.head_embedding,
        "hidden": settings.head_hidden,
        "dropout": settings.dropout,
    }


HEADS: dict[str, Callable[[config.Model, int, int], Head]] = {
    "ctc": _ctc,
    "attention": _attention,
    "transducer": _transducer,
}
"""(settings, features of a step, symbols) -> the head, for each name of `config.Model.head`."""
