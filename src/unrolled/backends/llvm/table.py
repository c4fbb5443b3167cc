"""The table of arguments of one call, being filled in."""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from unrolled.backends.llvm.memory import POOL

ALIGNMENT = 64


class Table:
    """The arguments; it keeps alive what they point to.

    Of everything in memory the address comes first and its strides in the slots behind it.
    """

    def __init__(self, slots: Mapping[str, int]) -> None:
        self.slots = slots
        self.numbers = (ctypes.c_int64 * len(slots))()
        self.alive: list[object] = []
        self.address = ctypes.addressof(self.numbers)

    def set(self, slot: str, number: int) -> None:
        """Put a number into a slot."""
        self.numbers[self.slots[slot]] = number

    def rows(self, slot: str, x: Tensor) -> None:
        """Point to rows (batch, width)."""
        self.alive.append(x)
        place = self.slots[slot]
        self.numbers[place], self.numbers[place + 1] = x.data_ptr(), x.stride(0)

    def stream(self, slot: str, x: Tensor, time: int, reverse: bool) -> None:
        """Point to (time, batch, width), or to its last step to run back from there."""
        stride, row, _ = x.stride()
        self.steps(slot, x, time - 1 if reverse else 0)
        place = self.slots[slot]
        self.numbers[place + 1], self.numbers[place + 2] = -stride if reverse else stride, row

    def steps(self, slot: str, x: Tensor, first: int) -> None:
        """Point to one step of (time, batch, width)."""
        self.alive.append(x)
        self.set(slot, x.data_ptr() + first * x.stride(0) * x.element_size())

    def matrix(self, slot: str, x: Tensor) -> None:
        """Point to a fixed value."""
        self.alive.append(x)
        place = self.slots[slot]
        self.numbers[place : place + 1 + x.dim()] = [x.data_ptr(), *x.stride()]

    def rooms(self, sizes: Mapping[str, int]) -> None:
        """Point to rooms of so many bytes each, at the beginnings of cache lines."""
        lines = {slot: -(-size // ALIGNMENT) * ALIGNMENT for slot, size in sizes.items()}
        room = POOL.take(((sum(lines.values()) + ALIGNMENT) // 4,), torch.float32)
        self.alive.append(room)
        address = -(-room.data_ptr() // ALIGNMENT) * ALIGNMENT
        for slot, size in lines.items():
            self.set(slot, address)
            address += size

    def clear(self, slot: str, size: int) -> None:
        """Put zeros where a slot points to."""
        ctypes.memset(self.numbers[self.slots[slot]], 0, size)

    def share_out(self, schedule: "Schedule") -> None:
        """Point to who does what."""
        self.alive.append(schedule)
        for slot, address in schedule.addresses.items():
            self.set(slot, address)


@dataclass(frozen=True)
class Schedule:
    """Which rows go together, and when each runs; 64 bit integers all."""

    bounds: np.ndarray
    order: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    @cached_property
    def addresses(self) -> dict[str, int]:
        """Where each array lies."""
        return {field.name: getattr(self, field.name).ctypes.data for field in fields(self)}


@lru_cache(maxsize=64)
def even_schedule(time: int, batch: int, parts: int) -> Schedule:
    """Share rows out that all run from the first step to the last: neighbours stay together."""
    bounds = np.array([batch * part // parts for part in range(parts + 1)], dtype=np.int64)
    begin, end = np.zeros(batch, dtype=np.int64), np.full(batch, time, dtype=np.int64)
    return Schedule(bounds, np.arange(batch, dtype=np.int64), begin, end)


def ragged_schedule(time: int, lengths: Tensor, reverse: bool, parts: int) -> Schedule:
    """Share rows out by their lengths: longest first, each part every n-th of them."""
    return _ragged(time, lengths.cpu().numpy().astype(np.int64).tobytes(), reverse, parts)


@lru_cache(maxsize=64)  # all layers of a batch ask for the same ones
def _ragged(time: int, lengths: bytes, reverse: bool, parts: int) -> Schedule:
    steps = np.frombuffer(lengths, dtype=np.int64)
    order = np.argsort(-steps, kind="stable")
    dealt = [order[part::parts] for part in range(parts)]
    bounds = np.cumsum([0, *map(len, dealt)], dtype=np.int64)
    begin = time - steps if reverse else np.zeros_like(steps)
    end = np.full_like(steps, time) if reverse else steps
    return Schedule(bounds, np.concatenate(dealt), begin, end)
