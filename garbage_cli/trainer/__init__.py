"""The training loop: a config and a data set → a run folder, with a report for every step and epoch.

Knows the order of things in a run. Does not know the terminal, archives, or how a run folder is written.
"""

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from garbage_cli.batches import Batch
from garbage_cli.config import TrainConfig, parse_duration
from garbage_cli.dataset import Dataset
from garbage_cli.errors import ConfigError, DatasetError
from garbage_cli.features.store import usable_folder
from garbage_cli.reports import EpochReport, Finished, Interrupted, LeftOut, Report, StepReport
from garbage_cli.runs import Progress, resumable
from garbage_cli.trainer.agreement import check_agreement
from garbage_cli.trainer.artefacts import write_results
from garbage_cli.trainer.evaluating import Score, evaluate
from garbage_cli.trainer.job import Job, begin, save_state
from garbage_cli.trainer.processes import Processes, given_device, joined
from garbage_cli.trainer.schedule import learning_rate
from garbage_cli.trainer.tuning import compute_features, settled
from garbage_cli.vendor import choose_device, paddle

__all__ = ["learning_rate", "train"]


def train(
    config: TrainConfig,
    dataset: Dataset,
    *,
    output: Path,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    processes: Processes | None = None,
) -> Iterator[Report]:
    """Train `config.model` on `dataset` into `output/<network>/`; yield reports as it goes.

    `stop` is asked after every step; once it says yes the state is saved and the iterator ends with Interrupted, as it
    does when `config.time_limit` is over. With `resume` the run that is there goes on exactly where it stopped;
    without, it is moved aside. Under `paddle.distributed.launch` all processes train one network, and the first writes,
    and reads what a run goes on from; `processes` are those that have joined already. Raises ClusterError, in all that
    are left, where one is lost or ends with an error, and in all where they have not the same settings and photos.
    """
    if processes is not None:
        yield from _train(config, dataset, output=output, resume=resume, stop=stop, processes=processes)
        return
    with joined() as processes:
        yield from _train(config, dataset, output=output, resume=resume, stop=stop, processes=processes)


def _train(
    config: TrainConfig,
    dataset: Dataset,
    *,
    output: Path,
    resume: bool,
    stop: Callable[[], bool],
    processes: Processes,
) -> Iterator[Report]:
    begun = time.monotonic()
    run = output / config.model.name
    if len(dataset.train) < 2:
        raise DatasetError(f"{dataset.root} has {len(dataset.train)} training photo; two are the least")
    if not dataset.val:
        raise DatasetError(f"{dataset.root} has no validation photo; see: garbage check {dataset.root}")
    device = choose_device(config.device) if processes.world == 1 else given_device(config.device)
    asked, config = config, settled(config, device, photos=len(dataset.train))
    check_agreement(processes, config, dataset, resume=resume)
    found = resumable(run, config, dataset) if resume and processes.first else None
    record = json.loads(processes.share(json.dumps(found).encode()))  # the others need not see the first one's disk
    module = paddle("training")
    if processes.world == 1:  # otherwise the launcher has given each its device
        module.device.set_device(device)
    limit = parse_duration(str(config.time_limit)) if config.time_limit else float("inf")
    # a saved optimiser state names its tensors; the names must come out alike
    with module.utils.unique_name.guard(), ExitStack() as stack:
        job, progress = yield from begin(
            config,
            dataset,
            asked=asked,
            run=run,
            record=record,
            device=device,
            processes=processes,
            stop=stop,
            begun=begun,
            limit=limit,
        )
        stack.callback(job.logs.close)
        if job.material.cut is not None:
            folder = stack.enter_context(usable_folder())
            if not (yield from compute_features(job.material, folder=folder, stop=lambda: _asked(job))):
                yield _interrupted(job, progress)
                return
        yield from _epochs(job, progress)


def _asked(job: Job) -> bool:
    return job.stop() or time.monotonic() >= job.deadline


def _interrupted(job: Job, progress: Progress) -> Interrupted:
    asked = bool(job.processes.sum([job.stop()])[0])  # one may have been asked, for all
    seconds = _seconds(job, progress)
    return Interrupted(job.run, progress.epoch, progress.step, progress.best, seconds, time_is_up=not asked)


def _seconds(job: Job, progress: Progress) -> float:
    """Of all epochs; of this call, with what it took before the first one, where that is more."""
    return max(sum(report.seconds for report in progress.history), time.monotonic() - job.begun)


def _epochs(job: Job, progress: Progress) -> Iterator[Report]:
    while progress.epoch <= job.config.epochs and not _no_longer_better(job, progress):
        progress, stopped = yield from _steps(job, progress)
        if stopped:
            save_state(job, progress)
            if progress.history:
                _draw_results(job, progress)
            yield _interrupted(job, progress)
            return
        report = yield from _close_epoch(job, progress)
        progress = progress.with_epoch(report)
        save_state(job, progress)
        if job.processes.first:
            job.logs.epoch(report)
            _draw_results(job, progress, rarely=True)
        yield report
    if best := progress.best:
        _draw_results(job, progress)
        early = progress.epoch <= job.config.epochs
        yield Finished(job.run, best, _seconds(job, progress), early)


