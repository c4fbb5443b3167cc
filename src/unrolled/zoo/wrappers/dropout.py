"""Dropout of what a recurrence tells itself: of the numbers that are read, or of the weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from unrolled.errors import ConfigError
from unrolled.zoo.wrappers.wrapper import (
    Wrapper,
    checked_rate,
    maps,
    symbol,
    while_hooked,
    with_noise,
)


class RecurrentDropout(Wrapper):
    """Drop what the recurrent matrices read, the same numbers at all steps.

    In training each number that a map ``U_...`` reads, most often of the state, is either zero at
    every step or scaled by 1 / (1 - rate) at every step, for each sequence of the batch on its
    own; what an equation carries over without a matrix is left alone. Maps of one width share a
    mask.
    Gal & Ghahramani 2016, arXiv:1512.05287, eq. 7 ("tied"). Departs from the paper in: dropout of
    the input is a matter of the layers (`SharedDropout`).

    Args:
        cell: the cell.
        rate: the share that is dropped, from 0 to below 1.
        only: names of the maps in the equations, ``"U_n"``; by default all ``U`` and ``U_...``.

    Raises:
        ConfigError: the rate is out of its range, or there is no such map.

    Example:
        >>> from unrolled.zoo import GRU
        >>> cell = RecurrentDropout(GRU(3, 5), 0.25)
        >>> xs = cell.draw(torch.zeros(7, 2, 3))
        >>> xs.shape, bool((xs == xs[0]).all())
        (torch.Size([7, 2, 8]), True)
    """

    def __init__(self, cell: nn.Module, /, rate: float, *, only: tuple[str, ...] = ()) -> None:
        super().__init__(cell)
        self.rate = checked_rate("RecurrentDropout", rate)
        found = maps(self.cell)
        self.paths = _chosen("RecurrentDropout", self.cell, list(found), only)
        self.widths = sorted({found[path].in_features for path in self.paths})
        self.noise += sum(self.widths)

    def draw(self, xs: Tensor) -> Tensor:
        """Draw the masks."""
        xs = self.cell.draw(xs)
        if not self.training:
            return xs
        ones = xs.new_ones(1, *xs.shape[1:2], sum(self.widths))
        return with_noise(functional.dropout(ones, self.rate), xs)

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        if not self.training:
            return self.cell(x, *state, **constants)
        *masks, x = x.split([*self.widths, x.shape[-1] - sum(self.widths)], -1)
        drop = _dropping(dict(zip(self.widths, masks, strict=True)))
        handles = [
            self.cell.get_submodule(path).register_forward_pre_hook(drop) for path in self.paths
        ]
        with while_hooked(handles):
            return self.cell(x, *state, **constants)


def _dropping(masks: dict[int, Tensor]) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
    """Make a hook; a value that several maps read is masked once, and stays one value to them."""
    seen: dict[int, tuple[Tensor, Tensor]] = {}

    def drop(_: nn.Module, given: tuple[Tensor]) -> Tensor:
        (value,) = given
        if id(value) not in seen:
            seen[id(value)] = value, value * masks[value.shape[-1]]
        return seen[id(value)][1]

    return drop


class WeightDrop(Wrapper):
    """Drop weights of the recurrent matrices, the same ones at all steps and in all rows.

    In training each weight is either zero or scaled by 1 / (1 - rate); one mask for each call of
    `unroll`.
    Merity, Keskar & Socher 2018, arXiv:1708.02182; DropConnect: Wan et al. 2013. Departs from the
    papers in: nothing.

    Args:
        cell: the cell.
        rate: the share that is dropped, from 0 to below 1; 0.5 in the paper.
        only: names of the matrices in the equations, ``"U_i"``; by default all ``U`` and
            ``U_...``, and ``weight_hh`` of torch.nn's cells.

    Raises:
        ConfigError: the rate is out of its range, or there is no such matrix.

    Example:
        >>> from unrolled.zoo import LSTM
        >>> cell = WeightDrop(LSTM(3, 100), 0.5)
        >>> xs = cell.draw(torch.zeros(7, 2, 3))
        >>> (cell.masks()["U_i.weight"] == 0).float().mean().round(decimals=1)
        tensor(0.5000)
    """

    def __init__(self, cell: nn.Module, /, rate: float, *, only: tuple[str, ...] = ()) -> None:
        super().__init__(cell)
        self.rate = checked_rate("WeightDrop", rate)
        matrices = {path: p for path, p in self.cell.named_parameters() if p.dim() > 1}
        self.paths = _chosen("WeightDrop", self.cell, list(matrices), only)
        for path in self.paths:
            self.register_buffer(_mask(path), torch.ones_like(matrices[path]), persistent=False)

    def masks(self) -> dict[str, Tensor]:
        """Give the mask of each matrix, as last drawn."""
        return {path: self.get_buffer(_mask(path)) for path in self.paths}

    def draw(self, xs: Tensor) -> Tensor:
        """Draw the masks, which are new tensors: a backward to come still needs those before."""
        if self.training:
            for path, mask in self.masks().items():
                drawn = functional.dropout(torch.ones_like(mask), self.rate)
                setattr(self, _mask(path), drawn)
        return self.cell.draw(xs)

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        if not self.training:
            return self.cell(x, *state, **constants)
        dropped = {p: self.cell.get_parameter(p) * mask for p, mask in self.masks().items()}
        return functional_call(self.cell, dropped, (x, *state), constants)


def _mask(path: str) -> str:
    return f"mask_{path.replace('.', '_')}"


def _chosen(wrapper: str, cell: nn.Module, paths: list[str], only: tuple[str, ...]) -> list[str]:
    """Give the paths of the recurrent matrices, or of those that are named."""
    names = {path: symbol(path) for path in paths}
    missing = [name for name in only if name not in names.values()]
    recurrent = [p for p, n in names.items() if n.split("_")[0] == "U" or n == "weight_hh"]
    found = [p for p, n in names.items() if n in only] if only else recurrent
    if missing or not found:
        raise ConfigError(
            f"{wrapper} finds no matrix {', '.join(missing) or 'U_...'} in "
            f"{type(cell).__name__}: it has {', '.join(dict.fromkeys(names.values())) or 'none'}; "
            "name some of them with only="
        )
    return found
