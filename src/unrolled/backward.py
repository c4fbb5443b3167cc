"""Autograd functions around the kernels of a loop.

`_Forward` runs the program and stores what its derivative needs; its backward hands that to
`_Backward`, which runs the backward program, and makes the products over all steps that follow.
What is stored is a result like the others. So both can be differentiated again: by the interpreter.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.backends import interpret
from unrolled.backends.tracing import applied, is_traced, is_transformed
from unrolled.compiler import Program
from unrolled.errors import BackendError
from unrolled.gradients import Products
from unrolled.kernels import Kernels, run_program


@dataclass(frozen=True)
class Again:
    """How inputs of a loop are made once more that its backward does not read.

    They need not be kept: only a derivative of the derivative reads them. `make` gives them, by
    their names, from the sources.
    """

    names: frozenset[str]
    sources: tuple[Tensor, ...]
    make: Callable[[Sequence[Tensor]], Mapping[str, Tensor]]


def needs_gradient(given: Sequence[Tensor]) -> bool:
    """Tell whether autograd has to follow; it also unpacks what `torch.func` has wrapped."""
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
    return wanted or is_transformed()


def call(
    kernels: Kernels,
    part: str,
    time: int,
    lengths: Tensor | None,
    reverse: bool,
    given: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Run a kernel: as the operation ``unrolled::run`` where a tracer has to see one."""
    if not is_traced(given[0]):
        return kernels.run(part, given, time, lengths, reverse)
    run = torch.ops.unrolled.run.default
    return tuple(run(list(given), kernels.text, kernels.backend, part, time, lengths, reverse))


def differentiable(
    kernels: Kernels,
    time: int,
    lengths: Tensor | None,
    reverse: bool,
    given: Sequence[Tensor],
    again: Again | None = None,
) -> tuple[Tensor, ...]:
    """Run a program under autograd."""
    kernels.prepare("forward")  # what cannot run says so before it starts
    kernels.prepare("backward")
    results = applied(_Forward, kernels, time, lengths, reverse, again, *given)
    stored = kernels.stored
    return (*results[: stored.start], *results[stored.stop :])


