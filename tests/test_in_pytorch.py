"""Compiled recurrences under PyTorch's own tools: its compiler, exports, transforms, autocast."""

import copy
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export
from torch.multiprocessing.spawn import start_processes

import unrolled
from unrolled import compiled, zoo
from unrolled.cell import Cell
from unrolled.compiler import Cache, compile_cell
from unrolled.errors import BackendError, ShapeError
from unrolled.layers import lent
from unrolled.layers.attending import Bahdanau
from unrolled.recurrence import unroll


class Scaled(Cell):
    """A cell with an attribute, another step in training, and work before and after the loop."""

    def __init__(self) -> None:
        super().__init__(h=5)
        self.W, self.U, self.V = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.scale = 0.5

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.W(torch.log(x.square() + 1e-3)) + self.scale * self.U(h))
        return (self.V(h) if self.training else torch.sigmoid(self.V(h))), h


class Unrolls(nn.Module):
    def __init__(self, cell: nn.Module, backend: str = "auto") -> None:
        super().__init__()
        self.cell, self.backend = cell, backend

    def forward(self, xs: Tensor, lengths: Tensor | None = None) -> Tensor:
        return unroll(self.cell, xs, lengths=lengths, backend=self.backend)[0]


class First(nn.Module):
    """The outputs of a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, xs: Tensor, lengths: Tensor | None = None) -> Tensor:
        return (self.layer(xs) if lengths is None else self.layer(xs, lengths=lengths))[0]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "unroll": lambda: Unrolls(Scaled()),
    "torch-cell": lambda: Unrolls(nn.LSTMCell(3, 5)),
    "Recurrent": lambda: First(unrolled.Recurrent(zoo.GRU, 3, 5, bidirectional=True)),
    "LSTM": lambda: First(unrolled.LSTM(3, 5, num_layers=2)),
    "GRU": lambda: First(unrolled.GRU(3, 5, bidirectional=True)),
    "RNN": lambda: First(unrolled.RNN(3, 5)),
}
RAGGED = ("unroll", "Recurrent")

models = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    torch._dynamo.reset()


def given(model: str, time: int, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
    xs = torch.randn(time, batch, 3)
    lengths = torch.randint(1, time + 1, (batch,))
    return xs, {"lengths": lengths} if model in RAGGED else {}


def gradients(layer: nn.Module, ys: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(ys.square().sum(), list(layer.parameters()))


@pytest.mark.parametrize("model", ["unroll", "torch-cell", "Recurrent", "LSTM"])
def test_it_compiles_whole_and_once_for_all_batches_and_times(model: str) -> None:
    layer, backend = MODELS[model](), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    for time, batch in ((7, 4), (4, 3)):
        xs, more = given(model, time, batch)
        for tensor, places in ((xs, [0, 1]), *((lengths, [0]) for lengths in more.values())):
            torch._dynamo.mark_dynamic(tensor, places)
        found, expected = compiled(xs, **more), layer(xs, **more)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(layer, found), gradients(layer, expected))
    assert backend.frame_count == 1
    with torch.no_grad():
        torch.testing.assert_close(compiled(xs, **more), expected)


class Reads(nn.Module):
    """Reads the mean of a memory at every step, by a cell of PyTorch's operations."""

    class Mean(unrolled.Cell):
        def __init__(self) -> None:
            super().__init__(h=3)

        def forward(self, x: Tensor, h: Tensor, *, memory: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(x + h * memory.mean(1))
            return h, h

    def __init__(self) -> None:
        super().__init__()
        self.cell = self.Mean()

    def forward(self, xs: Tensor, memory: Tensor) -> Tensor:
        return unrolled.unroll(self.cell, xs, constants={"memory": memory})[0]


class Attends(nn.Module):
    """Attention inside the step."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Bahdanau(zoo.GRU, 3, 5, values=3)

    def forward(self, xs: Tensor, memory: Tensor) -> Tensor:
        state = {"h": xs.new_zeros(1, xs.shape[1], 5)}
        return self.model(xs, state, self.model.attention.memory(memory.transpose(0, 1)))[0]


@pytest.mark.filterwarnings("ignore:.* cannot be captured")
@pytest.mark.parametrize("model", [Reads, Attends], ids=["a cell", "Bahdanau"])
def test_a_memory_may_have_any_length_in_one_graph(model: type[nn.Module]) -> None:
    layer, backend = model(), CompileCounterWithBackend("eager")
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    xs, memories = torch.randn(4, 2, 3), [torch.randn(2, source, 3) for source in (3, 4, 9, 5)]
    for memory in memories:
        torch.testing.assert_close(compiled(xs, memory), layer(xs, memory))
    assert backend.frame_count <= 2
    sizes = {"xs": None, "memory": {1: Dim("source", min=2)}}
    again = export(layer, (xs, memories[0]), dynamic_shapes=sizes, strict=False).module()
    memory = torch.randn(2, 7, 3)
    torch.testing.assert_close(again(xs, memory), layer(xs, memory))


def test_a_compiled_model_follows_an_attribute_and_the_mode() -> None:
    layer, xs = Unrolls(Scaled()), torch.randn(4, 2, 3)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for change in (lambda: None, lambda: setattr(layer.cell, "scale", 2.0), layer.eval):
        change()
        torch.testing.assert_close(compiled(xs), layer(xs))


def test_compiled_weights_may_be_lent() -> None:
    layer, xs = Unrolls(zoo.GRU(3, 5)), torch.randn(4, 2, 3)
    lent = {name: torch.randn_like(value) for name, value in layer.named_parameters()}
    compiled = torch.compile(
        lambda lent, xs: torch.func.functional_call(layer, lent, (xs,)),
        fullgraph=True,
        backend="aot_eager",
    )
    expected = torch.func.functional_call(layer, lent, (xs,))
    torch.testing.assert_close(compiled(lent, xs), expected)


@pytest.mark.parametrize("model", ["unroll", "torch-cell", "Recurrent", "LSTM"])
def test_an_export_holds_one_operation_for_each_recurrence(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "CACHE", Cache())  # what is exported has never run
    lent._template.cache_clear()
    layer = MODELS[model]()
    xs, more = given(model, 7, 4)
    batch = Dim("batch")
    sizes = {"xs": {0: Dim("time"), 1: batch}, **{name: {0: batch} for name in more}}
    exported = export(layer, (xs,), more, dynamic_shapes=sizes, strict=False)
    runs = [node for node in exported.graph.nodes if "unrolled.run" in str(node.target)]
    assert len(runs) == {"Recurrent": 2, "LSTM": 2}.get(model, 1)
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    again = torch.export.load(file).module()
    xs, more = given(model, 9, 6)
    torch.testing.assert_close(again(xs, **more), layer(xs, **more))
    expected = gradients(layer, layer(xs, **more))
    torch.testing.assert_close(gradients(again, again(xs, **more)), expected)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
def test_the_operation_is_what_pytorch_expects_of_one(reverse: bool) -> None:
    program, _ = compile_cell(zoo.GRU(3, 5), torch.zeros(2, 3)).program(resets=False, states=False)
    shapes = [(6, 4, *value.type.shape) for value in program.inputs]
    shapes += [(4, *value.type.shape) for value in program.states]
    shapes += [value.type.shape for value in program.fixed]
    given = [torch.randn(shape, requires_grad=True) for shape in shapes]
    arguments = (given, str(program), "llvm", "alone", 6, torch.tensor([6, 2, 0, 3]), reverse)
    torch.library.opcheck(torch.ops.unrolled.run.default, arguments)


def test_lengths_in_a_graph_are_checked_when_it_runs() -> None:
    compiled = torch.compile(Unrolls(zoo.GRU(3, 5)), fullgraph=True, backend="aot_eager")
    compiled(torch.randn(4, 2, 3), torch.tensor([4, 1]))
    with pytest.raises(ShapeError, match=r"^lengths holds \[5, 1\]: expected 0 to 4"):
        compiled(torch.randn(4, 2, 3), torch.tensor([5, 1]))


@pytest.mark.parametrize("backend", ["llvm", "interpreter"])
def test_torch_func_differentiates_by_the_kernel(backend: str) -> None:
    layer, xs = Unrolls(zoo.LSTM(3, 5), backend), torch.randn(4, 2, 3)
    weights = {name: value.detach() for name, value in layer.named_parameters()}

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(layer, weights, (xs,)).square().sum()

    found = torch.func.grad(loss)(weights)
    expected = dict(zip(weights, gradients(layer, layer(xs)), strict=True))
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # what jacfwd itself uses
@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.jacfwd], ids=["vmap", "jacfwd"])
def test_other_transforms_run_in_pytorch_and_are_refused_by_kernels(transform: Any) -> None:
    cell, xs = zoo.GRU(3, 5), torch.randn(3, 4, 2, 3)
    expected = transform(Unrolls(cell, "eager"))(xs[0] if transform is torch.func.jacfwd else xs)
    given = xs[0] if transform is torch.func.jacfwd else xs
    torch.testing.assert_close(transform(Unrolls(cell))(given), expected)
    with pytest.raises(BackendError, match='choose backend="auto"'):
        transform(Unrolls(cell, "llvm"))(given)


def test_gradients_of_gradients_by_torch_func_and_by_autograd_agree() -> None:
    cell, xs = zoo.GRU(2, 3).double(), torch.randn(3, 2, 2, dtype=torch.float64)

    def penalty(xs: Tensor) -> Tensor:
        slopes = torch.func.grad(lambda xs: Unrolls(cell, "llvm")(xs).sum())(xs)
        return slopes.square().sum()

    leaf = xs.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(Unrolls(cell, "eager")(leaf).sum(), leaf, create_graph=True)
    (expected,) = torch.autograd.grad(slopes.square().sum(), leaf)
    torch.testing.assert_close(torch.func.grad(penalty)(xs), expected)


def test_autocast_leaves_a_recurrence_in_its_own_type() -> None:
    layer, xs = Unrolls(zoo.LSTM(3, 5)), torch.randn(4, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        ys = layer(xs.bfloat16())
    wanted = layer(xs.bfloat16().float())  # factors of products may be rounded, all else is not
    torch.testing.assert_close(ys, wanted, rtol=0.02, atol=0.002)


@models
def test_a_whole_module_survives_pickle_and_copy(model: str) -> None:
    layer, xs = MODELS[model](), torch.randn(4, 2, 3)
    expected = layer(xs)  # what has run is pickled too
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for again in (torch.load(file, weights_only=False), copy.deepcopy(layer)):
        torch.testing.assert_close(again(xs), expected)


@pytest.mark.parametrize(
    "mode", [torch.inference_mode, torch.no_grad], ids=["inference", "no-grad"]
)
def test_a_cell_that_first_ran_without_gradients_can_be_trained(mode: Any) -> None:
    class Own(zoo.GRU):
        pass

    layer, xs = Unrolls(Own(3, 5)), torch.randn(4, 2, 3)
    with mode():
        expected = layer(xs)
    found = layer(xs)
    torch.testing.assert_close(found.detach(), expected.clone())
    assert all(gradient.isfinite().all() for gradient in gradients(layer, found))


def test_numbers_of_a_plain_tensor_are_part_of_what_is_captured() -> None:
    class Holds(Cell):
        def __init__(self, factor: float) -> None:
            super().__init__(h=3)
            self.factor = torch.full((3,), factor)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(x + self.factor * h)
            return h, h

    xs = torch.randn(4, 2, 3)
    cells = [Holds(0.5), Holds(2.0)]
    for _ in range(2):
        for cell in cells:
            torch.testing.assert_close(Unrolls(cell)(xs), Unrolls(cell, "eager")(xs))
            cell.factor.add_(1)


class Rows(torch.utils.data.Dataset[Tensor]):
    """Runs a cell for every item, in whatever process that is."""

    def __init__(self) -> None:
        self.layer = Unrolls(zoo.GRU(3, 5), "llvm")

    def __len__(self) -> int:
        return 4

    def __getitem__(self, item: int) -> Tensor:
        return self.layer(torch.full((5, 4, 3), float(item))).detach()


def test_forked_workers_of_a_loader_run_a_cell() -> None:
    rows, threads = Rows(), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        expected = [rows[item] for item in range(4)]  # in the threads that a fork leaves behind
        loader = torch.utils.data.DataLoader(
            rows, batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60
        )
        torch.testing.assert_close(list(loader), expected)
    finally:
        torch.set_num_threads(threads)


KEPT: list[object] = []  # freed with a model's buckets, a group may wait for ever


def train_a_share(rank: int, store: str, layer: nn.Module, xs: Tensor) -> None:
    """Hold the gradients of one of two processes to those of the whole batch."""
    file = torch.distributed.FileStore(store, 2)  # pyright: ignore[reportPrivateImportUsage]
    torch.distributed.init_process_group("gloo", store=file, rank=rank, world_size=2)
    KEPT.append(torch.distributed.group.WORLD)
    try:
        alone = copy.deepcopy(layer)
        alone(xs).square().mean().backward()
        shared = nn.parallel.DistributedDataParallel(layer)
        shared(xs.chunk(2, 1)[rank]).square().mean().backward()
        for own, expected in zip(layer.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(own.grad, expected.grad)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_find_the_gradients_of_one(tmp_path: Path) -> None:
    given = (str(tmp_path / "store"), First(unrolled.LSTM(3, 5)), torch.randn(4, 6, 3))
    start_processes(train_a_share, given, 2, start_method="fork")
