"""From LLVM IR to functions that Python can call: optimise, generate, link."""

import ctypes
import itertools
import threading
from collections.abc import Sequence
from functools import cache

import llvmlite.binding as llvm

from unrolled.backends.llvm.target import Target

LINK_LOCK = threading.Lock()  # LLVM's linker is not promised to be safe for two threads at once
NUMBERS = itertools.count()  # the linker wants a name of its own for every library


class Library:
    """Functions that were linked into this process; they live as long as this does.

    Args:
        image: object code, as `compile_module` gives it.
        names: the functions in it, each of which takes one pointer.
        target: what the code was generated for.
    """

    def __init__(self, image: bytes, names: Sequence[str], target: Target) -> None:
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name in names:
            builder.export_symbol(name)
        with LINK_LOCK:
            linked = builder.link(_linker(target), f"library {next(NUMBERS)}")
        self._linked = linked  # letting go of it frees the code
        self.addresses: dict[str, int] = {name: linked[name] for name in names}

    def call(self, name: str, argument: int) -> None:
        """Call a function with a pointer; other Python threads run meanwhile."""
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.addresses[name])(argument)


def compile_module(text: str, target: Target) -> bytes:
    """Turn a module's text into object code."""
    module, machine = _optimised(text, target)
    return machine.emit_object(module)


def assembly(text: str, target: Target) -> str:
    """Turn a module's text into the instructions that `compile_module` generates, to be read."""
    module, machine = _optimised(text, target)
    return machine.emit_assembly(module)


def _optimised(text: str, target: Target) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    _initialize()
    machine = _machine(target)
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    _passes().run(module, builder)
    return module, machine


def _passes() -> llvm.ModulePassManager:
    """Give the few passes that make kernels faster.

    What is written is in registers and vectors already, and codegen moves what does not change out
    of loops. All passes of -O2 take four times as long, for kernels that are no faster.
    """
    passes = llvm.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_loop_rotate_pass()
    passes.add_new_gvn_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    return passes


def _machine(target: Target) -> llvm.TargetMachine:
    """Give what generates code that finds its constants wherever in memory they lie.

    The linker asks the system for room for code and for constants apart. Where other libraries have
    left gaps, they come to lie more than 2 GiB from each other, which smaller code models cannot
    cross: the process would be aborted.
    """
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="static", codemodel="large"
    )


@cache
def _linker(target: Target) -> llvm.LLJIT:
    _initialize()
    return llvm.create_lljit_compiler(_machine(target))


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
