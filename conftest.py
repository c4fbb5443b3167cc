"""What all tests start from, and the examples in docstrings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from unrolled import backends

ROOT = Path(__file__).parent
IN_PYTORCH = [
    ROOT / folder for folder in ("src/unrolled/models", "src/unrolled/layers", "tests/models")
]
"""Models are put together right whoever runs their cells: in PyTorch nothing has to be compiled."""


@pytest.fixture(scope="session", autouse=True)
def kernels_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what is compiled away from the user's cache, in one place for all workers."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNROLLED_CACHE", str(folder / "kernels"))
        yield


@pytest.fixture(autouse=True)
def in_pytorch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take no kernel for "auto" in some folders, but for tests marked `kernels`."""
    here = any(request.node.path.is_relative_to(folder) for folder in IN_PYTORCH)
    if here and request.node.get_closest_marker("kernels") is None:
        monkeypatch.setattr(backends, "_pays", lambda call: False)
