"""The example learns to spell its own words."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "language.py"


def test_the_example_writes_words_of_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["language.py", "--run", str(tmp_path / "run")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    written = capsys.readouterr().out.split("\n\nLook at")[0]
    known = set((tmp_path / "run.txt").read_text().replace(".", "").split())
    words = written.replace(".", "").split()[:-1]  # the last may be cut
    assert len(words) > 20
    assert sum(word in known for word in words) > 0.8 * len(words)
