"""Threads that run the same rows together: the same bits as one thread alone, whoever is late."""

import ctypes
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled.backends.llvm import kernel as kernels
from unrolled.backends.llvm import threads
from unrolled.backends.llvm.kernel import Kernel, Results
from unrolled.backends.llvm.table import Table
from unrolled.backends.llvm.target import choose_target, targets, with_tiles
from unrolled.backends.precision import HIGH, ROUNDED, WHOLE
from unrolled.compiler import compile_cell, train
from unrolled.ir import Program
from unrolled.zoo import GRU, LSTM, GRUv3, LayerNormLSTM

TARGETS = targets()

Draw = Callable[[Program, int, int], dict[str, dict[str, Tensor]]]

IN_TILES = with_tiles(choose_target(), ROUNDED)

pytestmark = pytest.mark.skipif(
    threads.team_functions() is None, reason="threads here may not wait for each other"
)

CELLS = {
    "one nest": LSTM,
    "torch's GRU": GRU,
    "two products, one after the other": GRUv3,
    "norms between": LayerNormLSTM,
}


@pytest.fixture(autouse=True)
def any_size_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share out what is far too small for it."""
    monkeypatch.setattr(kernels, "WORTH_WAITING", 1)
    monkeypatch.setattr(kernels, "FEW_ROWS", 100)


def program_of(cell: str, *, backward: bool = False) -> Program:
    step = compile_cell(CELLS[cell](3, 37), torch.zeros(2, 3)).program(resets=False, states=False)[
        0
    ]
    return train(step).backward if backward else step


def same_bits(found: Results, wanted: Results) -> bool:
    pairs = [(wanted.outputs, found.outputs), (wanted.states, found.states)]
    return all(
        torch.equal(ours[n].view(torch.int32), theirs[n].view(torch.int32))
        for theirs, ours in pairs
        for n in theirs
    )


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_team_gives_the_same_bits_as_one_thread(
    cell: str, backward: bool, arguments: Draw
) -> None:
    program = program_of(cell, backward=backward)
    kernel = Kernel(program, next(iter(TARGETS.values())))
    for time, batch, lengths in ((1, 1, None), (9, 3, None), (6, 5, [3, 0, 6, 1, 6])):
        given: dict[str, Any] = arguments(program, time, batch)
        given |= {"time": time, "reverse": backward}
        given["lengths"] = None if lengths is None else torch.tensor(lengths)
        alone = kernel(**given, threads=1)
        for team in (2, 3, 5):
            for _ in range(3):
                assert same_bits(kernel(**given, threads=team), alone)


def test_a_team_of_the_portable_width_gives_the_same_bits(arguments: Draw) -> None:
    program = program_of("norms between")
    kernel = Kernel(program, TARGETS["portable"])
    given: dict[str, Any] = arguments(program, 4, 2)
    assert same_bits(kernel(**given, time=4, threads=3), kernel(**given, time=4, threads=1))


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pieces", [ROUNDED, HIGH, WHOLE], ids=["rounded", "high", "whole"])
def test_a_team_in_tiles_gives_the_same_bits(
    pieces: int, cell: str, backward: bool, arguments: Draw
) -> None:
    target = with_tiles(choose_target(), pieces)
    if target is None:
        pytest.skip("this machine does not multiply such pieces")
    program = program_of(cell, backward=backward)
    kernel = Kernel(program, target)
    given: dict[str, Any] = arguments(program, 4, 50)
    for lengths in (None, torch.arange(50) % 5):
        given |= {"time": 4, "reverse": backward, "lengths": lengths}
        alone = kernel(**given, threads=1)
        for team in (2, 3):
            assert same_bits(kernel(**given, threads=team), alone)


@pytest.mark.skipif(IN_TILES is None, reason="this machine does not multiply in tiles")
@pytest.mark.parametrize(("more", "rows"), [((), 0), ((0,), 16), ((0, 0), 48), ((0, 1), 16)])
def test_threads_share_weights_in_tiles_that_caches_do_not_keep(
    more: tuple[int, ...], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert IN_TILES is not None
    monkeypatch.setattr(kernels, "FEW_ROWS", 4)
    kernel = Kernel(program_of("one nest"), IN_TILES)
    size = sum(p.bytes_in_tiles for own in kernel.layout.products.values() for p in own)
    table = tuple((size - 1 + n, r) for n, r in zip(more, (16, 48), strict=False))
    monkeypatch.setattr(kernels, "ROWS_TOGETHER", {True: table, False: ()})  # an LSTM's widen
    assert kernel.rows_in_tiles == rows
    backward = Kernel(program_of("one nest", backward=True), IN_TILES)  # its product narrows
    monkeypatch.setattr(kernels, "ROWS_TOGETHER", {True: (), False: ((0, 7),)})
    assert (kernel.rows_in_tiles, backward.rows_in_tiles) == (rows, 7)
    slots = Table(kernel.layout.slots)
    assert kernel._team(slots, max(rows, 8), 2) == 2
    assert kernel._team(slots, max(rows, 8) + 1, 2) == 0


Run = Callable[[int, int, int], None]


def runs_alone(function: int, argument: int, count: int) -> None:
    """Start one thread, whatever was asked for: the runtime may refuse to start more."""
    threads.run_parallel(function, argument, 1)


def runs_in_turn(function: int, argument: int, count: int) -> None:
    """Let each thread come only when the one before has gone home."""
    for _ in range(count):
        threads.run_parallel(function, argument, 1)


@ctypes.CFUNCTYPE(ctypes.c_int)
def three() -> int:
    return 3


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("run", "said"), [(runs_alone, None), (runs_alone, three), (runs_in_turn, three)]
)
def test_nobody_waits_for_a_thread_that_does_not_come(
    cell: str, run: Run, said: object, monkeypatch: pytest.MonkeyPatch, arguments: Draw
) -> None:
    program = program_of(cell)
    kernel = Kernel(program, next(iter(TARGETS.values())))
    given: dict[str, Any] = arguments(program, 7, 4) | {"lengths": torch.tensor([7, 2, 0, 5])}
    wanted = kernel(**given, time=7, threads=1)
    if said is not None:  # how many there are is not true
        address = ctypes.cast(said, ctypes.c_void_p).value  # pyright: ignore[reportArgumentType]
        _, give_way = threads.team_functions() or (0, 0)
        monkeypatch.setattr(kernels, "team_functions", lambda: (address, give_way))
    monkeypatch.setattr(kernels, "run_parallel", run)
    assert same_bits(kernel(**given, time=7, threads=3), wanted)


@pytest.mark.parametrize(
    ("batch", "count", "weights", "team"),
    [(1, 4, 40, 4), (4, 2, 40, 0), (3, 2, 40, 2), (1, 4, 20, 2), (1, 1, 40, 0), (0, 4, 40, 0)],
)
def test_threads_share_weights_where_rows_are_few_and_weights_many(
    batch: int,
    count: int,
    weights: int,
    team: int,
    monkeypatch: pytest.MonkeyPatch,
    arguments: Draw,
) -> None:
    kernel = Kernel(program_of("one nest"), next(iter(TARGETS.values())))
    monkeypatch.setattr(kernels, "FEW_ROWS", 1.5)
    monkeypatch.setattr(kernels, "WORTH_WAITING", kernel.layout.packed_size * 10 // weights)
    started: list[int] = []

    def run(function: int, argument: int, threads_started: int) -> None:
        started.append(threads_started)
        threads.run_parallel(function, argument, threads_started)

    monkeypatch.setattr(kernels, "run_parallel", run)
    given: dict[str, Any] = arguments(kernel.program, 2, batch)
    kernel(**given, time=2, threads=count)
    assert started[-1] == (team or max(1, min(count, batch)))
