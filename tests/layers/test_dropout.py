import pytest
import torch

from unrolled.errors import ConfigError
from unrolled.layers.dropout import SharedDropout


def test_the_mask_is_the_same_at_all_times_and_differs_between_rows():
    torch.manual_seed(0)
    ys = SharedDropout(0.5)(torch.ones(5, 4, 16))
    assert torch.equal(ys, ys[:1].expand_as(ys))
    assert not torch.equal(ys[0, 0], ys[0, 1])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_dropped_features_is_the_rate_and_the_mean_is_kept(rate):
    torch.manual_seed(0)
    ys = SharedDropout(rate)(torch.ones(1, 100, 400))
    assert (ys == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert ys.mean().item() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(ys.max(), torch.tensor(1 / (1 - rate)))


def test_evaluation_and_rate_0_change_nothing():
    xs = torch.randn(5, 4, 3)
    assert SharedDropout(0.5).eval()(xs) is xs
    assert SharedDropout(0.0)(xs) is xs


def test_the_gradient_passes_the_mask_that_the_values_passed():
    xs = torch.ones(5, 4, 3, requires_grad=True)
    ys = SharedDropout(0.5)(xs)
    (gradient,) = torch.autograd.grad(ys.sum(), xs)
    assert torch.equal(gradient, ys.detach())


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ConfigError, match=f"^dropout has the rate {rate}: expected 0 to below 1$"):
        SharedDropout(rate)
