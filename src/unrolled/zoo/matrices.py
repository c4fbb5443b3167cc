"""The matrices of a gate, as most papers have them."""

from torch.nn import Linear


def gate(inputs: int, hidden: int) -> tuple[Linear, Linear]:
    """Make the matrices W and U of ``W x + b + U h``: W has the bias, U has none.

    Args:
        inputs: features of x.
        hidden: features of h, and of the sum.

    Returns:
        W, (hidden, inputs), and U, (hidden, hidden).

    Example:
        >>> W, U = gate(3, 5)
        >>> W.weight.shape, W.bias.shape, U.weight.shape, U.bias
        (torch.Size([5, 3]), torch.Size([5]), torch.Size([5, 5]), None)
    """
    return Linear(inputs, hidden), Linear(hidden, hidden, bias=False)
