"""The most that this machine computes in float32: what its threads multiply and add in registers.

Every thread runs chains of multiplications with an addition (FMA) that wait for nothing but
themselves: as many chains as there are registers to hold them, so that there is always one that may
go on. No memory is read and none written, so no product of matrices that is made of such
instructions can be faster.
"""

import time

import torch
from llvmlite import ir

from unrolled.backends.llvm.code import Code, Value
from unrolled.backends.llvm.jit import Library, compile_module
from unrolled.backends.llvm.table import Table
from unrolled.backends.llvm.target import FLOATS, Target, choose_target
from unrolled.backends.llvm.threads import run_parallel

FACTOR, TERM = 0.5, 1.0
"""x * FACTOR + TERM goes to 2 from wherever it begins."""

NO_CHAINS = 4
"""Registers that hold no chain: the factor, the term, and what the compiler may want."""

SECONDS = 0.02
"""How long one run takes at least: long against the start of threads."""

REPEATS = 10

SLOTS = {name: place for place, name in enumerate(("passes", "threads", "result"))}


def fma_peak() -> float:
    """Measure floating point operations in a second, by as many threads as torch uses.

    A multiplication with an addition counts as two. Of several runs the best is given: other
    programs can only take away from it.
    """
    target = choose_target()
    library = Library(compile_module(_emit(target), target), ("chains",), target)
    passes, found = 1000, [_run(library, target, 1000)]
    while found[-1][1] < SECONDS:
        passes *= 2
        found.append(_run(library, target, passes))
    found += [_run(library, target, passes) for _ in range(REPEATS)]
    return max(operations / seconds for operations, seconds in found)


def _run(library: Library, target: Target, passes: int) -> tuple[int, float]:
    """Run the chains in all threads; give the operations and the seconds."""
    result = torch.empty(1)
    table = Table(SLOTS)
    table.set("passes", passes)
    table.steps("result", result, 0)
    before = time.perf_counter()
    run_parallel(library.addresses["chains"], table.address, torch.get_num_threads())
    seconds = time.perf_counter() - before
    assert result.isfinite().all()
    threads = table.numbers[SLOTS["threads"]]  # that there really were
    lanes = target.lanes(FLOATS["float32"])
    return 2 * threads * passes * _chains(target) * lanes, seconds


def _chains(target: Target) -> int:
    return target.registers - NO_CHAINS


def _emit(target: Target) -> str:
    """Write the module, as LLVM IR in text."""
    module = ir.Module(name="peak")
    code, table = Code.function(module, "chains", target, "float32")
    place = {slot: code.at(table, number, size=8) for slot, number in SLOTS.items()}
    code.builder.atomic_rmw("add", place["threads"], code.index(1), "monotonic")
    factor, term = code.constant(FACTOR), code.constant(TERM)

    def step(_: Value, chains: list[Value]) -> list[Value]:
        return [code.fma(chain, factor, term) for chain in chains]

    starts = [code.constant(float(chain)) for chain in range(_chains(target))]
    first, *others = code.loop(0, code.load_index(place["passes"]), step, carry=starts)
    for chain in others:
        first = code.builder.fadd(first, chain)
    address = code.pointer(code.load_index(place["result"]))
    code.store_number(code.lane(first, 0), address)
    code.finish()
    return str(module)
