"""A run folder while training writes it: progress, the state to go on from, best and last weights.

Knows which file holds what, and in which order they are written. Does not know the training loop.

A run folder holds `state-…/` to go on from, `best-….pdparams`, and `run.json`, which names these two and is replaced in
one step: a process killed at any moment leaves the state before or the state after, never a mixture. After that the
weights get their fixed names, `best_model.pdparams` and `latest.pdparams` (PaddleClas's format), and `results.csv` is
written; a resumed run does so again.
"""

import csv
import io
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from garbage_cli import __version__
from garbage_cli.bundle import BEST_WEIGHTS, FORMAT, LATEST_WEIGHTS, RUN_FILE, read_json
from garbage_cli.config import TrainConfig, parse_train_config, to_tree, to_yaml
from garbage_cli.dataset import Dataset
from garbage_cli.errors import CheckpointError, ConfigError
from garbage_cli.reports import EpochReport
from garbage_cli.storage import staged_file, staged_folder, write_json, write_text
from garbage_cli.vendor import paddle

OPTIMIZER_STATE = "latest.pdopt"
AVERAGE = "average.pdparams"
"""The averaged weights, where the config asks for them: what is evaluated and kept as best and latest."""
CONFIG_FILE = "config.yml"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the epoch under way (from 1), its steps done, and sums over those."""

    epoch: int = 1
    step: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: tuple[EpochReport, ...] = ()

    @property
    def best(self) -> EpochReport | None:
        """The epoch whose weights are the best so far."""
        return next((report for report in reversed(self.history) if report.best), None)

    def with_step(self, *, loss_sum: float, correct: int, seen: int, seconds: float) -> "Progress":
        """Return the progress after one more step, of `seen` photos whose losses have that sum."""
        return replace(
            self,
            step=self.step + 1,
            loss_sum=self.loss_sum + loss_sum,
            correct=self.correct + correct,
            seen=self.seen + seen,
            seconds=self.seconds + seconds,
        )

    def with_epoch(self, report: EpochReport) -> "Progress":
        """Return the progress at the start of the next epoch."""
        return Progress(epoch=self.epoch + 1, history=(*self.history, report))


def save(
    run: Path,
    progress: Progress,
    *,
    weights: Mapping[str, Any],
    average: Mapping[str, Any] | None,
    state: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write the state to go on from; best weights too, if the epoch just ended was the best so far.

    `state` is what a step depends on beside the weights; the averages, where there are any, count as the result.
    """
    run.mkdir(parents=True, exist_ok=True)
    module = paddle("training")
    folder = run / f"state-{progress.epoch:04d}-{progress.step:06d}"
    with staged_folder(folder) as staging:
        module.save(_in_full(weights), str(staging / LATEST_WEIGHTS))
        if average is not None:
            module.save(_in_full(average), str(staging / AVERAGE))
        if state:  # empty before the first step
            module.save(dict(state), str(staging / OPTIMIZER_STATE))
    if progress.step == 0 and progress.history and progress.history[-1].best:
        _copy(_result(folder), run / _best_file(progress.history[-1]))
    write_json(run / RUN_FILE, {**facts, **_progress_record(progress), "state": folder.name})
    publish(run, progress, folder)


def _in_full(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights in 32-bit floats, whatever they are computed in."""
    half = ("paddle.float16", "paddle.bfloat16")
    return {name: value.astype("float32") if str(value.dtype) in half else value for name, value in weights.items()}


def _result(state: Path) -> Path:
    """The weights that were evaluated."""
    return state / AVERAGE if (state / AVERAGE).is_file() else state / LATEST_WEIGHTS


def publish(run: Path, progress: Progress, state: Path) -> None:
    """Give the weights their fixed names, write the table, and remove what earlier states left."""
    kept = {state.name}
    if best := progress.best:
        kept.add(_best_file(best))
        _copy(run / _best_file(best), run / BEST_WEIGHTS)
    _copy(_result(state), run / LATEST_WEIGHTS)
    write_text(run / "results.csv", _csv(progress.history))
    for old in (*run.glob("state-*"), *run.glob(".state-*"), *run.glob("best-*.pdparams")):
        if old.name not in kept:
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()


def _best_file(report: EpochReport) -> str:
    return f"best-{report.epoch:04d}.pdparams"


def run_facts(config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """Return what `run.json` says of a run from its first moment to its last."""
    return {
        "format": FORMAT,
        "config": to_tree(config),
        "data": str(dataset.root.resolve()),
        "photos": {"train": len(dataset.train), "val": len(dataset.val)},
        "labels": list(dataset.labels.texts),
        "samples": dataset.fingerprint(),
        "versions": {"garbage": __version__, "paddle": paddle("training").__version__} | _python(),
    }


def _python() -> dict[str, str]:
    return {"python": platform.python_version(), "platform": platform.platform()}


def write_config(run: Path, config: TrainConfig) -> None:
    """Write the resolved config as YAML that `--config` reads."""
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / CONFIG_FILE, to_yaml(config))


def _progress_record(progress: Progress) -> dict[str, Any]:
    best = progress.best
    return {
        "progress": {key: value for key, value in asdict(progress).items() if key != "history"},
        "best": {"epoch": best.epoch, "top1": best.val_top1, "macro_f1": best.val_macro_f1, "file": _best_file(best)}
        if best
        else None,
        "history": [asdict(report) for report in progress.history],
    }


def _copy(source: Path, target: Path) -> None:
    """Give a file a second name (a hard link where the file system has them), atomically."""
    with staged_file(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _csv(history: tuple[EpochReport, ...]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(EpochReport)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(report) for report in history)
    return text.getvalue()


def load_progress(run: Path, record: Mapping[str, Any]) -> tuple[Progress, Path]:
    """Return how far a saved run is, and the folder of its state."""
    try:
        history = tuple(EpochReport(**row) for row in record["history"])
        return Progress(**record["progress"], history=history), run / record["state"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{run / RUN_FILE} is incomplete: {error}") from None


def resumable(run: Path, config: TrainConfig, dataset: Dataset) -> dict[str, Any]:
    """Return the record of a run that can go on with this config and data; raise an error that says what differs."""
    record = read_json(run / RUN_FILE, CheckpointError, hint="there is nothing to resume; leave --resume out")
    saved = parse_train_config(record.get("config", {}), where=str(run / RUN_FILE))
    # these change the speed and what is told, not the run
    free = {key: getattr(config, key) for key in ("device", "workers", "time_limit", "visualdl")}
    comparable = replace(saved, **free)
    if difference := _first_difference(to_tree(comparable), to_tree(config)):
        key, before, now = difference
        raise ConfigError(
            f"{run} was trained with {key} {before}, not {now}; resume it with its own settings, or start anew from "
            f"its weights: --pretrained {run / BEST_WEIGHTS}"
        )
    if record.get("labels") != list(dataset.labels.texts) or record.get("samples") != dataset.fingerprint():
        raise ConfigError(f"{run} was trained on {record.get('data')}; {dataset.root} has other photos or classes")
    return record


def _first_difference(before: Any, now: Any, key: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(before, dict) and isinstance(now, dict):
        below = (_first_difference(before.get(k), now.get(k), f"{key}.{k}" if key else k) for k in before | now)
        return next((difference for difference in below if difference), None)
    return None if before == now else (key, before, now)


def move_aside(run: Path) -> Path | None:
    """Rename an earlier run of the same name to `NAME.1`, `NAME.2`, …; return the new name."""
    if not run.exists():
        return None
    number = 1
    while (target := run.with_name(f"{run.name}.{number}")).exists():
        number += 1
    run.rename(target)
    return target
