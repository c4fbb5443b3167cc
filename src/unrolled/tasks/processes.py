"""The processes that train one model together, as `torchrun` starts them; most often just one."""

import atexit
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from rich.console import Console
from torch import Tensor, nn
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from unrolled.errors import ConfigError, RunError
from unrolled.tasks.checkpoint import JSON
from unrolled.tasks.interrupt import Interrupted
from unrolled.tasks.progress import Progress

T = TypeVar("T")

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what `torchrun` tells a process
TIMEOUT = timedelta(days=1)  # the others wait while the first one scores, however long
ENDED = "unrolled/ended"  # how many processes have ended early, in the store
# A group that is freed with the gradients' buckets, by whoever holds Python's lock, may wait for
# ever for a thread of its own that wants the lock. Kept here, it is freed alone, and lets go of it.
KEPT: list[object] = []
atexit.register(KEPT.clear)


@dataclass(frozen=True)
class Processes:
    """Who trains: each process computes a share of every batch, and all have the same weights.

    The first one leads: it alone scores, writes and speaks, and its clock counts. A process that is
    alone asks nobody, so that a training reads the same for one and for many.

    rank: which of them this is, from 0. count: how many there are.

    >>> Processes(rank=1, count=2).share([10, 11, 12])
    [11]
    >>> Processes().sum(3.0, 5.0)
    [3.0, 5.0]
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first one."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Give this process's part: every `count`-th item, so that long ones are dealt out too."""
        return items if self.count == 1 else items[self.rank :: self.count]

    def own(self, tensor: Tensor) -> Tensor:
        """Give this process's part along the second dimension, as `share` deals it out."""
        return tensor if self.count == 1 else tensor[:, self.rank :: self.count].contiguous()

    def whole(self, tensor: Tensor) -> Tensor:
        """Put together what `own` took apart, on every process."""
        if self.count == 1:
            return tensor
        size = int(self.sum(tensor.shape[1])[0])
        whole = tensor.new_zeros(tensor.shape[0], size, *tensor.shape[2:])
        whole[:, self.rank :: self.count] = tensor
        dist.all_reduce(whole)
        return whole

    def sum(self, *numbers: float) -> list[float]:
        """Add up each number over all processes."""
        if self.count == 1:
            return [*numbers]
        summed = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(summed)
        return summed.tolist()

    def told(self, value: JSON) -> Any:
        """Give every process what the first one says; what the others say is not heard."""
        if self.count == 1:
            return value
        text = json.dumps(value if self.leads else None).encode()
        size = torch.tensor(len(text))
        dist.broadcast(size, 0)
        letters = torch.frombuffer(bytearray(text.ljust(int(size))), dtype=torch.uint8)[: int(size)]
        dist.broadcast(letters, 0)
        return json.loads(bytes(letters.tolist()))

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.sum(0.0)

    def parallel(self, module: nn.Module) -> nn.Module:
        """Give a module of the same weights whose gradients are means over all processes.

        Which parameters have a gradient may change from step to step.
        """
        if self.count == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=True)

    def device_name(self, name: str) -> str:
        """Give each process of a machine a GPU of its own, where a GPU is asked for.

        Raises:
            ConfigError: one GPU is named for all of them.
        """
        if self.count == 1 or name == "cpu" or not torch.cuda.is_available():
            return name
        if name not in ("auto", "cuda"):
            raise ConfigError(
                f"device is {name}, but {self.count} processes train; write cuda, so that each "
                "has one of its own"
            )
        return f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}"

    def heard(self, progress: Progress | None) -> Progress:
        """Let the first process alone be heard."""
        return (progress or Progress()) if self.leads else Progress(Console(quiet=True))


def leads() -> bool:
    """Tell whether this process is the first of those that train, or the only one."""
    return not told_to_join() or int(os.environ["RANK"]) == 0


def told_to_join() -> bool:
    """Tell whether `torchrun`, or another who speaks its language, started several processes."""
    return all(name in os.environ for name in TOLD) and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def joined() -> Iterator[Processes]:
    """Train together with the processes that were started beside this one, inside.

    When one of them ends early, all do: whoever was the first to end says why, the others end
    without a word.

    Raises:
        RunError: they do not find one another, or one ended and could not say why.
    """
    if not told_to_join():
        yield Processes()
        return
    KEPT.clear()
    graphics = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        store, rank, count = next(iter(rendezvous("env://", timeout=TIMEOUT)))
        backend = "cpu:gloo,cuda:nccl" if graphics else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    except (dist.DistError, ValueError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise RunError(
            f"the processes do not find one another ({reason}); start them with torchrun "
            "--standalone"
        ) from None
    KEPT.append(dist.group.WORLD)
    try:
        yield Processes(rank, count)
    except BaseException as error:
        if not _is_first_to_end(store):
            stopped = isinstance(error, KeyboardInterrupt | Interrupted)
            raise SystemExit(130 if stopped else 2) from None
        if _is_lost(error):
            raise RunError(
                "another process of this training ended and could not say why; look at what "
                "torchrun says, then go on with --resume"
            ) from None
        raise
    finally:
        dist.destroy_process_group()


def _is_first_to_end(store: Store) -> bool:
    try:
        return store.add(ENDED, 1) == 1
    except RuntimeError:  # whoever kept the store has ended, and was the first
        return False


def _is_lost(error: BaseException) -> bool:
    """Tell whether an error says that another process is gone."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    )
