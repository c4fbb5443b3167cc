"""Code for a linker that puts constants anywhere in memory."""

import platform

import llvmlite.binding as llvm
import pytest

from unrolled.backends.llvm.jit import compile_module
from unrolled.backends.llvm.target import choose_target

MODULE = """
define double @scaled(double %x) {
  %y = fmul double %x, 3.3
  ret double %y
}
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="relocations are those of x86-64")
def test_constants_are_found_by_whole_addresses() -> None:
    image = compile_module(MODULE, choose_target())
    found = llvm.ObjectFileRef.from_data(image)
    (entry,) = (s.data() for s in found.sections() if s.name() in (b".rela.text", b".rela.ltext"))
    assert int.from_bytes(entry[8:12], "little") == 1  # R_X86_64_64; R_X86_64_PC32 reaches 2 GiB
