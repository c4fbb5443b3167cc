"""Running one function in several threads at once: in those that torch itself already has.

A second pool of threads beside torch's would fight it for the processors, so a function is handed
to the OpenMP runtime that torch was loaded with. Waking its threads costs about a microsecond.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch


def run_parallel(function: int, argument: int, threads: int) -> None:
    """Call a compiled function once in each of several threads and wait for all.

    Args:
        function: the address of a function that takes one pointer.
        argument: that pointer, the same for all; the function has to share out the work itself,
            and may not count on how many threads there really are.
        threads: how many, at least 1; `torch.get_num_threads()` respects the user's wish.
    """
    if threads == 1:
        _callable(function)(argument)
    elif (openmp := _openmp()) is not None:
        openmp.GOMP_parallel(function, argument, threads, 0)
    else:
        run_python_threads(function, argument, threads)


def run_python_threads(function: int, argument: int, threads: int) -> None:
    """Do what `run_parallel` does with threads of Python, which cost some 50 microseconds."""
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(_callable(function), argument) for _ in range(threads)]:
            done.result()


def _callable(function: int) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)


@cache
def team_functions() -> tuple[int, int] | None:
    """Give the addresses of two functions that threads need to run one thing together.

    The first says how many threads there are, to each of them; the second lets another thread have
    the processor. None: threads here may not wait for each other.
    """
    openmp, process = _openmp(), ctypes.CDLL(None) if os.name == "posix" else None
    if openmp is None or process is None or not hasattr(openmp, "omp_get_num_threads"):
        return None
    functions = openmp.omp_get_num_threads, process.sched_yield
    count, give_way = (ctypes.cast(f, ctypes.c_void_p).value or 0 for f in functions)
    return count, give_way


@cache
def _openmp() -> ctypes.CDLL | None:
    """Give torch's OpenMP runtime, if it can start a function in parallel.

    Symbols are looked up in torch's own library and in all that it was linked with, wherever they
    lie on the disk.
    """
    try:
        library = ctypes.CDLL(torch._C.__file__)
    except OSError:
        return None
    if not hasattr(library, "GOMP_parallel"):
        return None
    library.GOMP_parallel.restype = None
    library.GOMP_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_uint] * 2)
    return library
