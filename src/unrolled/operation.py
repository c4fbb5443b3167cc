"""``unrolled::run``: a program over sequences as one operation that PyTorch's tracers know.

A graph holds the program as its text, so the size of the graph depends neither on batch nor on
time, and a process that did not make the graph can run it once `unrolled` is imported. The
operation's derivative holds the same text; see `loop` for both.
"""

from threading import RLock

import torch
from torch import Tensor

from unrolled.backward import differentiable, differentiable_backward
from unrolled.compiler import train
from unrolled.errors import ShapeError
from unrolled.ir import parse
from unrolled.kernels import Kernels

KERNELS: dict[tuple[str, str], Kernels] = {}
"""The kernels of programs, by their texts and backends."""

LOCK = RLock()

LIBRARY = torch.library.Library("unrolled", "DEF")
LIBRARY.define(
    "run(Tensor[] given, str program, str backend, str part, SymInt time, Tensor? lengths,"
    " bool reverse) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def known(kernels: Kernels) -> Kernels:
    """Give the kernels that the operation uses for the same program, these if it has none yet."""
    with LOCK:
        return KERNELS.setdefault((kernels.text, kernels.backend), kernels)


def _kernels(text: str, backend: str) -> Kernels:
    with LOCK:
        if (text, backend) not in KERNELS:
            program = parse(text)
            KERNELS[text, backend] = Kernels(program, train(program), backend)
        return KERNELS[text, backend]


def _run(
    given: list[Tensor],
    program: str,
    backend: str,
    part: str,
    time: int,
    lengths: Tensor | None,
    reverse: bool,
) -> list[Tensor]:
    """Run a program on tensors that hold numbers."""
    if lengths is not None and len(lengths) and not 0 <= lengths.min() <= lengths.max() <= time:
        raise ShapeError(f"lengths holds {lengths.tolist()}: expected 0 to {time}")
    results = _kernels(program, backend).run(part, given, time, lengths, reverse)
    taken = {tensor.untyped_storage().data_ptr() for tensor in given}
    apart: list[Tensor] = []
    for result in results:  # no result may share memory with another, nor with what was given
        place = result.untyped_storage().data_ptr()
        apart.append(result.clone() if place in taken else result)
        taken.add(place)
    return apart


def _shapes(
    given: list[Tensor],
    program: str,
    backend: str,
    part: str,
    time: int,
    lengths: Tensor | None,
    reverse: bool,
) -> list[Tensor]:
    """Give results without numbers."""
    run = _kernels(program, backend).programs[part]
    like = given[len(run.inputs) + len(run.constants)]  # the first state
    widths = [run.types[str(value)].width for _, value in run.outputs]
    outputs = [like.new_empty(time, like.shape[0], width) for width in widths]
    return outputs + [like.new_empty(like.shape[0], value.type.width) for value in run.states]


def _differentiable(
    keyset: torch._C.DispatchKeySet,
    given: list[Tensor],
    program: str,
    backend: str,
    part: str,
    time: int,
    lengths: Tensor | None,
    reverse: bool,
) -> list[Tensor]:
    """Run a program, and let autograd follow where something needs a gradient."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
        follow = differentiable_backward if part == "backward" else differentiable
        return list(follow(_kernels(program, backend), time, lengths, reverse, given))
    with torch._C._AutoDispatchBelowAutograd():
        below = keyset & torch._C._after_autograd_keyset
        run = torch.ops.unrolled.run.default
        return run.redispatch(below, given, program, backend, part, time, lengths, reverse)


LIBRARY.impl("run", _run, "CompositeExplicitAutograd")
LIBRARY.impl("run", _differentiable, "Autograd", with_keyset=True)
torch.library.register_fake("unrolled::run", _shapes, lib=LIBRARY)
