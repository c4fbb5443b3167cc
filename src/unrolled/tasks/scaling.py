"""Series on one scale: what is taken off and divided by, kept with what learns from them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.files import write_atomically

SMALLEST = 1e-12  # of a standard deviation, as a share of the mean: below it, all values are one


@dataclass(frozen=True)
class Scaling:
    """The mean and the standard deviation of each feature, over all steps of all series.

    mean, std: (features,); the deviation of a feature that never changes is 1.

    >>> scaling = Scaling.of([np.array([[0.0, 5.0]]), np.array([[2.0, 5.0]])])
    >>> scaling.mean.tolist(), scaling.std.tolist()
    ([1.0, 5.0], [1.0, 1.0])
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, series: "list[np.ndarray]") -> "Scaling":
        """Measure series, each (time, features); there is one step at least."""
        steps = sum(len(one) for one in series)
        mean = np.sum([one.sum(0, dtype=np.float64) for one in series], 0) / steps
        std = np.sqrt(np.sum([((one - mean) ** 2).sum(0) for one in series], 0) / steps)
        return cls(mean, np.where(std > SMALLEST * np.abs(mean), std, 1.0))

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Bring values (..., features) to mean 0 and deviation 1."""
        return (values - self.mean) / self.std

    def unscale(self, values: np.ndarray) -> np.ndarray:
        """Bring scaled values (..., features) back."""
        return values * self.std + self.mean

    def save(self, path: Path) -> None:
        """Write both as JSON; raise RunError if that fails."""
        record = {"mean": self.mean.tolist(), "std": self.std.tolist()}
        write_atomically(path, (json.dumps(record) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> "Scaling":
        """Read what `save` wrote; raise DataError if it is missing or damaged."""
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            mean, std = (np.array(record[name], dtype=np.float64) for name in ("mean", "std"))
            whole = mean.ndim == 1 and mean.shape == std.shape
            if not (whole and np.isfinite(mean).all() and np.isfinite(std).all() and std.all()):
                raise ValueError("not one finite number for each feature")
        except OSError as error:
            raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: is damaged ({error}); put a good copy there") from None
        return cls(mean, std)
