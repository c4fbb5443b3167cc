"""The doctor: from a run of a model to findings in plain words, with what to change."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from unrolled.errors import ShapeError
from unrolled.inspect.findings import Examination, Examined, Finding
from unrolled.inspect.illnesses import ILLNESSES
from unrolled.inspect.recording import Recording, record
from unrolled.inspect.through_time import averaged, carried, gradients


def diagnose(
    run: Callable[[], Tensor],
    model: nn.Module,
    *,
    metrics: Sequence[Mapping[str, float]] = (),
    lag: int | None = None,
) -> list[Finding]:
    """Say what is wrong with a model's recurrences, or nothing.

    Args:
        run: runs the model on one batch and gives its loss, a number.
        model: the model; it stays as it is, and no gradient is left in it.
        metrics: one record for each scoring of the training so far, with a ``train_loss``.
        lag: the number of steps over which the task is known to need memory.

    Returns:
        The findings, in the order of `ILLNESSES`.

    Raises:
        ShapeError: the loss is not one number.

    Example:
        >>> from unrolled import Recurrent, zoo
        >>> layers = Recurrent(zoo.Elman, 3, 8)
        >>> _ = nn.init.zeros_(layers.cells[0].U.weight)
        >>> xs = torch.randn(40, 4, 3)
        >>> for finding in diagnose(lambda: layers(xs)[0][-1].pow(2).sum(), layers):
        ...     print(finding.title)
        layer 0 forgets: its last state reaches back 0 of 39 steps
    """
    return treat(examine(run, model, metrics=metrics, lag=lag))


def examine(
    run: Callable[[], Tensor],
    model: nn.Module,
    *,
    metrics: Sequence[Mapping[str, float]] = (),
    lag: int | None = None,
) -> Examination:
    """Take all that the doctor looks at; arguments and errors as for `diagnose`."""
    with torch.enable_grad(), no_subnormals():
        seen = record(run, model)
        loss = seen.result
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise ShapeError(f"the run gave a loss of {found}: expected one number")
        return Examination(
            recurrences=_examined(seen, loss.reshape(())),
            loss=float(loss.detach()),
            gradient_norm=_gradient_norm(loss.reshape(()), model),
            metrics=tuple(metrics),
            lag=lag,
        )


def treat(examination: Examination) -> list[Finding]:
    """Give the findings of every illness in the table."""
    return [found for look in ILLNESSES.values() for found in look(examination)]


@contextmanager
def no_subnormals() -> Iterator[None]:
    """Take numbers below the smallest normal float for zero, inside.

    A gradient that vanishes becomes such numbers, and a processor takes many times as long over
    each. Threads inherit this when they start.
    """
    before = not float(torch.tensor(torch.finfo(torch.float32).tiny) / 2)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _examined(seen: Recording, loss: Tensor) -> tuple[Examined, ...]:
    followed = [r for r in seen.recurrences if r.leaves is not None]
    if not loss.requires_grad or len(followed) < len(seen.recurrences):
        return tuple(Examined(r, None, None, {}) for r in seen.recurrences)
    by_loss = gradients(seen, loss)
    norms = [torch.stack([*g.norms.values()]).square().sum(0).sqrt() for g in by_loss]
    return tuple(
        Examined(r, carried(r), averaged(n, r.active), {name: g.mean(name) for name in g.norms})
        for r, n, g in zip(seen.recurrences, norms, by_loss, strict=True)
    )


def _gradient_norm(loss: Tensor, model: nn.Module) -> float | None:
    moving = [p for p in model.parameters() if p.requires_grad]
    if not loss.requires_grad or not moving:
        return None
    found = torch.autograd.grad(
        loss, moving, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return float(torch.stack([g.norm() for g in found]).norm())
