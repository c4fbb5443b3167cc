"""The heads that a transcriber may have, by the names that settings give them."""

from collections.abc import Callable

from unrolled.models.head import Head
from unrolled.models.transcriber import CTCHead
from unrolled.models.transducer import TransducerHead
from unrolled.tasks.cells import find_cell
from unrolled.tasks.transcribe import config


def _ctc(settings: config.Model, inputs: int, symbols: int) -> Head:
    return CTCHead(inputs, symbols)


def _transducer(settings: config.Model, inputs: int, symbols: int) -> Head:
    return TransducerHead(
        inputs,
        symbols,
        cell=find_cell(settings.head_cell or settings.cell),
        embedding=settings.head_embedding,
        hidden=settings.head_hidden,
        dropout=settings.dropout,
    )


HEADS: dict[str, Callable[[config.Model, int, int], Head]] = {
    "ctc": _ctc,
    "transducer": _transducer,
}
"""(settings, features of a step, symbols) -> the head, for each name of `config.Model.head`."""
