"""The training loop: a config and a data set → a run folder, with a report for every step and epoch.

Knows Paddle, losses and optimisers. Does not know the terminal, archives, or how a run folder is written.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from garbage_cli.batches import Batch, evaluation_batches, steps_per_epoch, training_batches
from garbage_cli.bundle import BEST_WEIGHTS, LATEST_WEIGHTS
from garbage_cli.config import TrainConfig
from garbage_cli.dataset import Dataset
from garbage_cli.errors import CheckpointError, ConfigError, DatasetError
from garbage_cli.reports import EpochReport, Finished, Interrupted, LeftOut, Report, Started, StepReport
from garbage_cli.runs import (
    OPTIMIZER_STATE,
    Progress,
    load_progress,
    move_aside,
    publish,
    resumable,
    run_facts,
    save,
    write_config,
)
from garbage_cli.vendor import choose_device, paddle
from garbage_cli.zoo import (
    Fit,
    build,
    cached_weights,
    fetch,
    load_exactly,
    load_pretrained,
    read_state,
    read_weights,
    weights_url,
)


@dataclass(slots=True)
class _Job:
    """What stays the same through a run, and the bad photos named so far."""

    run: Path
    config: TrainConfig
    dataset: Dataset
    network: Any
    optimizer: Any
    steps: int
    facts: dict[str, Any]
    named: set[Path] = field(default_factory=set)


def train(
    config: TrainConfig,
    dataset: Dataset,
    *,
    output: Path,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Report]:
    """Train `config.model` on `dataset` into `output/<network>/`; yield reports as it goes.

    `stop` is asked after every step; once it says yes the state is saved and the iterator ends with Interrupted.
    With `resume` the run that is there goes on exactly where it stopped. Without, it is moved aside.
    """
    run = output / config.model.name
    if len(dataset.train) < 2:
        raise DatasetError(f"{dataset.root} has {len(dataset.train)} training photo; two are the least")
    if not dataset.val:
        raise DatasetError(f"{dataset.root} has no validation photo; see: garbage check {dataset.root}")
    record = resumable(run, config, dataset) if resume else None
    device = choose_device(config.device)
    module = paddle("training")
    module.device.set_device(device)
    with module.utils.unique_name.guard():  # a saved optimiser state names its tensors; the names must come out alike
        job, progress = yield from _begin(config, dataset, run=run, record=record, device=device)
        yield from _epochs(job, progress, stop)


def _begin(
    config: TrainConfig, dataset: Dataset, *, run: Path, record: dict[str, Any] | None, device: str
) -> Generator[Report, None, tuple[_Job, Progress]]:
    paddle("training").seed(config.seed)
    class_count = len(dataset.labels)
    network, multipliers_used = build(config.model.name, class_count=class_count, lr_mult=config.model.lr_mult)
    fit = (yield from _pretrained(network, config, class_count)) if record is None else None
    steps = steps_per_epoch(len(dataset.train), config.batch_size)
    job = _Job(run, config, dataset, network, _optimizer(network, config), steps, run_facts(config, dataset))
    _check_input(job)
    moved, progress = None, Progress()
    if record is None:
        moved = move_aside(run)
        write_config(run, config)
        _save(job, progress)
    else:
        progress = _restore(job, record)
    yield Started(run, config, device, dataset, fit, multipliers_used, progress.epoch, progress.step, moved)
    return job, progress


def _pretrained(network: Any, config: TrainConfig, class_count: int) -> Generator[Report, None, Fit | None]:
    """Load the weights that the config names, fetching them first where need be."""
    choice = config.model.pretrained
    if choice == "none":
        return None
    path = Path(choice)
    if choice in ("ssld", "imagenet") or choice.startswith(("http://", "https://")):
        url = choice if "://" in choice else weights_url(config.model.name, ssld=choice == "ssld")
        yield from fetch(url)
        path = cached_weights(url)
    elif "://" in choice:
        raise CheckpointError(f"--pretrained {choice}: only http:// and https:// addresses are fetched")
    if not path.is_file():
        raise CheckpointError(f"--pretrained {choice}: no such file; use ssld, imagenet, none, a file or a URL")
    return load_pretrained(network, read_weights(path), class_count=class_count, source=str(path))


def _optimizer(network: Any, config: TrainConfig) -> Any:
    return paddle("training").optimizer.Momentum(
        learning_rate=config.optimizer.learning_rate,
        momentum=config.optimizer.momentum,
        weight_decay=config.optimizer.weight_decay,
        parameters=network.parameters(),
    )


def _check_input(job: _Job) -> None:
    """Run the network once on nothing: some are built for one input size, and say so in words of their own."""
    module, crop = paddle("training"), job.config.preprocess.crop
    job.network.eval()
    try:
        with module.no_grad():
            job.network(module.zeros([1, 3, crop, crop]))
    except (AssertionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{job.config.model.name} can't take inputs of {crop} × {crop} pixels; set preprocess.crop to the size it "
            f"is made for, mostly 224 ({reason})"
        ) from None


def _save(job: _Job, progress: Progress) -> None:
    save(job.run, progress, network=job.network, optimizer=job.optimizer, facts=job.facts)


def _restore(job: _Job, record: dict[str, Any]) -> Progress:
    progress, state = load_progress(job.run, record)
    try:
        load_exactly(job.network, read_weights(state / LATEST_WEIGHTS), source=state / LATEST_WEIGHTS)
        if (state / OPTIMIZER_STATE).is_file():  # there is none before the first step
            job.optimizer.set_state_dict(read_state(state / OPTIMIZER_STATE))
        publish(job.run, progress, state)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; the run can't go on. Start anew without --resume (this run is then kept beside the new one), "
            f"from its weights if you like: --pretrained {job.run / BEST_WEIGHTS}"
        ) from None
    return progress


def learning_rate(config: TrainConfig, *, step: int, steps: int) -> float:
    """Return the rate of a step (from 0, over the whole run): a straight rise, then half a cosine down to 0."""
    warmup = round(config.optimizer.warmup_epochs * steps)
    if step < warmup:
        return config.optimizer.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.epochs * steps - warmup)
    return config.optimizer.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _epochs(job: _Job, progress: Progress, stop: Callable[[], bool]) -> Iterator[Report]:
    while progress.epoch <= job.config.epochs:
        progress = yield from _steps(job, progress, stop)
        if stop():
            _save(job, progress)
            yield Interrupted(job.run, progress.epoch, progress.step)
            return
        report = yield from _close_epoch(job, progress)
        progress = progress.with_epoch(report)
        _save(job, progress)
        yield report
    if best := progress.best:
        yield Finished(job.run, best.epoch, best.val_top1, sum(report.seconds for report in progress.history))


def _steps(job: _Job, progress: Progress, stop: Callable[[], bool]) -> Generator[Report, None, Progress]:
    """The steps of one epoch that are not yet done, until the end or until asked to stop."""
    clock = time.perf_counter()
    for batch in training_batches(job.dataset.train, job.config, epoch=progress.epoch, start=progress.step):
        loss, correct = _step(job, progress, batch) if len(batch) > 1 else (0.0, 0)
        now = time.perf_counter()
        seen = len(batch) if len(batch) > 1 else 0
        progress = progress.with_step(loss=loss, correct=correct, seen=seen, seconds=now - clock)
        clock = now
        yield from _left_out(job, batch)
        yield StepReport(progress.epoch, progress.step, job.steps, progress.loss_sum / max(1, progress.seen))
        if stop():
            return progress
    if not progress.seen:
        raise DatasetError(f"no photo of {job.dataset.root} could be decoded")
    return progress


def _step(job: _Job, progress: Progress, batch: Batch) -> tuple[float, int]:
    """Learn from one batch; return its mean loss and how many it had right."""
    module = paddle("training")
    done = (progress.epoch - 1) * job.steps + progress.step
    job.optimizer.set_lr(learning_rate(job.config, step=done, steps=job.steps))
    module.seed(_step_seed(job.config.seed, progress.epoch, progress.step))
    job.network.train()
    logits = _logits(job.network(module.to_tensor(batch.inputs)))
    classes = module.to_tensor(batch.class_ids)
    loss = module.nn.functional.cross_entropy(logits, classes)
    value = float(loss)
    # Paddle's CPU kernels turn NaN logits into a finite loss, so the loss alone tells nothing
    if not math.isfinite(value) or not bool(module.isfinite(logits).all()):
        raise ConfigError(
            f"the network's outputs are no numbers any more at epoch {progress.epoch}, step {progress.step + 1}; what "
            f"was saved before is kept. Try a lower --learning-rate (it was {job.config.optimizer.learning_rate:g})"
        )
    loss.backward()
    job.optimizer.step()
    job.optimizer.clear_grad()
    return value, int((logits.argmax(axis=1) == classes).sum())


def _step_seed(seed: int, epoch: int, step: int) -> int:
    """A seed for dropout that depends on nothing but the place in the run."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0])


