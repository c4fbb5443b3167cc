"""The illnesses that the doctor knows: each a function from what it looks at to findings."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unrolled.inspect.findings import Examination, Examined, Finding
from unrolled.inspect.gates import Gate

EXPLODED = 100.0  # times what the gradient was at the last step
VANISHED = 0.01  # of what it was there
REACH = 1 / 3  # of the sequence that a state should reach back
SATURATED = 0.9  # share of a gate's values
DEAD = 0.1  # share of a state's units
OPEN = 0.5  # bias of a forget gate that counts as started open
KEPT = 0.25  # of a known lag: the longest half-life that is too short for it

ORIGINS = {  # how it begins what already held the NaN -> what to do; nothing did: the operation
    "the input": "Look at that input for a value that is missing or huge; clean or clip the data.",
    "the state": "Look at where the state before the first step comes from.",
    "the parameter": "An update made it so: go on from a checkpoint before it with a lower "
    "learning rate, and clip the gradient's norm.",
    "": "Bound what goes into the operation, clip the gradient's norm, or lower the learning rate: "
    "the numbers before it have grown too large for their type.",
}


def non_finite(examination: Examination) -> Iterator[Finding]:
    """A NaN or an infinity, where it appeared first."""
    ill = [e.recurrence for e in examination.recurrences if e.recurrence.trouble is not None]
    first = next((r for r in ill if r.trouble and r.trouble.given is None), next(iter(ill), None))
    if first is not None and first.trouble is not None:
        trouble = first.trouble
        origin = f"it is already in {trouble.given}"
        if trouble.given is None:
            origin = f"the operation {trouble.operation} gives it from finite numbers"
        yield Finding(
            "non-finite",
            f"{first.name}: state {trouble.state} is no number from step {trouble.step} on",
            f"The first NaN or infinity is in row {trouble.row} of the batch; {origin}.",
            next(do for where, do in ORIGINS.items() if (trouble.given or "").startswith(where)),
            {"step": trouble.step, "row": trouble.row},
            first.name,
        )
    elif not math.isfinite(examination.loss):
        yield Finding(
            "non-finite",
            "the loss is no number, but every state is",
            "The NaN or infinity appears after the recurrences, in the outputs or in the loss.",
            "Look at what the loss does with the outputs: a logarithm, a division, a mean of none.",
            {"loss": examination.loss},
        )


def exploding(examination: Examination) -> Iterator[Finding]:
    """A gradient that grows on its way back through time."""
    for examined in _reached(examination):
        back, steps = examined.grown()
        if not (back.isfinite().all() and float(back.max()) < EXPLODED):
            worst = int(torch.where(back.isfinite(), back, math.inf).argmax())
            from_end = int((~(back < 10)).nonzero()[0])
            rate = float(back[worst].log() / max(worst, 1))
            clip = _clip(examination, examined)
            yield Finding(
                "exploding",
                f"{examined.name} explodes: gradients grow {_times(back[worst])} in {worst} steps "
                "back",
                f"On its way back through time the gradient grows by {math.exp(rate) - 1:.0%} a "
                f"step; from step {steps - from_end} of {steps} back it is ten times what it was "
                "at the last. A few early steps then decide every update.",
                f"Clip the gradient's norm at {clip:g}; start the recurrent matrix orthogonal or "
                "smaller, or use a gated cell.",
                {
                    "growth": float(back[worst]),
                    "growth per step": math.exp(rate),
                    "step": steps - from_end,
                    "clip": clip,
                },
                examined.name,
            )


def vanishing(examination: Examination) -> Iterator[Finding]:
    """A gradient that is lost on its way back through time."""
    for examined, reached, steps in _forgetful(examination):
        gate = next((g for g in examined.recurrence.gates.values() if g.keeps), None)
        yield Finding(
            "vanishing",
            f"{examined.name} forgets: its last state reaches back {reached:.0f} of "
            f"{steps:.0f} steps",
            f"Further back than that, the gradient is below {VANISHED:.0%} of what it is at "
            "the last step: what the task needs from there cannot be learnt.",
            "Use a gated cell such as LSTM or GRU, or start the recurrent matrix orthogonal."
            if gate is None
            else f"If the task needs more, start the bias of {gate.name} at {_open(gate)}, or "
            "shorten the way: attention, or fewer steps.",
            {"reach": reached, "steps": steps},
            examined.name,
        )


def saturated(examination: Examination) -> Iterator[Finding]:
    """A gate that is nearly always saturated."""
    for examined in examination.recurrences:
        for gate in examined.recurrence.gates.values():
            share = float((_closed(gate) if gate.keeps else gate.left + gate.right).mean())
            if gate.kind != "relu" and share > SATURATED:
                yield Finding(
                    "saturated",
                    f"{examined.name}: {gate.name} is saturated {share:.0%} of the time",
                    f"A saturated {gate.kind} passes almost no gradient, so the weights before it "
                    "hardly learn.",
                    "Scale the inputs to a variance near 1, start the weights smaller, lower the "
                    "learning rate, or normalise what goes into the gate.",
                    {
                        "left": float(gate.left.mean()),
                        "right": float(gate.right.mean()),
                        "units on one side all the time": gate.stuck,
                    },
                    f"{examined.name}: {gate.name}",
                )


def dead(examination: Examination) -> Iterator[Finding]:
    """ReLU units that are 0 for every row and step."""
    for examined in examination.recurrences:
        for gate in examined.recurrence.gates.values():
            count, units = int((gate.left >= 1).sum()), len(gate.left)
            if gate.kind == "relu" and count > DEAD * units:
                yield Finding(
                    "dead",
                    f"{examined.name}: {count} of {units} ReLU units of {gate.name} are dead",
                    "They are 0 at every step of every sequence of the batch: no gradient passes "
                    "them, so they never come back.",
                    "Lower the learning rate, start their biases at 0 or a little above, or use a "
                    "tanh or a leaky ReLU.",
                    {"dead": count, "units": units},
                    f"{examined.name}: {gate.name}",
                )


def forget_bias(examination: Examination) -> Iterator[Finding]:
    """A gate that should keep its state and starts closed, where memory is short."""
    for examined, reached, steps in _forgetful(examination):
        for gate in examined.recurrence.gates.values():
            if gate.bias is None or gate.half_lives is None:
                continue
            bias, half_life = float(gate.bias.mean()), float(gate.half_lives.median())
            if gate.closed_by * bias < OPEN:
                yield Finding(
                    "forget bias",
                    f"{examined.name}: the bias of {gate.name} is {bias:.2g}; start it at "
                    f"{_open(gate)}",
                    f"{gate.name} decides how much of {gate.keeps} is kept; half of it is gone "
                    f"after {half_life:.2g} steps, before anything is learnt from further back.",
                    f"Start the bias of {gate.name} at {_open(gate)} (Gers et al. 2000; "
                    "Jozefowicz et al. 2015); the LSTM of unrolled.zoo does.",
                    {"bias": bias, "half-life": half_life, "reach": reached, "steps": steps},
                    f"{examined.name}: {gate.name}",
                )


def chrono(examination: Examination) -> Iterator[Finding]:
    """A known lag that no unit's memory spans, in this layer or another of its stack."""
    lag = examination.lag or 0
    found = [
        (examined, gate, float(gate.half_lives.max()))
        for examined in examination.recurrences
        for gate in examined.recurrence.gates.values()
        if gate.half_lives is not None and lag
    ]
    spanned = {e.recurrence.stack for e, _, longest in found if longest >= KEPT * lag}
    for examined, gate, longest in found:
        if examined.recurrence.stack not in spanned:
            sign = "" if gate.closed_by > 0 else "-"
            yield Finding(
                "lag",
                f"{examined.name}: no unit keeps {gate.keeps} for the {lag} steps of the task",
                f"The longest half-life of a unit is {longest:.2g} steps.",
                f"Start the bias of {gate.name} at {sign}log(u), u uniform from 1 to "
                f"{lag - 1}, drawn for each unit, and that of an input gate at its negative "
                "(chrono initialisation, Tallec & Ollivier 2018, arXiv:1804.11188).",
                {"longest half-life": longest, "lag": lag},
                f"{examined.name}: {gate.name}",
            )


