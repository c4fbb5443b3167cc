import re

import numpy as np
import pytest
import torch
from torch import nn

from unrolled.cell import Cell
from unrolled.equations import Equation, equations, evaluate
from unrolled.errors import ConfigError

A, B = np.array([[0.5, -1.0]]), np.array([[2.0, 3.0]])


class Parts(Cell):
    """Has one of everything that an equation can name."""

    def __init__(self) -> None:
        super().__init__(a=2, b=2)
        self.W, self.U = nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
        self.W_f = nn.Linear(2, 2)
        self.M = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        self.v = nn.Parameter(torch.tensor([10.0, 20.0]))
        self.b_v = nn.Parameter(torch.tensor([7.0, 7.0]))
        self.rate = 0.25
        self.act, self.layer, self.none = torch.tanh, nn.ReLU(), nn.Identity()


def stated(docstring: str, kind: type[Cell] = Parts) -> Cell:
    return type("Stated", (kind,), {"__doc__": docstring})()


def value(expression: str) -> np.ndarray:
    """Compute one expression over x = [1, 2], a = [0.5, -1] and b = [2, 3]."""
    cell = stated(f"A cell.\n\n    a' = {expression}\n    b' = b\n")
    cell.load_state_dict(Parts().state_dict())
    return evaluate(cell, np.array([[1.0, 2.0]]), {"a": A, "b": B})["a"]


VALUES = [
    ("a + b - 1", A + B - 1),
    ("a - b - b", A - B - B),
    ("a / b / 2", A / B / 2),
    ("a + b * a", A + B * A),
    ("(a + b) * a", (A + B) * A),
    ("-a * b", -A * B),
    ("2 - -a", 2 + A),
    ("b ^ 2 * a", B**2 * A),
    ("-b ^ 2", -(B**2)),
    ("2 ^ -a", 2**-A),
    ("1e-3 * a + 0.5", 1e-3 * A + 0.5),
    ("rate * a", 0.25 * A),
    ("v * a", np.array([[5.0, -20.0]])),
    ("M x", np.array([[5.0, 11.0]])),
    ("M^T x", np.array([[7.0, 10.0]])),
    ("M M x", np.array([[27.0, 59.0]])),
    ("M (a * b)", np.array([[-5.0, -9.0]])),
    ("M b ^ 2", np.array([[22.0, 48.0]])),
    ("a * M b + b", A * np.array([[8.0, 18.0]]) + B),
    ("b_v + a", 7 + A),
    ("d + a", A),
    ("sigmoid(a)", 1 / (1 + np.exp(-A))),
    ("softplus(a)", np.log1p(np.exp(A))),
    ("logsigmoid(a)", np.log(1 / (1 + np.exp(-A)))),
    ("relu(a) + abs(a)", np.maximum(A, 0) + np.abs(A)),
    ("max(a, 0) + min(a, b)", np.maximum(A, 0) + np.minimum(A, B)),
    ("silu(a)", A / (1 + np.exp(-A))),
    ("identity(a)", A),
    ("unit(b)", B / np.sqrt(13)),
    ("act(a)", np.tanh(A)),
    ("layer(a)", np.maximum(A, 0)),
    ("none(a)", A),
    ("exp(log(sqrt(b)))", np.sqrt(B)),
    ("floor(b / 2) + round(a * 0.9)", np.array([[1.0, 0.0]])),
    ("layernorm(b)", np.array([[-1.0, 1.0]]) / np.sqrt(1 + 4e-5)),
    ("part(b, 1, 2) * part(b, 0, 2) + a", 6 + A),
]