def _logits(output: Any) -> Any:
    """The main output of networks that have several (auxiliary heads, distillation tokens)."""
    return output[0] if isinstance(output, (list, tuple)) else output


def _left_out(job: _Job, batch: Batch) -> Iterator[Report]:
    fresh = tuple(bad for bad in batch.bad if bad.path not in job.named)
    if fresh:
        job.named.update(bad.path for bad in fresh)
        yield LeftOut(fresh)


def _close_epoch(job: _Job, progress: Progress) -> Generator[Report, None, EpochReport]:
    begun = time.perf_counter()
    loss, top1 = yield from _evaluate(job)
    return EpochReport(
        epoch=progress.epoch,
        train_loss=progress.loss_sum / progress.seen,
        train_top1=progress.correct / progress.seen,
        val_loss=loss,
        val_top1=top1,
        learning_rate=learning_rate(job.config, step=progress.epoch * job.steps - 1, steps=job.steps),
        images_per_second=progress.seen / progress.seconds,
        seconds=progress.seconds + time.perf_counter() - begun,
        best=all(top1 > report.val_top1 for report in progress.history),
    )


def _evaluate(job: _Job) -> Generator[Report, None, tuple[float, float]]:
    """Return mean loss and top-1 over the validation photos."""
    loss_sum, correct, seen = 0.0, 0, 0
    module = paddle("training")
    job.network.eval()
    for batch in evaluation_batches(job.dataset.val, job.config):
        yield from _left_out(job, batch)
        if not len(batch):
            continue
        classes = module.to_tensor(batch.class_ids)
        with module.no_grad():
            logits = _logits(job.network(module.to_tensor(batch.inputs)))
            loss_sum += float(module.nn.functional.cross_entropy(logits, classes, reduction="sum"))
        correct += int((logits.argmax(axis=1) == classes).sum())
        seen += len(batch)
    if not seen:
        raise DatasetError(f"no validation photo of {job.dataset.root} could be decoded")
    return loss_sum / seen, correct / seen
