"""Every step of the gallery is compiled, and gives what its loop gives."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "steps.py"
STEPS = runpy.run_path(str(EXAMPLE))


@pytest.mark.parametrize("name", STEPS["CELLS"])
def test_a_step_is_compiled_and_has_the_gradients_of_its_loop(name: str) -> None:
    torch.manual_seed(0)
    cell = STEPS["CELLS"][name](16, 32)
    off, *times = STEPS["compared"](cell, torch.randn(6, 5, 16), repeats=1)
    assert off < 1e-4 and min(times) > 0


def test_the_example_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--cells Spiking Stack --hidden 16 --batch 2 --steps 3".split()
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *options])
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: None)  # not for the tests behind it
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert "Spiking" in out and "Stack" in out and "Oscillator" not in out
