"""What every test starts from."""

import gc
import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("tests", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("tests")


TOGETHER = ("tasks/seq2seq", "tasks/language", "tasks/tag", "tasks/transcribe", "tasks")
"""Folders whose tests share a run that has learnt: one worker has them all, and learns it once."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            folder = item.path.parent.relative_to(here).as_posix()
            if folder in TOGETHER:
                group = "tasks/seq2seq" if folder == "tasks" else folder
                item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish() -> None:
    """Spare the garbage collector all that was imported: it would look through it all day."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def data_folder() -> Path:
    folder = os.environ.get("UNROLLED_DATA")
    if folder is None:
        pytest.skip("UNROLLED_DATA is not set: it names the folder with the data sets")
    return Path(folder)
