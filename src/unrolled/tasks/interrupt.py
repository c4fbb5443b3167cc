"""Ctrl-C and SIGTERM: heard at once, obeyed where it is safe."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The user stopped the work; what was done is saved."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C or SIGTERM instead of obeying it; leave a second one as it was.

    Returns:
        What tells whether there was one; never, where we are not the main thread, because then
        the signals are another's.

    Example:
        >>> with stop_requests() as requested:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     requested()
        True
    """
    heard: list[int] = []
    before: dict[int, signal._HANDLER] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        restore()

    try:
        before.update((number, signal.signal(number, hear)) for number in SIGNALS)
    except ValueError:  # not the main thread
        pass
    try:
        yield lambda: bool(heard)
    finally:
        restore()
