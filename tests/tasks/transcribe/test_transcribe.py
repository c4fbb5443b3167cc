"""The task from end to end: it learns, scores, transcribes, goes on, and says what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tasks.transcribe.conftest import LEARNS, Speech, speak
from unrolled.tasks.run import Run
from unrolled.tasks.transcribe import commands
from unrolled.tasks.transcribe.config import Other

Call = Callable[..., Any]
