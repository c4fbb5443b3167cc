"""Greedy search and beam search over any step function, and the loop that they share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from unrolled.errors import ConfigError, ShapeError, UnrolledError

State = Mapping[str, Tensor]  # every tensor has the rows first: (rows, ...)
Draw = Callable[[Tensor, Tensor, int], Tensor]  # scores, rows, step number -> symbols (rows, 1)
NO_CONSTANTS: State = MappingProxyType({})
ROUNDING = 0.01  # the logarithm of a mixture, in bfloat16, can come out above 0 by this much


class Step(Protocol):
    """One step of a decoder over rows, of which there are fewer once some are done."""

    def __call__(
        self, tokens: Tensor, state: State, constants: State
    ) -> tuple[Tensor, State, Tensor | None]:
        """Advance every row by one symbol.

        tokens (rows,) int64: the last symbols; state: as the last call gave it; constants: what
        never changes within a row, such as the memory of an encoder. Returns log-probabilities
        (rows, symbols), the next state, and attention weights (rows, memory) or None.
        """
        ...


@dataclass(frozen=True)
class Hypothesis:
    """One decoded sequence; its weights take no part in a comparison."""

    tokens: tuple[int, ...]  # without BOS and without EOS
    score: float  # total log-probability, that of EOS included where it ended the sequence
    normalised: float  # the score over the length penalty: what ranks
    finished: bool  # ended by EOS, not by the limit
    weights: Tensor | None = field(compare=False, repr=False)  # (tokens [+ 1 for EOS], memory), CPU


@dataclass(frozen=True)
class Task:
    """What every search is asked."""

    step: Step
    state: State
    constants: State
    limits: Tensor  # (rows,) int64
    bos: int
    eos: int

    def advance(
        self, tokens: Tensor, state: State, constants: State, t: int
    ) -> tuple[Tensor, State, Tensor | None]:
        """Call the step and check what it gives."""
        log_probs, state, weights = self.step(tokens, state, constants)
        rows, shape = len(tokens), tuple(log_probs.shape)
        if len(shape) != 2 or shape[0] != rows or not 0 <= self.eos < shape[1]:
            raise ShapeError(
                f"log-probabilities of shape {shape} at step {t}: expected ({rows}, symbols) with "
                f"eos={self.eos} among the symbols; correct the step or eos"
            )
        _check_rows(state, rows, f"the state after step {t}")
        highest = log_probs.max().item()  # NaN wherever there is one
        if not highest <= ROUNDING:
            raise UnrolledError(
                f"log-probabilities reach {highest:.4g} at step {t}: expected no NaN and none "
                "above 0; return log_softmax(logits), and look for NaN in the parameters"
            )
        return log_probs.clamp(max=0.0), state, weights


@dataclass(frozen=True)
class _Move:
    """What one step chose for the rows that were not done."""

    rows: Tensor  # (alive,) ascending
    parents: Tensor  # (alive, width) the slot of the last step that each choice continues
    symbols: Tensor  # (alive, width)
    scores: Tensor  # (alive, width) total so far
    weights: Tensor | None  # (alive * width, memory) in the slots of the last step


def greedy(
    step: Step,
    state: State,
    *,
    rows: int,
    bos: int,
    eos: int,
    max_steps: int | Tensor,
    constants: State = NO_CONSTANTS,
) -> list[Hypothesis]:
    """Take the most probable symbol at every step; of equals, the lowest.

    step: see `Step`; state, constants: tensors (rows, ...); bos: the symbol before the first; eos:
    the symbol that ends a row; max_steps: the most symbols, EOS included, at least 1, for all rows
    or for each (rows,). Returns a hypothesis per row: unfinished if cut off at the limit, or if
    every way on has probability 0 (its score is then -inf). Raises ConfigError for a limit below 1,
    ShapeError for tensors without `rows` rows, UnrolledError for log-probabilities of NaN or above
    0.

    >>> table = torch.tensor([[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [1.0, 0.0, 0.0]]).log()
    >>> [found] = greedy(lambda tokens, state, constants: (table[tokens], state, None), {},
    ...                  rows=1, bos=0, eos=2, max_steps=9)
    >>> found.tokens, round(found.score, 3), found.finished
    ((1,), -0.868, True)
    """
    task = Task(step, state, constants, row_limits(max_steps, rows, state, constants), bos, eos)
    return [found for [found] in search(task)]


def beam(
    step: Step,
    state: State,
    *,
    rows: int,
    bos: int,
    eos: int,
    max_steps: int | Tensor,
    width: int = 5,
    best: int = 1,
    length_penalty: float = 0.6,
    constants: State = NO_CONSTANTS,
) -> list[list[Hypothesis]]:
    """Keep the `width` best continuations of each row at every step; of equals, the first.

    The other arguments are those of `greedy`. width: at least 1; the step sees rows * width rows,
    those of one source side by side; best: how many hypotheses per row, at most width;
    length_penalty: a >= 0 in score / ((5 + n) / 6)^a for n symbols, EOS included (Wu et al. 2016,
    arXiv:1609.08144, eq. 14); 0 ranks by the plain score.

    A row is done when no live hypothesis can still enter its `best`: log-probabilities are at most
    0 and the penalty grows with the length, so score / penalty(limit) bounds all that can follow.

    Returns per row at least one and at most `best` hypotheses: the finished ones best first, then
    those cut off at the limit. One of score -inf comes back only where there is nothing else, so
    there may be fewer than asked. Raises ConfigError for a setting out of range, and what `greedy`
    raises.

    >>> table = torch.tensor([[0.1, 0.5, 0.4], [0.4, 0.3, 0.3], [1.0, 0.0, 0.0]]).log()
    >>> [found] = beam(lambda tokens, state, constants: (table[tokens], state, None), {},
    ...                rows=1, bos=0, eos=2, max_steps=9, best=2, length_penalty=0)
    >>> [(one.tokens, round(one.score, 3)) for one in found]
    [((), -0.916), ((1,), -1.897)]
    """
    if width < 1:
        raise ConfigError(f"width={width}: expected at least 1; 1 is greedy search")
    if not 1 <= best <= width:
        raise ConfigError(f"best={best}: expected 1 to width={width}; widen the beam or ask less")
    if not 0 <= length_penalty < math.inf:
        raise ConfigError(f"length_penalty={length_penalty}: expected at least 0; 0 turns it off")
    task = Task(step, state, constants, row_limits(max_steps, rows, state, constants), bos, eos)
    return search(task, width, best, length_penalty)


def row_limits(max_steps: int | Tensor, rows: int, state: State, constants: State) -> Tensor:
    """The limit of each row (rows,), on the device of the state; checks what it reads."""
    _check_rows(state, rows, "the state")
    _check_rows(constants, rows, "the constants")
    device = next((value.device for value in (*state.values(), *constants.values())), None)
    limits = torch.as_tensor(max_steps, device=device)
    if limits.shape not in ((), (rows,)) or limits.is_floating_point():
        raise ShapeError(
            f"max_steps of shape {tuple(limits.shape)} and type {limits.dtype}: expected one "
            f"integer, or integers of shape ({rows},)"
        )
    if (limits < 1).any():
        raise ConfigError(f"max_steps={int(limits.min())}: expected at least 1 in every row")
    return limits.long().expand(rows)


def _check_rows(tensors: State, rows: int, where: str) -> None:
    for name, value in tensors.items():
        if value.shape[:1] != (rows,):
            raise ShapeError(
                f"{name!r} of shape {tuple(value.shape)} in {where}: expected ({rows}, ...); "
                "put the rows first"
            )


def _select(tensors: State, index: Tensor) -> State:
    return {name: value.index_select(0, index) for name, value in tensors.items()}


@torch.no_grad()  # here, not on the public functions: it would hide their examples from doctest
def search(
    task: Task, width: int = 1, best: int = 1, power: float = 0.0, draw: Draw | None = None
) -> list[list[Hypothesis]]:
    """Search all rows at once, by the best scores or by `draw`; width 1 keeps a single path.

    A slot is a place in the beam of a row; an ending is one number, step * width + slot.
    """
    limits, rows = task.limits, len(task.limits)
    if not rows:
        return []
    alive, slots = torch.arange(rows).to(limits), torch.arange(width).to(limits)
    spread = alive.repeat_interleave(width)
    state, constants = _select(task.state, spread), _select(task.constants, spread)
    tokens = torch.full_like(spread, task.bos)
    # Scores start in float32, so narrower log-probabilities are added in it, wider ones in theirs.
    score = torch.where(slots == 0, 0.0, -math.inf).float().expand(rows, width)
    ranks, ends = torch.full_like(score, -math.inf), slots.expand(rows, width)  # of the finished
    penalties = ((5 + torch.arange(1 + limits.amax().item(), dtype=torch.float64)) / 6) ** power
    endings: dict[int, list[int]] = {}
    moves: list[_Move] = []
    while len(alive):
        t = len(moves)
        log_probs, state, weights = task.advance(tokens, state, constants, t)
        total = (score[..., None] + log_probs.unflatten(0, score.shape)).flatten(1)
        choice = _top(total, width) if draw is None else draw(total, alive, t)
        parents, tokens = choice // log_probs.shape[1], choice % log_probs.shape[1]
        score = total.gather(1, choice)
        moves.append(_Move(alive, parents, tokens, score, weights))

        penalties = penalties.to(score)
        ended, here = tokens == task.eos, (t * width + slots).expand_as(tokens)
        ranks = torch.cat([ranks, (score / penalties[t + 1]).where(ended, -math.inf)], 1)
        choice = _top(ranks, width)
        ranks, ends = ranks.gather(1, choice), torch.cat([ends, here], 1).gather(1, choice)
        score = score.masked_fill(ended, -math.inf)
        bound = score.amax(1) / penalties[limits[alive]]
        going = (bound > ranks[:, best - 1]) & (t + 1 < limits[alive])

        left, keep = (~going).nonzero()[:, 0], going.nonzero()[:, 0]
        if len(left):
            values, numbers = torch.cat([ranks, score], 1)[left], torch.cat([ends, here], 1)[left]
            for row, value, number in zip(alive[left].tolist(), values, numbers, strict=True):
                endings[row] = number[value > -math.inf].tolist()[:best] or [t * width]
            constants = _select(constants, (keep[:, None] * width + slots).flatten())
        state = _select(state, (keep[:, None] * width + parents[keep]).flatten())
        alive, tokens, score = alive[keep], tokens[keep].flatten(), score[keep]
        ranks, ends = ranks[keep], ends[keep]
    return _trace(moves, [endings[row] for row in range(rows)], penalties, task.eos)


def _top(scores: Tensor, count: int) -> Tensor:
    """Places (rows, count) of the best of each row, best first; of equals, the first.

    `topk` alone leaves open which of equals it takes, so it only says how good is good enough.
    """
    least = scores.topk(count).values[:, -1:]
    rows, places = (scores >= least).nonzero(as_tuple=True)  # in order; `count` or more per row
    order = scores[rows, places].sort(descending=True, stable=True).indices
    order = order[rows[order].sort(stable=True).indices]
    starts = torch.searchsorted(rows, torch.arange(len(scores)).to(rows))
    return places[order[starts[:, None] + torch.arange(count).to(rows)]]


def _trace(
    moves: list[_Move], endings: list[list[int]], penalties: Tensor, eos: int
) -> list[list[Hypothesis]]:
    """Follow the endings of each row back to the start, all at once."""
    width, memory = moves[0].symbols.shape[1], moves[0].weights
    pairs = [(row, ending) for row, numbers in enumerate(endings) for ending in numbers]
    rows, ends = torch.tensor(pairs).to(moves[0].rows).unbind(1)
    rows, steps, slots = rows.contiguous(), ends // width, ends % width
    symbols = rows.new_zeros(len(pairs), len(moves))
    scores = moves[0].scores.new_zeros(len(pairs))
    weights = None if memory is None else memory.new_zeros(*symbols.shape, memory.shape[1])
    for t, move in reversed(tuple(enumerate(moves))):
        on = (steps >= t).nonzero()[:, 0]
        place, slot = torch.searchsorted(move.rows, rows[on]), slots[on]
        symbols[on, t] = move.symbols[place, slot]
        scores[on] = scores[on].where(steps[on] > t, move.scores[place, slot])
        slots[on] = move.parents[place, slot]
        if weights is not None and move.weights is not None:
            weights[on, t] = move.weights[place * width + slots[on]]

    normalised = scores / penalties[steps + 1]
    columns = (column.tolist() for column in (symbols, steps + 1, scores, normalised))
    attention = [None] * len(pairs) if weights is None else weights.cpu()
    hypotheses: list[list[Hypothesis]] = [[] for _ in endings]
    for (row, _), path, length, score, rank, seen in zip(pairs, *columns, attention, strict=True):
        finished = path[length - 1] == eos
        tokens = tuple(path[: length - finished])
        seen = None if seen is None else seen[:length].clone()
        hypotheses[row].append(Hypothesis(tokens, score, rank, finished, seen))
    return hypotheses
