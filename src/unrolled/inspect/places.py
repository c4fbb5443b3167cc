"""The places of recurrences in a model: their names, and the stacks that they are layers of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from torch import nn

from unrolled.cell import Cell
from unrolled.layers.recurrent import Recurrent
from unrolled.layers.torch_nn import GRU, LSTM, RNN


@dataclass(frozen=True)
class Place:
    """Where a recurrence stands."""

    name: str  # such as "encoder layer 0 backwards"; then the number of the call, from the second
    stack: str  # the same for layers of one direction that read one another

    def called(self, times: int) -> "Place":
        """Give the place in a later call, which is another recurrence.

        Example:
            >>> Place("layer 0", "").called(2).name
            'layer 0, call 2'
        """
        call = "" if times == 1 else f", call {times}"
        return Place(self.name + call, self.stack + call)


def layer(path: str, number: int, directions: int) -> Place:
    """Give the place of a stack's cell by its number: layer by layer, forwards before backwards.

    Example:
        >>> layer("encoder", 3, directions=2)
        Place(name='encoder layer 1 backwards', stack='encoder backwards')
    """
    above, back = divmod(number, directions)
    way = " backwards" if back else ""
    return Place(f"{path} layer {above}{way}".strip(), path + way)


class Places:
    """Finds the places of the cells that run in a model; without a model they have their class's.

    Args:
        model: what they run in.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self.known: dict[int, Place] = {}
        self.calls: dict[Place, int] = {}
        self.drop_ins: dict[str, nn.RNNBase] = {}
        self.running: Iterator[Place] | None = None
        modules = [] if model is None else list(model.named_modules())
        for path, module in modules:
            if isinstance(module, Recurrent):
                for number, cell in enumerate(module.cells):
                    self.known[id(cell)] = layer(path, number, module.directions)
            elif isinstance(module, (RNN, LSTM, GRU)):
                self.drop_ins[path] = module
        for path, module in modules:
            if isinstance(module, Cell):
                name = path or type(module).__name__
                self.known.setdefault(id(module), Place(name, name))

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow which drop-in is running, inside.

        All layers of one size lend their matrices to one cell, which no model holds: only the order
        of their calls tells them apart.
        """
        handles = []
        for path, module in self.drop_ins.items():
            begin = partial(self._begin, path)
            handles.append(module.register_forward_pre_hook(begin))
            handles.append(module.register_forward_hook(self._end, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def of(self, cell: Cell) -> Place:
        """Give the place of a cell that runs now."""
        place = self.known.get(id(cell)) or next(self.running or iter(()), None)
        if place is None:
            place = Place(type(cell).__name__, type(cell).__name__)
        self.calls[place] = self.calls.get(place, 0) + 1
        return place.called(self.calls[place])

    def _begin(self, path: str, module: nn.RNNBase, _: object) -> None:
        directions = 2 if module.bidirectional else 1
        numbers = range(module.num_layers * directions)
        self.running = (layer(path, number, directions) for number in numbers)

    def _end(self, *_: object) -> None:
        self.running = None
