"""What every test starts from."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("tests", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def data_folder() -> Path:
    folder = os.environ.get("UNROLLED_DATA")
    if folder is None:
        pytest.skip("UNROLLED_DATA is not set: it names the folder with the data sets")
    return Path(folder)
