import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def ran(
    name: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr(sys, "argv", [name, "--run", str(run)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert (run / "report.html").exists()
    return capsys.readouterr().out


def test_names_that_are_new_are_copied_into_subjects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ran("summarise.py", tmp_path / "notes", monkeypatch, capsys)
    found = re.search(r"rouge l +([\d.]+)", out)
    assert found and float(found[1]) > 90
    assert "sources cut        50 of 50" in out
    assert "\nrain: Bartholomew, Zuleika\n" in out


def test_a_small_language_is_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ran("translate.py", tmp_path / "run", monkeypatch, capsys)
    found = re.search(r"bleu +([\d.]+)", out)
    assert found and float(found[1]) > 80
    assert "computed as" in out and "version:" in out
