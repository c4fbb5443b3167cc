"""What classification does for each command."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from unrolled.tasks.classify.config import ClassifyConfig, EvaluateConfig, PredictConfig
from unrolled.tasks.classify.data import HELD_OUT, Classes, inputs_kind, known, load_data
from unrolled.tasks.classify.evaluation import evaluate as score
from unrolled.tasks.classify.items import read_items
from unrolled.tasks.classify.labeller import Labeller, build_model
from unrolled.tasks.classify.lesson import ClassifyLesson
from unrolled.tasks.classify.prediction import is_structured, predict_file, predict_lines
from unrolled.tasks.device import pick_device
from unrolled.tasks.faults import Faults
from unrolled.tasks.progress import Progress
from unrolled.tasks.readings import opened_stream
from unrolled.tasks.run import Run
from unrolled.tasks.scores import save_scores
from unrolled.tasks.trained import load_best, read_settings

NEEDS = ("config.toml", "model.safetensors", "classes.json")


def learn(settings: ClassifyConfig, device: torch.device, progress: Progress) -> ClassifyLesson:
    """Read the items, measure them, and build the model."""
    faults = Faults(settings.data.skip_bad)
    train, dev = load_data(settings.data, settings.training.seed, faults)
    classes = Classes.of(train)
    contents = [item.content for item in train]
    inputs = inputs_kind(settings.data.train).build(contents, settings.data)
    model = build_model(settings.model, inputs, classes).to(device)
    return ClassifyLesson(model, inputs, classes, train, dev, settings, faults.summary())


def open_run(path: Path, device: str = "auto") -> tuple[ClassifyConfig, Labeller]:
    """Give a run's settings and its best model, ready to predict."""
    run = Run.open(path, needs=NEEDS)
    settings = read_settings(run)
    inputs = inputs_kind(settings.data.train).load(path)
    classes = Classes.load(path)
    model = load_best(run, build_model(settings.model, inputs, classes))
    return settings, Labeller(model.to(pick_device(device)), inputs, classes)


def evaluate(path: Path, settings: EvaluateConfig) -> None:
    """Score a run on items, print the figures, and keep them in the run."""
    saved, labeller = open_run(path, settings.device)
    faults = Faults(settings.skip_bad)
    if settings.data is None:
        name, data = "dev", saved.data.dev or HELD_OUT
        items = load_data(saved.data, saved.training.seed, faults)[1]
    else:
        name, data = settings.data.name.split(".")[0], settings.data
        arrays = {
            "series_array": settings.series_array or saved.data.fields.series_array,
            "label_array": settings.label_array or saved.data.fields.label_array,
        }
        fields = dataclasses.replace(saved.data.fields, **arrays)
        items = known(read_items(data, fields, faults), labeller.classes, faults)
    evaluation = score(labeller, items, faults)
    print("\n".join(evaluation.lines()), flush=True)
    if faults.count:
        print(f"unrolled: {faults.summary()}", file=sys.stderr)
    save_scores(Run(path), name, data, evaluation.record())
    if settings.predictions:
        evaluation.write(settings.predictions)


def predict(path: Path, settings: PredictConfig, files: Sequence[Path]) -> int:
    """Write the classes of items on standard output; give the number of items at fault."""
    saved, labeller = open_run(path, settings.device)
    fields, out = saved.data.fields, sys.stdout.buffer
    if files and is_structured(files[0]):
        if settings.series_array:
            fields = dataclasses.replace(fields, series_array=settings.series_array)
        return predict_file(labeller, files[0], fields, out, settings)
    source = files[0] if files else None
    with opened_stream(source, "write an item") as stream:
        name = str(source or "stdin")
        return predict_lines(labeller, stream, name, fields, out, settings)
