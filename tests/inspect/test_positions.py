import pytest
import torch

from unrolled import Recurrent, unroll, zoo
from unrolled.cell import wrap
from unrolled.errors import ConfigError, ShapeError
from unrolled.inspect.lags import gradients_by_lag
from unrolled.inspect.positions import loss_by_position, saliency
from unrolled.zoo import CELLS

TIME, BATCH = 6, 3


@pytest.mark.parametrize("name", CELLS)
def test_gradients_by_lag_sum_to_the_gradient(name: str) -> None:
    cell = wrap(CELLS[name](3, 4)).double()
    xs = torch.randn(TIME, BATCH, 3, dtype=torch.float64)
    found = gradients_by_lag(cell, xs, lambda ys: ys.pow(2))
    unroll(cell, xs, backend="eager")[0].pow(2).sum().backward()
    for parameter, parts in found.parts.items():
        wanted = cell.get_parameter(parameter).grad
        assert wanted is not None
        torch.testing.assert_close(parts.sum(0), wanted)


def test_a_lag_holds_what_came_from_so_far_back() -> None:
    cell = zoo.Elman(3, 4).double()
    xs = torch.randn(TIME, BATCH, 3, dtype=torch.float64)
    found = gradients_by_lag(cell, xs, lambda ys: ys.pow(2), steps=[5])
    whole, _, states = unroll(cell, xs, return_states=True, backend="eager")
    for lag in range(TIME):  # cut the graph before the use: all that is left is newer
        begin = TIME - 1 - lag
        before = {"h": states["h"][begin - 1].detach()} if begin else None
        ys, _ = unroll(cell, xs[begin:], before, backend="eager")
        wanted = torch.autograd.grad(ys[-1].pow(2).sum(), cell.U.weight)[0]
        torch.testing.assert_close(found.parts["U.weight"][: lag + 1].sum(0), wanted)
    cut = gradients_by_lag(cell, xs, lambda ys: ys.pow(2), steps=[5], lags=2)
    torch.testing.assert_close(cut.parts["W.weight"][0], found.parts["W.weight"][0])
    torch.testing.assert_close(cut.parts["W.weight"][1], found.parts["W.weight"][1:].sum(0))
    assert found.total().shape == (TIME,)


def test_loss_by_position_leaves_out_what_lies_behind_an_end() -> None:
    losses = torch.randn(TIME, BATCH).exp()
    losses[4:, 1] = torch.nan
    losses[1:, 2] = torch.nan
    found = loss_by_position(losses, [5, 4, 1])
    assert found.rows.tolist() == [3, 2, 2, 2, 1, 0]
    torch.testing.assert_close(found.mean[0], losses[0].mean())
    torch.testing.assert_close(found.mean[1:4], losses[1:4, :2].mean(1))
    assert found.mean[5].isnan() and found.intervals[5] is None
    first = found.intervals[0]
    assert first is not None and first.low < float(losses[0].mean()) < first.high


def test_saliency_is_the_gradient_by_the_inputs() -> None:
    layers = Recurrent(zoo.GRU, 3, 4, layers=2)
    xs = torch.randn(TIME, BATCH, 3, requires_grad=True)
    found = saliency(layers(xs)[0][3].sum(-1), xs)
    assert found.gradient[4:].tolist() == [[0.0] * BATCH] * 2
    slow = Recurrent(zoo.GRU, 3, 4, layers=2, backend="eager")
    slow.load_state_dict(layers.state_dict())
    (wanted,) = torch.autograd.grad(slow(xs)[0][3].sum(), xs)
    torch.testing.assert_close(found.gradient, wanted.norm(dim=-1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.contribution, (wanted * xs).sum(-1).detach())


def test_what_does_not_fit_says_so() -> None:
    with pytest.raises(ShapeError, match=r"expected \(time, batch\)"):
        loss_by_position(torch.zeros(3))
    with pytest.raises(ShapeError, match="steps from 0 to 5"):
        gradients_by_lag(zoo.Elman(3, 4), torch.zeros(6, 2, 3), lambda ys: ys, steps=[6])
    with pytest.raises(ConfigError, match="requires_grad=True"):
        saliency(torch.zeros(3), torch.zeros(6, 3, 2))
