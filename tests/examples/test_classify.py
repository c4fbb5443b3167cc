import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "classify.py"


def test_the_example_tells_waves_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--run", str(tmp_path / "waves")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    found = re.search(r"accuracy +([\d.]+)%", out)
    assert found and float(found[1]) > 90
    assert "\nsine\t" in out and "\nsquare\t" in out
    assert (tmp_path / "waves" / "report.html").exists()
