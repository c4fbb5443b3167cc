"""Recordings changed at random, so that a model learns what does not matter."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.tasks.transcribe.config import Augment

MOST_MASKED = 0.2  # of a recording, by one mask of time


def augment(frames: Tensor, settings: Augment, blocks: int = 1) -> Tensor:
    """Change a recording as the settings say; the default generator of torch decides.

    Masks of time and of features are those of Park et al. 2019, arXiv:1904.08779; speed is that of
    Ko et al. 2015 (Interspeech), of features instead of samples.

    Args:
        frames: (time, features), levelled, so that 0 is the mean; it stays as it is.
        settings: how much of what.
        blocks: how many times a frame has the same features: with their slopes more than once.

    Returns:
        (another time, features).

    Example:
        >>> augment(torch.ones(50, 13), Augment()).shape[1]
        13
    """
    if settings.speed:
        frames = _paced(frames, 1 + settings.speed * (2 * _chance() - 1))
    frames = frames.clone()
    time, width = frames.shape[0], frames.shape[1] // blocks
    most = min(settings.time_mask, int(MOST_MASKED * time))
    for _ in range(settings.time_masks):
        start, stop = _stretch(time, most)
        frames[start:stop] = 0
    bands = frames.unflatten(1, (blocks, width))
    for _ in range(settings.feature_masks):
        start, stop = _stretch(width, min(settings.feature_mask, width))
        bands[:, :, start:stop] = 0
    return frames


def _paced(frames: Tensor, speed: float) -> Tensor:
    """Play a recording faster, or, below 1, slower."""
    time = max(1, round(len(frames) / speed))
    return F.interpolate(frames.T[None], time, mode="linear", align_corners=False)[0].T


def _stretch(size: int, most: int) -> tuple[int, int]:
    """Draw a stretch of at most some length."""
    length = int(_chance() * (most + 1))
    start = int(_chance() * (size - length + 1))
    return start, start + length


def _chance() -> float:
    """Draw a number from 0 to below 1."""
    return float(torch.rand(()))
