"""`check_cell`: every law, on every backend and in every dtype, and the report of it."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.backends import BACKENDS
from unrolled.cell import CellFactory
from unrolled.errors import ConfigError
from unrolled.testing.laws import LAWS, Case
from unrolled.testing.reference import Subject, gradients, prepare

INPUTS, HIDDEN = 3, 5  # odd, as in `laws`
DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Finding:
    """What came of one law for one subject."""

    law: str
    backend: str
    dtype: torch.dtype
    fails: bool
    verdict: str  # "holds", "not stated", or the smallest failing case

    def __str__(self) -> str:
        mark = "FAILS " if self.fails else ""
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.law:<10} {self.backend:<7} {dtype:<8} {mark}{self.verdict}"


@dataclass(frozen=True)
class Report:
    """What came of every law for one cell; it prints as a table, a line each."""

    cell: str
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Whether no law fails."""
        return not any(finding.fails for finding in self.findings)

    def __str__(self) -> str:
        failed = sum(finding.fails for finding in self.findings)
        title = f"{self.cell}: {failed} of {len(self.findings)} checks fail"
        return "\n".join([title, *map(str, self.findings)])


def check_cell(
    cell: nn.Module | CellFactory,
    *,
    inputs: int | None = None,
    backends: Sequence[str] | None = None,
    dtypes: Sequence[torch.dtype] = DTYPES,
) -> Report:
    """Check that a cell obeys the laws of `LAWS`, on every backend and in every dtype.

    The cell is copied and put in eval mode, its parameters moved a little, so that biases of zero
    hide nothing; the cell itself stays as it is. It is compared with a plain loop over time, run in
    pieces, in padded batches, with resets, row by row, and with the equations in its docstring.

    Args:
        cell: ``(inputs, hidden) -> cell``, a class or a function; or a cell already made, then
            with `inputs`. Cells that need constants cannot be checked.
        inputs: the number of features that a cell already made takes.
        backends: names from `unrolled.backends.BACKENDS`; by default all of them.
        dtypes: floating-point types.

    Returns:
        What came of each law; the law of the equations is ``not stated`` where there are none.

    Raises:
        AssertionError: a law fails; the message is the report, with the smallest failing case.
        ConfigError: a cell already made comes without `inputs`.

    Example:
        >>> from unrolled import zoo
        >>> print(check_cell(zoo.GRU, backends=["eager"], dtypes=[torch.float64]))
        GRU: 0 of 9 checks fail
        outputs    eager   float64  holds
        loop       eager   float64  holds
        gradients  eager   float64  holds
        chunking   eager   float64  holds
        causality  eager   float64  holds
        ragged     eager   float64  holds
        resets     eager   float64  holds
        rows       eager   float64  holds
        equations  eager   float64  holds
    """
    made = _made(cell, inputs)
    report = Report(
        type(made).__name__,
        tuple(
            check_law(law, prepare(made, inputs or INPUTS, backend, dtype))
            for backend in backends or BACKENDS
            for dtype in dtypes
            for law in LAWS
        ),
    )
    if not report.holds:
        raise AssertionError(str(report))
    return report


def _made(cell: nn.Module | CellFactory, inputs: int | None) -> nn.Module:
    if inputs is not None and isinstance(cell, nn.Module):
        return cell
    if isinstance(cell, nn.Module):
        raise ConfigError(
            f"{type(cell).__name__} is a cell already made: give the number of features it takes, "
            "as in check_cell(cell, inputs=3)"
        )
    return cell(inputs or INPUTS, HIDDEN)


def check_law(law: str, subject: Subject) -> Finding:
    """Try one law of `LAWS` on a subject, up to the first case that fails."""
    verdict, fails = "not stated", False
    with _poisoned_memory():
        try:
            for case in LAWS[law](subject):
                verdict = "holds"
                if difference := _difference(case):
                    verdict, fails = f"{case.sizes}: {difference}", True
                    break
        except Exception as error:  # whatever a user's cell raises is what came of the law
            verdict, fails = f"raises {type(error).__name__}: {error}".splitlines()[0], True
    return Finding(law, subject.backend, subject.dtype, fails, verdict)


def _difference(case: Case) -> str | None:
    """Say which tensor of a case differs first, and by how much at most."""
    for name, expected in case.expected.items():
        found = case.found[name]
        if found.shape != expected.shape:
            return f"{name} has shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
        if difference := _beyond_rounding(found, expected):
            return f"{name} {difference}"
    by_leaf = gradients(case.found, case.leaves)
    for name, expected in gradients(case.expected, case.leaves).items():
        if difference := _beyond_rounding(by_leaf[name], expected):
            return f"gradient by {name} {difference}"
    return None


def _beyond_rounding(found: Tensor, expected: Tensor) -> str | None:
    """Say by how much two tensors differ, where that is more than half of their digits allow."""
    if not expected.numel():
        return None
    scale = 1.0 + expected.abs().max().item()
    largest = (found - expected).abs().max().item()
    if largest <= scale * math.sqrt(torch.finfo(expected.dtype).eps):  # not so for NaN
        return None
    if expected.numel() == 1:
        return f"is {found.item():.6g}, expected {expected.item():.6g}"
    return f"differs by {largest:.2g}"


@contextmanager
def _poisoned_memory() -> Iterator[None]:
    """Fill fresh memory with NaN: a backend that leaves a result unwritten is found out."""
    mode = torch.get_deterministic_debug_mode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deterministic")
        torch.use_deterministic_algorithms(True, warn_only=True)  # this mode does it
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