def diverging(examination: Examination) -> Iterator[Finding]:
    """A training loss that has gone up again by half of what it had come down."""
    losses = [float(m["train_loss"]) for m in examination.metrics if "train_loss" in m]
    if len(losses) < 3:
        return
    finite = [loss for loss in losses if math.isfinite(loss)]
    best, last = min(finite, default=math.nan), sum(losses[-2:]) / 2
    rise, descent = last - best, losses[0] - best
    if not math.isfinite(last) or rise > max(0.5 * descent, 0.1 * abs(best)):
        yield Finding(
            "diverging",
            f"the training diverges: its loss went from {best:.3g} up to {losses[-1]:.3g}",
            "A loss on the training data that rises again, and stays up, means steps too long to "
            "follow the slope.",
            "Lower the learning rate to a third, warm it up, and clip the gradient's norm; go on "
            "from the checkpoint with the lowest loss.",
            {"lowest": best, "last": losses[-1], "first": losses[0]},
        )


ILLNESSES: dict[str, Callable[[Examination], Iterator[Finding]]] = {
    "non-finite": non_finite,
    "exploding": exploding,
    "vanishing": vanishing,
    "saturated": saturated,
    "dead": dead,
    "forget bias": forget_bias,
    "lag": chrono,
    "diverging": diverging,
}


def _reached(examination: Examination) -> Iterator[Examined]:
    """Give the recurrences whose reach can be judged."""
    return (examined for examined in examination.recurrences if examined.judged)


def _forgetful(examination: Examination) -> Iterator[tuple[Examined, float, float]]:
    """Give recurrences that reach back less than they should, how far, and how far they could.

    A layer whose neighbour in the stack reaches far enough is none of them: what it has forgotten
    the other one keeps, and lower layers of a healthy stack often see to what is near.
    """
    found = [(examined, *examined.reach(VANISHED)) for examined in _reached(examination)]
    kept = {e.recurrence.stack for e, reached, steps in found if reached >= REACH * steps}
    return (one for one in found if one[0].recurrence.stack not in kept)


def _clip(examination: Examination, examined: Examined) -> float:
    """Estimate the parameters' gradient had it not grown, to one digit; 1 where there is none."""
    norms, whole = examined.by_loss, examination.gradient_norm
    if norms is None or whole is None or not math.isfinite(whole):
        return 1.0
    norms = norms[norms.isfinite() & (norms > 0)]
    if not len(norms):
        return 1.0
    last = norms[-max(1, len(norms) // 4) :].median()
    healthy = whole * float(last / norms.max())
    return float(f"{healthy:.0e}") if healthy > 0 else 1.0


def _closed(gate: Gate) -> Tensor:
    """Give the share in which a keeping gate is closed; open, it is no illness."""
    return gate.left if gate.closed_by > 0 else gate.right


def _open(gate: Gate) -> int:
    return gate.closed_by


def _times(value: Tensor) -> str:
    number = float(value)
    return f"{number:.0f} times" if number < 1e4 else f"{number:.0e} times"
