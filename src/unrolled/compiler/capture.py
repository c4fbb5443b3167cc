"""`capture`: Cell -> Step, by running it once, or the CaptureError that says why not."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch
from torch import Tag, Tensor
from torch.backends import opt_einsum
from torch.func import functional_call
from torch.fx import Graph, Node
from torch.utils._pytree import tree_leaves

from unrolled.cell import Cell
from unrolled.compiler.blame import FUNCTION, failed, operation_name, refused
from unrolled.compiler.functions import Functions
from unrolled.compiler.merged import split_rows
from unrolled.compiler.parts import DRAWS, Attends, Drawn
from unrolled.compiler.recorder import Recorder
from unrolled.compiler.step import Step, batch_axis, features, reached
from unrolled.compiler.structure import skeleton, structure
from unrolled.compiler.trial import is_close, refuse_mixing

BATCH = 3  # rows to trace with: 1 would become a constant

KINDS = torch.float32, torch.float64
"""What numbers of a state may be; complex ones are pairs of these."""

aten = torch.ops.aten
READS_VALUE = (aten.item.default, aten._local_scalar_dense.default)


def capture(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor] | None = None,
    constants: Mapping[str, Tensor] | None = None,
) -> Step:
    """Turn one step of a cell, in its present mode, into a graph.

    Args:
        cell: the cell; it is copied and stays as it is.
        x: an input of one step, (batch, *features); its values and its batch do not matter.
        state: tensors of the states' types; by default the cell's initial state.
        constants: what every step is given by name, (batch, ...) each.

    Returns:
        The step; it holds for every batch and for every cell of the same `structure`.

    Raises:
        CaptureError: the work of a step depends on values, mixes rows, is random, or changes
            something besides its states.

    Example:
        >>> from unrolled.zoo import Elman
        >>> print(capture(Elman(3, 5), torch.zeros(2, 3)))
        linear = linear(x, W.weight, W.bias)
        linear_1 = linear(h, U.weight, U.bias)
        add = add.Tensor(linear, linear_1)
        tanh = tanh(add)
    """
    copied = skeleton(cell)
    before = structure(copied)
    types = [s.dtype for s in state or cell.initial_state(1, device=x.device).values()]
    for kind in types:
        if kind.is_floating_point and kind not in KINDS:
            use = "parameters of float32 under torch.autocast, which rounds what is multiplied"
            raise refused(cell, f"its states are {kind}", None, use)
    constants = constants or {}
    given = _samples(copied, x, types, constants)
    functions = Functions()
    try:
        with torch.no_grad(), functions.tried(), Drawn():
            expected = _run(copied, {}, [tensor.clone() for tensor in given], constants)
    except (RuntimeError, ValueError, IndexError) as error:  # a batch that it was made for, say
        raise failed(cell, error) from error
    if structure(copied) != before:
        raise refused(cell, "it changes an attribute of its own", None, "a state for what it keeps")
    trace = _traced(copied, given, constants, functions)
    step = _step(cell, trace, tuple(constants))
    _refuse_what_no_graph_shows(cell, trace)
    try:
        found = refuse_mixing(cell, trace.graph, trace.given, trace.numbers)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:  # it ran without numbers
        raise failed(cell, error) from error
    for what, use in trace.written:
        raise refused(cell, f"it changes its {what}", None, use)
    if not all(map(is_close, found, expected)):
        raise refused(cell, "it does not give the same every time", None, "operations of PyTorch")
    return step


@dataclass(frozen=True)
class _Trace:
    """What running a cell has recorded."""

    graph: Graph
    given: tuple[Node, ...]  # the input, the states, the constants
    tensors: dict[Node, str]  # parameters and buffers
    values: dict[Node, Tensor]  # tensors that the step's code makes from numbers
    numbers: dict[Node, Tensor]  # of every placeholder, to try the graph with
    written: tuple[tuple[str, str], ...]  # what is changed in place, and what to use instead


def _samples(
    cell: Cell, x: Tensor, types: Sequence[torch.dtype], constants: Mapping[str, Tensor]
) -> tuple[Tensor, ...]:
    """Give an input, a state and constants of a few rows."""
    random = torch.Generator().manual_seed(0)
    sizes = [(x.dtype, x.shape[1:]), *zip(types, cell.states.values(), strict=True)]
    sizes += [(value.dtype, value.shape[1:]) for value in constants.values()]
    drawn = [
        (dtype, 0.2 + 0.6 * torch.rand(BATCH, *size, generator=random)) for dtype, size in sizes
    ]
    return tuple(_of_kind(value, dtype).to(x.device, dtype) for dtype, value in drawn)


def _of_kind(value: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.bool:
        return value > 0.5
    return torch.complex(value, 1 - value) if dtype.is_complex else value


def _run(
    cell: Cell, tensors: Mapping[str, Tensor], given: Sequence[Tensor], constants: Iterable[str]
) -> list[object]:
    """Run a cell, with some of its parameters and buffers exchanged, and give what it returns."""
    count = 1 + len(cell.states)
    named = dict(zip(constants, given[count:], strict=True))
    return tree_leaves(functional_call(cell, dict(tensors), tuple(given[:count]), named))


def _traced(
    cell: Cell, given: Sequence[Tensor], constants: Iterable[str], functions: Functions
) -> _Trace:
    """Run a cell on tensors without numbers, and record it."""
    recorder = Recorder()
    own = {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
    tensors = {path: recorder.given("tensor", tensor) for path, tensor in own.items()}
    rows = [recorder.given("rows", tensor, rows=True) for tensor in given]
    try:
        with (
            _silence(),
            torch.enable_grad(),
            torch._C._AutoDispatchBelowADInplaceOrView(),  # or a linear would come in pieces
            recorder.shapes.error_on_new_guards(),
            opt_einsum.flags(enabled=False),  # it would ask how many rows there are
            recorder,
            functions.recorded(recorder.within, recorder.surrogate),
            Attends(),
        ):
            results = _run(cell, tensors, rows, constants)
            found = [recorder.node(r) if isinstance(r, Tensor) else None for r in results]
            recorder.graph.output(tuple(found))
        states = [recorder.nodes[id(state)] for state in rows[1 : 1 + len(cell.states)]]
        with (
            _silence(),
            torch.enable_grad(),
            torch._C._AutoDispatchBelowADInplaceOrView(),
            recorder.shapes.error_on_new_guards(),
        ):
            split_rows(recorder)
            recorder.take_apart(states)
    except Exception as error:  # whatever torch raises says that there is no graph
        raise failed(cell, error) from error
    named = {path: recorder.nodes[id(tensor)] for path, tensor in tensors.items()}
    nodes = tuple(recorder.nodes[id(tensor)] for tensor in rows)
    parameters = {path for path, _ in cell.named_parameters()}
    written = [
        (f"{'parameter' if path in parameters else 'buffer'} {path}", "a state for it")
        for path, tensor in tensors.items()
        if recorder.is_written(tensor)
    ]
    for name, tensor in zip(("x", *cell.states, *constants), rows, strict=True):
        if recorder.is_written(tensor):
            written.append((f"argument {name} in place", "a new tensor"))
    return _Trace(
        graph=recorder.graph,
        given=nodes,
        tensors={node: path for path, node in named.items()},
        values=recorder.constants,
        numbers={**{named[p]: t for p, t in own.items()}, **dict(zip(nodes, given, strict=True))}
        | recorder.constants,
        written=tuple(written),
    )


@contextmanager
def _silence() -> Iterator[None]:
    """Keep torch's warnings and its pages about what failed to itself: the error says it all."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _step(cell: Cell, trace: _Trace, constants: Sequence[str]) -> Step:
    """Name the graph's inputs after the cell's, and its outputs too."""
    graph, given, tensors = trace.graph, trace.given, trace.tensors
    results: Sequence[Any] = graph.output_node().args[0]  # pyright: ignore
    expected = 1 + len(cell.states)
    if len(results) != expected or None in results:
        raise refused(cell, f"it returns {len(results)} values", None, f"{expected}: y, the states")
    own = ("x", *cell.states, *constants)
    for node, name in zip(given, own, strict=True):
        node.name = name
    for node, path in tensors.items():
        node.name = f"{path}_of_cell" if path in own else path
    named = {*given, *tensors}
    taken = {node.name for node in named}
    for node in graph.nodes:
        if node not in named and node.name in taken:
            node.name = f"{node.name}_of_step"
    if batch_axis(results[0]) != 0:
        found = tuple(results[0].meta["val"].shape)
        raise refused(cell, f"its output has shape {found}", None, "an output (batch, ...)")
    for node, (name, size) in zip(results[1:], cell.states.items(), strict=True):
        if node.meta["val"].is_complex():
            what = f"its state {name} becomes complex"
            raise refused(cell, what, None, "an initial_state that gives it as complex")
        if batch_axis(node) != 0 or tuple(node.meta["val"].shape[1:]) != size:
            found = features(node)
            raise refused(cell, f"it turns a state {size} into {found}", node, "the same shape")
    return Step(
        cell=type(cell).__name__,
        dtype=given[1].meta["val"].dtype,
        states=dict(cell.states),
        x=given[0],
        before=given[1:expected],
        constants=dict(zip(constants, given[expected:], strict=True)),
        tensors=tensors,
        values=trace.values,
        nodes=reached(results),
        y=results[0],
        after=tuple(results[1:]),
    )


def _refuse_what_no_graph_shows(cell: Cell, trace: _Trace) -> None:
    """Raise for numbers from outside, numbers that leave, and gradients of one's own."""
    for node in trace.graph.nodes:
        if node.target in DRAWS and batch_axis(node) is None:
            what = f"it draws random numbers that all rows share ({operation_name(node)})"
            raise refused(cell, what, node, "numbers for each row, (batch, ...)")
        if node.target not in DRAWS and Tag.nondeterministic_seeded in _tags(node):
            what = f"it draws random numbers ({operation_name(node)})"
            raise refused(cell, what, node, "rand, randn, bernoulli or dropout")
        if node.target in READS_VALUE:
            what = "it reads a number out of a tensor"
            raise refused(cell, what, node, "the tensor itself, without .item()")
        if function := node.meta.get(FUNCTION):
            what = f"the backward of {function} does more than scale its gradient"
            raise refused(cell, what, node, "operations and .detach()")


def _tags(node: Node) -> Sequence[Tag]:
    return getattr(node.target, "tags", ())
