"""The example, as a person runs it."""

import runpy
from pathlib import Path

import pytest

import unrolled


def test_the_example_learns_its_language(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(unrolled.__file__).parents[2] / "examples" / "tag.py"
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    assert "la\tDET\ntiruvo\tNOUN\nbedas\tVERB\nla\tDET\nkalo\tNOUN\n" in printed
    accuracy = printed.split("accuracy")[1].split("%")[0]
    assert float(accuracy) > 95
