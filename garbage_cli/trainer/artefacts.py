"""What a run folder holds for people: pictures, the environment, VisualDL's logs.

Knows files. Does not know the loop.
"""

import os
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from garbage_cli.batches import training_batches
from garbage_cli.config import TrainConfig
from garbage_cli.dataset import Dataset
from garbage_cli.labels import Label
from garbage_cli.pictures import batch_png, results_png
from garbage_cli.reports import EpochReport
from garbage_cli.storage import write_bytes, write_json
from garbage_cli.vendor import available_cores, paddle, visualdl

PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "paddleclas", "openvino", "numpy", "pillow", "onnx", "paddle2onnx")
MOST_TILES = 64


def write_environment(run: Path, *, device: str, processes: int) -> None:
    """Write `environment.json`: on what the run was begun."""
    module = paddle("training")
    facts: dict[str, Any] = {
        "packages": dict(_versions()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "gpu": module.device.cuda.get_device_name() if device.startswith("gpu") else None,
        "cores": available_cores(),
        "processes": processes,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    write_json(run / "environment.json", facts)


def _versions() -> Iterator[tuple[str, str]]:
    for name in ("garbage-cli", *PACKAGES):
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def write_first_batch(run: Path, config: TrainConfig, dataset: Dataset) -> None:
    """Write `first_batch.png`: the photos of the first training batch, as the network sees them."""
    for batch in islice(training_batches(dataset.train, config, epoch=1), 1):
        if not len(batch):
            return
        labels = {label.class_id: label for label in dataset.labels.items}
        titles = [_title(labels[int(class_id)]) for class_id in batch.class_ids[:MOST_TILES]]
        write_bytes(run / "first_batch.png", batch_png(batch.inputs[:MOST_TILES], titles, config.preprocess))


def _title(label: Label) -> str:
    return f"{label.class_id} {label.name}"


def write_results(run: Path, history: Sequence[EpochReport]) -> None:
    """Write `results.png`: loss, top-1, macro-F1 and learning rate over the epochs."""
    write_bytes(run / "results.png", results_png(history))


class Logs:
    """VisualDL's logs of a run, in `RUN/visualdl`; nothing if they are not asked for."""

    def __init__(self, run: Path, *, wanted: bool) -> None:
        self._writer = visualdl("visualdl: true").LogWriter(logdir=str(run / "visualdl")) if wanted else None

    def step(self, *, step: int, loss: float, rate: float) -> None:
        """Log one step's figures."""
        self._write(step, {"step/loss": loss, "step/learning_rate": rate})

    def epoch(self, report: EpochReport) -> None:
        """Log one epoch's figures."""
        names = ("train_loss", "train_top1", "val_loss", "val_top1", "val_macro_f1", "images_per_second")
        self._write(report.epoch, {f"epoch/{name}": getattr(report, name) for name in names})

    def _write(self, step: int, values: dict[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(tag=name, step=step, value=value)

    def close(self) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            self._writer.close()
