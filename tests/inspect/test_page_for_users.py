import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "inspect.md"


def test_the_examples_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 9
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "layer 0: no unit keeps c for the 40 steps of the task" in printed
