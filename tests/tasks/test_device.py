"""A device is there, or it is named."""

import pytest
import torch

from unrolled.backends import in_tiles, pieces_asked
from unrolled.backends.precision import HIGH, ROUNDED
from unrolled.errors import ConfigError
from unrolled.tasks.device import pick_device, products, uses_bfloat16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="the device cuda cannot be used here: .*; take cpu or"):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "meta", "cpu:x", ""])
def test_a_device_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no device '{name}'; choose cpu, cuda"):
        pick_device(name)


def test_auto_takes_what_there_is() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert pick_device("auto").type == expected


def test_bfloat16_is_as_asked() -> None:
    cpu = torch.device("cpu")
    found = {kind: uses_bfloat16(kind, cpu) for kind in ("auto", "float32", "bfloat16")}
    assert found == {
        "auto": in_tiles("llvm", ROUNDED) != "llvm",
        "float32": False,
        "bfloat16": True,
    }


@pytest.mark.parametrize("before", ["none", "ieee"])
def test_products_are_as_they_were_behind_a_step(before: str) -> None:
    place = torch.backends.mkldnn.matmul  # pyright: ignore[reportAttributeAccessIssue]
    place.fp32_precision = before
    try:
        with pytest.raises(KeyError), products("high"):
            assert pieces_asked() == HIGH
            raise KeyError
        assert place.fp32_precision == before
    finally:
        place.fp32_precision = "none"
