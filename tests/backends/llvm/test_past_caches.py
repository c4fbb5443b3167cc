"""Outputs that are written past the caches are the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unrolled.backends.llvm import kernel as kernels
from unrolled.backends.llvm.emit import emit
from unrolled.backends.llvm.kernel import Kernel
from unrolled.backends.llvm.table import Table
from unrolled.backends.llvm.target import targets
from unrolled.cell import Cell
from unrolled.compiler import compile_cell, train
from unrolled.ir import Program
from unrolled.zoo import GRU, LSTM, RAN, GRUv3, LayerNormLSTM, MultiplicativeLSTM

TARGETS = targets()

Draw = Callable[[Program, int, int], dict[str, Any]]

CELLS = [LSTM, GRU, GRUv3, LayerNormLSTM, MultiplicativeLSTM, RAN]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("hidden", [32, 37])
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_written_past_the_caches_have_the_same_bits(
    cell: Callable[[int, int], Cell],
    hidden: int,
    target: str,
    arguments: Draw,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "WORTH_WAITING", 1)  # so that few rows are run by all together
    program = compile_cell(cell(3, hidden), torch.zeros(2, 3)).program(resets=False, states=True)[0]
    both = train(program)
    for part, reverse in ((both.forward, False), (both.backward, True)):
        kernel = Kernel(part, TARGETS[target])
        for batch, threads in ((2, 2), (20, 2)):  # together, and each with its own rows
            given = arguments(part, 4, batch) | {"time": 4, "threads": threads, "reverse": reverse}
            for lengths in (None, torch.arange(batch) % 5):
                results = []
                for least in ((0, 0), (batch + 1, 0)):
                    monkeypatch.setattr(kernels, "PAST_CACHES", least)
                    found = kernel(**given, lengths=lengths)
                    given_back = {**found.outputs, **found.states}
                    results.append({n: x.view(torch.int32) for n, x in given_back.items()})
                assert all(torch.equal(x, results[1][name]) for name, x in results[0].items())


def test_what_the_loop_reads_again_is_not_written_past_the_caches() -> None:
    program = compile_cell(LSTM(3, 32), torch.zeros(2, 3)).program(resets=False, states=False)[0]
    texts = {
        part: emit(kernel.plan, kernel.layout, kernel.target)
        for part, kernel in (
            ("alone", Kernel(program, next(iter(TARGETS.values())))),
            ("forward", Kernel(train(program).forward, next(iter(TARGETS.values())))),
            ("backward", Kernel(train(program).backward, next(iter(TARGETS.values())))),
        )
    }
    assert {name: "nontemporal" in text for name, text in texts.items()} == {
        "alone": False,  # h is the output, and read at the next step
        "forward": True,
        "backward": False,  # gradients before the product are read by it
    }


@pytest.mark.parametrize(("batch", "past"), [(15, 0), (16, 1)])
def test_many_rows_of_many_bytes_go_past_the_caches(
    batch: int, past: int, arguments: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile_cell(LSTM(3, 32), torch.zeros(2, 3)).program(resets=False, states=False)[0]
    kernel, said = Kernel(train(program).forward, next(iter(TARGETS.values()))), list[int]()
    size = 4 * 16 * sum(kernel.layout.outputs.values()) * 4

    def note(table: Table, slot: str, number: int) -> None:
        if slot == "past caches":
            said.append(number)
        put(table, slot, number)

    put = Table.set
    monkeypatch.setattr(Table, "set", note)
    given = arguments(kernel.program, 4, batch)
    for least in ((16, size), (16, size + 1)):
        monkeypatch.setattr(kernels, "PAST_CACHES", least)
        kernel(**given, time=4)
    assert said == [past, 0]
