"""`capture`: Cell -> Step, by `torch.export`, or the CaptureError that says why not."""

import logging
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, default_decompositions, export
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node

from unrolled.cell import Cell
from unrolled.compiler.blame import failed, refused
from unrolled.compiler.step import Step, batch_axis, features, reached
from unrolled.compiler.structure import skeleton, structure

BATCH = 3  # rows to trace with: 1 would become a constant
PUSH = 8.0  # how far one row is moved to see whether another follows

aten = torch.ops.aten
WHOLE = (  # kept as they are: their parts are harder to read, or overflow where they do not
    aten.linear.default,
    aten.matmul.default,
    aten.einsum.default,
    aten.layer_norm.default,
    aten.softmax.int,
    aten.log_softmax.int,
    aten.softplus.default,
    aten.mish.default,
    aten.detach.default,
)
READS_VALUE = (aten.item.default, aten._local_scalar_dense.default)


class _Positional(nn.Module):
    """A cell behind a forward of positional arguments, whatever its own looks like."""

    def __init__(self, cell: Cell, constants: Sequence[str]) -> None:
        super().__init__()
        self.cell, self.constants = cell, constants

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        count = len(given) - len(self.constants)
        return self.cell(*given[:count], **dict(zip(self.constants, given[count:], strict=True)))


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
        add_6 = add.Tensor(linear, linear_1)
        tanh = tanh(add_6)
    """
    copied = skeleton(cell)
    before = structure(copied)
    types = [s.dtype for s in state or cell.initial_state(1, device=x.device).values()]
    constants = constants or {}
    given = _samples(copied, x, types, constants)
    positional = _Positional(copied, tuple(constants))
    with torch.no_grad():
        positional(*(tensor.clone() for tensor in given))
    if structure(copied) != before:
        raise refused(cell, "it changes an attribute of its own", None, "a state for what it keeps")
    exported = _exported(positional, given)
    step = _step(cell, exported, tuple(constants))
    _refuse_random_and_values(cell, exported)
    _refuse_mixing(cell, copied, exported, given)
    _refuse_changes(cell, exported)
    return step


def _samples(
    cell: Cell, x: Tensor, types: Sequence[torch.dtype], constants: Mapping[str, Tensor]
) -> tuple[Tensor, ...]:
    """Give an input, a state and constants of a few rows."""
    random = torch.Generator().manual_seed(0)
    sizes = [(x.dtype, x.shape[1:]), *zip(types, cell.states.values(), strict=True)]
    sizes += [(value.dtype, value.shape[1:]) for value in constants.values()]
    return tuple(
        (0.2 + 0.6 * torch.rand(BATCH, *size, generator=random)).to(x.device, dtype)
        for dtype, size in sizes
    )


def _exported(positional: _Positional, given: Sequence[Tensor]) -> ExportedProgram:
    batch = Dim("batch")
    kept = default_decompositions()
    for target in WHOLE:
        kept.pop(target, None)
    with _silence(), torch.enable_grad():
        try:
            found = export(
                positional,
                tuple(given),
                dynamic_shapes=(tuple({0: batch} for _ in given),),
                strict=False,
            )
            return found.run_decompositions(kept)
        except Exception as error:  # whatever torch raises says that there is no graph
            raise failed(positional.cell, error) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep torch's warnings and its pages about what failed to itself: the error says it all."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _step(cell: Cell, exported: ExportedProgram, constants: Sequence[str]) -> Step:
    """Name the graph's inputs after the cell's, and its outputs too."""
    graph, signature = exported.graph, exported.graph_signature
    tensors: dict[Node, str] = {}
    values: dict[Node, Tensor] = {}
    given: list[Node] = []
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    for node, spec in zip(placeholders, signature.input_specs, strict=True):
        if spec.kind == InputKind.USER_INPUT:
            given.append(node)
        elif spec.kind == InputKind.CONSTANT_TENSOR:
            values[node] = torch.as_tensor(exported.constants[spec.target or ""])
        else:
            tensors[node] = (spec.target or "").removeprefix("cell.")
    output = next(node for node in graph.nodes if node.op == "output")
    results = output.args[0][len(signature.output_specs) - len(signature.user_outputs) :]
    expected = 1 + len(cell.states)
    if len(results) != expected or not all(isinstance(node, Node) for node in results):
        raise refused(cell, f"it returns {len(results)} values", None, f"{expected}: y, the states")
    own = ("x", *cell.states, *constants)
    for node, name in zip(given, own, strict=True):
        node.name = name
    for node, path in tensors.items():
        node.name = f"{path}_of_cell" if path in own else path
    for node in graph.nodes:
        if node.op == "call_function" and node.name in {*own, *(n.name for n in tensors)}:
            node.name = f"{node.name}_of_step"
    if batch_axis(results[0]) != 0:
        found = tuple(results[0].meta["val"].shape)
        raise refused(cell, f"its output has shape {found}", None, "an output (batch, ...)")
    for node, size in zip(results[1:], cell.states.values(), strict=True):
        if batch_axis(node) != 0 or tuple(node.meta["val"].shape[1:]) != size:
            found = features(node)
            raise refused(cell, f"it turns a state {size} into {found}", node, "the same shape")
    return Step(
        cell=type(cell).__name__,
        dtype=given[1].meta["val"].dtype,
        states=dict(cell.states),
        x=given[0],
        before=tuple(given[1:expected]),
        constants=dict(zip(constants, given[expected:], strict=True)),
        tensors=tensors,
        values=values,
        nodes=reached(results),
        y=results[0],
        after=tuple(results[1:]),
    )


def _refuse_random_and_values(cell: Cell, exported: ExportedProgram) -> None:
    for node in exported.graph.nodes:
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded in tags:
            raise refused(
                cell, f"it draws random numbers ({_name(node)})", node, "masks that x brings along"
            )
        if node.target in READS_VALUE:
            raise refused(
                cell,
                "it reads a number out of a tensor",
                node,
                "the tensor itself, without .item()",
            )


def _refuse_mixing(
    cell: Cell, copied: Cell, exported: ExportedProgram, given: Sequence[Tensor]
) -> None:
    """Move one row of everything up and down: no value of another row may follow."""
    whole = _Values(exported.graph_module).of(exported, given)
    for push in (PUSH, -PUSH):
        moved = [tensor.clone() for tensor in given]
        for tensor in moved:
            tensor[0] += tensor.new_full((), push) if tensor.is_floating_point() else 0
        for node, value in _Values(exported.graph_module).of(exported, moved).items():
            if not torch.equal(_others(node, value), _others(node, whole[node])):
                raise refused(
                    cell,
                    f"it mixes the rows of a batch ({_name(node)})",
                    node,
                    "operations over features only, such as layer_norm for batch_norm",
                )


class _Values(Interpreter):
    """Runs a graph and keeps the value of every node."""

    def of(self, exported: ExportedProgram, given: Sequence[Tensor]) -> dict[Node, Tensor]:
        named = {**exported.state_dict, **exported.constants}
        specs = exported.graph_signature.input_specs
        lent = [named[s.target] for s in specs if s.kind != InputKind.USER_INPUT and s.target]
        self.found: dict[Node, Tensor] = {}
        with torch.no_grad():
            self.run(*lent, *given)
        return self.found

    def run_node(self, n: Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor) and n.op == "call_function":
            self.found[n] = result
        return result


def _others(node: Node, value: Tensor) -> Tensor:
    """Give all rows but the first, all of a value that has no rows; NaN made comparable."""
    axis = batch_axis(node)
    rest = value if axis is None else value.narrow(axis, 1, value.shape[axis] - 1)
    return rest.nan_to_num() if rest.is_floating_point() else rest


def _refuse_changes(cell: Cell, exported: ExportedProgram) -> None:
    signature = exported.graph_signature
    for name in signature.buffers_to_mutate.values():
        raise refused(
            cell, f"it changes its buffer {name.removeprefix('cell.')}", None, "a state for it"
        )
    for name in signature.user_inputs_to_mutate.values():
        raise refused(cell, f"it changes its argument {name} in place", None, "a new tensor")


def _name(node: Node) -> str:
    if node.target is operator.getitem:
        return _name(node.all_input_nodes[0])
    return getattr(node.target, "__name__", str(node.target)).partition(".")[0]
