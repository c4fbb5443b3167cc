"""What is put together of other operations gives what PyTorch's own gives, and its gradients."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled import Cell, unroll
from unrolled.compiler import compile_cell
from unrolled.compiler.capture import capture
from unrolled.compiler.parts import PARTS
from unrolled.compiler.parts.everywhere import EVERYWHERE
from unrolled.compiler.parts.places import ONE_HOT
from unrolled.errors import CaptureError

Function = Callable[[Tensor], Tensor]

HIDDEN = 8


def halves(h: Tensor) -> Tensor:
    return h.unflatten(-1, (2, 4))


def square(h: Tensor) -> Tensor:
    return h[:, :, None] * h[:, None]


def plane(h: Tensor) -> Tensor:
    return h.unflatten(-1, (1, 2, 4))


def twice(h: Tensor) -> Tensor:
    return h.flatten(1).repeat(1, 2)


def written(h: Tensor) -> Tensor:
    z = h * 2
    z[:, 0] = 0.5
    z[:, 3:5] = h[:, :2]
    return z


def masked(h: Tensor) -> Tensor:
    z = h * 2
    z[h > 0.2] = 0.1
    z.unflatten(1, (2, 4))[(h > 0)[:, :2]] = -0.5
    return z


def written_past_gradients(h: Tensor) -> Tensor:
    z = h * 2
    with torch.no_grad():
        z.clamp_(-0.5, 0.5)
        z[:, :2].mul_(3)
    z.detach()[:, 7] = 0.25
    return z


def attention(h: Tensor, *, causal: bool) -> Tensor:
    own = halves(h)
    return functional.scaled_dot_product_attention(own, own, own, is_causal=causal).flatten(1)


def straight(h: Tensor) -> Tensor:
    """Choose, with the gradient of softmax."""
    soft = h.softmax(-1)
    hard = torch.zeros_like(h).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


ONES = torch.ones(1, 1, 3)
EIGHT = torch.linspace(-1, 1, 64, dtype=torch.float64).view(8, 8).sin()
KERNEL = torch.linspace(-1, 1, 9, dtype=torch.float64).view(1, 1, 3, 3)
STACK = torch.linspace(-1, 1, 24, dtype=torch.float64).view(4, 2, 3)

NUMBERS: dict[str, Function] = {
    "trunc": lambda h: (3 * h).trunc() * h,
    "frac": lambda h: (3 * h).frac(),
    "remainder": lambda h: (5 * h).remainder(0.3),
    "remainder of rows": lambda h: (5 * h).remainder(h.abs() - 0.7),
    "fmod": lambda h: (5 * h).fmod(0.3),
    "fmod of rows": lambda h: (5 * h).fmod(h.abs() + 0.2),
    "whole quotient": lambda h: torch.div(h, 0.3, rounding_mode="floor") * h,
    "cut quotient": lambda h: torch.div(h, h.abs() + 0.1, rounding_mode="trunc") * h,
    "signbit": lambda h: torch.where(h.signbit(), h, -2 * h),
    "copysign": lambda h: torch.copysign(h, h - 0.3),
    "power": lambda h: (h.abs() + 0.1) ** h,
    "power of negatives": lambda h: h ** (2 * h).round(),
    "hypot": lambda h: torch.hypot(h, h + 1),
    "atan": torch.atan,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan2": lambda h: torch.atan2(h, h.roll(1, -1)),
    "asinh": lambda h: torch.asinh(9 * h),
    "acosh": lambda h: torch.acosh(h.abs() + 1.5),
    "atanh": torch.atanh,
    "exp2": torch.exp2,
    "nan_to_num": lambda h: torch.nan_to_num(1 / h.relu(), posinf=2.0),
    "isnan": lambda h: torch.where(h.relu().log().isnan(), 1.0, h),
    "isinf": lambda h: torch.where((1 / h.relu()).isinf(), 1.0, h),
    "clamp": lambda h: torch.clamp(h, min=-h.abs() / 2, max=h.abs() * 0.7),
    "written": written,
    "written past gradients": written_past_gradients,
    "whole numbers": lambda h: h * (h > 0).long() + (h > 0.2).sum(-1, keepdim=True),
}

ALONG: dict[str, Function] = {
    "cumsum": lambda h: h.cumsum(-1),
    "cumprod": lambda h: h.cumprod(-1),
    "logcumsumexp": lambda h: h.logcumsumexp(-1),
    "cummax": lambda h: h.cummax(-1).values,
    "cummin": lambda h: halves(h).cummin(1).values.flatten(1),
    "prod": lambda h: h.prod(-1, keepdim=True),
    "prod of five": lambda h: h[:, :5].prod(-1)[:, None],
    "prod in the middle": lambda h: twice(halves(h).prod(1)),
    "any": lambda h: torch.where((h > 0.3).any(-1, keepdim=True), h, -h),
    "any of numbers": lambda h: torch.where(halves(h).relu().any(1).repeat(1, 2), h, -h),
    "any of all": lambda h: torch.where(halves(h > 0.8).any((1, 2))[:, None], h, -h),
    "all": lambda h: torch.where((h[:, :2] > 0).all(-1, keepdim=True), h, -h),
    "all of all": lambda h: torch.where(halves(h > -0.8).all((1, 2))[:, None], h, -h),
    "min": lambda h: h.min(-1, keepdim=True).values,
    "var_mean": lambda h: sum(torch.var_mean(h, -1, keepdim=True), h),
    "batch norm": lambda h: functional.batch_norm(h, h.new_ones(8), h.new_ones(8) * 2),
    "batch norm of planes": lambda h: functional.batch_norm(
        plane(h), h.new_zeros(1), h.new_ones(1), h.new_ones(1) * 3, h.new_ones(1)
    ).flatten(1),
    "third norm": lambda h: h.norm(p=3, dim=-1, keepdim=True),
}

MOVED: dict[str, Function] = {
    "flip": lambda h: h.flip(-1),
    "flip of two": lambda h: halves(h).flip(1, 2).flatten(1),
    "roll": lambda h: h.roll(3, -1),
    "roll of two": lambda h: halves(h).roll((1, 2), (1, 2)).flatten(1),
    "index": lambda h: h[:, [1, 0, 3, 2, 5, 4, 7, -2]],
    "index_select": lambda h: h.index_select(1, torch.arange(7, -1, -1)),
    "masked": masked,
    "tril": lambda h: square(h).tril().sum(-1),
    "triu": lambda h: square(h).triu(1).sum(-1),
    "diagonal": lambda h: square(h).diagonal(dim1=1, dim2=2),
    "other diagonal": lambda h: functional.pad(square(h).diagonal(-2, 1, 2), (0, 2)),
    "diag_embed": lambda h: torch.diag_embed(h).sum(-1) + h,
    "unfold": lambda h: twice(h.unfold(-1, 3, 2).sum(-1).repeat(1, 2))[:, :8],
    "pad": lambda h: functional.pad(h[:, 2:], (1, 1), value=0.5),
    "cut by padding": lambda h: functional.pad(h, (-2, 2)),
    "pad around": lambda h: functional.pad(h[:, None, 1:], (1, 0), mode="circular")[:, 0],
    "pad mirrored": lambda h: functional.pad(h[:, None, 2:], (1, 1), mode="reflect")[:, 0],
    "pad the same": lambda h: functional.pad(h[:, None, 2:], (2, 0), mode="replicate")[:, 0],
    "pad planes mirrored": lambda h: functional.pad(plane(h), (1, 1, 0, 1), mode="reflect").mean(
        (1, 2, 3)
    )[:, None],
    "pad planes the same": lambda h: functional.pad(plane(h), (1, 1, 0, 1), mode="replicate").mean(
        (1, 2, 3)
    )[:, None],
    "average pool": lambda h: twice(functional.avg_pool1d(h[:, None], 2)),
    "average pool of planes": lambda h: functional.avg_pool2d(plane(h), 3, 1, 1).flatten(1),
    "largest": lambda h: twice(functional.max_pool1d(h[:, None], 2)),
    "largest of planes": lambda h: functional.max_pool2d(plane(h), 3, 1, 1).flatten(1),
    "even pool": lambda h: twice(functional.adaptive_avg_pool1d(h[:, None], 4)),
}

PLACES: dict[str, Function] = {
    "argmax": lambda h: h * h.argmax(-1, keepdim=True),
    "argmax in the middle": lambda h: twice(halves(h).argmax(1) * halves(h)[:, 0]),
    "argmin": lambda h: h * (h.argmin(-1, keepdim=True) % 3 == 1),
    "max with places": lambda h: sum(h.max(-1, keepdim=True)) * h,
    "min with places": lambda h: sum(h.min(-1, keepdim=True)) * h,
    "topk": lambda h: h.where(h >= h.topk(3).values[:, -1:], 0.0),
    "places of topk": lambda h: h * h.topk(2, largest=False).indices.sum(-1, keepdim=True),
    "sort": lambda h: h.sort(-1, descending=True).values,
    "stable sort": lambda h: h + h.sort(stable=True).indices / h.new_ones(1),
    "median": lambda h: h * h.median(-1, keepdim=True).values,
    "median of five": lambda h: h * h[:, :5].median(-1).values[:, None],
    "embedding": lambda h: functional.embedding(h.argmax(-1), EIGHT.to(h)),
    "one_hot": lambda h: h * functional.one_hot(h.argmax(-1), 8),
    "words": lambda h: functional.embedding((h + EIGHT[1].to(h)).topk(2)[1], EIGHT.to(h)).sum(1),
    "order of orders": lambda h: h * h.argsort(-1).argsort(-1) + h.argsort(-1).topk(3)[0][:, 2:],
    "gather of truths": lambda h: h * (h > 0).gather(1, h.argsort(-1)),
    "count of truths": lambda h: h * (h > 0).cumsum(-1),
    "gather": lambda h: h.gather(1, h.argsort(-1)[:, :3]).repeat(1, 3)[:, :8],
    "scatter": lambda h: h.scatter(1, h.argmax(-1, keepdim=True), 0.5),
    "scatter of others": lambda h: h.scatter(1, h.topk(2).indices, h[:, 5:7]),
    "scatter_add": lambda h: h.scatter_add(1, h.argsort(-1)[:, 2:4] // 2, h[:, :2]),
    "index_add": lambda h: h.index_add(1, torch.tensor([0, 3, 3, 7]), h[:, 2:6], alpha=2),
    "two indices": lambda h: functional.interpolate(plane(h), scale_factor=2).flatten(1)[:, 4:12],
    "stack in front": lambda h: torch.stack([h, h.sin(), 2 * h], 0).prod(0),
    "instance norm": lambda h: functional.instance_norm(
        halves(h), weight=h.new_full((2,), 3.0), bias=h.new_ones(2)
    ).flatten(1),
    "whole numbers of what is computed": lambda h: h * (9 * h).long() - (7 * h).int() % 3,
    "a place that is computed": lambda h: (
        h + functional.one_hot((9 * h.abs()).long().clamp(max=7), 8).sum(-2).to(h)
    ),
    "whole numbers": lambda h: h * (2 * h.argmax(-1, keepdim=True) + (h > 0).long().sum(-1, True)),
    "gumbel choice": lambda h: h * straight(h),
}

PRODUCTS: dict[str, Function] = {
    "addmm": lambda h: torch.addmm(h, h, torch.eye(8).to(h), beta=0.5, alpha=2),
    "baddbmm": lambda h: torch.baddbmm(halves(h), halves(h)[..., :2], halves(h)).flatten(1),
    "convolution": lambda h: functional.conv1d(h[:, None], ONES.to(h), padding=1)[:, 0],
    "convolution of planes": lambda h: functional.conv2d(
        plane(h), KERNEL, h.new_ones(1), padding=1
    ).flatten(1),
    "convolution apart": lambda h: functional.conv1d(
        halves(h).repeat(1, 2, 1), STACK, stride=2, padding=1, groups=2
    ).flatten(1),
    "turned convolution": lambda h: functional.conv_transpose1d(
        halves(h)[..., :2], STACK[:2], stride=1
    ).flatten(1),
    "einsum of three": lambda h: torch.einsum("bi,bj,ij->bj", h, h, torch.ones(8, 8).to(h)),
    "bilinear": lambda h: functional.bilinear(h, h, torch.ones(8, 8, 8).to(h), h.new_ones(8)),
    "attention": lambda h: attention(h, causal=False),
    "causal attention": lambda h: attention(h, causal=True),
    "distances": lambda h: torch.cdist(halves(h), halves(h).sin()).flatten(1).repeat(1, 2),
    "distances along axes": lambda h: twice(torch.cdist(halves(h), halves(h.sin()), 1)),
    "cosine": lambda h: h * functional.cosine_similarity(h, h.roll(1, -1), dim=-1)[:, None],
}

FUNCTIONS = NUMBERS | ALONG | MOVED | PLACES | PRODUCTS


class Applied(Cell):
    """A step with some function of the state in it."""

    def __init__(self, name: str) -> None:
        super().__init__(h=HIDDEN)
        self.W, self.name = nn.Linear(4, HIDDEN), name

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.W(x) + FUNCTIONS[self.name](h))
        return h, h


@pytest.fixture
def drawn() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    xs = torch.randn(4, 3, 4, dtype=torch.float64, generator=generator)
    return xs.requires_grad_()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_the_state_is_compiled(name: str, drawn: Tensor) -> None:
    torch.manual_seed(1)
    cell = Applied(name).double()
    found = []
    for backend in ("interpreter", "eager"):
        ys, _ = unroll(cell, drawn, backend=backend)
        wanted = [drawn, *cell.parameters()]
        found.append((ys, *torch.autograd.grad(ys.sin().sum(), wanted)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_every_row_is_tried(used_rows: set[object]) -> None:
    zeros = torch.zeros(2, HIDDEN, dtype=torch.float64)
    for name in FUNCTIONS:
        capture(Applied(name).double(), zeros[:, :4], [zeros])
    assert {*PARTS, *EVERYWHERE, *ONE_HOT} - used_rows == set()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda h: h.cummax(-1).indices * h, "where aten.cummax.default has found its values"),
        (lambda h: h * (h * 200).to(torch.int8), "it makes whole numbers"),
        (lambda h: h.repeat(1, 3).topk(17).values[:, :8], "has the operation aten.topk"),
        (
            lambda h: twice(functional.max_pool1d(h[:, None], 2, ceil_mode=True)),
            "has the operation aten.max_pool2d",
        ),
    ],
    ids=["places", "bytes", "sorted", "rounded up"],
)
def test_what_no_program_has_is_named(
    function: Function, message: str, monkeypatch: pytest.MonkeyPatch, drawn: Tensor
) -> None:
    monkeypatch.setitem(FUNCTIONS, message, function)
    with pytest.raises(CaptureError, match=message):
        unroll(Applied(message).double(), drawn, backend="interpreter")


def test_a_large_convolution_is_left_to_the_loop_in_pytorch() -> None:
    class Large(Cell):
        def __init__(self) -> None:
            super().__init__(h=(4, 32, 32))
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(self.conv(h) + x[:, :1, None, None])
            return h.mean((2, 3)), h

    with pytest.raises(CaptureError, match=r"aten.convolution in the loop"):
        unroll(Large(), torch.zeros(2, 1, 4), backend="interpreter")


EDGES = (0.0, -0.0, 0.3, 3.0, -3.0, 1.0, -1.0, 0.9, 1e-20, -1e-20, 1e20, -1e20, math.inf, -math.inf)

AT_EDGES: dict[str, Function] = {
    "remainder": lambda h: h.clamp(-1e4, 1e4).remainder(0.3),
    "remainder of the negative": lambda h: h.clamp(-1e4, 1e4).remainder(-0.3),
    "remainder of infinity": lambda h: h.clamp(-3, 3).remainder(math.inf),
    "fmod": lambda h: h.clamp(-1e4, 1e4).fmod(0.3),
    "whole quotient": lambda h: torch.div(h.clamp(-1e4, 1e4), 0.3, rounding_mode="floor"),
    "hypot": lambda h: torch.hypot(h + 1e19, h),
    "asinh": torch.asinh,
    "acosh": lambda h: torch.acosh(h.abs() + 1.5),
    "atan": torch.atan,
    "clamp": lambda h: torch.clamp(h, h.new_tensor(-1.0), h.new_tensor(1.0)),
    "power": lambda h: h ** h.detach().sign().abs(),
    "written": lambda h: written_past_gradients(h.repeat(1, 2)[:, : h.shape[1] + 2]),
    "norm of nothing": lambda h: (0 * h[:, :4]).norm(p=3, dim=-1, keepdim=True) + h[:, :4],
    "nothing beside": lambda h: torch.cat([h[:, :0], h], -1),
    "written apart": lambda h: written_apart(h),
}


def written_apart(h: Tensor) -> Tensor:
    z = h * 1
    z[:, ::2] = h[:, 1::2]
    z.t()[1:3].mul_(2)
    return z


class Alone(Cell):
    """The function and nothing else."""

    def __init__(self, name: str) -> None:
        super().__init__(h=len(EDGES))
        self.name, self.one = name, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y = AT_EDGES[self.name](h * self.one)
        return y, h + 0 * y.sum(-1, keepdim=True).nan_to_num()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", AT_EDGES)
def test_a_function_is_itself_at_the_edges(name: str, dtype: torch.dtype) -> None:
    h = torch.tensor([EDGES, EDGES[::-1]], dtype=dtype).requires_grad_()
    found = []
    for backend in ("interpreter", "eager"):
        ys, _ = unroll(Alone(name).to(dtype), h.new_zeros(1, 2, 1), {"h": h}, backend=backend)
        (gradient,) = torch.autograd.grad(ys.sum(), h)
        found.append((ys, gradient))
    (ys, gradient), (wanted, other) = found
    near = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(ys, wanted, rtol=near, atol=0.0, equal_nan=True)
    finite = other.isfinite() & h.isfinite()
    torch.testing.assert_close(gradient[finite], other[finite])


def test_infinity_and_nan_stay_where_they_are(drawn: Tensor) -> None:
    for name in ("cumsum", "roll", "cummax", "pad", "whole numbers"):
        h = torch.zeros(3, HIDDEN, dtype=torch.float64)
        h[0, 3], h[1, 5] = math.inf, math.nan
        cell = Applied(name).double()
        ys = [unroll(cell, drawn, {"h": h}, backend=b)[0] for b in ("interpreter", "eager")]
        torch.testing.assert_close(*ys, equal_nan=True)


def test_a_step_of_too_many_operations_is_refused() -> None:
    class Long(Cell):
        def __init__(self) -> None:
            super().__init__(h=2)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            for _ in range(800):
                h = torch.sin(h)
            return h + x, h

    with pytest.raises(CaptureError, match="takes 800 operations, and more than 700 take too long"):
        unroll(Long(), torch.zeros(2, 1, 2), backend="interpreter")


@pytest.mark.parametrize("width", [12, 96])
def test_what_is_cut_and_joined_within_takes_few_operations(width: int) -> None:
    class Turned(Cell):
        def __init__(self) -> None:
            super().__init__(h=width)

        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            turned = torch.stack([-h[:, 1::2], h[:, ::2]], -1).flatten(1)  # by a quarter
            thirds = h.unflatten(-1, (-1, 3))
            h = torch.tanh(
                x + turned + torch.cat([thirds[..., 1:], thirds[..., :1]], -1).flatten(1)
            )
            return h, h

    xs = torch.randn(4, 3, width)
    ys = [unroll(Turned(), xs, backend=b)[0] for b in ("llvm", "eager")]
    torch.testing.assert_close(*ys)
    compiled = compile_cell(Turned(), torch.zeros(2, width))
    assert len(compiled.lowered.program.body) < 60
