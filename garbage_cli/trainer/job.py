"""What stays the same through a run: how it begins, what it starts or goes on from, and saving its state.

Knows in which order a run's parts are made. Does not know epochs and steps.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from garbage_cli.batches import steps_per_epoch
from garbage_cli.bundle import BEST_WEIGHTS, LATEST_WEIGHTS
from garbage_cli.config import TrainConfig
from garbage_cli.dataset import Dataset
from garbage_cli.depthwise import use_products
from garbage_cli.errors import CheckpointError
from garbage_cli.reports import Report, Started
from garbage_cli.runs import (
    AVERAGE,
    OPTIMIZER_STATE,
    Progress,
    load_progress,
    move_aside,
    publish,
    run_facts,
    save,
    write_config,
)
from garbage_cli.trainer.artefacts import Logs, write_environment, write_first_batch
from garbage_cli.trainer.learning import Learner
from garbage_cli.trainer.processes import Processes
from garbage_cli.trainer.starting import check_input, load_weights
from garbage_cli.trainer.tuning import Material, fitting
from garbage_cli.vendor import paddle
from garbage_cli.zoo import Fit, build, load_exactly, read_state, read_weights


@dataclass(slots=True)
class Job:
    """What stays the same through a run, and the bad photos named so far."""

    run: Path
    config: TrainConfig
    dataset: Dataset
    learner: Learner
    material: Material
    processes: Processes
    steps: int
    facts: dict[str, Any]
    logs: Logs
    stop: Callable[[], bool]
    begun: float
    """When this call began, by `time.monotonic`."""
    deadline: float
    """By the same clock; infinite where there is no limit."""
    named: set[Path] = field(default_factory=set)
    drawn: float = 0.0
    """When the curves were last drawn, by `time.monotonic`."""


def begin(
    config: TrainConfig,
    dataset: Dataset,
    *,
    asked: TrainConfig,
    run: Path,
    record: dict[str, Any] | None,
    device: str,
    processes: Processes,
    stop: Callable[[], bool],
    begun: float,
    limit: float,
) -> Generator[Report, None, tuple[Job, Progress]]:
    """Build what a run needs and make its folder, or go on from the state of one; report that it has started."""
    paddle("training").seed(config.seed)
    class_count = len(dataset.labels)
    network, multipliers_used = build(config.model.name, class_count=class_count, lr_mult=config.model.lr_mult)
    fit = (yield from _pretrained(network, config, class_count, processes)) if record is None else None
    check_input(network, config)
    if device == "cpu":
        use_products(network)
    made = fitting(network, config, dataset, processes, asked=asked)
    config = made.config
    learner = Learner(
        network,
        forward=made.forward,
        parameters=made.parameters,
        config=config,
        class_counts=np.array(list(dataset.counts("train").values())),
        processes=processes,
    )
    steps = steps_per_epoch(len(dataset.train), config.batch_size, world=processes.world)
    moved, progress = None, Progress()
    if record is None and processes.first:
        moved = move_aside(run)
        write_config(run, replace(config, time_limit=None))  # of this call, not of the run
        write_environment(run, device=device, processes=processes.world)
        write_first_batch(run, config, dataset)
    logs = Logs(run, wanted=config.visualdl and processes.first)
    facts = run_facts(replace(config, time_limit=None), dataset)
    job = Job(run, config, dataset, learner, made, processes, steps, facts, logs, stop, begun, begun + limit)
    if record is None:
        processes.same_start(list(network.state_dict().values()))
        save_state(job, progress)
    else:
        progress = _restore(job, record)
    yield _started(job, progress, device=device, fit=fit, multipliers_used=multipliers_used, moved=moved)
    return job, progress


def _pretrained(
    network: Any, config: TrainConfig, class_count: int, processes: Processes
) -> Generator[Report, None, Fit | None]:
    """Load the weights; the first process fetches them while the others wait."""
    if not processes.first:
        processes.wait()
    fit = yield from load_weights(network, config, class_count)
    if processes.first:
        processes.wait()
    return fit


def _started(
    job: Job, progress: Progress, *, device: str, fit: Fit | None, multipliers_used: bool, moved: Path | None
) -> Started:
    return Started(
        job.run,
        job.config,
        device,
        job.dataset,
        fit,
        multipliers_used,
        job.material.words,
        job.processes.world,
        progress.epoch,
        progress.step,
        moved,
    )


def save_state(job: Job, progress: Progress) -> None:
    """Write the state to go on from; only the first process does, and the others wait."""
    if job.processes.first:
        save(
            job.run,
            progress,
            weights=job.learner.network.state_dict(),
            average=job.learner.averaged_weights(),
            state=job.learner.state(),
            facts=job.facts,
        )
    job.processes.wait()
    _say_kept(job, progress)


def _say_kept(job: Job, progress: Progress) -> None:
    ended = f"the end of epoch {progress.epoch - 1}" if progress.epoch > 1 else "its start"
    place = f"epoch {progress.epoch}, step {progress.step}" if progress.step else ended
    job.processes.keep(f"the run is saved up to {place}, in {job.run} of {job.processes.names[0]}")


def _restore(job: Job, record: dict[str, Any]) -> Progress:
    progress, kept = load_progress(job.run, record)
    network = job.learner.network
    try:
        with job.processes.shared_files(kept, (LATEST_WEIGHTS, AVERAGE, OPTIMIZER_STATE)) as state:
            load_exactly(network, read_weights(state / LATEST_WEIGHTS), source=kept / LATEST_WEIGHTS)
            average = read_weights(state / AVERAGE) if (state / AVERAGE).is_file() else None
            before = state / OPTIMIZER_STATE
            # no file before the first step
            job.learner.load_state(read_state(before) if before.is_file() else {}, average)
        if job.processes.first:
            publish(job.run, progress, kept)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; the run can't go on. Start anew without --resume (this run is then kept beside the new one), "
            f"from its weights if you like: --pretrained {job.run / BEST_WEIGHTS}"
        ) from None
    job.processes.wait()
    _say_kept(job, progress)
    return progress
