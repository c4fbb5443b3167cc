"""Whole programs over whole sequences, against the plain reference in float64."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled.backends.llvm.kernel import WORTH_SHARING, Kernel, Results
from unrolled.backends.llvm.target import targets
from unrolled.errors import ShapeError
from unrolled.ir import Program, parse, verify

TARGETS = targets()
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}

PROGRAMS = sorted(path.stem for path in (Path(__file__).parent / "programs").iterdir())

Build = Callable[[str, int, str], Program]
Draw = Callable[[Program, int, int], dict[str, Any]]


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill fresh memory with NaN: whoever reads what nobody wrote is found out."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def assert_equal(
    found: Results, wanted: tuple[dict[str, Tensor], dict[str, Tensor]], tolerance: float
) -> None:
    for ours, theirs in zip((found.outputs, found.states), wanted, strict=True):
        for name, x in theirs.items():
            y = ours[name].double()
            torch.testing.assert_close(
                y, x, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
            )


Reference = Callable[..., tuple[dict[str, Tensor], dict[str, Tensor]]]


BEST = next(iter(TARGETS))
SHAPES = [(17, BEST, "float32"), (5, BEST, "float64"), (64, BEST, "float32")]
SHAPES += [(17, target, ("float64", "float32")[i]) for i, target in enumerate([*TARGETS][1:3])]


@pytest.mark.parametrize(("hidden", "target", "dtype"), SHAPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_equals_its_reference(
    name: str,
    hidden: int,
    target: str,
    dtype: str,
    reference: Reference,
    program: Build,
    arguments: Draw,
) -> None:
    step = program(name, hidden, dtype)
    kernel = Kernel(step, TARGETS[target])
    for time, batch in ((0, 2), (1, 1), (4, 3), (3, 17)):
        given = arguments(step, time, batch)
        found, wanted = kernel(**given, time=time), reference(step, **given, time=time)
        assert_equal(found, wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", PROGRAMS)
def test_ragged_batches_end_where_they_end(
    name: str, threads: int, reverse: bool, reference: Reference, program: Build, arguments: Draw
) -> None:
    step = program(name, 7, "float64")
    kernel = Kernel(step, next(iter(TARGETS.values())))
    given = arguments(step, 6, 11)
    lengths = torch.tensor([3, 0, 6, 1, 6, 0, 2, 5, 4, 4, 1])
    for x in given["inputs"].values():
        x[torch.arange(6)[:, None] >= lengths] = torch.nan
    found = kernel(**given, time=6, lengths=lengths, reverse=reverse, threads=threads)
    wanted = reference(step, **given, time=6, lengths=lengths, reverse=reverse)
    assert_equal(found, wanted, 1e-12)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_a_state_that_is_an_output_comes_back_as_every_step_read_it(
    reverse: bool, program: Build, arguments: Draw
) -> None:
    step = program("gru", 5, "float64")
    given = arguments(step, 4, 3)
    found = Kernel(step, TARGETS["portable"])(**given, time=4, reverse=reverse)
    ys = found.outputs["y"]
    first, steps = given["states"]["h"][None], [ys[1:], ys[:-1]][not reverse]
    wanted = torch.cat([steps, first] if reverse else [first, steps])
    assert torch.equal(found.before["h"], wanted)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_the_same_bits_from_run_to_run(
    threads: int, program: Build, arguments: Draw
) -> None:
    step = program("gru", 33, "float32")
    kernel = Kernel(step, next(iter(TARGETS.values())))
    given = arguments(step, 5, 19)
    one = kernel(**given, time=5, threads=threads)
    for _ in range(5):
        other = kernel(**given, time=5, threads=threads)
        assert torch.equal(one.outputs["y"], other.outputs["y"])


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": lambda w: w.contiguous(),
    "columns": lambda w: w.t().contiguous().t(),
    "apart": lambda w: w.repeat_interleave(2, 1)[:, ::2],
}


@pytest.mark.parametrize("hidden", [9, 40])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("target", ["portable", BEST])
def test_weights_and_inputs_may_lie_in_any_order(
    target: str, order: str, hidden: int, reference: Reference, program: Build, arguments: Draw
) -> None:
    step = program("reset-before", hidden, "float64")
    given = arguments(step, 3, 4)
    wanted = reference(step, **given, time=3)
    given["fixed"] = {n: ORDERS[order](w) for n, w in given["fixed"].items()}
    given["inputs"] = {
        n: x.transpose(0, 1).contiguous().transpose(0, 1) for n, x in given["inputs"].items()
    }
    given["states"] = {n: x.t().contiguous().t() for n, x in given["states"].items()}
    assert_equal(Kernel(step, TARGETS[target])(**given, time=3), wanted, 1e-12)


@pytest.mark.parametrize("batch", [70, 41])
def test_more_rows_than_the_room_between_matmuls_and_gates_holds(
    batch: int, reference: Reference, program: Build, arguments: Draw
) -> None:
    step = program("projected-lstm", 19, "float32")
    given = arguments(step, 2, batch)
    found = Kernel(step, TARGETS[BEST])(**given, time=2, threads=1)
    assert_equal(found, reference(step, **given, time=2), 2e-5)


def test_weights_are_packed_by_several_threads(
    reference: Reference, program: Build, arguments: Draw
) -> None:
    step = program("reset-before", 120, "float32")
    kernel = Kernel(step, TARGETS[BEST])
    assert kernel.layout.packed_size >= WORTH_SHARING
    given = arguments(step, 2, 2)
    found = kernel(**given, time=2, threads=4)
    assert_equal(found, reference(step, **given, time=2), 2e-5)


def random_program(seed: int, dtype: str) -> Program:
    """Draw a program: operations of all kinds over values of a few widths."""
    choose = random.Random(seed)
    width = choose.choice([2, 3, 5, 8, 16, 17])
    lines = [
        f"program {dtype}",
        f"input  x: rows {2 * width}",
        f"input  w: rows {width}",
        f"constant c: rows {width}",
        f"state  h: rows {width}",
        f"state  g: rows {2 * width}",
        f"fixed  A: {width}x{2 * width}",
        f"fixed  B: {2 * width}x{width}",
        f"fixed  C: 2x{width}x{width}",
        f"fixed  v: {width}",
    ]
    values = {"x": 2 * width, "w": width, "c": width, "h": width, "g": 2 * width}

    def pick(wanted: int) -> str:
        return choose.choice([name for name, n in values.items() if n == wanted][-6:])

    def add(text: str, result: int) -> None:
        name = f"v{len(values)}"
        lines.append(f"{name} = {text} : rows {result}")
        values[name] = result

    for _ in range(choose.randint(4, 14)):
        n = choose.choice([width, 2 * width])
        one, two = pick(n), pick(n)
        half = choose.choice([0, width])
        narrow, wide = pick(width), pick(2 * width)
        text, result = choose.choice(
            [
                (f"tanh {one}", n),
                (f"sigmoid {one}", n),
                (f"sin {one}", n),
                (f"add {one}, {two}", n),
                (f"sub {one}, 0.5", n),
                (f"mul {narrow}, v", width),
                (f"maximum {one}, {two}", n),
                (f"matmul {narrow}, A", 2 * width),
                (f"matmul {wide}, B", width),
                (f"matmul_t {wide}, A", width),
                (f"matmul {wide}, C", 2 * width),
                (f"slice[{half}, {half + width}] {wide}", width),
                (f"concat {narrow}, {pick(width)}", 2 * width),
                (f"swap[1, 2, {width}, 1] {wide}", 2 * width),
                (f"sum[1, 2, {width}] {wide}", width),
                (f"max[{width}, 2, 1] {wide}", width),
                (f"expand[{width}, 2, 1] {narrow}", 2 * width),
                (f"expand[1, 2, {width}] {narrow}", 2 * width),
                (f"fill[0.5, {n}]", n),
            ]
        )
        add(text, result)
    add(f"tanh {pick(width)}", width)
    add(f"tanh {pick(2 * width)}", 2 * width)
    lines += [f"output y{i} = {pick(choose.choice([width, 2 * width]))}" for i in range(3)]
    lines += [f"next   h = {pick(width)}", f"next   g = {pick(2 * width)}"]
    return verify(parse("\n".join(lines)))


@pytest.mark.parametrize("seed", range(24))
def test_random_programs_equal_their_reference(
    seed: int, reference: Reference, arguments: Draw
) -> None:
    dtype = ("float32", "float64")[seed % 2]
    step = random_program(seed, dtype)
    kernel = Kernel(step, list(TARGETS.values())[seed % len(TARGETS)])
    given = arguments(step, 3, 5)
    lengths = torch.tensor([3, 1, 0, 2, 3])
    options: dict[str, Any]
    for options in ({}, {"lengths": lengths, "reverse": True}, {"lengths": lengths}):
        found = kernel(**given, time=3, **options)
        wanted = reference(step, **given, time=3, **options)
        assert_equal(found, wanted, 1e-3 if dtype == "float32" else 1e-10)


def test_an_empty_batch_gives_empty_results(program: Build, arguments: Draw) -> None:
    step = program("gru", 5, "float32")
    given = arguments(step, 3, 0)
    found = Kernel(step, TARGETS["portable"])(**given, time=3)
    assert found.outputs["y"].shape == (3, 0, 5)
    assert found.states["h"].shape == (0, 5)


def test_a_tensor_of_the_wrong_type_or_shape_is_refused(program: Build, arguments: Draw) -> None:
    step = program("gru", 5, "float32")
    given = arguments(step, 3, 2)
    kernel = Kernel(step, TARGETS["portable"])
    with pytest.raises(ShapeError, match=r"input a is .* of shape \(3, 2, 15\) .* \(4, 2, 15\)"):
        kernel(**given, time=4)
    given["fixed"]["d"] = given["fixed"]["d"].double()
    with pytest.raises(ShapeError, match="fixed d is torch.float64"):
        kernel(**given, time=3)
