"""`Recorder`: writes down the operations of a step while it runs on tensors without numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from functools import cache
from operator import getitem
from typing import Any

import torch
from torch import SymBool, SymFloat, SymInt, Tensor, nn
from torch._decomp import _core_aten_decompositions_post_autograd
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx import Graph, Node, Proxy
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from unrolled.compiler.aliases import Aliases, is_write
from unrolled.compiler.blame import FUNCTION, PLACE, Unrecordable, here
from unrolled.compiler.complex import Pairs
from unrolled.compiler.parts import AT_ONCE, PARTS, refuse_places
from unrolled.compiler.step import spread, upstream
from unrolled.compiler.usual import usual_shape
from unrolled.ir.surrogate import surrogate

aten = torch.ops.aten
DETACH = aten.detach.default
DETACHES = (DETACH, aten.detach_.default)
BY_MEMORY = (aten.convolution.default,)  # ask for the batch to choose an order in memory
COMPLEX = ("complex", "polar", "fft")
LIKE = (aten.full_like.default, aten.empty_like.default)
WHOLE = frozenset(  # kept: their parts are harder to read, or overflow where they do not
    {
        aten.linear.default,
        aten.matmul.default,
        aten.einsum.default,
        aten.layer_norm.default,
        aten.softmax.int,
        aten.log_softmax.int,
        aten.softplus.default,
        aten.mish.default,
        aten.roll.default,
        aten.index_add.default,
        aten.eye.default,
        aten.eye.m,
        DETACH,
    }
)
Number = SymInt | SymFloat | SymBool
NUMBERS = (SymInt, SymFloat, SymBool)


@cache
def _parts() -> Mapping[object, Callable[..., object]]:
    """Give how operations are put together of others, for those that a graph does not have."""
    table = {**_core_aten_decompositions_post_autograd(), **AT_ONCE}
    return {target: parts for target, parts in table.items() if target not in WHOLE}


@contextmanager
def _unguarded(shapes: ShapeEnv) -> Iterator[None]:
    """Let an operation look at the batch."""
    strict, shapes._error_on_new_guards = shapes._error_on_new_guards, False
    try:
        yield
    finally:
        shapes._error_on_new_guards = strict


def _of_real_numbers(func: OpOverload, args: Any, kwargs: Any) -> Any:
    """Run an operation on tensors without numbers; PyTorch cannot run those on complex ones."""
    try:
        return func(*args, **kwargs)
    except Exception as error:
        name = func.overloadpacket.__name__
        given = [a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        if any(a.is_complex() for a in given) or any(word in name for word in COMPLEX):
            raise Unrecordable(f"it computes with complex numbers ({name})") from error
        raise


class Recorder(TorchDispatchMode):
    """Turns what is computed into the nodes of a graph; the batch is a symbol.

    Every operation, of every library function, arrives at `__torch_dispatch__`: it is recorded, or
    put together of others, which arrive in turn. What is written in place becomes a new value of
    whatever sees it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.graph, self.shapes = Graph(), ShapeEnv()
        self.fake = FakeTensorMode(shape_env=self.shapes)
        self.nodes: dict[int, Node] = {}  # by the identity of a tensor
        self.known: list[Tensor] = []  # keeps the identities
        self.fakes: dict[int, FakeTensor] = {}  # of tensors with numbers
        self.constants: dict[Node, Tensor] = {}
        self.numbers: dict[object, Node] = {}  # by the expression
        self.aliases = Aliases(self)
        self.pairs = Pairs(self)
        self.last: Node | None = None  # of the placeholders
        self.batch: Any = None
        self.place: tuple[str, int] | None = None  # of what is taken apart
        self.function: str | None = None  # that is being applied, if no graph has its gradient

    def given(self, name: str, tensor: Tensor, *, rows: bool = False) -> FakeTensor:
        """Give what stands for an input; with rows, its first dimension is the batch."""
        if not rows:
            size, stride, dtype = tensor.shape, tensor.stride(), tensor.dtype
            empty = torch.empty_strided(size, stride, dtype=dtype, device="meta")
            found = FakeTensor(self.fake, empty, tensor.device)
            found.requires_grad_(tensor.requires_grad)
            found._is_param = isinstance(tensor, nn.Parameter)  # a parameter, to isinstance
        elif self.batch is None:
            sizes = [DimDynamic.DYNAMIC, *[DimDynamic.STATIC] * (tensor.dim() - 1)]
            context = StatelessSymbolicContext(sizes)
            found = self.fake.from_tensor(tensor, symbolic_context=context)
        else:
            found = self._empty((self.batch, *tensor.shape[1:]), tensor)
        with self.graph.inserting_after(self.last):  # None: at the beginning
            self.last = node = self.graph.placeholder(name)
        self._known(found, node)
        if rows and self.batch is None:
            self.batch = found.shape[0]
            size = self._node(aten.sym_size.int, (node, 0), {}, self.batch)
            self.numbers[self.batch.node.expr] = size
        return found

    def _empty(
        self, shape: Sequence[Any], like: Tensor, dtype: torch.dtype | None = None
    ) -> FakeTensor:
        empty = torch.empty(shape, dtype=dtype or like.dtype, device="meta")
        return FakeTensor(self.fake, empty, like.device)

    def __torch_dispatch__(
        self, func: OpOverload, types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question, such as after the device
            return func(*args, **kwargs)
        if self.pairs.concern(func, args, kwargs):
            return self.pairs.run(func, args, kwargs)
        if func not in WHOLE:
            parts = _parts().get(func) or (func.decompose if func._can_decompose() else None)
            if parts is not None:
                before = len(self.known)
                with self:
                    result = parts(*args, **kwargs)
                if result is not NotImplemented:
                    self.aliases.forget(func, self.known[before:])
                    return result
        args, kwargs = tree_map(self._fake, (args, kwargs))
        if func is aten.lift_fresh.default:
            return args[0]
        if func in DETACHES and self._is_constant(args[0]):
            return args[0] if is_write(func) else self._same(args[0])
        if is_write(func):
            with self:
                return self.aliases.write(func, args, kwargs)
        result = self._recorded(func, *tree_map(self.aliases.now, (args, kwargs)))
        if func is not DETACH and not torch.is_grad_enabled():
            result = self._detached(result)
        self.aliases.see(func, args, kwargs, result)
        return result

    def _recorded(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        """Run an operation on tensors without numbers, and write it down."""
        shape = usual_shape(func, args, kwargs)
        if shape is not None:
            result = self._empty(shape, next(a for a in args if isinstance(a, Tensor)))
        else:
            with self.fake, _unguarded(self.shapes) if func in BY_MEMORY else nullcontext():
                result = _of_real_numbers(func, args, kwargs)
        while (
            args and args[-1] is None and func._schema.arguments[len(args) - 1].has_default_value()
        ):
            args = args[:-1]  # as if it were not written
        given, named = tree_map(self._argument, (args, kwargs))
        node = self._node(func, given, named, result)
        if isinstance(result, Tensor):
            self._known(result, node)
        elif isinstance(result, (tuple, list)):
            for index, part in enumerate(result):
                if isinstance(part, Tensor):
                    self._known(part, self._node(getitem, (node, index), {}, part))
        elif isinstance(result, NUMBERS):
            self.numbers[result.node.expr] = node
        return result

    @contextmanager
    def within(self, function: str) -> Iterator[None]:
        """Note that a function is being applied whose gradient no graph has."""
        before, self.function = self.function, function
        try:
            yield
        finally:
            self.function = before

    def surrogate(self, value: Tensor, at: Tensor, slope: Tensor) -> Tensor:
        """Record a value with a gradient of its own, see `surrogate`."""
        given = tuple(self.aliases.now(self._fake(tensor)) for tensor in (value, at, slope))
        result = self._empty(value.shape, given[0])
        self._known(result, self._node(surrogate, tuple(map(self._argument, given)), {}, result))
        return result

    def take_apart(self, states: Sequence[Node]) -> None:
        """Put together of others what is in the loop and what no program has whole.

        Args:
            states: before the step. The graph ends with the output and the states after it.
        """
        left = [True]
        while any(left):
            results: Sequence[Any] = self.graph.output_node().args[0]  # pyright: ignore
            after = [node for node in results[1:] if isinstance(node, Node)]
            inside = spread(self.graph.nodes, states) & upstream(after)
            found = [n for n in self.graph.nodes if n in inside and n.target in PARTS]
            left = [self._take_apart(node, inside) for node in found]

    def again(
        self, node: Node, make: Callable[..., Any], given: Callable[[Node], Any] | None = None
    ) -> Any:
        """Record what a function computes before a node, which it may take the place of.

        Args:
            node: of the graph.
            make: is given the node's arguments.
            given: what stands for a node among these; by default its `value`.
        """
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), given or self.value)
        aliases, numbers = self.aliases, self.numbers
        self.aliases, self.place = Aliases(self), node.meta[PLACE]
        self.numbers = {key: n for key, n in numbers.items() if key == self.batch.node.expr}
        try:
            with self.graph.inserting_before(node), self:
                return make(*args, **kwargs)
        finally:
            self.aliases, self.numbers, self.place = aliases, numbers, None

    def _take_apart(self, node: Node, inside: Set[Node]) -> bool:
        """Put one operation together of others, if that can be done."""

        def make(*args: Any, **kwargs: Any) -> Any:
            found = PARTS[node.target](*args, **kwargs)
            return tree_map_only(Tensor, lambda made: made.contiguous(), found)

        found = self.again(node, make)
        if found is NotImplemented:
            return False
        one = isinstance(found, Tensor)
        for user in [node] if one else [user for user in node.users if user in inside]:
            part = found if one else found[user.args[1]]
            if part is None:
                raise refuse_places(node.target)
            user.replace_all_uses_with(self.nodes[id(part)])
        return True

    def value(self, node: Node) -> Any:
        """Give what stands for a node's value; of whole numbers that the code made, themselves."""
        value = node.meta["val"]
        if not isinstance(value, Tensor) or value.is_floating_point():
            return value
        known = self._known_numbers(node)
        return value if known is None else known

    def _known_numbers(self, node: Node) -> Any:
        """Compute a value that follows from numbers in the code alone; None of others."""
        if node.op == "placeholder":
            return self.constants.get(node)
        if not all(isinstance(size, int) for size in node.meta["val"].shape):
            return None
        operands = {operand: self._known_numbers(operand) for operand in node.all_input_nodes}
        if any(value is None for value in operands.values()):
            return None
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), operands.__getitem__)
        return node.target(*args, **kwargs)  # pyright: ignore[reportCallIssue]

    def real_parts(self, given: Tensor) -> Tensor:
        """Record a view of complex numbers that the step is given, as it is."""
        found = self._empty((*given.shape, 2), given, given.dtype.to_real())
        self._known(
            found, self._node(aten.view_as_real.default, (self.nodes[id(given)],), {}, found)
        )
        return found

    def as_it_is(self, func: OpOverload, args: Any, kwargs: Any) -> Tensor:
        """Record an operation on complex parameters that no table has, which gives one tensor."""
        args, kwargs = tree_map(self._fake, (args, kwargs))
        shapes = tree_map_only(
            Tensor, lambda t: torch.empty(t.shape, dtype=t.dtype, device="meta"), (args, kwargs)
        )
        made = func(*shapes[0], **shapes[1])
        if not isinstance(made, Tensor):
            raise Unrecordable(f"it computes with complex numbers ({func.overloadpacket.__name__})")
        found = FakeTensor(self.fake, made, self.known[0].device)
        given, named = tree_map_only(Tensor, self.node, (args, kwargs))
        self._known(found, self._node(func, given, named, found))
        return found

    def complex_like(self, real: Tensor) -> FakeTensor:
        """Give a complex tensor of the shape of a real one; no node has it."""
        found = self._empty(real.shape, real, real.dtype.to_complex())
        self.known.append(found)
        return found

    def node(self, tensor: Tensor) -> Node:
        """Give the node whose value a tensor has now."""
        if tensor.is_complex() and id(self._fake(tensor)) not in self.nodes:
            parts = tuple(map(self.node, self.pairs.whole(self._fake(tensor))))
            return self._node(aten.complex.default, parts, {}, tensor)
        return self._argument(self.aliases.now(self._fake(tensor)))

    def is_written(self, given: Tensor) -> bool:
        """Tell whether something was written to an input."""
        return self.aliases.is_written(given)

    def _fake(self, value: object) -> Any:
        """Give what stands for a tensor with numbers: one that the step's code made, or keeps."""
        if not isinstance(value, Tensor) or isinstance(value, FakeTensor):
            return value
        if id(value) not in self.fakes:
            self.known.append(value)
            self.fakes[id(value)] = self.given("constant", value)
            self.constants[self.nodes[id(self.fakes[id(value)])]] = value
        return self.fakes[id(value)]

    def _is_constant(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is made of numbers in the code: PyTorch detaches it by itself."""
        node = self.nodes[id(tensor)]
        if node.op == "placeholder":
            return node in self.constants
        read = any(isinstance(n.meta["val"], Tensor) for n in node.all_input_nodes)
        return not read or node.target in LIKE

    def _same(self, tensor: Tensor) -> Tensor:
        """Give another tensor of the same numbers."""
        with self.fake:
            found = tensor.detach()
        self._known(found, self.nodes[id(tensor)])
        self.aliases.see(aten.alias.default, (tensor,), {}, found)
        return found

    def _detached(self, result: Any) -> Any:
        """Take the results out of the gradient, as under `torch.no_grad`."""
        return tree_map_only(
            Tensor,
            lambda t: self._recorded(DETACH, (t,), {}) if t.is_floating_point() else t,
            result,
        )

    # Nodes.

    def _node(self, target: Any, args: Any, kwargs: Any, value: object) -> Node:
        name = getattr(target, "overloadpacket", target).__name__
        node = self.graph.create_node("call_function", target, args, kwargs, name)
        node.meta |= {"val": value, PLACE: self.place or here()}
        node.meta[FUNCTION] = self.function
        return node

    def _known(self, tensor: Tensor, node: Node) -> None:
        self.known.append(tensor)
        self.nodes[id(tensor)] = node
        node.meta["val"] = tensor

    def _argument(self, value: object) -> Any:
        """Give a node for a tensor and for a number that follows the batch."""
        if isinstance(value, Tensor):
            if id(value) not in self.nodes:
                raise Unrecordable("a tensor comes about behind PyTorch's back, by .data perhaps")
            return self.nodes[id(value)]
        return self._number(value) if isinstance(value, NUMBERS) else value

    def _number(self, value: Number) -> Node | float:
        expression = value.node.expr
        if expression.is_number:
            return value.node.maybe_as_int() if isinstance(value, SymInt) else float(expression)
        if expression not in self.numbers:
            if not expression.free_symbols <= set(self.numbers):
                raise Unrecordable("the size of a value depends on the numbers in another")
            known = {s: Proxy(self.numbers[s]) for s in expression.free_symbols}
            self.numbers[expression] = sympy_interp(PythonReferenceAnalysis, known, expression).node
            node = self.numbers[expression]
            while "val" not in node.meta:
                node.meta["val"] = value
                node = node.prev
        return self.numbers[expression]
