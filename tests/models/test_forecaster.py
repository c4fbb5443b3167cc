import pytest
import torch

from unrolled import zoo
from unrolled.errors import ConfigError
from unrolled.models.forecaster import OUTPUTS, Forecaster, Windows

LEVELS = (0.1, 0.5, 0.9)
HORIZON, CONTEXT, BATCH = 5, 8, 6


def windows(scale: float = 1.0) -> Windows:
    return Windows(
        values=torch.randn(CONTEXT, BATCH),
        present=torch.ones(CONTEXT, BATCH),
        past_lags=torch.randn(CONTEXT, BATCH, 2),
        future_lags=torch.rand(HORIZON, BATCH, 2),
        past_known=torch.randn(CONTEXT, BATCH, 1),
        future_known=torch.randn(HORIZON, BATCH, 1),
        series=torch.arange(BATCH) % 3,
        scale=torch.full((BATCH,), scale),
    )


def make(output: str, highway: int = 0) -> Forecaster:
    said = OUTPUTS[output](LEVELS)
    return Forecaster(
        HORIZON, 2, 1, 2, said, cell=zoo.GRU, hidden=4, identity=3, highway=highway, dropout=0.2
    )


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_is_said_can_be_learnt_and_its_quantiles_rise(output: str) -> None:
    model, given = make(output, highway=4), windows(scale=7.0)
    loss = model.loss(given, torch.rand(HORIZON, BATCH))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    point, quantiles = model.eval().forecast(given)
    assert point.shape == (HORIZON, BATCH)
    assert quantiles.shape == (HORIZON, BATCH, 0 if output == "mean" else 3)
    assert (quantiles.diff(dim=-1) >= 0).all()
    torch.testing.assert_close(model.forecast(given)[1], quantiles)


@pytest.mark.parametrize("output", ["mean", "quantiles", "normal"])
def test_the_first_forecast_is_near_the_season_before(output: str) -> None:
    model, given = make(output, highway=4).eval(), windows()
    point, _ = model.forecast(given)
    assert (point - given.future_lags[..., 0]).abs().max() < 0.2


def test_a_distribution_fits_what_it_is_shown() -> None:
    """Quantiles of data that are drawn from a known distribution come near its own."""
    torch.manual_seed(1)
    truth = torch.poisson(torch.full((4000,), 6.0))
    raw = torch.zeros(1, 1, 2, requires_grad=True)
    said = OUTPUTS["negative_binomial"](LEVELS)
    scale, base = torch.tensor([6.0]), torch.zeros(1, 1)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        said.loss(raw, base, (truth / 6)[:, None, None].squeeze(-1), scale).mean().backward()
        optimizer.step()
    with torch.no_grad():
        assert abs(said.point(raw, base, scale).item() * 6 - 6) < 0.3
        low, middle, high = (said.quantiles(raw, base, scale) * 6).flatten().tolist()
    assert abs(low - 3) <= 1 and abs(middle - 6) <= 1 and abs(high - 9) <= 1


def test_series_that_were_not_learnt_are_one() -> None:
    model, given = make("quantiles").eval(), windows()
    with torch.no_grad():
        told = model(given)[0]
        hidden = model(Windows(**{**vars(given), "series": torch.zeros(BATCH).long()}))[0]
    same = (told == hidden).flatten(2).all(-1).all(0)
    assert same.tolist() == [True, False, False] * 2


def test_the_median_is_needed() -> None:
    with pytest.raises(ConfigError, match="lack the median: add 0.5"):
        OUTPUTS["quantiles"]((0.1, 0.9))
