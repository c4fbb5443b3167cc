"""Where a training stands."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from unrolled.tasks.checkpoint import JSON


@dataclass
class Standing:
    """Where a training stands, apart from its tensors."""

    step: int = 0
    steps: int = 0  # that the schedule is made for
    planned: bool = False  # whether --minutes has set the steps
    plan_step: int = 0  # the speed is measured from here ...
    plan_seconds: float = 0.0  # ... and from then on
    scoring: float = 0.0  # seconds that the last scoring took
    seconds: float = 0.0
    symbols: int = 0
    loss_sum: float = 0.0  # since the last scoring, over `loss_symbols`
    loss_symbols: int = 0
    best: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    worse: int = 0  # scorings since the best

    def facts(self) -> dict[str, JSON]:
        """Give all of it as JSON."""
        return copy.deepcopy(vars(self))

    def follow(self, facts: Mapping[str, JSON]) -> None:
        """Stand where another stands, whose `facts` these are."""
        vars(self).update(facts)
