"""The laws that every cell obeys: each is a list of cases in which two ways have to agree."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unrolled.equations import equations, evaluate
from unrolled.recurrence import padding, unroll
from unrolled.testing.reference import (
    Run,
    Sequences,
    Subject,
    gradients,
    joined,
    loop,
    one_by_one,
    row_of,
    sequences,
    start,
    weighted,
)

TIME, BATCH = 7, 3  # odd: no size is a multiple of a vector's width
STEP = 1e-5  # of the central differences: their error is about 1e-10 in float64


@dataclass(frozen=True)
class Case:
    """Two ways to the same tensors; they agree in values and in gradients, or the law fails."""

    sizes: str
    found: Mapping[str, Tensor]
    expected: Mapping[str, Tensor]
    leaves: Mapping[str, Tensor]  # compare the gradients of these


Law = Callable[[Subject], Iterator[Case]]
"""Gives the cases in which a law is tried, the smallest first; none where nothing is stated."""


def _outputs(subject: Subject) -> Iterator[Case]:
    """The width of y is the one that the cell tells its layers."""
    given = sequences(subject, 1, 1)
    y = subject.cell(given.xs[0], *given.state.values())[0]
    name = "width of y (self.outputs)"
    found, expected = torch.tensor(float(y.shape[-1])), torch.tensor(float(subject.cell.outputs))
    yield Case("B=1", {name: found}, {name: expected}, {})


def _loop(subject: Subject) -> Iterator[Case]:
    """A cell over sequences is a plain loop over time."""
    for time in (0, 1, TIME):
        for batch in (1, BATCH):
            given = sequences(subject, time, batch)
            expected = loop(subject.cell, given.xs, given.state)
            yield _case(f"T={time} B={batch}", _run(subject, given), expected, given)
    given = sequences(subject, TIME, BATCH, strided=True)
    expected = loop(subject.cell, given.xs, given.state)
    yield _case(f"T={TIME} B={BATCH} strided", _run(subject, given), expected, given)
    ys, last = unroll(subject.cell, given.xs, backend=subject.backend)
    expected = replace(loop(subject.cell, given.xs, start(subject, BATCH)), states={})
    yield _case(f"T={TIME} B={BATCH} no state given", Run(ys, last, {}), expected, given)


def _gradients(subject: Subject) -> Iterator[Case]:
    """The derivative along a random direction is the central difference, taken in float64."""
    exact = replace(subject, cell=copy.deepcopy(subject.cell).double(), dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    for time, batch in ((1, 1), (2, BATCH)):
        given, moved = sequences(subject, time, batch), sequences(exact, time, batch)
        found = gradients(_run(subject, given).named(), given.leaves)
        for name, leaf in moved.leaves.items():
            direction = torch.randn(leaf.shape, generator=random, dtype=leaf.dtype).to(leaf)
            direction /= direction.norm()
            ends = []
            with torch.no_grad():
                for move in (STEP, -2 * STEP):
                    leaf += move * direction
                    ends.append(weighted(loop(exact.cell, moved.xs, moved.state).named()))
                leaf += STEP * direction
            slope = (found[name] * direction.to(found[name])).sum()
            difference = ((ends[0] - ends[1]) / (2 * STEP)).to(slope)
            text = f"derivative by {name}"
            yield Case(f"T={time} B={batch}", {text: slope}, {text: difference}, {})


def _chunking(subject: Subject) -> Iterator[Case]:
    """3 + 4 steps with the state carried over are 7 steps."""
    for batch in (1, BATCH):
        given = sequences(subject, TIME, batch)
        first = _run(subject, replace(given, xs=given.xs[:3]))
        second = _run(subject, replace(given, xs=given.xs[3:], state=first.last))
        states = {n: torch.cat([s, second.states[n]]) for n, s in first.states.items()}
        pieces = Run(torch.cat([first.ys, second.ys]), second.last, states)
        yield _case(f"T=3+4 B={batch}", pieces, _run(subject, given), given)


def _causality(subject: Subject) -> Iterator[Case]:
    """The gradient of y_t and of the state at t with respect to x_s is 0 for s > t."""
    given = sequences(subject, TIME, BATCH)
    run = _run(subject, given)
    for t in range(TIME - 1):
        reached = {name: value[t] for name, value in ({"y": run.ys} | run.states).items()}
        later = gradients(reached, {"x": given.xs})["x"][t + 1 :]
        name = f"gradient of step {t} by later inputs"
        yield Case(f"T={TIME} B={BATCH}", {name: later}, {name: torch.zeros_like(later)}, {})


def _ragged(subject: Subject) -> Iterator[Case]:
    """A padded batch is its sequences one by one, whatever lies in the padding."""
    for time, lengths in ((1, [0]), (1, [1, 0, 1]), (TIME, [3, TIME, 0]), (TIME, [5, 2, 4])):
        given = sequences(subject, time, len(lengths))
        with torch.no_grad():
            given.xs[padding(torch.tensor(lengths, device=given.xs.device), time)] = torch.nan
        found = _run(subject, given, lengths)
        yield _case(_sizes(time, lengths), found, one_by_one(subject.cell, given, lengths), given)


def _resets(subject: Subject) -> Iterator[Case]:
    """A reset inside a sequence is a fresh start there; behind a sequence's end it is nothing."""
    for time, lengths in ((1, [1]), (TIME, [TIME] * BATCH), (TIME, [3, TIME, 5])):
        given = sequences(subject, time, len(lengths))
        resets = torch.zeros(time, len(lengths), dtype=torch.bool, device=given.xs.device)
        resets[0, 0] = True
        resets[3:5, 1:2] = resets[5:6, :] = True
        yield _case(
            f"{_sizes(time, lengths)}, with resets",
            _run(subject, given, lengths, resets),
            one_by_one(subject.cell, given, lengths, resets),
            given,
        )


