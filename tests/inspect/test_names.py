import subprocess
import sys

import pytest

from unrolled import inspect


@pytest.mark.parametrize("name", inspect.HOMES)
def test_a_public_name_is_found(name: str) -> None:
    found = getattr(inspect, name)
    assert found.__name__ == name and found.__doc__
    assert name in dir(inspect)


def test_pages_need_no_torch() -> None:
    code = (
        "import sys; from unrolled.inspect import figures, page; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'x_ray'"):
        _ = inspect.x_ray  # pyright: ignore[reportAttributeAccessIssue]