def _draw_results(job: Job, progress: Progress, *, rarely: bool = False) -> None:
    """Draw the curves; rarely: not more often than every ten seconds, since epochs over features take less than one."""
    now = time.monotonic()
    if job.processes.first and not (rarely and now - job.drawn < 10):
        write_results(job.run, progress.history)
        job.drawn = now


def _no_longer_better(job: Job, progress: Progress) -> bool:
    """Whether as many epochs as the config's patience have passed without a better one."""
    best, patience = progress.best, job.config.patience
    return bool(patience and best and progress.epoch - 1 - best.epoch >= patience)


def _steps(job: Job, progress: Progress) -> Generator[Report, None, tuple[Progress, bool]]:
    """The steps of one epoch that are not yet done, until the end or until asked to stop; say which."""
    clock = time.perf_counter()
    for batch in job.material.training(epoch=progress.epoch, start=progress.step):
        loss, correct, seen, stopped = _step(job, progress, batch)
        now = time.perf_counter()
        progress = progress.with_step(loss_sum=loss, correct=correct, seen=seen, seconds=now - clock)
        clock = now
        yield from _left_out(job, batch)
        yield StepReport(progress.epoch, progress.step, job.steps, progress.loss_sum / max(1, progress.seen))
        whole = progress.step % job.config.optimizer.accumulate == 0 or progress.step == job.steps
        if stopped and whole:  # no gradient waits for a step
            return progress, True
    if not progress.seen:
        raise DatasetError(f"no photo of {job.dataset.root} could be decoded")
    return progress, False


def _step(job: Job, progress: Progress, batch: Batch) -> tuple[float, int, int, bool]:
    """Learn from one batch; return over all processes: sum of losses, how many right, of how many, whether to stop."""
    done = (progress.epoch - 1) * job.steps + progress.step
    rate = learning_rate(job.config, step=done, steps=job.steps)
    loss, correct, seen = 0.0, 0, 0
    if job.processes.sum([len(batch)])[0] > 1:  # batch norm needs two
        seed = _step_seed(job.config.seed, progress.epoch, progress.step, job.processes.rank)
        try:
            loss, correct = job.learner.learn(batch, rate=rate, seed=seed)
        except ConfigError as error:
            raise ConfigError(
                f"epoch {progress.epoch}, step {progress.step + 1}: {error}; what was saved before is kept"
            ) from None
        seen = len(batch)
    if (progress.step + 1) % job.config.optimizer.accumulate == 0 or progress.step + 1 == job.steps:
        job.learner.step()
    sums = job.processes.sum([loss, correct, seen, _asked(job)])
    job.logs.step(step=done + 1, loss=sums[0] / max(1, sums[2]), rate=rate)
    return float(sums[0]), int(sums[1]), int(sums[2]), bool(sums[3])


def _step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """A seed for dropout that depends on nothing but the place in the run."""
    place = [seed, epoch, step, rank] if rank else [seed, epoch, step]
    return int(np.random.SeedSequence(place).generate_state(1)[0])


def _left_out(job: Job, batch: Batch) -> Iterator[Report]:
    fresh = tuple(bad for bad in batch.bad if bad.path not in job.named)
    if fresh:
        job.named.update(bad.path for bad in fresh)
        yield LeftOut(fresh)


def _close_epoch(job: Job, progress: Progress) -> Generator[Report, None, EpochReport]:
    begun = time.perf_counter()
    score = yield from _evaluate(job)
    figures = {"top1": score.top1, "macro_f1": score.macro_f1}
    chosen = job.config.select_by
    return EpochReport(
        epoch=progress.epoch,
        train_loss=progress.loss_sum / progress.seen,
        train_top1=progress.correct / progress.seen,
        val_loss=score.loss,
        val_top1=score.top1,
        val_macro_f1=score.macro_f1,
        learning_rate=learning_rate(job.config, step=progress.epoch * job.steps - 1, steps=job.steps),
        images_per_second=progress.seen / progress.seconds,
        seconds=progress.seconds + time.perf_counter() - begun,
        best=all(figures[chosen] > getattr(report, f"val_{chosen}") for report in progress.history),
    )


def _evaluate(job: Job) -> Generator[Report, None, Score]:
    """The figures of the averaged weights where there are any, else of the weights."""
    left_out: list[Report] = []

    def batches() -> Iterator[Batch]:
        for batch in job.material.validation():
            left_out.extend(_left_out(job, batch))
            yield batch

    with job.learner.averaged():
        score = evaluate(
            job.learner.network,
            job.material.forward,
            batches(),
            class_count=len(job.dataset.labels),
            processes=job.processes,
        )
    yield from left_out
    if score is None:
        raise DatasetError(f"no validation photo of {job.dataset.root} could be decoded")
    return score
