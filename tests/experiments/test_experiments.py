"""Each experiment shows, small, what it claims at its full size."""

import math
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from unrolled import cli
from unrolled.experiments import (
    EXPERIMENTS,
    bottleneck,
    clipping,
    exposure,
    forgetting,
    growth,
    memory,
    saturation,
)
from unrolled.experiments.outcome import Outcome

ROOT = Path(__file__).parents[2]


def quiet(_: str) -> None:
    pass


def written(outcome: Outcome, folder: Path) -> str:
    """Write the page, and look that every picture has a sentence."""
    outcome.write(folder / "page.html")
    assert all(len(figure.caption) > 40 for figure in outcome.figures)
    assert outcome.table.rows and outcome.figures and len(outcome.lead) > 40
    return (folder / "page.html").read_text(encoding="utf-8")


def test_growth(tmp_path: Path) -> None:
    settings = growth.Settings(
        width=256, steps=25, batch=4, draws=4, linear_width=32, linear_steps=200, backend="eager"
    )
    outcome = growth.run(settings, quiet)
    found = outcome.numbers
    for variance in growth.VARIANCES:
        name = f"ReLU variance {variance:g}/n"
        assert found[f"{name} theory"] == pytest.approx(math.sqrt(variance / 2))
        for what in ("state", "gradient"):
            assert found[f"{name} {what}"] == pytest.approx(found[f"{name} theory"], rel=0.04)
    for radius in growth.RADII:
        for what in ("state", "gradient"):
            assert found[f"linear radius {radius:g} {what}"] == pytest.approx(radius, rel=0.01)
    assert "variance 3/n" in written(outcome, tmp_path)


def test_saturation(tmp_path: Path) -> None:
    drives = (0.3, 3.0)
    settings = saturation.Settings(width=256, steps=12, batch=4, drives=drives, backend="eager")
    outcome = saturation.run(settings, quiet)
    found = outcome.numbers
    for unit in saturation.UNITS:
        kept = [found[f"{unit} {drive:g} gradient"] for drive in drives]
        assert kept == sorted(kept, reverse=True)
        for drive in drives:
            name = f"{unit} {drive:g}"
            theory = found[f"{name} gradient, theory"]
            assert found[f"{name} gradient"] == pytest.approx(theory, rel=0.08)
            theory = found[f"{name} saturated, theory"]
            assert found[f"{name} saturated"] == pytest.approx(theory, abs=0.02)
    assert max(found[f"sigmoid {d:g} gradient"] for d in drives) < 0.25
    written(outcome, tmp_path)


def test_forgetting(tmp_path: Path) -> None:
    outcome = forgetting.run(forgetting.Settings(hidden=32, steps=40, batch=8), quiet)
    found = outcome.numbers
    for bias in forgetting.BIASES:
        through_c, through_h = (found[f"{way} alone, bias {bias:g} kept"] for way in "ch")
        assert through_c == pytest.approx(found[f"c alone, bias {bias:g} theory"], rel=0.06)
        assert through_h < 0.5 * through_c
        assert through_h < found[f"both, bias {bias:g} kept"]
    assert found["no forget gate kept"] > 0.99
    assert found["no forget gate size"] > 3 * found["c alone, bias 1 size"]
    assert "How far it is open" in written(outcome, tmp_path)


def test_memory(tmp_path: Path) -> None:
    settings = memory.Settings(
        hidden=16, batch=16, steps=300, adding_lags=(20,), copy_lags=(), cells=("RNN", "GRU")
    )
    outcome = memory.run(settings, quiet)
    found = outcome.numbers
    assert found["adding problem GRU 20"] < 0.2 < 0.5 < found["adding problem RNN 20"]
    copying = replace(settings, steps=80, adding_lags=(), copy_lags=(1,), cells=("GRU",))
    assert memory.run(copying, quiet).numbers["copy memory GRU 1"] < 0.7
    assert "GRU up to 20 steps" in written(outcome, tmp_path)


def test_clipping(tmp_path: Path) -> None:
    outcome = clipping.run(clipping.Settings(hidden=32, steps=60, backend="eager"), quiet)
    found = outcome.numbers
    assert found["no clipping steps"] < 10 and math.isnan(found["no clipping last"])
    assert found["clipped at 1 steps"] == 60
    assert found["clipped at 1 last"] < 0.01 * found["clipped at 1 first"]
    assert "ends in step" in written(outcome, tmp_path)


def test_bottleneck(tmp_path: Path) -> None:
    settings = bottleneck.Settings(
        symbols=10, embedding=16, hidden=16, lengths=(2, 8), batch=32, steps=120, rate=2e-2,
        tested=100,
    )  # fmt: skip
    outcome = bottleneck.run(settings, quiet)
    found = outcome.numbers
    assert found["attention 8"] < 0.3 < 0.4 < found["fixed context 8"]
    assert found["fixed context 2"] < 0.5 * found["fixed context 8"]
    assert "Where attention looks" in written(outcome, tmp_path)


def test_exposure(tmp_path: Path) -> None:
    settings = exposure.Settings(
        hidden=16, batch=32, steps=60, rate=2e-2, steps_long=12, tested=2000
    )
    outcome = exposure.run(settings, quiet)
    found = outcome.numbers
    theory = found["counting on, in theory, last"]
    assert found["teacher forcing, right symbols, mean"] < 0.1
    assert found["teacher forcing, own symbols, last"] == pytest.approx(theory, abs=0.05)
    assert found["scheduled sampling, own symbols, last"] < 0.7 * theory
    best = found["the best possible, mean"]
    assert best < found["scheduled sampling, own symbols, mean"] + 0.005
    assert "counting on" in written(outcome, tmp_path)


def test_the_same_numbers_come_out_each_time() -> None:
    settings = forgetting.Settings(hidden=8, steps=12, batch=2)
    first, second = (forgetting.run(settings, quiet).numbers for _ in range(2))
    assert first == second


def test_names_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.main(["experiments"])
    listed = capsys.readouterr().out
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    for name, line in EXPERIMENTS.items():
        assert f"{name:<12} {line}\n" in listed and f"`{name}`" in page
        assert callable(import_module(f"unrolled.experiments.{name}").run)
    assert not exit.value.code
    with pytest.raises(SystemExit) as exit:
        cli.main(["experiments", "levitation"])
    assert exit.value.code == 2 and "choose one of growth" in capsys.readouterr().err


def test_the_list_does_not_wait_for_torch() -> None:
    code = "import sys; from unrolled import cli\ntry: cli.main(['experiments'])\nfinally: "
    code += "assert 'torch' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