def _rows(subject: Subject) -> Iterator[Case]:
    """The rows of a batch are independent, and their order is free."""
    order = [1, 2, 0]
    for time in (1, TIME):
        given = sequences(subject, time, BATCH)
        whole = _run(subject, given)
        rows = [Sequences(*row_of(given, row), given.leaves) for row in range(BATCH)]
        alone = joined([_run(subject, row) for row in rows])
        yield _case(f"T={time} B={BATCH} one by one", alone, whole, given)
        mixed = {name: value[order] for name, value in given.state.items()}
        run = _run(subject, replace(given, xs=given.xs[:, order], state=mixed))
        back = Run(
            run.ys[:, (2, 0, 1)],
            {name: value[[2, 0, 1]] for name, value in run.last.items()},
            {name: value[:, (2, 0, 1)] for name, value in run.states.items()},
        )
        yield _case(f"T={time} B={BATCH} in another order", back, whole, given)


def _equations(subject: Subject) -> Iterator[Case]:
    """The equations in the docstring, computed in NumPy, give the same outputs and states."""
    if not equations(subject.cell):
        return
    for time in (1, TIME):
        for batch in (1, BATCH):
            given = sequences(subject, time, batch)
            run = _run(subject, given)
            found = {"y": run.ys.detach()} | {n: s.detach() for n, s in run.states.items()}
            state = {n: s.detach().double().cpu().numpy() for n, s in given.state.items()}
            steps = []
            for x in given.xs.detach().double().cpu().numpy():
                steps.append(evaluate(subject.cell, x, state))
                state = {name: steps[-1][name] for name in subject.cell.states}
            expected = {
                name: torch.stack([torch.from_numpy(step[name]) for step in steps]).to(value)
                for name, value in found.items()
            }
            yield Case(f"T={time} B={batch}", found, expected, {})


LAWS: dict[str, Law] = {
    "outputs": _outputs,
    "loop": _loop,
    "gradients": _gradients,
    "chunking": _chunking,
    "causality": _causality,
    "ragged": _ragged,
    "resets": _resets,
    "rows": _rows,
    "equations": _equations,
}


def _run(
    subject: Subject,
    given: Sequences,
    lengths: Sequence[int] | None = None,
    resets: Tensor | None = None,
) -> Run:
    return Run(
        *unroll(
            subject.cell,
            given.xs,
            given.state,
            lengths=lengths,
            resets=resets,
            backend=subject.backend,
            return_states=True,
        )
    )


def _case(sizes: str, found: Run, expected: Run, given: Sequences) -> Case:
    return Case(sizes, found.named(), expected.named(), given.leaves)


def _sizes(time: int, lengths: Sequence[int]) -> str:
    return f"T={time} B={len(lengths)} lengths {', '.join(map(str, lengths))}"
