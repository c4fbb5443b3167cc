"""All tensors that a training stands on, by name: to write them down and to go on from them."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.tasks.processes import Processes

APART = 1_000_003  # between the seeds of processes


@dataclass(frozen=True)
class Learner:
    """What changes while a model learns.

    model: the module that is trained; it has parameters. average: a copy of it that follows.
    optimizer: of the model's parameters.

    >>> model = nn.Linear(2, 1)
    >>> learner = Learner(model, nn.Linear(2, 1), torch.optim.AdamW(model.parameters()))
    >>> sorted(learner.tensors())
    ['average.bias', 'average.weight', 'model.bias', 'model.weight', 'random.cpu']
    """

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next(self.model.parameters()).device

    def tensors(self) -> dict[str, Tensor]:
        """Give the weights, their average, the optimiser's moments and the generators' states."""
        named = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        named |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            named |= {f"moments.{index}.{name}": tensor for name, tensor in moments.items()}
        named["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            named["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return named

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to where `tensors` were given.

        Raises:
            KeyError, RuntimeError: they are of another model.
        """
        self.model.load_state_dict(under("model.", tensors))
        self.average.load_state_dict(under("average.", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in under("moments.", tensors).items():
            index, moment = name.split(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if "random.cpu" in tensors:
            torch.set_rng_state(tensors["random.cpu"])
        # A run that began on the CPU may go on with a GPU: then its generator starts afresh.
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)


def gather(
    learner: Learner, carried: Mapping[str, Tensor], processes: Processes
) -> dict[str, Tensor]:
    """Give what all processes stand on: one's weights, everyone's random numbers and rows.

    Args:
        learner: of this process.
        carried: what it carries from step to step, (layers, rows, *size) each.
        processes: all of them.
    """
    tensors = learner.tensors()
    for name in [name for name in tensors if name.startswith("random.")]:
        states = processes.whole(tensors[name][None, None])[0]
        tensors |= {_random(name, rank): state for rank, state in enumerate(states)}
    return tensors | {f"carried.{name}": processes.whole(rows) for name, rows in carried.items()}


def spread(
    tensors: Mapping[str, Tensor], processes: Processes
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Give this process its part of what `gather` gave, as many as there were: a learner, and rows.

    A process that was not there draws from where its seed is.
    """
    carried = {name: processes.own(rows) for name, rows in under("carried.", tensors).items()}
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith("random.")}
    for name in ("random.cpu", "random.cuda"):
        if (mine := _random(name, processes.rank)) in tensors:
            own[name] = tensors[mine]
    return own, carried


def _random(name: str, rank: int) -> str:
    """Name the generator of a process; the first one's has its name alone."""
    return f"{name}.{rank}" if rank else name


def part(seed: int, processes: Processes, step: int) -> None:
    """Let each process but the first draw random numbers of its own from here on."""
    if not processes.leads:
        torch.manual_seed(seed + APART * processes.rank + step)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take the tensors whose names begin so, without that beginning.

    >>> list(under("model.", {"model.bias": torch.zeros(1), "random.cpu": torch.zeros(1)}))
    ['bias']
    """
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
