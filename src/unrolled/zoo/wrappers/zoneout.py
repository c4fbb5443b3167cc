"""Zoneout: units that now and then stay as they are."""

from math import prod

import torch
from torch import Tensor, nn

from unrolled.errors import ConfigError
from unrolled.zoo.wrappers.wrapper import Wrapper, checked_rate, with_noise


class Zoneout(Wrapper):
    """At each step some units keep their value instead of taking the new one.

    With the cell's own new state n and d, which is 1 with the rate's probability, drawn anew for
    each unit and step, h' = d h + (1 - d) n; in evaluation d is the rate itself. An output that is
    one of the states is that state after zoneout.
    Krueger et al. 2017, arXiv:1606.01305. Departs from the paper in: nothing.

    Args:
        cell: the cell.
        **rates: for each state that zones out, the probability that a unit keeps its value, from
            0 to below 1. The paper has ``h=0.05, c=0.5`` for an LSTM on characters.

    Raises:
        ConfigError: there is no rate, no such state, or a rate is out of its range.

    Example:
        >>> from unrolled.zoo import LSTM
        >>> cell = Zoneout(LSTM(3, 5), h=0.05, c=0.5)
        >>> cell.draw(torch.zeros(7, 2, 3)).shape
        torch.Size([7, 2, 13])
    """

    def __init__(self, cell: nn.Module, /, **rates: float) -> None:
        super().__init__(cell)
        unknown = [name for name in rates if name not in self.states]
        if unknown or not rates:
            raise ConfigError(
                f"Zoneout of {type(cell).__name__} is given {', '.join(unknown) or 'no rate'}: "
                f"give rates for its states {', '.join(self.states)}, as in h=0.05"
            )
        self.rates = {name: checked_rate(f"Zoneout of {name}", r) for name, r in rates.items()}
        self.widths = [prod(self.states[name]) for name in rates]
        self.noise += sum(self.widths)

    def draw(self, xs: Tensor) -> Tensor:
        """Draw which units keep their value at which step."""
        xs = self.cell.draw(xs)
        if not self.training:
            return xs
        rates = torch.cat(
            [xs.new_full((n,), r) for n, r in zip(self.widths, self.rates.values(), strict=True)]
        )
        random = torch.rand(*xs.shape[:2], len(rates), device=xs.device)
        return with_noise((random < rates).to(xs), xs)

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        keeps: dict[str, Tensor | float] = dict(self.rates)
        if self.training:
            *drawn, x = x.split([*self.widths, x.shape[-1] - sum(self.widths)], -1)
            keeps = dict(zip(self.rates, drawn, strict=True))
        y, *new = self.cell(x, *state, **constants)
        zoned = [
            _kept(keeps[name], before, after) if name in keeps else after
            for name, before, after in zip(self.states, state, new, strict=True)
        ]
        outputs = (z for n, z in zip(new, zoned, strict=True) if n is y)
        return next(outputs, y), *zoned


def _kept(keep: Tensor | float, before: Tensor, after: Tensor) -> Tensor:
    if isinstance(keep, Tensor):
        return torch.where(keep.reshape(after.shape) > 0, before, after)
    return keep * before + (1 - keep) * after
