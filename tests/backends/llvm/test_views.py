"""Repeated rows, read a vector at a time where their sizes allow it; and rows a few at a time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unrolled.backends.llvm import kernel as kernels
from unrolled.backends.llvm.kernel import Kernel
from unrolled.backends.llvm.target import targets
from unrolled.ir import parse

Reference = Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]
TARGETS = targets()

EXPANDS = [  # (outer, middle, inner): whole vectors, parts of one, and neither
    (32, 16, 1),
    (1, 16, 32),
    (2, 16, 16),
    (4, 32, 8),
    (2, 3, 48),
    (3, 5, 7),
    (5, 20, 1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_repeated_row_is_itself(target: str, dtype: str, reference: Reference) -> None:
    lines, given = [f"program {dtype}"], {}
    type = getattr(torch, dtype)
    for number, (outer, _, inner) in enumerate(EXPANDS):
        lines.append(f"input  q{number}: rows {outer * inner}")
        given[f"q{number}"] = torch.randn(2, 3, outer * inner, dtype=type)
    lines.append("state  h: rows 1")
    for number, (outer, middle, inner) in enumerate(EXPANDS):
        width = outer * middle * inner
        lines.append(f"e{number} = expand[{outer}, {middle}, {inner}] q{number} : rows {width}")
        lines.append(
            f"s{number} = slice[{width // 2}, {width}] e{number} : rows {width - width // 2}"
        )
        lines += [f"output e{number} = e{number}", f"output s{number} = s{number}"]
    program = parse("\n".join([*lines, "next   h = h"]))
    arguments = given, {}, {"h": torch.zeros(3, 1, dtype=type)}, {}
    found = Kernel(program, TARGETS[target])(*arguments, time=2)
    wanted, _ = reference(program, *arguments, time=2)
    for name, value in wanted.items():
        assert torch.equal(found.outputs[name].double(), value), name


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])
def test_rows_go_through_time_a_few_at_once(
    ragged: bool, reverse: bool, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = parse(
        "program float64\ninput  a: rows 9\nstate  h: rows 9\ng = sigmoid a : rows 9\n"
        "m = mul g, h : rows 9\nn = add m, a : rows 9\nt = tanh n : rows 9\n"
        "output t = t\nnext   h = n"
    )
    arguments = {"a": torch.randn(5, 11, 9).double()}, {}, {"h": torch.randn(11, 9).double()}, {}
    lengths = torch.tensor([3, 0, 5, 1, 5, 0, 2, 5, 4, 4, 1]) if ragged else None
    options = {"time": 5, "lengths": lengths, "reverse": reverse}
    kernel = Kernel(program, next(iter(TARGETS.values())))
    width = kernel.layout.buffer_width + 9 + 9
    monkeypatch.setattr(kernels, "NEAR", 3 * width * 8)
    assert kernel.rows_near == 3
    found, wanted = kernel(*arguments, **options), reference(program, *arguments, **options)
    torch.testing.assert_close(found.outputs["t"], wanted[0]["t"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.states["h"], wanted[1]["h"], rtol=1e-12, atol=1e-12)


def test_a_product_reads_its_weights_once_for_all_rows() -> None:
    program = parse(
        "program float32\nstate  h: rows 4\nfixed  U: 4x4\nu = matmul h, U : rows 4\nnext   h = u"
    )
    assert Kernel(program, next(iter(TARGETS.values()))).rows_near > 1 << 40
