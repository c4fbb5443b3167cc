"""A program over sequences: one autograd function, forward by one kernel, backward by another."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unrolled.backends import Compile, Kernel, interpret
from unrolled.compiler import Gradient, Program, Training, kept_as


class Kernels:
    """A program and its backward on one backend: each made ready when it is first needed.

    Args:
        program: what runs where nothing is to be differentiated.
        training: what runs elsewhere.
        compile: the backend; it may raise a BackendError, and so may every kernel here.
    """

    def __init__(self, program: Program, training: Training, compile: Compile) -> None:
        self.program, self.training, self.compile = program, training, compile

    @cached_property
    def alone(self) -> Kernel:
        """Runs the program and stores nothing."""
        return self.compile(self.program)

    @cached_property
    def forward(self) -> Kernel:
        """Runs the program and stores what the backward needs."""
        return self.compile(self.training.forward)

    @cached_property
    def backward(self) -> Kernel:
        """Runs the backward program."""
        return self.compile(self.training.backward)


@dataclass(frozen=True)
class Loop:
    """A program over one batch of sequences."""

    kernels: Kernels
    time: int
    lengths: Tensor | None = None  # (batch,) true number of steps of each; None: all have `time`

    @property
    def program(self) -> Program:
        """The forward, without what it stores."""
        return self.kernels.program

    @property
    def training(self) -> Training:
        """The forward and the backward, and what passes between them."""
        return self.kernels.training

    def run(
        self,
        inputs: dict[str, Tensor],
        constants: dict[str, Tensor],
        states: dict[str, Tensor],
        fixed: dict[str, Tensor],
    ) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Run the program; autograd follows where something needs a gradient.

        Args:
            inputs: (time, batch, width) each.
            constants: (batch, width) each.
            states: before the first step, (batch, width) each.
            fixed: in the shapes that the program declares.

        Returns:
            The outputs, (time, batch, width) each, zero behind a sequence's end; and the states
            after each sequence's own last step.
        """
        given = (inputs, constants, states, fixed)
        tensors = [tensor for group in given for tensor in group.values()]
        if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)):
            found = self.kernels.alone(*given, time=self.time, lengths=self.lengths)
            return found.outputs, found.states
        _ = self.kernels.forward, self.kernels.backward  # what cannot run says so before it starts
        results = _Recurrence.apply(self, tuple(map(tuple, given)), *tensors)
        names = [name for name, _ in self.program.outputs]
        outputs = dict(zip(names, results[: len(names)], strict=True))
        return outputs, dict(zip(states, results[len(names) :], strict=True))


Names = tuple[tuple[str, ...], ...]
"""The names of inputs, constants, states and fixed values, in the order of their tensors."""


def _named(names: Names, tensors: tuple[Tensor, ...]) -> list[dict[str, Tensor]]:
    left = iter(tensors)
    return [{name: next(left) for name in group} for group in names]


class _Recurrence(torch.autograd.Function):
    """The loop: forward by one kernel, backward by another."""

    @staticmethod
    def forward(ctx, loop: Loop, names: Names, *tensors: Tensor) -> tuple[Tensor, ...]:
        found = loop.kernels.forward(*_named(names, tensors), time=loop.time, lengths=loop.lengths)
        stored = [found.outputs[kept_as(name)] for name in loop.training.stored]
        ctx.loop, ctx.names, ctx.count = loop, names, len(tensors)
        ctx.save_for_backward(*tensors, *stored)
        given = (found.outputs[name] for name, _ in loop.program.outputs)
        return (*given, *(found.states[value.name] for value in loop.program.states))

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        tensors, stored = saved[: ctx.count], saved[ctx.count :]
        if torch.is_grad_enabled():  # someone will differentiate again
            return (None, None, *_by_autograd(ctx.loop, ctx.names, tensors, gradients))
        found = _by_kernel(ctx.loop, ctx.names, tensors, stored, gradients, ctx.needs_input_grad)
        return (None, None, *found)


def _by_autograd(
    loop: Loop, names: Names, tensors: tuple[Tensor, ...], gradients: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    """Run the forward again, in PyTorch, and differentiate that so that it can be done again."""
    given = _named(names, tensors)
    found = interpret(loop.program)(*given, time=loop.time, lengths=loop.lengths)
    results = [found.outputs[name] for name, _ in loop.program.outputs]
    results += [found.states[value.name] for value in loop.program.states]
    pairs = [(r, g) for r, g in zip(results, gradients, strict=True) if r.requires_grad]
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    made = iter(
        torch.autograd.grad(
            [result for result, _ in pairs],
            wanted,
            [gradient for _, gradient in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return tuple(next(made) if tensor.requires_grad else None for tensor in tensors)


def _by_kernel(
    loop: Loop,
    names: Names,
    tensors: tuple[Tensor, ...],
    stored: tuple[Tensor, ...],
    gradients: tuple[Tensor, ...],
    needed: tuple[bool, ...],
) -> list[Tensor | None]:
    """Run the backward program, and the products over all steps that follow it."""
    inputs, constants, states, fixed = _named(names, tensors)
    outputs = [name for name, _ in loop.program.outputs]
    prefix = loop.training.prefix
    known = {f"{prefix}out_{name}": g for name, g in zip(outputs, gradients, strict=False)}
    known |= inputs | dict(zip(loop.training.stored, stored, strict=True))
    after = zip(states, gradients[len(outputs) :], strict=True)
    program = loop.training.backward
    found = loop.kernels.backward(
        {value.name: known[value.name] for value in program.inputs},
        {value.name: constants[value.name] for value in program.constants},
        {f"{prefix}{name}": gradient for name, gradient in after},
        {value.name: fixed[value.name] for value in program.fixed},
        time=loop.time,
        lengths=loop.lengths,
        reverse=True,
    )
    known |= found.outputs
    known |= {name: value.expand(loop.time, *value.shape) for name, value in constants.items()}
    wanted = {name for group in names for name in group}
    wanted -= {n for n, need in zip(_flat(names), needed[2:], strict=True) if not need}
    made = {name.removeprefix(prefix): value for name, value in found.states.items()}
    for gradient in loop.training.gradients:
        if gradient.of in wanted:
            part = _gradient(gradient, known, fixed)
            made[gradient.of] = made[gradient.of] + part if gradient.of in made else part
    return [made.get(name) for name in _flat(names)]


def _flat(names: Names) -> list[str]:
    return [name for group in names for name in group]


def _gradient(
    gradient: Gradient, known: Mapping[str, Tensor], fixed: Mapping[str, Tensor]
) -> Tensor:
    """Make one gradient from what the loop gave for every step."""
    right = known[gradient.right]
    if gradient.how == "sequence":
        return right
    if gradient.how == "constant":
        return right.sum(0)
    if gradient.how == "vector":
        return right.sum((0, 1))
    if gradient.how == "scalar":
        return right.sum()
    left, matrix = known[gradient.left].flatten(0, 1), fixed[gradient.of]
    right = right.flatten(0, 1)
    if matrix.dim() == 2:
        return left.T @ right
    blocks, k, n = matrix.shape
    by_block = left.unflatten(1, (blocks, k)).permute(1, 2, 0)
    return by_block @ right.unflatten(1, (blocks, n)).transpose(0, 1)
