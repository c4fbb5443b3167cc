import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from unrolled.cell import Cell
from unrolled.errors import BackendError, ShapeError
from unrolled.layers import torch_nn as ours

TIME, BATCH, INPUTS, HIDDEN = 6, 3, 4, 5
LENGTHS = {"packed": [6, 4, 1], "unsorted": [4, 6, 1]}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}),
    "LSTM-projected": ("LSTM", {"proj_size": 2}),
    "GRU": ("GRU", {}),
}
FORMS = ["padded", "batch-first", "packed", "unsorted", "single", "single-batch-first"]
kinds = pytest.mark.parametrize("kind", KINDS)


def pair(kind: str, **settings: Any) -> tuple[Any, Any]:
    """Give torch.nn's layer and ours, made by the same call after the same seed."""
    name, extra = KINDS[kind]
    made = []
    for package in (nn, ours):
        torch.manual_seed(1)
        made.append(getattr(package, name)(INPUTS, HIDDEN, **extra, **settings))
    return made[0], made[1]


def example(form: str, dtype: torch.dtype) -> Any:
    shape = (TIME,) if form.startswith("single") else (TIME, BATCH)
    xs = torch.randn(*shape, INPUTS, dtype=dtype)
    if form in LENGTHS:
        return pack_padded_sequence(xs, LENGTHS[form], enforce_sorted=form == "packed")
    return xs.transpose(0, 1) if form == "batch-first" else xs


def first_state(layer: Any, form: str, dtype: torch.dtype) -> Any:
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    batch = () if form.startswith("single") else (BATCH,)
    h = torch.randn(rows, *batch, layer.proj_size or HIDDEN, dtype=dtype)
    return (h, torch.randn(rows, *batch, HIDDEN, dtype=dtype)) if layer.mode == "LSTM" else h


def leaves(value: Any) -> list[Tensor]:
    """Give the tensors of an input, a state or a result, one after the other."""
    if value is None:
        return []
    if isinstance(value, PackedSequence):
        return [value.data]
    return [value] if isinstance(value, Tensor) else [leaf for v in value for leaf in leaves(v)]


def everything(layer: Any, xs: Any, hx: Any) -> list[Tensor]:
    """Run a layer; give its outputs, its last state and the gradient of all that it read."""
    read = [t.requires_grad_() for t in leaves(xs) + leaves(hx)] + list(layer.parameters())
    results = leaves(layer(xs, hx))
    generator = torch.Generator().manual_seed(2)
    weights = [torch.rand(r.shape, generator=generator, dtype=r.dtype) for r in results]
    return results + list(torch.autograd.grad(results, read, weights))


def assert_same(got: list[Tensor], expected: list[Tensor]) -> None:
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        torch.testing.assert_close(g, e, rtol=TOLERANCE[e.dtype], atol=TOLERANCE[e.dtype])


def check_parity(kind: str, form: str, dtype: torch.dtype, *, given: bool, **settings: Any) -> None:
    theirs, mine = pair(kind, batch_first=form.endswith("batch-first"), dtype=dtype, **settings)
    torch.manual_seed(3)
    xs, hx = example(form, dtype), first_state(theirs, form, dtype) if given else None
    assert_same(everything(mine, xs, hx), everything(theirs, xs, hx))


@kinds
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "layers, bidirectional, bias, given",
    [
        (1, False, True, False),
        (1, True, False, True),
        (2, True, True, True),
    ],
    ids=["1-layer", "both-ways-no-bias-hx", "2-layers-both-ways-hx"],
)
def test_outputs_states_and_all_gradients_are_those_of_torch(
    kind, form, layers, bidirectional, bias, given
):
    settings = {"num_layers": layers, "bidirectional": bidirectional, "bias": bias}
    check_parity(kind, form, torch.float64, given=given, **settings)


@kinds
@pytest.mark.parametrize("form", FORMS)
def test_float32_agrees_too(kind, form):
    check_parity(kind, form, torch.float32, given=True, bidirectional=True)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_evaluation_mode_has_the_same_gradients(kind):
    theirs, mine = pair(kind, num_layers=2, dropout=0.5, dtype=torch.float64)
    xs = example("padded", torch.float64)
    assert_same(everything(mine.eval(), xs, None), everything(theirs.eval(), xs, None))


@kinds
@pytest.mark.parametrize("form", ["padded", "batch-first", "packed", "unsorted"])
def test_the_same_seed_drops_the_same_elements(kind, form):
    settings = {"num_layers": 3, "dropout": 0.4, "bidirectional": True, "dtype": torch.float64}
    theirs, mine = pair(kind, batch_first=form == "batch-first", **settings)
    xs = example(form, torch.float64)
    results = []
    for layer in (mine, theirs):
        torch.manual_seed(4)
        results.append(everything(layer, xs, None))
    assert_same(*results)


