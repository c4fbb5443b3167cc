"""What a model does through time, as data; a doctor; figures and one page to read.

The names below are found when they are first used, because a page needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.inspect.contexts import neighbours as neighbours
    from unrolled.inspect.coverage import alignment as alignment
    from unrolled.inspect.doctor import diagnose as diagnose
    from unrolled.inspect.dynamics import growth as growth
    from unrolled.inspect.dynamics import jacobians as jacobians
    from unrolled.inspect.dynamics import lyapunov as lyapunov
    from unrolled.inspect.findings import Finding as Finding
    from unrolled.inspect.lags import gradients_by_lag as gradients_by_lag
    from unrolled.inspect.looks import looking as looking
    from unrolled.inspect.memory import effective_memory as effective_memory
    from unrolled.inspect.positions import loss_by_position as loss_by_position
    from unrolled.inspect.positions import saliency as saliency
    from unrolled.inspect.recording import record as record
    from unrolled.inspect.through_time import gradients as gradients
    from unrolled.inspect.through_time import gradients_through_time as gradients_through_time
    from unrolled.inspect.through_time import reach as reach

HOMES = {
    "record": "recording",
    "gradients": "through_time",
    "gradients_through_time": "through_time",
    "reach": "through_time",
    "jacobians": "dynamics",
    "growth": "dynamics",
    "lyapunov": "dynamics",
    "effective_memory": "memory",
    "gradients_by_lag": "lags",
    "loss_by_position": "positions",
    "saliency": "positions",
    "looking": "looks",
    "alignment": "coverage",
    "neighbours": "contexts",
    "diagnose": "doctor",
    "Finding": "findings",
}


def __getattr__(name: str) -> object:
    if name in HOMES:
        found = getattr(import_module(f"unrolled.inspect.{HOMES[name]}"), name)
        globals()[name] = found
        return found
    raise AttributeError(f"module 'unrolled.inspect' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(HOMES)
