"""What tests of captured steps share."""

from collections.abc import Callable, Iterator

import pytest

from unrolled.compiler import recorder
from unrolled.compiler.parts import AT_ONCE, PARTS


@pytest.fixture
def used_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[object]]:
    """Watch which rows of the tables are used."""
    found: set[object] = set()

    def watched(target: object, parts: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object, **named: object) -> object:
            found.add(target)
            return parts(*arguments, **named)

        return run

    for name, table in (("AT_ONCE", AT_ONCE), ("PARTS", PARTS)):
        monkeypatch.setattr(recorder, name, {t: watched(t, parts) for t, parts in table.items()})
    recorder._parts.cache_clear()
    yield found
    recorder._parts.cache_clear()
