"""The ids of a text in a file that has no name: as large as the disk allows, in little memory."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError
from unrolled.files import cannot_write
from unrolled.tasks.language.coder import Coder
from unrolled.tasks.language.text import Part
from unrolled.tasks.vocabulary import UNK


@dataclass(frozen=True, eq=False)
class Numbered:
    """A text as ids, and what there is to know of it."""

    file: Path
    ids: NDArray[np.integer]  # mapped into memory, of the smallest type that holds them
    characters: int
    unknown: int  # symbols that are not in the vocabulary
    sha256: str  # of the text


def number(part: Part, coder: Coder, folder: Path) -> Numbered:
    """Write the ids of a text into a temporary file, and map it into memory.

    The file has no name where the system allows that, and is gone with the process.

    Args:
        part: the text.
        coder: its symbols.
        folder: where there is room, an id taking 1 byte of up to 256 symbols, 2 of up to 65,536,
            and 4 of more; if it is not there, the nearest folder above that is.

    Raises:
        DataError: there is no text, or it cannot be read.
        RunError: the disk is full, or the folder closed.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    digest, characters, unknown, length = hashlib.sha256(), 0, 0, 0

    def blocks() -> Iterator[str]:
        nonlocal characters
        for block in part.blocks():
            digest.update(block.encode())
            characters += len(block)
            yield block

    try:
        with tempfile.TemporaryFile(dir=place) as file:
            for ids in coder.encoded(blocks()):
                unknown += int((ids == UNK).sum())
                length += len(ids)
                file.write(ids.astype(coder.small).tobytes())
            file.flush()
            if not length:
                raise DataError(f"{part.file}: has no text")
            ids = np.memmap(file, coder.small, "r", shape=(length,))
    except OSError as error:
        raise cannot_write(place, error) from error
    return Numbered(part.file, ids, characters, unknown, digest.hexdigest())
