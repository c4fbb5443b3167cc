"""Backpropagation through time in segments: large states are computed again, not kept.

A matrix for every step of every sequence is soon a gigabyte. So the forward keeps the states before
each of some segments of steps alone; and the backward, segment by segment from the last one on,
runs the forward once more, now storing what it needs (Chen et al. 2016, arXiv:1604.06174; Gruslys
et al. 2016, arXiv:1606.03401). Where no product is in the loop, that takes less time than to write
all states to memory and to read them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.backends.tracing import applied
from unrolled.backward import Recurrence, by_autograd, by_kernel
from unrolled.kernels import Kernels

LARGE = 1 << 29
"""Bytes that a loop without products would store from which on it runs in segments: more than is
kept from call to call, see `memory.MOST_KEPT`."""

MOST = 16
"""Segments, at most: each is a call of the kernels."""


def steps_of_segment(kernels: Kernels, time: int, given: Sequence[Tensor]) -> int:
    """Give how many steps a segment has: all, where what is stored is not large.

    The states before all segments and what is stored in one take the least memory together if
    there are sqrt(time states / stored) steps in each.
    """
    program = kernels.programs["forward"]
    if any(len(value.type.shape) > 1 for value in program.fixed):
        return time
    stored = sum(program.types[str(value)].width for _, value in program.outputs[kernels.stored])
    states = sum(value.type.width for value in program.states)
    first = given[len(program.inputs) + len(program.constants)]
    if time * stored * first.shape[0] * first.dtype.itemsize < LARGE:
        return time
    return min(time, max(math.isqrt(time * states // stored), -(-time // MOST)))


def differentiable_in_segments(
    kernels: Kernels,
    time: int,
    lengths: Tensor | None,
    reverse: bool,
    steps: int,
    given: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """Run a program under autograd, so many steps at a time."""
    kernels.prepare("alone")  # what cannot run says so before it starts
    kernels.prepare("forward")
    kernels.prepare("backward")
    return applied(_InSegments, _Segments(kernels, time, lengths, reverse, steps), *given)


@dataclass(frozen=True)
class _Segment:
    """Some steps of a sequence."""

    begin: int
    steps: int
    lengths: Tensor | None  # (batch,) how many of them each sequence has; None: all of them

    def of(self, sequence: Tensor) -> Tensor:
        """Give its steps of a sequence, (time, ...)."""
        return sequence.narrow(0, self.begin, self.steps)


@dataclass(frozen=True)
class _Segments:
    """A program over sequences that are cut into segments."""

    kernels: Kernels
    time: int
    lengths: Tensor | None
    reverse: bool
    steps: int

    def __iter__(self) -> Iterator[_Segment]:
        """Give the segments in the order in which the program runs through them."""
        begins = range(0, self.time, self.steps)
        for begin in reversed(begins) if self.reverse else begins:
            steps = min(self.steps, self.time - begin)
            lengths = None if self.lengths is None else (self.lengths - begin).clamp(0, steps)
            yield _Segment(begin, steps, lengths)

    def run(
        self, part: str, segment: _Segment, given: Sequence[Tensor], states: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Run one of the programs over a segment; give its results and what it was given."""
        own = self.given(segment, given, states)
        results = self.kernels.run(part, own, segment.steps, segment.lengths, self.reverse)
        return results, own

    def given(
        self, segment: _Segment, given: Sequence[Tensor], states: Sequence[Tensor]
    ) -> list[Tensor]:
        """Give what the program is given in a segment that begins with some states."""
        inputs, constants, _, fixed = self.apart(given)
        return [*map(segment.of, inputs), *constants, *states, *fixed]

    def apart(self, given: Sequence[Any]) -> list[Sequence[Any]]:
        """Tell apart inputs, constants, states and fixed values."""
        program, found, begin = self.kernels.programs["alone"], [], 0
        for group in (program.inputs, program.constants, program.states, program.fixed):
            found.append(given[begin : begin + len(group)])
            begin += len(group)
        return found


class _InSegments(Recurrence):
    """The loop; its results are outputs and states. What it is given begins with the segments."""

    @staticmethod
    def forward(ctx: Any, segments: _Segments, *given: Tensor) -> tuple[Tensor, ...]:
        outputs = len(segments.kernels.programs["alone"].outputs)
        states = segments.apart(given)[2]
        starts, found = [], []
        for segment in segments:
            starts.append(states)
            results, _ = segments.run("alone", segment, given, states)
            found.append(results[:outputs])
            states = results[outputs:]
        ctx.segments = segments
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*given, *(state for start in starts for state in start))
        found = reversed(found) if segments.reverse else found
        return (*map(torch.cat, zip(*found, strict=True)), *states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        segments: _Segments = ctx.segments
        program = segments.kernels.programs["alone"]
        saved = ctx.saved_tensors  # once: who packs them may unpack them once
        given, starts = saved[: len(program.given)], saved[len(program.given) :]
        if torch.is_grad_enabled():  # someone will differentiate once more
            time, lengths, reverse = segments.time, segments.lengths, segments.reverse
            return (
                None,
                *by_autograd(program, given, gradients, time, lengths, reverse=reverse),
            )
        return None, *_backward(segments, given, starts, gradients, ctx.needs_input_grad[1:])


def _backward(
    segments: _Segments,
    given: Sequence[Tensor],
    starts: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Run backwards through the segments; each but the last is given its states' gradients."""
    kernels, program = segments.kernels, segments.kernels.programs["alone"]
    of_outputs, after = gradients[: len(program.outputs)], gradients[len(program.outputs) :]
    width = len(program.states)
    inputs, constants, states, fixed = segments.apart(needed)
    wanted = [*inputs, *constants, *(True for _ in states), *fixed]
    of_inputs: list[Sequence[Tensor | None]] = []
    sums: list[Tensor | None] = [None] * (len(constants) + len(fixed))
    for number, segment in reversed(list(enumerate(segments))):
        before = starts[number * width : (number + 1) * width]
        results, own = segments.run("forward", segment, given, before)
        named = zip((value.name for value in program.given), own, strict=True)
        outputs = [None if g is None else segment.of(g) for g in of_outputs]
        stored = results[kernels.stored]
        found = by_kernel(
            kernels,
            dict(named),
            stored,
            [*outputs, *(None for _ in stored), *after],
            wanted,
            segment.steps,
            segment.lengths,
            segments.reverse,
        )
        own_inputs, own_constants, after, own_fixed = segments.apart(found)
        of_inputs.append(own_inputs)
        sums = [_sum(*pair) for pair in zip(sums, (*own_constants, *own_fixed), strict=True)]
    in_order = of_inputs if segments.reverse else of_inputs[::-1]
    whole = [_joined(parts) for parts in zip(*in_order, strict=True)]
    mine = [g if need else None for g, need in zip(after, states, strict=True)]
    return [*whole, *sums[: len(constants)], *mine, *sums[len(constants) :]]


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    found = [part for part in parts if part is not None]
    return torch.cat(found) if len(found) == len(parts) else None
