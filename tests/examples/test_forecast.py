import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "forecast.py"


def test_the_example_beats_the_season_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--run", str(tmp_path / "demand")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    figure = r" +[\d.]+ % +([\d.]+)"
    model, naive = (re.search(name + figure, out) for name in ("this model", "seasonal naive"))
    assert model and naive and float(model[1]) < float(naive[1])
    assert "north,2024-02-05 00:00:00," in out
    assert (tmp_path / "demand" / "report.html").exists()
