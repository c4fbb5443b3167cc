"""What cells with heads share: parts of their states that work side by side."""

from torch import Tensor

from unrolled.errors import ConfigError


def width_of_head(cell: str, hidden: int, heads: int) -> int:
    """Give the width of each head.

    Args:
        cell: the cell's name, for the message.
        hidden: the width of all heads together.
        heads: how many there are.

    Raises:
        ConfigError: they cannot be of one width.

    Example:
        >>> width_of_head("GLA", 12, 3)
        4
    """
    if heads < 1 or hidden % heads:
        raise ConfigError(
            f"{cell} has {heads} heads for {hidden} hidden units: "
            "choose a number of heads that divides them"
        )
    return hidden // heads


def split(value: Tensor, heads: int) -> Tensor:
    """Cut a vector (batch, heads * width) into those of the heads, (batch, heads, width).

    Example:
        >>> import torch
        >>> split(torch.zeros(2, 12), 3).shape
        torch.Size([2, 3, 4])
    """
    return value.unflatten(-1, (heads, -1))


def outer(v: Tensor, k: Tensor) -> Tensor:
    """Give all products v k^T of each row and head: (..., n), (..., m) -> (..., n, m).

    Example:
        >>> import torch
        >>> outer(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5)).shape
        torch.Size([2, 3, 4, 5])
    """
    return v[..., :, None] * k[..., None, :]


def times(S: Tensor, q: Tensor) -> Tensor:
    """Give S q of each row and head: (..., n, m), (..., m) -> (..., n).

    Example:
        >>> import torch
        >>> times(torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 5)).shape
        torch.Size([2, 3, 4])
    """
    return (S * q[..., None, :]).sum(-1)
