"""The torch backend: the kernels that torch has itself, for the recurrences that it has.

They are oneDNN's on a CPU and cuDNN's on a GPU. They take a stretch of steps that all sequences of
a batch have; what they cannot take, the eager backend runs: other cells, resets, all states,
constants, autocast, and the steps behind the end of the shortest sequence.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from unrolled.backends.call import Call, Result, Step
from unrolled.backends.eager import run_eager

LEAST = 2  # steps; below, a kernel's own start costs more than the loop


class Form(Protocol):
    """The recurrence of torch that a cell says it is, see `unrolled.cell.TorchForm`."""

    @property
    def kind(self) -> str:
        """A row of `KERNELS`."""
        ...

    @property
    def gates(self) -> tuple[str, ...]:
        """The ends of the names of its matrices, in the order in which torch stacks them."""
        ...


KERNELS = {
    "lstm": torch.lstm,
    "gru": torch.gru,
    "rnn_tanh": torch.rnn_tanh,
    "rnn_relu": torch.rnn_relu,
}


@dataclass(frozen=True)
class Stacked:
    """A cell's matrices as torch wants them: input, recurrent, their biases."""

    kind: str
    tensors: list[Tensor]
    biases: bool


def run_torch(step: Step, call: Call) -> Result:
    """Run as many steps as torch's kernel can take, and the others eagerly."""
    shared = _shared_steps(call)
    stacked = _stacked(step) if shared >= LEAST else None
    if stacked is None:
        return run_eager(step, call)
    ys, state = _kernel(stacked, call.xs[:shared], call.state)
    if shared == call.xs.shape[0]:
        return Result(ys, state, None)
    lengths = None if call.lengths is None else call.lengths - shared
    rest = run_eager(step, replace(call, xs=call.xs[shared:], state=state, lengths=lengths))
    return Result(torch.cat([ys, rest.ys]), rest.state, None)


def _shared_steps(call: Call) -> int:
    """Count the steps that all sequences have; 0 where a kernel cannot take the call."""
    odd = call.keep_states or call.constants or call.resets is not None or call.xs.dim() != 3
    if odd or torch.is_autocast_enabled(call.xs.device.type) or call.xs.shape[1] == 0:
        return 0
    if any(s.dtype != call.xs.dtype for s in call.state):
        return 0
    return call.xs.shape[0] if call.lengths is None else int(call.lengths.min())


def _kernel(
    stacked: Stacked, xs: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    before = [s[None].contiguous() for s in state]
    # With gradients on, "train" makes the kernel keep what its backward needs, in eval mode too.
    ys, *after = KERNELS[stacked.kind](
        xs,
        before if len(before) > 1 else before[0],
        stacked.tensors,
        stacked.biases,
        1,  # layer
        0.0,  # dropout
        torch.is_grad_enabled(),
        False,  # one direction
        False,  # time first
    )
    return ys, tuple(s[0] for s in after)


def _stacked(step: Step) -> Stacked | None:
    """Stack the matrices of a cell that is one of torch's recurrences and has not been altered."""
    form: Form | None = getattr(step, "torch_form", None)
    if form is None or not isinstance(step, nn.Module):
        return None
    kind = type(step).__mro__
    if next(k for k in kind if "forward" in vars(k)) is not next(
        k for k in kind if "torch_form" in vars(k)
    ):
        return None  # a subclass with a step of its own
    children = dict(step.named_children())
    plain = all(_is_linear(child) and not _hooked(child) for child in children.values())
    if not plain or _hooked(step):
        return None
    sides = [[children[f"{side}{gate}"] for gate in form.gates] for side in "WU"]
    tensors = [torch.cat([child.weight for child in side]) for side in sides]  # pyright: ignore
    biases = sides[0][0].bias is not None
    if biases:
        tensors += [torch.cat([child.bias for child in side]) for side in sides]  # pyright: ignore
    return Stacked(form.kind, tensors, biases)


def _is_linear(module: nn.Module) -> bool:
    """Tell whether a module is a linear map by its weight and bias, the same at every step."""
    known = type(module) is nn.Linear or getattr(type(module), "is_linear", False) is True
    return known and "forward" not in vars(module)


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