@pytest.mark.parametrize("form", ["packed", "unsorted"])
def test_packed_results_are_in_the_order_of_the_caller(form):
    theirs, mine = pair("GRU")
    packed = example(form, torch.float32)
    (got, _), (expected, _) = mine(packed), theirs(packed)
    assert torch.equal(got.batch_sizes, expected.batch_sizes)
    assert got.sorted_indices is packed.sorted_indices
    assert got.unsorted_indices is packed.unsorted_indices


@kinds
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_the_same_seed_gives_the_same_parameters_and_states_load_both_ways(kind, bias):
    theirs, mine = pair(kind, num_layers=2, bidirectional=True, bias=bias)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(mine.state_dict()[name], value), name
    mine(torch.zeros(TIME, BATCH, INPUTS))  # what a call leaves behind is no state either
    assert not list(mine.children())
    for source, target in [(mine, theirs), (theirs, mine)]:
        nn.init.normal_(source.weight_hh_l0)
        target.load_state_dict(source.state_dict(), strict=True)
        assert torch.equal(target.weight_hh_l0, source.weight_hh_l0)
    assert [[w.shape for w in row] for row in mine.all_weights] == [
        [w.shape for w in row] for row in theirs.all_weights
    ]


@kinds
def test_it_prints_as_the_class_of_torch(kind):
    theirs, mine = pair(kind, num_layers=2, batch_first=True)
    assert isinstance(mine, nn.RNNBase)
    assert repr(mine) == repr(theirs)


def test_a_copy_runs_on_its_own_weights():
    _, mine = pair("LSTM")
    xs = torch.randn(TIME, BATCH, INPUTS)
    twin = copy.deepcopy(mine)
    before = mine(xs)[0]
    nn.init.zeros_(twin.weight_ih_l0)
    assert torch.equal(mine(xs)[0], before)
    assert not torch.equal(twin(xs)[0], before)


def test_weights_lent_by_a_functional_call_are_the_ones_that_run():
    theirs, mine = pair("GRU", num_layers=2)
    xs = torch.randn(TIME, BATCH, INPUTS, dtype=torch.float64)
    other = {name: value.double() + 0.1 for name, value in theirs.state_dict().items()}
    expected, got = (torch.func.functional_call(m, other, (xs,))[0] for m in (theirs, mine))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("double", [False, True], ids=["float32", "double"])
def test_tied_matrices_receive_both_gradients(double):
    theirs, mine = (layer.double() if double else layer for layer in pair("GRU", num_layers=2))
    for layer in (theirs, mine):
        layer.weight_hh_l1 = layer.weight_hh_l0
    assert len(list(mine.parameters())) == 7
    xs = example("padded", torch.float64 if double else torch.float32)
    assert_same(everything(mine, xs, None), everything(theirs, xs, None))


