"""The example hears the keys that it plays."""

import re
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "transcribe.py"


def test_the_example_hears_what_it_plays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("soundfile")
    pytest.importorskip("kaldi_native_fbank")
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--run", str(tmp_path / "keypad")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    heard = [re.findall(r"(\w+) at", line) for line in lines]
    played = [re.findall(r"played: (.*)\)", line)[0].split() for line in lines]
    assert sum(a == b for a, b in zip(heard, played, strict=True)) >= 2
