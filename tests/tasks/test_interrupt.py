"""A first stop request is noted; a second one, and all that come later, are obeyed."""

import signal
import threading
from collections.abc import Iterator

import pytest

from unrolled.tasks.interrupt import SIGNALS, stop_requests


@pytest.fixture
def heeded() -> Iterator[None]:
    """Let SIGINT raise, also where whoever started the tests had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_a_second_stop_request_is_obeyed_at_once() -> None:
    with stop_requests() as requested:
        signal.raise_signal(signal.SIGINT)
        assert requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_afterwards_signals_are_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requests() as requested:
        assert not requested()
        assert signal.getsignal(number) != before
    assert signal.getsignal(number) == before


def test_another_thread_leaves_signals_alone() -> None:
    heard: list[bool] = []

    def work() -> None:
        with stop_requests() as requested:
            heard.append(requested())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False]
