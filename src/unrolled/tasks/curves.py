"""Curves for TensorBoard, for those who have it: `pip install 'unrolled[tensorboard]'`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unrolled.errors import ConfigError

Curve = Callable[[int, Mapping[str, float]], None]  # takes a step, and figures by name


def summary_writer() -> Any:
    """Give the class that writes TensorBoard's files.

    Raises:
        ConfigError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "tensorboard is not installed; run pip install 'unrolled[tensorboard]', "
            "or leave the flag --tensorboard out"
        ) from None
    return SummaryWriter


@contextmanager
def curves(folder: Path, step: int, wanted: bool) -> Iterator[Curve]:
    """Open the curves in a folder, and forget what they hold of later steps.

    Args:
        folder: where TensorBoard's files go; it is made.
        step: the updates that the training has behind it.
        wanted: if not, nothing is written anywhere.

    Returns:
        What adds a point to each curve.

    Raises:
        ConfigError: tensorboard is not installed.

    Example:
        >>> with curves(Path("nowhere"), step=0, wanted=False) as draw:
        ...     draw(1, {"loss": 0.5})
    """
    if not wanted:
        yield lambda step, figures: None
        return
    with summary_writer()(str(folder), purge_step=step + 1) as writer:

        def draw(step: int, figures: Mapping[str, float]) -> None:
            for name, value in figures.items():
                writer.add_scalar(name, value, step)

        yield draw
