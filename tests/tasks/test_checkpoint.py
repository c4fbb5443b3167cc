"""A checkpoint comes back bit for bit, or the one before it does, with a word about why."""

import math
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unrolled.errors import ConfigError, RunError
from unrolled.tasks.checkpoint import (
    JSON,
    Checkpoint,
    load_latest,
    load_weights,
    save,
    save_weights,
)

DTYPES = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64, torch.complex64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.float8_e4m3fn, torch.float8_e5m2),
]
FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def fail(message: str) -> None:
    pytest.fail(message)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Tensors of every type, of any bits, so of every NaN, with up to three axes in any order."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = math.prod(shape) * dtype.itemsize
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype is torch.bool:
        data = bytearray(byte & 1 for byte in data)
    tensor = torch.frombuffer(data, dtype=dtype) if size else torch.empty(0, dtype=dtype)
    return tensor.reshape(shape).permute(draw(st.permutations(range(len(shape)))))


@settings(deadline=None, max_examples=50)
@given(
    weights=st.dictionaries(st.text(min_size=1, max_size=5), tensors(), max_size=4),
    facts=st.dictionaries(st.text(max_size=5), FACTS, max_size=3),
)
def test_every_bit_comes_back(
    tmp_path_factory: pytest.TempPathFactory, weights: dict[str, Tensor], facts: dict[str, JSON]
) -> None:
    path = tmp_path_factory.getbasetemp() / "model.safetensors"
    save_weights(path, weights, facts)
    again, facts_again = load_weights(path)
    assert again.keys() == weights.keys()
    for name, tensor in weights.items():
        assert (again[name].dtype, again[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(again[name]) == bits(tensor)
    assert repr(facts_again) == repr(facts)  # where NaN is NaN, and -0.0 is not 0.0


def test_tensors_that_share_memory_come_back_each_by_itself(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    weights = {"whole": whole, "tied": whole, "part": whole[2:4], "wide": whole[:1].expand(3)}
    save_weights(tmp_path / "model", weights, {})
    again, _ = load_weights(tmp_path / "model")
    assert {name: tensor.tolist() for name, tensor in again.items()} == {
        name: tensor.tolist() for name, tensor in weights.items()
    }
    again["whole"].zero_()
    assert again["tied"].tolist() == whole.tolist()


def test_a_generator_and_a_parameter_come_back(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    parameter = torch.nn.Parameter(torch.randn(2, generator=generator))
    save(tmp_path, Checkpoint(1, {"rng": generator.get_state(), "w": parameter}))
    expected = torch.randn(3, generator=generator)
    assert (again := load_latest(tmp_path, fail))
    generator.set_state(again.tensors["rng"])
    assert torch.equal(torch.randn(3, generator=generator), expected)
    assert torch.equal(again.tensors["w"], parameter)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def fill(folder: Path, *steps: int, keep: int = 3) -> None:
    for step in steps:
        save(folder, Checkpoint(step, {"w": torch.full((50,), float(step))}, {"best": step}), keep)


def file(step: int) -> str:
    return f"step-{step:08d}.safetensors"


def test_there_may_be_no_checkpoint_yet(tmp_path: Path) -> None:
    assert load_latest(tmp_path, fail) is None
    assert load_latest(tmp_path / "nix", fail) is None


def test_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    fill(tmp_path / "checkpoints", 9, 10, 100_000_000, 100_000_001, keep=2)
    assert names(tmp_path / "checkpoints") == [file(100_000_000), file(100_000_001)]
    newest = load_latest(tmp_path / "checkpoints", fail)
    assert newest is not None
    assert (newest.step, newest.facts) == (100_000_001, {"best": 100_000_001})


def test_the_new_file_stays_whatever_lies_there(tmp_path: Path) -> None:
    (tmp_path / file(30)).write_text("damaged")
    fill(tmp_path, 10, 20, keep=1)
    assert names(tmp_path) == [file(20), file(30)]
    with pytest.raises(ConfigError, match="0 checkpoints were to be kept; keep at least 1"):
        fill(tmp_path, 20, keep=0)


def test_what_a_killed_process_left_is_passed_over_and_cleared_away(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (tmp_path / f".{file(2)}.0123abcd.tmp").write_bytes(b"half")
    newest = load_latest(tmp_path, fail)
    assert newest is not None and newest.step == 1
    fill(tmp_path, 3)
    assert names(tmp_path) == [file(1), file(3)]


def falls_back(folder: Path, reason: str) -> None:
    """The file of step 2 is bad: step 1 is used, after one line about it."""
    lines: list[str] = []
    newest = load_latest(folder, lines.append)
    assert newest is not None
    assert newest.tensors["w"].tolist() == [1.0] * 50
    (line,) = lines
    assert line.startswith(f"{folder / file(2)} cannot be used: {reason}")
    assert line.endswith(f"; {file(1)} is used instead")
    assert "\n" not in line


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, -101, -100, -1])
def test_a_file_cut_short_is_passed_over(tmp_path: Path, kept: int) -> None:
    fill(tmp_path, 1, 2)
    path = tmp_path / file(2)
    os.truncate(path, kept % path.stat().st_size)
    falls_back(tmp_path, "it is cut short or no safetensors file (")


def test_no_flipped_bit_goes_unnoticed(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    path = tmp_path / file(1)
    good = path.read_bytes()
    for place in range(len(good)):
        flipped = good[place] ^ (1 << place % 8)
        path.write_bytes(good[:place] + bytes([flipped]) + good[place + 1 :])
        with pytest.raises(RunError, match="cannot be used"):
            load_weights(path)


FOREIGN = {
    "text": (b"once upon a time there was a file\n", "it is cut short or no safetensors file ("),
    "pickle": (pickle.dumps({"w": [1.0]}), "it is cut short or no safetensors file ("),
    "another program's": (
        safetensors.torch.save({"w": torch.ones(2)}),
        'it was not written by this program (format "unrolled 1")',
    ),
}


@pytest.mark.parametrize(("data", "reason"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_file_is_passed_over(tmp_path: Path, data: bytes, reason: str) -> None:
    fill(tmp_path, 1)
    (tmp_path / file(2)).write_bytes(data)
    falls_back(tmp_path, reason)


def test_weights_in_the_place_of_a_checkpoint_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    save_weights(tmp_path / file(2), {"w": torch.zeros(50)}, {"task": "tag"})
    falls_back(tmp_path, "it holds weights, but no step to go on from")


class Bomb:
    """An object that leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    torch.save(Bomb(tmp_path / "trace"), tmp_path / file(1))
    with pytest.raises(RunError):
        load_latest(tmp_path, fail)
    assert not (tmp_path / "trace").exists()


def test_all_bad_files_are_named(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / file(step)).write_bytes(b"")
    with pytest.raises(RunError) as caught:
        load_latest(tmp_path, fail)
    message = str(caught.value)
    assert message.startswith(f"no checkpoint in {tmp_path} can be used ({file(2)}: it is cut")
    assert f"; {file(1)}: it is cut" in message
    assert message.endswith("); put a good copy there, or train anew")
    assert "\n" not in message


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        load_weights(tmp_path / "model.safetensors")
    assert str(caught.value) == (
        f"{tmp_path / 'model.safetensors'} cannot be used: it cannot be read"
        " (No such file or directory); put a good copy there, or train anew"
    )


def test_a_full_disk_leaves_every_checkpoint(tmp_path: Path) -> None:
    fill(tmp_path, 1, 2, keep=1)
    good = (tmp_path / file(2)).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) // 2, hard))
    try:
        with pytest.raises(RunError, match=f"{file(3)} could not be written: File too large; rais"):
            fill(tmp_path, 3, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == [file(2)]
    assert (tmp_path / file(2)).read_bytes() == good


KILLS = """
import os, resource, signal, sys
from itertools import count
from pathlib import Path

import torch

from unrolled.tasks.checkpoint import Checkpoint, load_latest, save

torch.set_num_threads(1)  # a fork does not take the other threads along, and would wait for them
folder = Path(sys.argv[1])
newest = 0


for kill, limit in enumerate([0, 1, 0, 300_000, 0, 799_999, 0, 0]):
    reader, saved = os.pipe()
    child = os.fork()  # cheaper than importing torch each time
    if child == 0:
        if limit:  # the system kills the process when a file reaches so many bytes
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        for step in count(newest + 1):
            tensors = {"w": torch.full((100_000,), step)}
            save(folder, Checkpoint(step, tensors, {"step": step}), keep=2)
            os.write(saved, b".")
    os.close(saved)  # so that a child that fails ends the wait below
    wanted = 0 if limit else 1 + kill % 3
    for _ in range(wanted):
        os.read(reader, 1)
    for _ in range(kill * 20_000 if wanted else 0):  # a kill at another place each time
        pass
    if wanted:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == (signal.SIGXFSZ if limit else signal.SIGKILL), status
    latest = load_latest(folder, sys.exit)
    assert latest.step >= newest + wanted, (latest.step, newest, wanted)
    assert (latest.tensors["w"] == latest.step).all() and latest.facts == {"step": latest.step}
    newest = latest.step
"""


def test_a_kill_at_any_time_leaves_the_newest_checkpoint_good(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