def differentiable_backward(
    kernels: Kernels,
    time: int,
    lengths: Tensor | None,
    reverse: bool,
    given: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Run its backward program under autograd."""
    return applied(_Backward, kernels, time, lengths, reverse, *given)


class Recurrence(torch.autograd.Function):
    """What cannot be done with any of these functions, and says so."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """Refuse."""
        raise BackendError(
            'a kernel cannot run under torch.func.vmap: choose backend="auto" or backend="eager"'
        )

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Refuse."""
        raise BackendError(
            "a kernel has no derivative in forward mode, as in torch.func.jvp: choose "
            'backend="auto" or backend="eager"'
        )


class _Forward(Recurrence):
    """The loop; its results are outputs, what is stored, and states.

    It is given kernels, time, lengths, reverse, `Again`, and tensors; the backward all but `Again`.
    """

    @staticmethod
    def forward(
        kernels: Kernels,
        time: int,
        lengths: Tensor | None,
        reverse: bool,
        again: Again | None,
        *given: Tensor,
    ) -> tuple[Tensor, ...]:
        return _apart(call(kernels, "forward", time, lengths, reverse, given), given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.kernels, ctx.time, lengths, ctx.reverse, again, *given = inputs
        ctx.set_materialize_grads(False)
        ctx.make = again.make if again else None
        left_out = again.names if again else ()
        names = [value.name for value in ctx.kernels.programs["alone"].given]
        pairs = zip(names, given, strict=True)
        kept = [None if name in left_out else tensor for name, tensor in pairs]
        stored = output[ctx.kernels.stored]
        ctx.save_for_backward(lengths, *kept, *stored, *(again.sources if again else ()))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        kernels, time, reverse = ctx.kernels, ctx.time, ctx.reverse
        lengths, *saved = ctx.saved_tensors
        names = [value.name for value in kernels.programs["alone"].given]
        given = dict(zip(names, saved, strict=False))
        end = len(names) + len(kernels.training.stored)
        stored, needed = saved[len(names) : end], ctx.needs_input_grad[5:]
        if any(gradient is not None for gradient in gradients[kernels.stored]):
            program = kernels.programs["forward"]
            again = ctx.make(saved[end:]) if ctx.make else {}
            for name, need in zip(names, needed, strict=True):
                if name in again:
                    made = again[name]  # followed if there is to be a third derivative
                    followed = made.requires_grad
                    given[name] = made if followed else made.detach().requires_grad_(need)
            whole = list(given.values())
            found = by_autograd(program, whole, gradients, time, lengths, reverse=reverse)
        else:
            found = by_kernel(kernels, given, stored, gradients, needed, time, lengths, reverse)
        return (None, None, None, None, None, *found)


class _Backward(Recurrence):
    """The loop of the backward program."""

    @staticmethod
    def forward(
        kernels: Kernels, time: int, lengths: Tensor | None, reverse: bool, *given: Tensor
    ) -> tuple[Tensor, ...]:
        return _apart(call(kernels, "backward", time, lengths, reverse, given), given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.kernels, ctx.time, lengths, ctx.reverse, *given = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(lengths, *given)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        lengths, *given = ctx.saved_tensors
        program = ctx.kernels.programs["backward"]
        made = by_autograd(program, given, gradients, ctx.time, lengths, reverse=not ctx.reverse)
        return (None, None, None, None, *made)


def _apart(results: Sequence[Tensor], given: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Give a tensor of its own for each place: autograd tells places apart by their tensors."""
    seen = set(map(id, given))
    found: list[Tensor] = []
    for value in results:
        found.append(value.detach() if id(value) in seen else value)
        seen.add(id(value))
    return tuple(found)


def by_autograd(
    program: Program,
    given: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    time: int,
    lengths: Tensor | None,
    *,
    reverse: bool,
) -> list[Tensor | None]:
    """Run a program in PyTorch, and differentiate that."""
    again = torch.is_grad_enabled()  # someone will differentiate once more
    with torch.enable_grad(), torch.autocast(given[0].device.type, enabled=False):
        # Under names of their own: that one was computed from another is no matter of this loop.
        own = [tensor.view_as(tensor) for tensor in given]
        results = run_program(interpret(program), program, own, time, lengths, reverse)
        pairs = [(r, g) for r, g in zip(results, gradients, strict=True) if g is not None]
        pairs = [(result, gradient) for result, gradient in pairs if result.requires_grad]
        made = torch.autograd.grad(
            [result for result, _ in pairs],
            [tensor for tensor in own if tensor.requires_grad],
            [gradient for _, gradient in pairs],
            create_graph=again,
            allow_unused=True,
        )
    left = iter(made)
    return [next(left) if tensor.requires_grad else None for tensor in own]


def by_kernel(
    kernels: Kernels,
    own: Mapping[str, Tensor],
    stored: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
    time: int,
    lengths: Tensor | None,
    reverse: bool,
) -> list[Tensor | None]:
    """Run the backward program, and the products over all steps that follow it."""
    forward, program = kernels.programs["alone"], kernels.programs["backward"]
    training, prefix = kernels.training, kernels.training.prefix
    known = {**own, **dict(zip(training.stored, stored, strict=True))}
    like = own[forward.states[0].name]
    outputs, after = gradients[: kernels.stored.start], gradients[kernels.stored.stop :]
    for (name, value), gradient in zip(forward.outputs, outputs, strict=True):
        if gradient is None:
            gradient = like.new_zeros(time, like.shape[0], forward.types[str(value)].width)
        known[f"{prefix}out_{name}"] = gradient
    for value, gradient in zip(forward.states, after, strict=True):
        if gradient is None:
            gradient = torch.zeros_like(own[value.name])
        known[f"{prefix}{value.name}"] = gradient
    totals = program.states[len(forward.states) :]
    for value in totals:
        known[value.name] = like.new_zeros(like.shape[0], value.type.width)
    read = [known[value.name] for value in program.given]
    if not is_traced(like) and needs_gradient(read):
        results = differentiable_backward(kernels, time, lengths, reverse, read)
    else:
        results = call(kernels, "backward", time, lengths, reverse, read)
    names = [name for name, _ in program.outputs]
    known |= dict(zip(names, results, strict=False))
    known |= {v.name: own[v.name].expand(time, *own[v.name].shape) for v in forward.constants}
    last = results[len(names) :]
    made = {value.name: result for value, result in zip(forward.states, last, strict=False)}
    sums = zip(totals, last[len(made) :], strict=True)
    known |= {value.name: result[None] for value, result in sums}  # sequences of one step
    wanted = {value.name for value, need in zip(forward.given, needed, strict=True) if need}
    products = Products(known, own, pieces=kernels.pieces)
    for gradient in training.gradients:
        if gradient.of in wanted:
            part = products.gradient(gradient)
            made[gradient.of] = made[gradient.of] + part if gradient.of in made else part
    return [made.get(value.name) if value.name in wanted else None for value in forward.given]
