"""Who `unrolled` is compared with: others that run the same layer.

Each is given a layer of torch.nn and its inputs, takes over their numbers, and gives what runs
them. All do the same work: a forward gives the outputs, training the gradients of the sum of all
outputs by the inputs and by every weight.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

import unrolled
from measure import autocast

KINDS = {
    "LSTM": (unrolled.LSTM, nn.LSTM),
    "GRU": (unrolled.GRU, nn.GRU),
    "RNN": (unrolled.RNN, nn.RNN),
}

MOST_STEPS = 16
"""Steps that `torch.compile` is given: its graph holds each of them, and takes long to compile."""


@dataclass(frozen=True)
class Case:
    """A layer of torch.nn and its inputs, (time, batch, features)."""

    kind: str
    layer: nn.RNNBase
    xs: Tensor


@dataclass(frozen=True)
class Side:
    """What runs a case; torch makes its products in the one of `PRECISIONS` that both are given."""

    forward: Callable[[str], Any]
    training: Callable[[str], Any] | None
    tensors: Callable[[Any], Sequence[Tensor]]
    """Gives what they return as the outputs, or as gradients: the inputs', then the parameters'."""


@dataclass(frozen=True)
class Rival:
    """A way to run a layer."""

    build: Callable[[Case], Side]
    modules: tuple[str, ...] = ()
    obstacle: Callable[[], str | None] = lambda: None
    most_steps: int | None = None

    def missing(self) -> str | None:
        """Say why it cannot be had here, if so."""
        if not all(map(find_spec, self.modules)):
            return "not installed: pip install 'unrolled[bench]'"
        return self.obstacle()

    def takes(self, steps: int) -> bool:
        """Tell whether it takes part in cases of so many steps."""
        return self.most_steps is None or steps <= self.most_steps


def in_torch(layer: nn.Module, case: Case) -> Side:
    """Let a module of torch run a case."""
    wanted = [case.xs, *layer.parameters()]

    def run(precision: str) -> tuple[Tensor, ...]:
        with autocast(precision):
            return layer(case.xs)[:1]

    def training(precision: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(run(precision)[0].sum(), wanted)

    return Side(torch.no_grad()(run), training, lambda found: found)


def drop_in(case: Case, backend: str = "auto") -> nn.Module:
    """Give unrolled's layer of the same weights."""
    layer = KINDS[case.kind][0](case.layer.input_size, case.layer.hidden_size)
    layer.load_state_dict(case.layer.state_dict())
    layer.backend = backend
    return layer


def by_unrolled(case: Case, backend: str = "auto") -> Side:
    """Let unrolled run a case."""
    return in_torch(drop_in(case, backend), case)


def by_torch(case: Case) -> Side:
    """Let torch.nn's own layer run."""
    return in_torch(case.layer, case)


def by_compiled_loop(case: Case) -> Side:
    """Let torch.compile make one graph of all steps; what it compiled before is let go."""
    torch.compiler.reset()
    layer = drop_in(case, "eager")
    layer.compile(fullgraph=True, dynamic=False)
    return in_torch(layer, case)


