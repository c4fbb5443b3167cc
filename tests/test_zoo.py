import math
import os
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from unrolled.backends import BACKENDS
from unrolled.cell import Cell
from unrolled.compiled import CACHE
from unrolled.compiler import trace
from unrolled.compiler.classify import Recurrence, classify
from unrolled.errors import ConfigError
from unrolled.recurrence import unroll
from unrolled.testing import LAWS, check_law, prepare
from unrolled.zoo import (
    CELLS,
    CIFG,
    FAMILIES,
    GRU,
    JANET,
    LSTM,
    LSTMP,
    MGU,
    MGU1,
    MGU2,
    MGU3,
    MUT2,
    RAN,
    RHN,
    SCRN,
    UGRNN,
    ClockworkRNN,
    Elman,
    FastRNN,
    GRUv3,
    IndRNN,
    IntersectionRNN,
    LightRU,
    LipschitzRNN,
    MogrifierLSTM,
    MultiplicativeRNN,
    OriginalLSTM,
    PeepholeLSTM,
)


def build(name: str) -> nn.Module:
    return CELLS[name](3, 5)


DTYPES = {"float32": torch.float32, "float64": torch.float64}

OF_PROGRAMS = {"loop", "gradients"}
OF_ONE_STEP = {"outputs"}
FIRST = {family[0].__name__ for family in FAMILIES}
IN_FLOAT32 = {"LSTM", "RHN", "S6", "DeltaNet"}


def is_tried(law: str, cell: str, backend: str, dtype: str) -> bool:
    """Say what every run of the tests tries; `make laws` tries all.

    In PyTorch, in float64, every cell is held to every law, and its program, on the interpreter, to
    those of values and gradients. The first of a family is held to them as a kernel too; resets
    take another program, which few are held to. A law of one step asks no backend.
    """
    if "UNROLLED_ALL_LAWS" in os.environ:
        return True
    if law in OF_ONE_STEP:
        return backend == "eager" and dtype == "float64"
    if dtype == "float32":
        return backend == "llvm" and cell in IN_FLOAT32 and law in OF_PROGRAMS
    tried: dict[str, bool] = {
        "eager": True,
        "torch": getattr(CELLS[cell], "torch_form", None) is not None,
        "interpreter": law in OF_PROGRAMS,
        "llvm": cell in FIRST and (law != "resets" or cell in IN_FLOAT32),
    }
    return tried[backend]


GRID = [
    pytest.param(*case, id="-".join(case), marks=pytest.mark.xdist_group(f"zoo {case[1]}"))
    for case in product(LAWS, CELLS, BACKENDS, DTYPES)
    if is_tried(*case)
]
"""A cell's cases are one worker's, which captures it once."""


@pytest.mark.parametrize(("law", "cell", "backend", "dtype"), GRID)
def test_law(law: str, cell: str, backend: str, dtype: str) -> None:
    subject = prepare(build(cell), 3, backend, DTYPES[dtype])
    assert check_law(law, subject).verdict == "holds"


VARIANTS = {
    "Elman-relu": Elman(3, 5, activation="relu"),
    "Elman-no-bias": Elman(3, 5, bias=False),
    "LSTM-no-bias": LSTM(3, 5, bias=False),
    "LSTMP-no-bias": LSTMP(3, 5, bias=False),
    "LSTMP-projection-4": LSTMP(3, 5, 4),
    "GRU-no-bias": GRU(3, 5, bias=False),
    "JANET-beta-0.5": JANET(3, 5, beta=0.5),
    "RAN-identity": RAN(3, 5, activation="identity"),
    "IndRNN-tanh": IndRNN(3, 5, activation="tanh"),
    "SCRN-context-4": SCRN(3, 5, context=4, alpha=0.5),
    "RHN-depth-1": RHN(3, 5, depth=1),
    "RHN-depth-5": RHN(3, 5, depth=5),
    "MultiplicativeRNN-factors-7": MultiplicativeRNN(3, 5, factors=7),
    "LipschitzRNN-beta-0.6": LipschitzRNN(3, 5, beta=0.6, gamma=0.5, epsilon=0.5),
    "ClockworkRNN-periods-3-1": ClockworkRNN(3, 5, periods=(3, 1)),
    "MogrifierLSTM-rounds-0": MogrifierLSTM(3, 5, rounds=0),
    "MogrifierLSTM-rounds-2": MogrifierLSTM(3, 5, rounds=2),
}