@pytest.mark.parametrize(("expression", "expected"), VALUES, ids=[row[0] for row in VALUES])
def test_an_expression_has_its_value(expression: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(value(expression), expected, rtol=1e-12)


def test_a_matrix_and_its_bias_are_those_of_the_linear() -> None:
    cell = stated("A cell.\n\n    a' = W x + b_f\n    b' = W_f x + d\n")
    x = torch.randn(3, 2)
    new = evaluate(cell, x.numpy(), {"a": np.zeros((3, 2)), "b": np.zeros((3, 2))})
    with torch.no_grad():
        a, b = x @ cell.W.weight.T + cell.W_f.bias, x @ cell.W_f.weight.T  # pyright: ignore
    np.testing.assert_allclose(new["a"], a, rtol=1e-6)
    np.testing.assert_allclose(new["b"], b, rtol=1e-6)


class Matrices(Cell):
    """Has a matrix of two heads for a state, and a number and a matrix for each head."""

    def __init__(self) -> None:
        super().__init__(S=(2, 2, 3), h=4)
        self.heads = 2
        self.R = nn.Parameter(torch.randn(2, 3, 2))
        self.rate = nn.Parameter(torch.randn(2, 1, 1))


PER_HEAD = {  # an expression, and the same by einsum
    "S k": ("bnij,bnj->bni", ("S", "k")),
    "S^T v": ("bnij,bni->bnj", ("S", "v")),
    "v k^T": ("bni,bnj->bnij", ("v", "k")),
    "v^T v": ("bni,bni->bn", ("v", "v")),
    "a * S": ("bn,bnij->bnij", ("a", "S")),
    "v * S": ("bni,bnij->bnij", ("v", "S")),
    "S * rate": ("bnij,nxy->bnij", ("S", "rate")),
    "a * v k^T": ("bn,bni,bnj->bnij", ("a", "v", "k")),
    "(v - v + S k) k^T": ("bnij,bnj,bnk->bnik", ("S", "k", "k")),
    "split(R h, heads)": ("bni,noi->bno", ("v", "R")),
}


@pytest.mark.parametrize("expression", PER_HEAD)
def test_a_head_has_a_matrix_of_its_own(expression: str) -> None:
    random = np.random.default_rng(0)
    given = {"S": random.normal(size=(5, 2, 2, 3)), "h": random.normal(size=(5, 4))}
    x = random.normal(size=(5, 6))
    lines = "    v = split(h, heads)\n    k = split(x, heads)\n    a = v^T v\n"
    lines += f"    y = flat({expression})\n    S' = S\n    h' = h\n"
    cell = stated(f"A cell.\n\n{lines}", Matrices)
    v, k = given["h"].reshape(5, 2, 2), x.reshape(5, 2, 3)
    known = {"v": v, "k": k, "a": (v * v).sum(-1), "S": given["S"]}
    known |= {n: p.detach().double().numpy() for n, p in cell.named_parameters()}
    formula, names = PER_HEAD[expression]
    expected = np.einsum(formula, *(known[name] for name in names)).reshape(5, -1)
    np.testing.assert_allclose(evaluate(cell, x, given)["y"], expected)


def test_a_name_with_a_prime_is_the_new_state_and_without_it_the_old() -> None:
    cell = stated("A cell.\n\n    a' = a + 1\n    n = a + a'\n    b' = n\n")
    new = evaluate(cell, A, {"a": A, "b": B})
    np.testing.assert_allclose(new["b"], 2 * A + 1)


def test_the_output_is_the_first_state_unless_a_line_gives_it() -> None:
    silent = stated("A cell.\n\n    b' = b\n    a' = a\n")
    spoken = stated("A cell.\n\n    b' = b\n    a' = a\n    y = 2 * b'\n")
    np.testing.assert_array_equal(evaluate(silent, A, {"a": A, "b": B})["y"], A)
    np.testing.assert_array_equal(evaluate(spoken, A, {"a": A, "b": B})["y"], 2 * B)


def test_a_line_that_gives_no_name_continues_the_one_before() -> None:
    cell = stated(
        "A cell.\n\n    a' = a\n         + b\n\n    b' = b\n\nMore = words.\n\n    c = 1\n"
    )
    assert equations(cell) == [Equation("a'", "a + b"), Equation("b'", "b")]


def test_lines_under_a_for_stand_once_for_each_number() -> None:
    cell = stated(
        "A cell.\n\n    s = a\n    for l = 2 .. depth:\n        s = s + M_l s\n           + v_l\n"
        "    for k = 1 .. 0:\n        s = M_k s\n    a' = s\n    b' = b\n\nMore."
    )
    vars(cell)["depth"] = 3
    lines = [str(line) for line in equations(cell)]
    assert lines == ["s = a", "s = s + M_2 s + v_2", "s = s + M_3 s + v_3", "a' = s", "b' = b"]


def test_the_end_of_a_for_is_a_whole_number_of_the_cell() -> None:
    cell = stated("A cell.\n\n    for l = 1 .. rate:\n        a' = a\n    b' = b\n")
    with pytest.raises(ConfigError, match="^the docstring of Stated has 'for l = 1 .. rate:': exp"):
        equations(cell)


@pytest.mark.parametrize(
    "docstring",
    [None, "", "One line.", "One line.\n\nMore words.\n", "One line.\n\nArgs:\n    n: a size.\n"],
    ids=["none", "empty", "one-line", "paragraphs", "arguments"],
)
def test_a_docstring_without_a_block_states_nothing(docstring: str | None) -> None:
    assert equations(type("Silent", (Parts,), {"__doc__": docstring})()) == []


WRONG = [
    ("a b", "'b' follows a value in \"a' = a b\": expected an operator between the two"),
    ("a +", 'the end stands where a value should in "a\' = a +": expected a name, a number'),
    ("a * / b", "'/' stands where a value should in \"a' = a * / b\": expected a name, a"),
    ("(a + b", 'the end stands where ) should in "a\' = (a + b": expected )'),
    ("a)", "')' follows a value in \"a' = a)\": expected an operator between the two"),
    ("c * a", 'c is unknown in "a\' = c * a": expected x, a state, an earlier line'),
    ("b'", "b' is unknown in \"a' = b'\": expected x, a state, an earlier line"),
    ("max(a)", 'max is given 1 in "a\' = max(a)": expected 2'),
    ("__class__", '__class__ is unknown in "a\' = __class__": expected x, a state'),
    ("wobble(a)", 'wobble is unknown in "a\' = wobble(a)": expected x, a state'),
    ("a @ b", "'@' follows a value in \"a' = a @ b\": expected an operator between the two"),
]


@pytest.mark.parametrize(("expression", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_an_expression_that_cannot_be_computed_is_named(expression: str, message: str) -> None:
    start = "the docstring of Stated cannot be computed: "
    with pytest.raises(ConfigError, match=re.escape(start + message)):
        value(expression)


def test_a_block_that_is_no_equation_is_named() -> None:
    with pytest.raises(ConfigError, match="^the docstring of Stated has 'now and then' in its"):
        equations(stated("A cell.\n\n    now and then\n\nMore."))


def test_every_state_needs_its_equation() -> None:
    with pytest.raises(ConfigError, match="^the docstring of Stated has no equation for b'"):
        evaluate(stated("A cell.\n\n    a' = a\n"), A, {"a": A, "b": B})
