"""Dropout for sequences."""

from torch import Tensor, nn
from torch.nn.functional import dropout

from unrolled.errors import ConfigError


class SharedDropout(nn.Module):
    """Variational dropout: one mask for all times of a sequence.

    In training each feature of each sequence is either kept, and scaled by 1 / (1 - rate), or zero
    at every time; in evaluation nothing changes. A mask that is drawn anew at every step would be
    noise that a recurrence has to remember past. Gal & Ghahramani 2016, arXiv:1512.05287.

    Args:
        rate: the share of features that are dropped, from 0 to below 1.

    Raises:
        ConfigError: the rate is out of its range.

    Example:
        >>> import torch
        >>> ys = SharedDropout(0.5)(torch.ones(7, 2, 3))
        >>> ys.shape, bool((ys == ys[0]).all())
        (torch.Size([7, 2, 3]), True)
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ConfigError(f"dropout has the rate {rate}: expected 0 to below 1")
        self.rate = rate

    def forward(self, xs: Tensor) -> Tensor:
        """Drop features of xs (time, batch, features) in training."""
        if not self.training or self.rate == 0:
            return xs
        return xs * dropout(xs.new_ones(1, *xs.shape[1:]), self.rate)

    def extra_repr(self) -> str:
        """Show the rate when the module is printed."""
        return f"rate={self.rate}"
