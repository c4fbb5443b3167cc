"""A run: the folder that holds all of one training, from its settings to its report."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.errors import RunError
from unrolled.files import append_line, cannot_write, is_empty, write_atomically

if sys.platform != "win32":
    import fcntl

# JSON has no word for these, so they stand in metrics.jsonl as texts, as in protobuf's JSON.
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Run:
    """A run's folder: `config.toml`, metrics, checkpoints, weights, vocabulary and report.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(Path(folder) / "runs" / "first", "seed = 1")
    ...     run.log({"step": 10, "loss": 0.5})
    ...     run.log({"step": 20, "loss": math.inf})
    ...     Run.open(run.path).metrics()
    [{'step': 10, 'loss': 0.5}, {'step': 20, 'loss': inf}]
    """

    path: Path

    @property
    def config(self) -> Path:
        """The settings as TOML."""
        return self.path / "config.toml"

    @property
    def weights(self) -> Path:
        """The best model so far."""
        return self.path / "model.safetensors"

    @property
    def log_file(self) -> Path:
        """One JSON object per line, each with the step it was measured at."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of what training needs to go on."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / "report.html"

    @classmethod
    def create(cls, path: Path | str, config_text: str) -> "Run":
        """Make the folder of a new run, with its parents, and write its `config.toml`.

        Raises RunError, and touches nothing, if something is there already that is no empty
        folder; and if the folder cannot be written.
        """
        run = cls(Path(path))
        try:
            if run.path.exists() and not run.path.is_dir():
                raise RunError(f"{path} is a file; choose another --run")
            if run.path.is_dir() and not is_empty(run.path):
                raise RunError(
                    f"{path} exists already; resume it with --resume, or choose another --run"
                )
            run.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        write_atomically(run.config, config_text.encode())
        return run

    @classmethod
    def open(cls, path: Path | str, needs: tuple[str, ...] = ("config.toml",)) -> "Run":
        """Find the run in the folder `path`, which must hold the files named in `needs`.

        Raises RunError that says which of them are missing.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise RunError(
                f"{path} is no folder; give the folder of a run, made by `unrolled train`"
            )
        missing = [name for name in needs if not (run.path / name).exists()]
        if missing:
            raise RunError(
                f"{path} is no complete run: {', '.join(missing)} is missing"
                f" (expected {', '.join(needs)}); give another folder, or train it first"
            )
        return run

    def log(self, record: Mapping[str, str | int | float | None]) -> None:
        """Add a record, such as `{"step": 10, "loss": 0.5}`, to the metrics.

        A NaN or infinity is stored as the text "NaN", "Infinity" or "-Infinity", which `metrics`
        turns back into the number. Raises RunError if the record cannot be written.
        """
        record = {name: _to_json(value) for name, value in record.items()}
        append_line(self.log_file, json.dumps(record, allow_nan=False))

    def metrics(self) -> list[dict[str, Any]]:
        """Read the records logged so far, in order; there may be none yet.

        The half line that a killed process left at the end is dropped. Raises RunError, with the
        number of the line, if any other line is no JSON object.
        """
        return [record for _, record in self._records()]

    def truncate_metrics(self, step: int) -> None:
        """Forget the records of later steps than `step`, as when resuming from a checkpoint."""
        if self.log_file.exists():
            kept = (line for line, record in self._records() if record.get("step", 0) <= step)
            write_atomically(self.log_file, b"".join(line + b"\n" for line in kept))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from training in this folder while the block runs.

        The system lets go of the lock when the process ends, however it ends. Raises RunError if
        another holds it. Where the system or the disk has no such locks, this does nothing.
        """
        try:
            file = (self.path / ".lock").open("ab")
        except OSError as error:
            raise cannot_write(self.path / ".lock", error) from error
        with file:
            if sys.platform != "win32":
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise RunError(
                        f"{self.path} is in use by another training; wait for it to end,"
                        " or choose another --run"
                    ) from None
                except OSError:
                    pass  # some network disks have no locks: one training at a time is up to you
            yield

    def _records(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        data = self.log_file.read_bytes() if self.log_file.exists() else b""
        whole = data.split(b"\n")[:-1]  # what follows the last newline is empty or half a line
        for number, line in enumerate(whole, start=1):
            try:
                record = dict(json.loads(line).items())
            except (ValueError, AttributeError):
                raise RunError(
                    f"{self.log_file}:{number}: this line is no JSON object; delete it, or put a"
                    " good copy of the file there"
                ) from None
            yield line, {name: _from_json(value) for name, value in record.items()}


def _to_json(value: str | int | float | None) -> str | int | float | None:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _from_json(value: Any) -> Any:
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value