def no_compiler() -> str | None:
    """Say that torch.compile finds no compiler of C++, if so."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "there is no compiler of C++"
    return None


def by_jax(case: Case) -> Side:
    """Let XLA compile a scan.

    What the inputs give to the gates is one product before it, and the other matrix is turned
    before it too: inside, that takes up to ten times as long.
    """
    os.environ["PJRT_NPROC"] = str(torch.get_num_threads())  # read when JAX starts
    jax: Any = import_module("jax")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_default_matmul_precision", "highest")
    step, states = JAX_STEPS[case.kind]
    start = (jax.numpy.zeros((case.xs.shape[1], case.layer.hidden_size)),) * states

    def layer(xs: Any, weights: Sequence[Any]) -> Any:
        w, u, b, d = weights
        turned = u.T

        def scanned(state: tuple[Any, ...], x: Any) -> tuple[tuple[Any, ...], Any]:
            state = step(jax, x, state[0] @ turned + d, state)
            return state, state[0]

        return jax.lax.scan(scanned, start, xs @ w.T + b)[1]

    forward = jax.jit(layer)
    training = jax.jit(jax.value_and_grad(lambda *given: layer(*given).sum(), argnums=(0, 1)))
    given = [case.xs, tuple(case.layer.parameters())]
    given = jax.tree.map(lambda tensor: jax.numpy.asarray(tensor.detach().numpy()), given)
    return Side(
        lambda _: jax.block_until_ready((forward(*given),)),
        lambda _: jax.block_until_ready(training(*given)),
        lambda found: [torch.from_dlpack(array) for array in jax.tree.leaves(found[-1])],
    )


def jax_lstm(jax: Any, x: Any, u: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give the states after a step by what the input and the output before give to all gates."""
    sigmoid, tanh = jax.nn.sigmoid, jax.numpy.tanh
    i, f, g, o = jax.numpy.split(x + u, 4, axis=-1)
    c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def jax_gru(jax: Any, x: Any, u: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Do so for a GRU."""
    (x_r, x_z, x_n), (u_r, u_z, u_n) = (jax.numpy.split(part, 3, axis=-1) for part in (x, u))
    r, z = jax.nn.sigmoid(x_r + u_r), jax.nn.sigmoid(x_z + u_z)
    return ((1 - z) * jax.numpy.tanh(x_n + r * u_n) + z * state[0],)


def jax_rnn(jax: Any, x: Any, u: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """Do so for a simple recurrence."""
    return (jax.numpy.tanh(x + u),)


JAX_STEPS = {"LSTM": (jax_lstm, 2), "GRU": (jax_gru, 1), "RNN": (jax_rnn, 1)}
"""Each kind's step, and how many states it has."""

ONNX_OPERATORS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "LSTM": ((0, 3, 1, 2), {}),
    "GRU": ((1, 0, 2), {"linear_before_reset": 1}),
    "RNN": ((0,), {}),
}
"""Which of torch.nn's gates each of the operator's is, and what it has to be told."""

ONNX_VERSION = 14
"""Of the operators: the first that has the three as they are now."""


def by_onnxruntime(case: Case) -> Side:
    """Let onnxruntime run the one operator that the layer is; it does not train."""
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads would otherwise keep the processors from whoever has the next turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(onnx_model(case), options, ["CPUExecutionProvider"])
    given = {"X": case.xs.detach().numpy()}
    return Side(
        lambda _: session.run(["Y"], given),
        None,
        lambda found: [torch.from_numpy(y).squeeze(1) for y in found],
    )


def onnx_model(case: Case) -> bytes:
    """Write a layer as a graph of ONNX, with its weights."""
    helper: Any = import_module("onnx.helper")
    from_array: Any = import_module("onnx.numpy_helper").from_array
    order, attributes = ONNX_OPERATORS[case.kind]
    w, u, b, d = (
        torch.cat([stacked.detach().chunk(len(order))[gate] for gate in order])
        for stacked in case.layer.parameters()
    )
    weights = {"W": w, "R": u, "B": torch.cat([b, d])}
    node = helper.make_node(
        case.kind, ["X", *weights], ["Y"], hidden_size=case.layer.hidden_size, **attributes
    )
    float32 = import_module("onnx").TensorProto.FLOAT
    steps, batch, inputs = case.xs.shape
    graph = helper.make_graph(
        [node],
        case.kind,
        [helper.make_tensor_value_info("X", float32, [steps, batch, inputs])],
        [helper.make_tensor_value_info("Y", float32, [steps, 1, batch, case.layer.hidden_size])],
        [from_array(tensor[None].numpy(), name) for name, tensor in weights.items()],
    )
    opsets = [helper.make_opsetid("", ONNX_VERSION)]
    ir_version = helper.find_min_ir_version_for(opsets)
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()


RIVALS = {
    "torch.nn": Rival(by_torch),
    "eager loop": Rival(partial(by_unrolled, backend="eager")),
    "torch.compile": Rival(by_compiled_loop, obstacle=no_compiler, most_steps=MOST_STEPS),
    "JAX scan": Rival(by_jax, modules=("jax",)),
    "onnxruntime": Rival(by_onnxruntime, modules=("onnx", "onnxruntime")),
}
"""By the names under which they stand in tables; the loop is of the cell's step, in Python."""