@pytest.mark.parametrize("normed", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_norm_of_the_recurrent_matrix_acts_and_receives_gradients(normed):
    theirs, mine = pair("LSTM", dtype=torch.float64)
    xs = example("padded", torch.float64)
    results = []
    for layer in (mine, theirs):
        torch.manual_seed(6)
        results.append(everything(normed(layer, "weight_hh_l0"), xs, None))
    assert_same(*results)


@pytest.mark.parametrize("kind", ["LSTM-projected", "GRU"])
def test_finite_differences_agree_with_the_gradients(kind):
    torch.manual_seed(7)
    name, extra = KINDS[kind]
    layer = getattr(ours, name)(2, 3, bidirectional=True, dtype=torch.float64, **extra)
    xs = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)

    def run(xs: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
        packed, hx = layer(pack_padded_sequence(xs, [3, 2]))
        return packed.data, *leaves(hx)

    assert torch.autograd.gradcheck(run, (xs, *layer.parameters()), fast_mode=True)


@pytest.mark.parametrize(
    "xs, hx",
    [
        (torch.zeros(1, 2, 3, INPUTS), None),
        (torch.zeros(INPUTS), None),
        (torch.zeros(TIME, BATCH, INPUTS + 1), None),
        (torch.zeros(TIME, BATCH, INPUTS, dtype=torch.float64), None),
        (torch.zeros(TIME, BATCH, INPUTS), torch.zeros(1, HIDDEN)),
        (torch.zeros(TIME, INPUTS), torch.zeros(1, 1, HIDDEN)),
        (torch.zeros(TIME, BATCH, INPUTS), torch.zeros(2, BATCH, HIDDEN)),
        (torch.zeros(TIME, BATCH, INPUTS), torch.zeros(1, BATCH + 1, HIDDEN)),
    ],
    ids="4-D 1-D features dtype hx-2-D hx-3-D hx-layers hx-batch".split(),
)
@pytest.mark.parametrize("kind", ["tanh", "LSTM", "GRU"])
def test_what_torch_refuses_is_refused_with_its_error(kind, xs, hx):
    theirs, mine = pair(kind)
    hx = (hx, hx) if kind == "LSTM" and hx is not None else hx
    with pytest.raises((RuntimeError, ValueError)) as expected:
        theirs(xs, hx)
    with pytest.raises(expected.type) as got:
        mine(xs, hx)
    assert str(got.value) == str(expected.value)


@pytest.mark.parametrize("kind", ["tanh", "LSTM", "GRU"])
@pytest.mark.parametrize("features, batch", [(INPUTS + 1, 2), (INPUTS, 3)], ids=["input", "hx"])
def test_packed_sequences_that_torch_refuses_are_refused(kind, features, batch):
    hx = torch.zeros(1, batch, HIDDEN)
    packed = pack_padded_sequence(torch.zeros(2, 2, features), [2, 1])
    for layer in pair(kind):
        with pytest.raises(RuntimeError):
            layer(packed, (hx, hx) if kind == "LSTM" else hx)


def test_last_states_have_memory_of_their_own() -> None:
    layer, xs, first = ours.GRU(3, 5), torch.randn(4, 2, 3), torch.ones(1, 2, 5)
    ys, last = layer(xs, first)
    last.detach_()  # as between the stretches of truncated backpropagation
    last.zero_()
    assert ys[-1].abs().min() > 0
    ys.sum().backward()
    layer(xs[:0], first)[1].zero_()
    assert torch.equal(first, torch.ones(1, 2, 5))


def test_the_backend_is_the_one_that_the_module_names():
    _, mine = pair("GRU")
    mine.backend = "abacus"
    with pytest.raises(BackendError, match="abacus"):
        mine(torch.zeros(TIME, BATCH, INPUTS))


def test_threads_do_not_mix_up_the_weights_of_layers_of_one_size():
    layers = [ours.GRU(INPUTS, HIDDEN) for _ in range(4)]
    xs = torch.randn(TIME, BATCH, INPUTS)
    expected = [layer(xs)[0] for layer in layers]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            got = list(pool.map(lambda n: layers[n % 4](xs)[0], range(80)))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(ys, expected[n % 4]) for n, ys in enumerate(got))


@kinds
def test_layers_of_tied_parameters_leave_others_of_their_sizes_alone(kind):
    xs = example("padded", torch.float32)
    for tied in (True, False, True):
        theirs, mine = pair(kind)
        for layer in (theirs, mine) if tied else ():
            layer.bias_hh_l0 = layer.bias_ih_l0
        assert_same(everything(mine, xs, None), everything(theirs, xs, None))


def test_a_layer_may_run_another_of_its_sizes_in_a_hook():
    (theirs, mine), other = pair("GRU"), pair("GRU")[1]
    xs = example("padded", torch.float32)
    with torch.no_grad():
        wanted, seen = theirs(xs)[0], []

        def hook(module: nn.Module, *_: object) -> None:
            if isinstance(module, Cell) and not seen:
                seen.append(module)
                other(xs)

        handle = nn.modules.module.register_module_forward_hook(hook)
        try:
            mine.backend = "eager"
            torch.testing.assert_close(mine(xs)[0], wanted)
        finally:
            handle.remove()
    assert seen


@pytest.mark.parametrize("backend", ["auto", "eager", "torch"])
@pytest.mark.parametrize("rows", [-1, 1])
def test_a_parameter_of_another_shape_is_refused_and_named(rows, backend):
    good, bad = pair("LSTM")[1], pair("LSTM")[1]
    xs = example("padded", torch.float32)
    bad.backend = good.backend = backend
    bad.bias_hh_l0 = nn.Parameter(torch.zeros(len(bad.bias_hh_l0) + rows))
    with pytest.raises(ShapeError, match="bias_hh_l0 has shape"):
        bad(xs)
    good(xs)


def test_stacked_matrices_are_cut_once_for_a_loop(monkeypatch):
    layer, chunk, cut = pair("LSTM")[1], Tensor.chunk, []
    monkeypatch.setattr(Tensor, "chunk", lambda self, n: cut.append(n) or chunk(self, n))
    layer.backend = "eager"
    layer(torch.zeros(9, 2, layer.input_size))
    assert cut == [4, 4, 4, 4]
