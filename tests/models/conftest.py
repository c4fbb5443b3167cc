"""Models are put together right whoever runs their cells: in PyTorch nothing has to be compiled."""

import pytest

from unrolled import backends


@pytest.fixture(autouse=True)
def in_pytorch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no kernel for "auto", but for tests marked `kernels`."""
    if request.node.get_closest_marker("kernels") is None:
        monkeypatch.setattr(backends, "_pays", lambda call: False)
