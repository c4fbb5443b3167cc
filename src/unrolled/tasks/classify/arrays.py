"""Series in NumPy's archives: one array of series and one of labels. Nothing is unpickled."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unrolled.errors import DataError
from unrolled.tasks.classify.config import Fields
from unrolled.tasks.faults import Faults


def read_arrays(
    path: Path, fields: Fields, faults: Faults, labels: bool
) -> Iterator[tuple[str, np.ndarray, str | None]]:
    """Read an .npz file: its array of series, (items, time) or (items, time, features), and labels.

    path: the file. fields: the names of the arrays. faults: where series with numbers that are not
    finite go. labels: whether to read (items,) labels, texts or whole numbers.
    Gives, for each item, where it stands, the series (time, features) as float32, and its label.
    Raises DataError for a file that is no .npz, and arrays that are missing or of another kind.
    """
    x = _array(path, fields.series_array, "--series-array")
    if x.dtype.kind not in "iufb" or x.ndim not in (2, 3) or 0 in x.shape[1:]:
        raise DataError(
            f"{path}: the array {fields.series_array!r} is {x.dtype} of shape {x.shape}; "
            "series are numbers of shape (items, time) or (items, time, features)"
        )
    x = x.reshape(*x.shape[:2], -1).astype(np.float32)
    y = _labels(path, fields.label_array, len(x)) if labels else [None] * len(x)
    for place, (series, label) in enumerate(zip(x, y, strict=True)):
        where = f"{path}: item {place}"
        if np.isfinite(series).all():
            yield where, series, label
        else:
            step = int(np.argmin(np.isfinite(series).all(1)))
            faults.found(where, f"is not finite at step {step}; fill the gap or leave it out")


def _labels(path: Path, name: str, count: int) -> list[str]:
    y = _array(path, name, "--label-array")
    if y.dtype.kind not in "iuUb" or y.shape != (count,):
        raise DataError(
            f"{path}: the array {name!r} is {y.dtype} of shape {y.shape}; labels are texts or "
            f"whole numbers of shape ({count},), one for each series"
        )
    return [str(label) for label in y.tolist()]


def _array(path: Path, name: str, flag: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if name not in archive.files:
                found = ", ".join(archive.files[:8]) or "nothing"
                raise DataError(f"{path}: has no array {name!r}, only {found}; name it with {flag}")
            return archive[name]
    except OSError as error:
        if error.errno is None:
            raise DataError(
                f"{path}: is no .npz file ({error}); save it with numpy.savez"
            ) from None
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: {reason}; name a file that can be read") from None
    except DataError:
        raise
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).split(".")[0]
        raise DataError(
            f"{path}: is no .npz file of plain arrays ({reason}); save it with numpy.savez"
        ) from None
