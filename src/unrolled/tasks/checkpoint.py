"""Tensors and facts in safetensors files that are checked on reading; nothing is ever unpickled."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from unrolled.errors import ConfigError, RunError
from unrolled.files import cannot_write, remove_leftovers, write_atomically

JSON: TypeAlias = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
FORMAT = "unrolled 1"  # the first thing to change when the layout of the metadata does
NAME = re.compile(r"step-(\d+)\.safetensors")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a training needs to go on as if it had never stopped."""

    step: int  # updates done
    tensors: Mapping[str, Tensor]  # weights, moments of the optimiser, states of the generators
    facts: Mapping[str, JSON] = field(default_factory=dict)  # everything that is no tensor


class _UnusableError(Exception):
    """A file that holds no good tensors; the message is the reason."""


def save(folder: Path, checkpoint: Checkpoint, keep: int = 3) -> Path:
    """Write a checkpoint into `folder`, then delete the oldest ones.

    `folder` is made if need be; one training at a time may save there. Of the checkpoints up to
    this step the newest `keep` (at least 1) stay; older ones go only once the new one is safe on
    the disk. Returns the new file, named after its step. Raises RunError if it cannot be written,
    and then every earlier checkpoint is still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(Path(folder), Checkpoint(1200, {"w": torch.ones(2)}, {"best": 0.5}))
    ...     again = load_latest(Path(folder), warn=print)
    >>> path.name, again.step, again.tensors["w"].tolist(), again.facts
    ('step-00001200.safetensors', 1200, [1.0, 1.0], {'best': 0.5})
    """
    if keep < 1:
        raise ConfigError(f"{keep} checkpoints were to be kept; keep at least 1")
    path = folder / f"step-{checkpoint.step:08d}.safetensors"
    facts: dict[str, JSON] = {"step": checkpoint.step, "facts": dict(checkpoint.facts)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        save_weights(path, checkpoint.tensors, facts)
        # A damaged file of a later step must not count: it would push the new one out.
        past = [file for file in _newest_first(folder) if _step(file) <= checkpoint.step]
        for old in past[keep:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return path


def load_latest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Read the newest good checkpoint in `folder`.

    Each newer file that is cut short, foreign or altered is passed over, and `warn` is called with
    one line that names it, the reason and the file used instead. Returns None if there are no
    checkpoints. Raises RunError, naming every file and reason, if there are but none is good.
    """
    bad: list[tuple[Path, str]] = []
    for path in _newest_first(folder):
        try:
            checkpoint = _read_checkpoint(path)
        except _UnusableError as reason:
            bad.append((path, str(reason)))
            continue
        for damaged, reason in bad:
            warn(f"{damaged} cannot be used: {reason}; {path.name} is used instead")
        return checkpoint
    if not bad:
        return None
    reasons = "; ".join(f"{path.name}: {reason}" for path, reason in bad)
    raise RunError(
        f"no checkpoint in {folder} can be used ({reasons}); put a good copy there, or train anew"
    )


def save_weights(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, JSON]) -> None:
    """Write tensors and facts to one safetensors file, whole or not at all.

    The tensors may be of any type that safetensors holds, on any device, with any strides, and may
    share memory: each is stored as a copy of its own. `facts` is what JSON can say, infinities and
    NaN included. Raises RunError if the file cannot be written; an old one is then as it was.
    """
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    text = json.dumps(facts)
    metadata = {"format": FORMAT, "facts": text, "sha256": _digest(copies, text)}
    write_atomically(path, _in_order(safetensors.torch.save(copies, metadata)))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, JSON]]:
    """Read back, bit for bit, the tensors (on the CPU) and facts that `save_weights` wrote.

    Raises RunError if the file is missing, cut short, altered since, or written by another program.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.safetensors"
    ...     save_weights(path, {"h": torch.arange(3)}, {"task": "tag"})
    ...     load_weights(path)
    ({'h': tensor([0, 1, 2])}, {'task': 'tag'})
    """
    try:
        return _read(path)
    except _UnusableError as reason:
        raise RunError(
            f"{path} cannot be used: {reason}; put a good copy there, or train anew"
        ) from None


def _in_order(data: bytes) -> bytes:
    """Put the header's names in order: safetensors gives them in another one in every process."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _newest_first(folder: Path) -> list[Path]:
    files = [path for path in folder.glob("step-*.safetensors") if NAME.fullmatch(path.name)]
    return sorted(files, key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _read_checkpoint(path: Path) -> Checkpoint:
    tensors, kept = _read(path)
    match kept:
        case {"step": int(step), "facts": dict(facts)}:
            return Checkpoint(step, tensors, facts)
    raise _UnusableError("it holds weights, but no step to go on from")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, JSON]]:
    # Read rather than mapped into memory: on a failing disk that is an error, not a dead process.
    try:
        data = path.read_bytes()
        tensors = safetensors.torch.load(data)
    except OSError as error:
        raise _UnusableError(f"it cannot be read ({error.strerror})") from None
    except (SafetensorError, KeyError, ValueError, RuntimeError, AssertionError) as error:
        raise _UnusableError(
            f"it is cut short or no safetensors file ({' '.join(str(error).split())})"
        ) from None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__") or {}
    if metadata.get("format") != FORMAT or not {"facts", "sha256"} <= metadata.keys():
        raise _UnusableError(f'it was not written by this program (format "{FORMAT}")')
    if metadata["sha256"] != _digest(tensors, metadata["facts"]):
        raise _UnusableError("its checksum does not match, so it was damaged or altered")
    return tensors, json.loads(metadata["facts"])


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    """SHA-256 over the facts and every tensor's name, type, shape and bytes, in order of names."""
    layout = [[name, str(t.dtype), list(t.shape)] for name, t in sorted(tensors.items())]
    digest = hashlib.sha256(json.dumps([facts, layout]).encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
