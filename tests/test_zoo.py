import math

import pytest
import torch
from torch import Tensor, nn

from unrolled.backends import BACKENDS
from unrolled.cell import Cell
from unrolled.recurrence import unroll
from unrolled.testing import LAWS, check_law, prepare
from unrolled.zoo import CELLS, GRU, LSTM, LSTMP, Elman


def build(name: str) -> nn.Module:
    return CELLS[name](3, 5)


DTYPES = {"float32": torch.float32, "float64": torch.float64}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("law", LAWS)
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
}


@pytest.mark.parametrize("law", ["loop", "equations"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_law_of_a_variant(variant: str, law: str) -> None:
    subject = prepare(VARIANTS[variant], 3, "eager", torch.float64)
    assert check_law(law, subject).verdict == "holds"


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_says_where_it_comes_from(cell: str) -> None:
    docstring = " ".join((CELLS[cell].__doc__ or "").split())
    assert "arXiv:" in docstring or "doi:" in docstring
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

    ys, last = unroll(cell, xs, state)
    expected, end = reference(xs, given if len(state) == 2 else state["h"][None])
    ends = end if len(state) == 2 else (end,)

    torch.testing.assert_close(ys, expected)
    torch.testing.assert_close(tuple(last.values()), tuple(value[0] for value in ends))
    gradient, by_torch = (torch.autograd.grad(y.square().sum(), xs)[0] for y in (ys, expected))
    torch.testing.assert_close(gradient, by_torch)


def recurrent_matrices(cell: str) -> list[Tensor]:
    found = [p for n, p in build(cell).named_parameters() if n[0] == "U" and n.endswith("weight")]
    return [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T for matrix in found]


@pytest.mark.parametrize("cell", [name for name in CELLS if recurrent_matrices(name)])
def test_a_recurrent_matrix_starts_orthogonal(cell: str) -> None:
    for matrix in recurrent_matrices(cell):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(matrix.shape[0]))


@pytest.mark.parametrize("cell", ["LSTM", "LSTMP"])
def test_the_forget_gate_starts_open(cell: str) -> None:
    biases = {n: p for n, p in build(cell).named_parameters() if n.endswith("bias")}
    opened = {name for name, bias in biases.items() if (bias == 1).all()}
    closed = {name for name, bias in biases.items() if (bias == 0).all()}
    assert opened == {"W_f.bias"}
    assert len(closed) == 7


def test_an_input_matrix_starts_as_glorot_and_bengio_say() -> None:
    weight: Tensor = GRU(300, 200).W_n.weight
    limit = math.sqrt(6 / (300 + 200))
    assert 0.99 * limit < weight.abs().max().item() <= limit
    assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_a_projection_is_half_of_the_hidden_size_unless_given() -> None:
    assert LSTMP(3, 1).states == {"h": (1,), "c": (1,)}
    assert LSTMP(3, 9).states == {"h": (4,), "c": (9,)}
    assert LSTMP(3, 9, 2).states == {"h": (2,), "c": (9,)}
