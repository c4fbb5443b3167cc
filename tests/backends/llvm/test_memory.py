"""Blocks of memory that are used again."""

import ctypes
import gc
import os

import pytest
import torch

from unrolled.backends.llvm.memory import PAGE, SMALL, Pool

SHAPE = (4, SMALL)


def test_a_block_comes_back_when_the_last_tensor_in_it_is_gone() -> None:
    pool = Pool()
    whole = pool.take(SHAPE, torch.float32)
    address, part = whole.data_ptr(), whole[2:]
    del whole
    assert pool.take(SHAPE, torch.float32).data_ptr() != address
    part.fill_(1.0)
    del part
    gc.collect()
    assert address in {pool.take(SHAPE, torch.float32).data_ptr() for _ in range(2)}


def test_two_tensors_in_use_share_nothing() -> None:
    pool = Pool()
    tensors = [pool.take(SHAPE, torch.float64).fill_(number) for number in range(5)]
    assert [tensor.unique().tolist() for tensor in tensors] == [[n] for n in map(float, range(5))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_process_writes_into_memory_of_its_own() -> None:
    pool = Pool()
    tensor = pool.take(SHAPE, torch.float32).fill_(1.0)
    child = os.fork()
    if not child:
        ctypes.memset(tensor.data_ptr(), 0, 4)
        os._exit(0)
    os.waitpid(child, 0)
    assert tensor[0, 0] == 1.0


def test_a_much_larger_block_is_not_taken() -> None:
    pool = Pool()
    address = pool.take((4 * SMALL,), torch.float32).data_ptr()
    assert pool.take((2 * SMALL,), torch.float32).data_ptr() != address
    assert pool.take((3 * SMALL,), torch.float32).data_ptr() == address


def test_no_more_is_kept_than_allowed() -> None:
    pool = Pool(most_kept=3 * (SMALL + PAGE))
    held = [pool.take((SMALL,), torch.uint8) for _ in range(5)]
    assert not pool.free
    held.clear()
    assert [len(block) for block in pool.free.values()] == [SMALL + PAGE] * 3


def test_tensors_begin_at_different_lines_of_a_page_and_keep_their_places() -> None:
    pool = Pool()
    held = [pool.take((SMALL,), torch.uint8) for _ in range(7)]
    lines = {tensor.data_ptr() % PAGE // 64 for tensor in held}
    assert len(lines) == 7 and all(tensor.data_ptr() % 64 == 0 for tensor in held)
    address = held.pop().data_ptr()
    assert pool.take((SMALL,), torch.uint8).data_ptr() == address


def test_the_smallest_block_that_fits_is_taken_and_the_longest_free_goes_first() -> None:
    pool = Pool(most_kept=6 * SMALL + 3 * PAGE)
    sizes = {size: pool.take((size * SMALL,), torch.uint8) for size in (3, 1, 2)}
    addresses = {size: tensor.data_ptr() for size, tensor in sizes.items()}
    for size in (2, 3, 1):
        del sizes[size]
    held = pool.take((2 * SMALL - 9,), torch.uint8)
    assert held.data_ptr() == addresses[2]
    sizes[4] = pool.take((4 * SMALL,), torch.uint8)  # 3 is less than it needs
    del sizes[4]
    assert sorted(map(len, pool.free.values())) == [SMALL + PAGE, 4 * SMALL + PAGE]


def test_a_tensor_may_be_freed_while_blocks_are_sorted() -> None:
    pool = Pool()
    tensor = pool.take(SHAPE, torch.float32)
    with pool.lock:  # as when the collector of garbage comes in between
        del tensor
    assert not pool.free and len(pool.returned) == 1
    held = pool.take((SMALL,), torch.uint8)
    assert held.numel() == SMALL and not pool.returned and len(pool.free) == 1


def test_small_tensors_and_checked_ones_are_fresh() -> None:
    pool = Pool()
    pool.take((SMALL // 4 - 1,), torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        assert pool.take(SHAPE, torch.float32).isnan().all()
    finally:
        torch.use_deterministic_algorithms(False)
    assert not pool.free
