"""Memory that is used again: a fresh page costs more to get than to fill.

Results of one call are as large as those of the next, as a rule. The system's allocator gives large
blocks back when they are freed and gets empty pages for them anew, each of them at the price of an
interrupt; a quarter of a kernel's time went there. So blocks of results are kept when the last
tensor that lies in them is gone, and handed out again.
"""

import bisect
import ctypes
import itertools
import math
import mmap
import threading
import weakref
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

SMALL = 1 << 21
"""Bytes below which the usual allocator does: it keeps what it got for such blocks, and hands out
again what was written last. Larger blocks have room for a huge page."""

MOST_KEPT = 1 << 29
"""Bytes in blocks that nobody uses, at most; what came back first goes first."""

LOOSEST = 1.5
"""How many times larger than what is wanted a block may be."""

PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""Not shared with a process that is forked off, which would write into our results."""


APART = 576
"""Bytes that the next block's tensor begins later in a page than the last one's, nine lines of a
cache. Numbers at the same place of many tensors, which a kernel reads and writes together, would
otherwise share a place in the caches: up to 1.06 times slower."""

PAGE = 4096


class _Block(mmap.mmap):
    """Memory of its own, and where in it the tensor begins."""

    begin: int = 0


class _Lease(weakref.ref[ctypes.Array[ctypes.c_char]]):
    """The watch over one block in use."""

    block: _Block


class Pool:
    """Blocks of memory, handed out as tensors.

    A tensor that is taken may be used like any other, and for as long; what it contains is left
    over from whoever had the block before.
    """

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self.most_kept = most_kept
        self.leases: dict[int, _Lease] = {}
        self.returned: deque[_Block] = deque()  # and not yet sorted in
        self.free: dict[int, _Block] = {}  # by a number of its own, the longest free first
        self.sizes: list[tuple[int, int]] = []  # of each and its number, the smallest first
        self.kept = 0  # bytes in all of them
        self.numbers = itertools.count()
        self.begins = itertools.count()
        self.lock = threading.Lock()

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Give a tensor of some shape.

        >>> pool = Pool()
        >>> address = pool.take((1000, 1000), torch.float32).data_ptr()
        >>> pool.take((1000, 999), torch.float32).data_ptr() == address
        True
        """
        wanted = math.prod(shape) * dtype.itemsize
        if wanted < SMALL or torch.are_deterministic_algorithms_enabled():
            return torch.empty(shape, dtype=dtype)  # which fills it with NaN in the latter case
        block = self._block(wanted + PAGE)
        # the room lives as long as any tensor in it
        room = (ctypes.c_char * wanted).from_buffer(block, block.begin)
        lease = _Lease(room, self._take_back)
        lease.block = block
        self.leases[id(lease)] = lease
        return torch.frombuffer(room, dtype=dtype).view(shape)

    def clear(self) -> None:
        """Let go of the blocks that nobody uses."""
        with self.lock:
            self._sort_in()
            self.free.clear()
            self.sizes.clear()
            self.kept = 0

    def _block(self, wanted: int) -> _Block:
        with self.lock:
            self._sort_in()
            place = bisect.bisect_left(self.sizes, (wanted, -1))
            if place < len(self.sizes) and self.sizes[place][0] <= LOOSEST * wanted:
                size, number = self.sizes.pop(place)
                self.kept -= size
                return self.free.pop(number)
        block = _Block(-1, wanted, **PRIVATE)
        block.begin = next(self.begins) * APART % PAGE
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _take_back(self, lease: "_Lease") -> None:
        """Take a block back; a tensor may be freed at any moment, while this thread sorts too."""
        self.returned.append(self.leases.pop(id(lease)).block)
        if self.lock.acquire(blocking=False):
            try:
                self._sort_in()
            finally:
                self.lock.release()

    def _sort_in(self) -> None:
        while self.returned:
            block, number = self.returned.popleft(), next(self.numbers)
            self.free[number] = block
            bisect.insort(self.sizes, (len(block), number))
            self.kept += len(block)
        while self.kept > self.most_kept:
            number = next(iter(self.free))
            size = len(self.free.pop(number))
            self.sizes.remove((size, number))
            self.kept -= size


POOL = Pool()
"""That of all kernels."""
