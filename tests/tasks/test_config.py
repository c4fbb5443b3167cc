"""Settings outside of their range are refused by name."""

import dataclasses
import tomllib
from math import inf, nan
from typing import Any

import pytest

from unrolled.errors import ConfigError
from unrolled.tasks.kinds import NAMES, find_kind
from unrolled.tasks.seq2seq import config
from unrolled.tasks.settings import merge, read_toml, to_toml

REFUSED: list[tuple[type[Any], str, Any]] = [
    (config.Data, "source_size", 4),
    (config.Data, "target_size", 0),
    (config.Data, "max_line", 0),
    (config.Data, "source_limit", -1),
    (config.Data, "target_limit", -1),
    (config.Model, "embedding", 0),
    (config.Model, "hidden", -1),
    (config.Model, "encoder_layers", 0),
    (config.Model, "decoder_layers", 0),
    (config.Model, "dropout", 1.0),
    (config.Model, "coverage", -0.5),
    (config.Training, "epochs", 0.0),
    (config.Training, "epochs", inf),
    (config.Training, "least_steps", -1),
    (config.Training, "minutes", nan),
    (config.Training, "minutes", inf),
    (config.Training, "batch", 0),
    (config.Training, "learning_rate", nan),
    (config.Training, "learning_rate", 0.0),
    (config.Training, "warmup", -1),
    (config.Training, "final_rate", 1.0),
    (config.Training, "weight_decay", -0.1),
    (config.Training, "clip", 0.0),
    (config.Training, "smoothing", 1.0),
    (config.Training, "sampling", -0.1),
    (config.Training, "average", 1.0),
    (config.Training, "patience", -1),
    (config.Training, "score_every", 0.0),
    (config.Training, "score_steps", 0),
    (config.Training, "score_items", 0),
    (config.Training, "keep_every", -1.0),
    (config.Training, "keep", 0),
    (config.Training, "seed", -1),
    (config.Training, "seed", 2**32),
    (config.Training, "threads", -1),
    (config.Search, "width", 0),
    (config.Search, "length_penalty", inf),
    (config.Search, "length_ratio", 0.0),
    (config.EvaluateConfig, "width", -1),
    (config.PredictConfig, "best", 0),
    (config.PredictConfig, "width", 0),
]


@pytest.mark.parametrize(
    ("kind", "name", "value"), REFUSED, ids=[f"{name}={value}" for _, name, value in REFUSED]
)
def test_a_value_outside_of_its_range_is_refused(kind: type[Any], name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        kind(**{name: value})
    start = f"{name.replace('_', '-')} is {value}; give a number "
    assert str(caught.value).startswith(start)


def test_every_number_has_a_range() -> None:
    kinds = {config.Data, config.Model, config.Training, config.Search}
    numbers = {
        (kind, field.name)
        for kind in kinds
        for field in dataclasses.fields(kind)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    }
    assert numbers - {(kind, name) for kind, name, _ in REFUSED} <= {
        (config.Model, "encoder_hidden")
    }


PRESETS = [(task, name) for task in NAMES for name in find_kind(task).presets]


@pytest.mark.parametrize(("task", "name"), PRESETS, ids=[" ".join(p) for p in PRESETS])
def test_presets_are_settings(task: str, name: str) -> None:
    kind = find_kind(task)
    preset = read_toml(kind.presets[name])
    settings = merge(kind.config(), preset)
    assert tomllib.loads(to_toml(settings))["training"].items() >= preset["training"].items()
