"""How the cells of the zoo start out, where their papers do not say otherwise."""

import math

import torch
from torch import nn
from torch.nn import Linear

from unrolled.errors import ConfigError


def start(cell: nn.Module, *, open_gates: tuple[Linear, ...] = ()) -> None:
    """Set the first values of a cell's matrices and biases.

    Recurrent matrices (``U_...``) are orthogonal, so that the state neither grows nor fades in the
    first steps (Saxe et al. 2014, arXiv:1312.6120); the others are Xavier uniform (Glorot & Bengio
    2010); biases are 0.

    Args:
        cell: the cell, its matrices in Linear children.
        open_gates: the children whose bias starts at 1, so that a gate starts open: an LSTM that
            forgets too early cannot learn to remember (Gers et al. 2000; Jozefowicz et al. 2015).

    Example:
        >>> cell = nn.ModuleDict({"W_f": Linear(2, 3), "U_f": Linear(3, 3, bias=False)})
        >>> start(cell, open_gates=(cell["W_f"],))
        >>> cell["W_f"].bias.tolist()
        [1.0, 1.0, 1.0]
    """
    for name, child in cell.named_children():
        if isinstance(child, Linear):
            fill = nn.init.orthogonal_ if name.startswith("U") else nn.init.xavier_uniform_
            fill(child.weight)
            if child.bias is not None:
                nn.init.constant_(child.bias, 1.0 if child in open_gates else 0.0)


def chrono(forget: Linear, longest: int) -> None:
    """Set the biases of a forget gate so that the units remember for times up to `longest`.

    A unit whose forget gate has the bias log(u) forgets in about u steps; u is drawn uniformly
    from 1 to longest - 1. Tallec & Ollivier 2018, arXiv:1804.11188.

    Args:
        forget: the gate's child with the bias.
        longest: the longest dependency to be learnt, in steps, at least 3.

    Raises:
        ConfigError: `longest` is below 3.

    Example:
        >>> forget = Linear(2, 1000)
        >>> chrono(forget, 100)  # log(99) is 4.595
        >>> bool((0 <= forget.bias).all() and (forget.bias < 4.6).all())
        True
    """
    if longest < 3:
        raise ConfigError(
            f"the longest dependency is {longest} steps: give at least 3, or None for biases of 1"
        )
    with torch.no_grad():
        forget.bias.uniform_(1, longest - 1).log_()


def start_steps(gate: Linear) -> None:
    """Let softplus of a gate start anywhere between 0.001 and 0.1, evenly in its logarithm.

    So start the steps of Mamba (Gu & Dao 2023, arXiv:2312.00752), some short and some long.

    Args:
        gate: the gate; its bias is set.

    Example:
        >>> gate = Linear(2, 100)
        >>> start_steps(gate)
        >>> steps = nn.functional.softplus(gate.bias)
        >>> 0.0009 < steps.min() < steps.max() < 0.11
        tensor(True)
    """
    steps = torch.empty_like(gate.bias).uniform_(math.log(0.001), math.log(0.1)).exp()
    with torch.no_grad():
        gate.bias.copy_(steps.expm1().log())
