"""Layer normalisation of what chosen gates sum up."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from unrolled.errors import ConfigError
from unrolled.zoo.wrappers.wrapper import Wrapper, maps, symbol, while_hooked


class LayerNormed(Wrapper):
    """Normalise each product that chosen gates sum: u * layernorm(U_i h) for U_i h, and so on.

    The gains u start at 1; biases are added after the norm.
    Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 20. Departs from the paper in: gates are
    normalised each on its own; of the cell before its output nothing is normalised
    (`LayerNormLSTM` is the paper's own cell).

    Args:
        cell: the cell.
        *gates: names of gates in the equations, which are the ends of the names of their maps:
            ``"i"`` for all of ``W_i x + b_i + U_i h``; by default every map of the cell.

    Raises:
        ConfigError: no map of the cell belongs to such a gate.

    Example:
        >>> from unrolled.zoo import LSTM
        >>> [name for name, _ in LayerNormed(LSTM(3, 5), "i", "f").gains.named_parameters()]
        ['W_i', 'U_i', 'W_f', 'U_f']
    """

    def __init__(self, cell: nn.Module, /, *gates: str) -> None:
        super().__init__(cell)
        found = maps(self.cell)
        known = {path: symbol(path).partition("_")[2] for path in found}
        missing = [gate for gate in gates if gate not in known.values()]
        if missing or not found:
            raise ConfigError(
                f"LayerNormed finds no gate {', '.join(missing)} in {type(cell).__name__}: it has "
                f"{', '.join(dict.fromkeys(filter(None, known.values()))) or 'none'}"
            )
        self.paths = [path for path, gate in known.items() if not gates or gate in gates]
        self.gains = nn.ParameterDict(
            [(_name(path), torch.ones(found[path].out_features)) for path in self.paths]
        )

    def forward(self, x: Tensor, *state: Tensor, **constants: Tensor) -> tuple[Tensor, ...]:
        handles = [
            self.cell.get_submodule(path).register_forward_hook(_normal(self.gains[_name(path)]))
            for path in self.paths
        ]
        with while_hooked(handles):
            return self.cell(x, *state, **constants)


def _name(path: str) -> str:
    return path.replace(".", "_")  # a parameter's name has no dots


def _normal(gain: Tensor) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
    def normal(linear: nn.Module, _: tuple[Tensor], value: Tensor) -> Tensor:
        bias = linear.get_parameter("bias") if getattr(linear, "bias", None) is not None else 0
        return gain * layer_norm(value - bias, value.shape[-1:]) + bias

    return normal
