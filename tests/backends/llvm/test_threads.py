"""One compiled function, run in several threads."""

import ctypes

import pytest
from llvmlite import ir

from unrolled.backends.llvm import threads
from unrolled.backends.llvm.code import Code
from unrolled.backends.llvm.jit import Library, compile_module
from unrolled.backends.llvm.target import PORTABLE


@pytest.fixture(scope="module")
def counting() -> Library:
    """Give a function that adds 1 to the number that it is pointed to."""
    module = ir.Module(name="counting")
    code, table = Code.function(module, "count", PORTABLE, "float32")
    code.builder.atomic_rmw("add", table, code.index(1), "monotonic")
    code.finish()
    return Library(compile_module(str(module), PORTABLE), ["count"], PORTABLE)


@pytest.mark.parametrize("run", [threads.run_parallel, threads.run_python_threads])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_thread_runs_it_once_and_all_are_waited_for(run, count: int, counting) -> None:
    number = ctypes.c_int64(0)
    for done in range(1, 4):
        run(counting.addresses["count"], ctypes.addressof(number), count)
        assert number.value == done * count