@pytest.mark.parametrize("law", ["loop", "equations"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_law_of_a_variant(variant: str, law: str) -> None:
    subject = prepare(VARIANTS[variant], 3, "eager", torch.float64)
    assert check_law(law, subject).verdict == "holds"


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_says_where_it_comes_from(cell: str) -> None:
    docstring = " ".join((CELLS[cell].__doc__ or "").split())
    assert any(
        mark in docstring
        for mark in ("arXiv:", "doi:", "https://proceedings.mlr.press/", "https://papers.nips.cc/")
    )
    assert "Departs from the paper" in docstring


PARITY: dict[str, tuple[Cell, nn.RNNBase, str]] = {  # gates in the order of torch.nn
    "Elman": (Elman(3, 5), nn.RNN(3, 5), ""),
    "Elman-relu": (Elman(3, 5, activation="relu"), nn.RNN(3, 5, nonlinearity="relu"), ""),
    "LSTM": (LSTM(3, 5), nn.LSTM(3, 5), "ifgo"),
    "LSTMP": (LSTMP(3, 5, 2), nn.LSTM(3, 5, proj_size=2), "ifgo"),
    "GRU": (GRU(3, 5), nn.GRU(3, 5), "rzn"),
}


def copied(cell: Cell, reference: nn.RNNBase, gates: str) -> Cell:
    """Copy the weights of torch.nn's layer into the matrices of a cell."""
    weights = dict(reference.named_parameters())
    suffixes = [f"_{gate}" for gate in gates] or [""]
    state = {
        f"{matrix}{suffix}.{kind}": part
        for matrix, side in (("W", "ih"), ("U", "hh"))
        for kind in ("weight", "bias")
        for suffix, part in zip(
            suffixes, weights[f"{kind}_{side}_l0"].chunk(len(suffixes)), strict=True
        )
    }
    if "weight_hr_l0" in weights:
        state["P.weight"] = weights["weight_hr_l0"]
    cell.load_state_dict(state)
    return cell


@pytest.mark.parametrize("name", PARITY)
def test_a_cell_agrees_with_torch(name: str) -> None:
    cell, reference, gates = PARITY[name]
    cell, reference = copied(cell, reference, gates).double(), reference.double()
    xs = torch.randn(7, 2, 3, dtype=torch.float64, requires_grad=True)
    state = {name: torch.randn(2, *size).double() for name, size in cell.states.items()}
    given = tuple(value[None] for value in state.values())

    ys, last = unroll(cell, xs, state, backend="eager")
    expected, end = reference(xs, given if len(state) == 2 else state["h"][None])
    ends = end if len(state) == 2 else (end,)

    torch.testing.assert_close(ys, expected)
    torch.testing.assert_close(tuple(last.values()), tuple(value[0] for value in ends))
    gradient, by_torch = (torch.autograd.grad(y.square().sum(), xs)[0] for y in (ys, expected))
    torch.testing.assert_close(gradient, by_torch)


def recurrent_matrices(cell: str) -> list[Tensor]:
    found = [p for n, p in build(cell).named_parameters() if n[0] == "U" and n.endswith("weight")]
    return [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in found]


NORMAL = {"AntisymmetricRNN", "GatedAntisymmetricRNN", "LipschitzRNN"}  # as their papers say


@pytest.mark.parametrize("cell", [n for n in CELLS if n not in NORMAL and recurrent_matrices(n)])
def test_a_recurrent_matrix_starts_orthogonal(cell: str) -> None:
    for matrix in recurrent_matrices(cell):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(matrix.shape[0]))


@pytest.mark.parametrize("cell", sorted(NORMAL))
def test_a_matrix_of_a_flow_starts_normal(cell: str) -> None:
    matrices = [p for n, p in CELLS[cell](200, 300).named_parameters() if n.endswith("weight")]
    for matrix in matrices:
        assert matrix.std().item() == pytest.approx(matrix.shape[1] ** -0.5, rel=0.02)


OPEN = {  # the biases that start at 1
    "LSTM": {"W_f.bias"},
    "LSTMP": {"W_f.bias"},
    "PeepholeLSTM": {"W_f.bias"},
    "CIFG": {"W_f.bias"},
    "JANET": {"W_f.bias"},
    "RAN": {"W_f.bias"},
    "UGRNN": {"W_g.bias"},
    "IntersectionRNN": {"W_y.bias", "W_h.bias"},
    "CFN": {"W_theta.bias"},
    "FastGRNN": {"b_z", "b_n"},
    "BRC": {"u_a", "u_c"},
    "MultiplicativeLSTM": {"W_f.bias"},
    "WMCLSTM": {"W_f.bias"},
    "MogrifierLSTM": {"W_f.bias"},
    "LayerNormLSTM": {"w", "u", "v"},
    "S6": {"skip"},
}
ELSEWHERE = {  # the biases and numbers that start at another number
    "CFN": {"W_eta.bias": -1.0},
    "FastRNN": {"alpha": -3.0, "beta": 3.0},
    "FastGRNN": {"zeta": 1.0, "nu": -4.0},
    "RHN": {"W_t.bias": -2.0, "U_t_2.bias": -2.0, "U_t_3.bias": -2.0},
    "MatrixLSTM": {"W_f.bias": 3.0},
}
DRAWN = {  # what starts at numbers of many kinds: drawn at random, or spread out
    "IndRNN": {"u"},
    "ExpRNN": {"c"},
    "LayerNormLSTM": {"b"},
    "UnICORNN": {"u", "c"},
    "SRU": {"v_f", "v_r"},
    "ParaGRU": {"a_z", "a_r", "a_n"},
    "ParaLSTM": {"a_f", "c_f", "a_n", "a_o", "c_o"},
    "LRU": {"nu", "theta", "gamma"},
    "RGLRU": {"decay"},
    "HGRN": {"theta"},
    "S6": {"W_d.bias"},
    "RWKV4": {"mu_r", "mu_k", "mu_v", "w", "u"},
    "GatedDeltaNet": {"rate", "W_a.bias"},
    "MatrixLSTM": {"W_i.bias"},
    "ScalarLSTM": {"W_f.bias"},
}


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_no_matrix_starts_as_its_paper_says(cell: str) -> None:
    flat = {n: p for n, p in build(cell).named_parameters() if p.dim() < 2}
    flat = {name: p for name, p in flat.items() if name not in DRAWN.get(cell, ())}
    ones = dict.fromkeys(OPEN.get(cell, ()), 1.0)
    expected = dict.fromkeys(flat, 0.0) | ones | ELSEWHERE.get(cell, {})
    assert expected.keys() == flat.keys()
    for name, start in expected.items():
        assert (flat[name] == start).all(), name


def test_the_memory_of_a_janet_reaches_as_far_as_it_is_told() -> None:
    biases = JANET(3, 2000, longest=100).W_f.bias.exp()
    assert 1 <= biases.min().item() < 1.5
    assert 98.5 < biases.max().item() < 99.001
    assert biases.mean().item() == pytest.approx(50, rel=0.05)


def test_a_dependency_of_two_steps_is_too_short() -> None:
    with pytest.raises(ConfigError, match="the longest dependency is 2 steps: give at least 3"):
        JANET(3, 5, longest=2)


def test_an_input_matrix_starts_as_glorot_and_bengio_say() -> None:
    weight: Tensor = GRU(300, 200).W_n.weight
    limit = math.sqrt(6 / (300 + 200))
    assert 0.99 * limit < weight.abs().max().item() <= limit
    assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_a_projection_is_half_of_the_hidden_size_unless_given() -> None:
    assert LSTMP(3, 1).states == {"h": (1,), "c": (1,)}
    assert LSTMP(3, 9).states == {"h": (4,), "c": (9,)}
    assert LSTMP(3, 9, 2).states == {"h": (2,), "c": (9,)}


def test_an_intersection_network_keeps_the_width_of_its_input() -> None:
    assert IntersectionRNN(3, 5).states == {"h": (5,)}
    assert IntersectionRNN(3, 5).outputs == 3


OPENED = 100.0  # as a bias: a gate that is 1

# A cell is another with these parameters: the other's, but for their names or sign, or a number.
# Those that the other lacks are 0.
RELATED: dict[str, tuple[Cell, Cell, dict[str, str | float]]] = {
    "PeepholeLSTM-LSTM": (PeepholeLSTM(3, 5), LSTM(3, 5, bias=False), {}),
    "LSTM-CIFG": (LSTM(3, 5), CIFG(3, 5), {"W_i": "-W_f", "U_i": "-U_f"}),
    "LSTM-OriginalLSTM": (LSTM(3, 5), OriginalLSTM(3, 5), {"W_f.bias": OPENED}),
    "MUT2-GRUv3": (
        MUT2(3, 5),
        GRUv3(3, 5),
        {"W_z": "-W_z", "U_z": "-U_z", "U_r.bias": "W_r.bias"},
    ),
    "GRUv3-LightRU": (GRUv3(3, 5), LightRU(3, 5), {"W_z": "-W_f", "U_z": "-U_f"}),
    "MGU-MGU1": (MGU(3, 5), MGU1(3, 5), {"W_f.bias": "U_f.bias"}),
    "MGU-MGU2": (MGU(3, 5), MGU2(3, 5), {}),
    "MGU-MGU3": (MGU(3, 5), MGU3(3, 5), {"W_f.bias": "b_f"}),
    "UGRNN-JANET": (
        UGRNN(3, 5),
        JANET(3, 5, beta=0.0),
        {"W_g": "W_f", "U_g": "U_f", "W_c": "W_g", "U_c": "U_g"},
    ),
    "FastRNN-Elman": (
        FastRNN(3, 5),
        Elman(3, 5, bias=False),
        {"alpha": OPENED, "beta": -OPENED},
    ),
}


def taken(name: str, own: dict[str, Tensor], given: dict[str, str | float]) -> Tensor:
    """Give a parameter of the one cell by those of the other."""
    stem, dot, kind = name.partition(".")
    source = given.get(name, f"{given.get(stem, stem)}{dot}{kind}")
    if not isinstance(source, str):
        return torch.tensor(source)
    found = own.get(source.removeprefix("-"), torch.zeros(()))
    return -found if source.startswith("-") else found


@pytest.mark.parametrize("relation", RELATED)
def test_a_cell_with_these_parameters_is_another(relation: str) -> None:
    general, special, given = RELATED[relation]
    general, special = general.double(), prepare(special, 3, "eager", torch.float64).cell
    own = {name: parameter.detach() for name, parameter in special.named_parameters()}
    with torch.no_grad():
        for name, parameter in general.named_parameters():
            parameter.copy_(taken(name, own, given))
    xs = torch.randn(7, 2, 3, dtype=torch.float64)

    ys, _ = unroll(general, xs, backend="eager")
    expected, _ = unroll(special, xs, backend="eager")

    torch.testing.assert_close(ys, expected)


SOLVED: dict[str, Recurrence] = {  # cells that a solver may one day run faster than step by step
    "IndRNN": Recurrence.NONLINEAR,
    "BRC": Recurrence.NONLINEAR,
    "UnICORNN": Recurrence.NONLINEAR,
    "TRNN": Recurrence.LINEAR,
    "TGRU": Recurrence.LINEAR,
    "TLSTM": Recurrence.LINEAR,
    "NBRC": Recurrence.MIXING,
    "QRNN": Recurrence.LINEAR,
    "SRU2017": Recurrence.LINEAR,
    "SRU": Recurrence.NONLINEAR,
    "MinGRU": Recurrence.LINEAR,
    "MinLSTM": Recurrence.LINEAR,
    "ParaGRU": Recurrence.NONLINEAR,
    "ParaLSTM": Recurrence.NONLINEAR,
    "LRU": Recurrence.LINEAR,
    "RGLRU": Recurrence.LINEAR,
    "HGRN": Recurrence.LINEAR,
    "S6": Recurrence.LINEAR,
    "RWKV4": Recurrence.NONLINEAR,
    "RetNet": Recurrence.LINEAR,
    "GLA": Recurrence.LINEAR,
    "DeltaNet": Recurrence.MIXING,
    "GatedDeltaNet": Recurrence.MIXING,
    "MatrixLSTM": Recurrence.MIXING,
    "ScalarLSTM": Recurrence.MIXING,
}


@pytest.mark.parametrize(
    "cell", [pytest.param(cell, marks=pytest.mark.xdist_group(f"zoo {cell}")) for cell in SOLVED]
)
def test_class(cell: str) -> None:
    subject = prepare(build(cell), 3, "interpreter", torch.float64).cell
    like = torch.zeros(2, 7, 3, dtype=torch.float64)
    state = tuple(subject.initial_state(7, dtype=torch.float64).values())
    compiled = CACHE.get(subject, trace(subject).structure, like, state, {})
    assert classify(compiled.lowered.program) is SOLVED[cell]


def test_a_highway_carries_at_first() -> None:
    biases = {n: b for n, b in RHN(3, 5, depth=2).named_parameters() if n.endswith("bias")}
    assert {n: b.unique().tolist() for n, b in biases.items()} == {
        "W_n.bias": [0.0],
        "W_t.bias": [-2.0],
        "U_n_2.bias": [0.0],
        "U_t_2.bias": [-2.0],
    }


def test_neurons_of_a_clockwork_move_at_their_periods() -> None:
    cell = ClockworkRNN(3, 4, periods=(1, 3))
    ys, last = unroll(cell, torch.randn(7, 1, 3), backend="eager")
    moves = (ys[1:] != ys[:-1])[:, 0]
    assert moves[:, :2].all()
    assert [step.any().item() for step in moves[:, 2:]] == [False, False, True, False, False, True]
    assert last["t"].item() == 7


def test_a_fast_neuron_of_a_clockwork_is_hidden_from_slow_ones() -> None:
    cell = ClockworkRNN(3, 4, periods=(1, 3))
    assert (cell.U_slower[2:, :2] == 0).all()
    assert (cell.U_slower != 0).sum() == 12


def test_a_mogrifier_without_rounds_is_an_lstm() -> None:
    plain, cell = LSTM(3, 5), MogrifierLSTM(3, 5, rounds=0)
    cell.load_state_dict(plain.state_dict(), strict=False)
    xs = torch.randn(7, 2, 3)
    found, wanted = (unroll(c, xs, backend="eager")[0] for c in (cell, plain))
    torch.testing.assert_close(found, wanted)


WRONG: dict[str, tuple[Callable[[], Cell], str]] = {
    "depth": (lambda: RHN(3, 5, depth=0), "^RHN has depth 0: it needs a layer"),
    "no-periods": (
        lambda: ClockworkRNN(3, 5, periods=()),
        "^ClockworkRNN has periods \\(\\): give",
    ),
    "period-0": (
        lambda: ClockworkRNN(3, 5, periods=(1, 0)),
        "^ClockworkRNN has periods \\(1, 0\\)",
    ),
    "rounds": (lambda: MogrifierLSTM(3, 5, rounds=-1), "^MogrifierLSTM has -1 rounds: expected 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_size_that_makes_no_cell_is_named(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(ConfigError, match=message):
        make()
