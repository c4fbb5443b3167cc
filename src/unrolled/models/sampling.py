"""Sampling: sequences drawn from the probabilities of any step function."""

import math

import torch
from torch import Tensor

from unrolled.errors import ConfigError
from unrolled.models.search import NO_CONSTANTS, Hypothesis, State, Step, Task, row_limits, search


def sample(
    step: Step,
    state: State,
    *,
    rows: int,
    bos: int,
    eos: int,
    max_steps: int | Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    constants: State = NO_CONSTANTS,
) -> list[Hypothesis]:
    """Draw every symbol from the step's probabilities, sharpened and cut as asked.

    The other arguments and the results are those of `greedy`; scores are the step's own, before
    temperature and cuts. temperature: above 0, divides the log-probabilities; top_k: keep so many
    symbols (0: all); top_p: of those keep the fewest that reach this probability, in (0, 1] (1:
    all; Holtzman et al. 2020, arXiv:1904.09751). All draws are made first, row after row: with
    a generator on the CPU a batch gives what its rows give one by one. Raises ConfigError for a
    setting out of range, and what `greedy` raises.

    >>> table = torch.tensor([[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [1.0, 0.0, 0.0]]).log()
    >>> [found] = sample(lambda tokens, state, constants: (table[tokens], state, None), {},
    ...                  rows=1, bos=0, eos=2, max_steps=9, top_p=0.5)
    >>> found.tokens
    (1,)
    """
    if not 0 < temperature < math.inf:
        raise ConfigError(f"temperature={temperature}: expected a number above 0")
    if top_k < 0:
        raise ConfigError(f"top_k={top_k}: expected at least 0; 0 keeps every symbol")
    if not 0 < top_p <= 1:
        raise ConfigError(f"top_p={top_p}: expected above 0 and at most 1; 1 keeps every symbol")
    limits = row_limits(max_steps, rows, state, constants)
    device = limits.device if generator is None else generator.device
    draws = torch.rand(int(limits.sum()), generator=generator, device=device).to(limits.device)
    starts = limits.cumsum(0) - limits

    def draw(scores: Tensor, alive: Tensor, t: int) -> Tensor:
        return draw_symbols(scores, draws[starts[alive] + t], temperature, top_k, top_p)

    task = Task(step, state, constants, limits, bos, eos)
    return [found for [found] in search(task, draw=draw)]


def draw_symbols(
    scores: Tensor, draws: Tensor, temperature: float, top_k: int, top_p: float
) -> Tensor:
    """Give symbols (rows, 1) by inverting, at draws in [0, 1), the distribution that is left.

    scores: (rows, symbols) log-probabilities, or any numbers that differ from them by a constant;
    draws: (rows,). The settings are those of `sample`, and must be in their ranges.

    >>> draw_symbols(torch.tensor([[0.1, 0.6, 0.3]]).log(), torch.tensor([0.7]), 1.0, 0, 1.0)
    tensor([[2]])
    """
    ordered, symbols = scores.sort(dim=1, descending=True, stable=True)
    ordered = ordered[:, : top_k or None]
    # Where nothing is possible, or the temperature underflows, these are NaN: the first is drawn.
    probs = ((ordered - ordered[:, :1]) / temperature).softmax(1)
    total = probs.cumsum(1)
    kept = (probs > 0) & ((total - probs < top_p) | (top_p == 1))
    last = (kept.sum(1, keepdim=True) - 1).clamp(min=0)
    place = torch.searchsorted(total, draws[:, None] * total.gather(1, last), right=True)
    return symbols.gather(1, place.minimum(last))
