"""The view of `train`."""

from collections.abc import Iterable, Iterator
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from garbage_cli.config import TrainConfig
from garbage_cli.console.terminal import duration, err, out, percent, print_json, say
from garbage_cli.evaluator import REPORT, Evaluated
from garbage_cli.report import PAGE_FILE
from garbage_cli.reports import (
    EpochReport,
    FeatureReport,
    Finished,
    Interrupted,
    LeftOut,
    Report,
    Started,
    StepReport,
)
from garbage_cli.trainer.processes import is_first
from garbage_cli.zoo import Fetched


class Watch:
    """A row per epoch and a bar per step, on stderr."""

    def __init__(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task: TaskID | None = None
        self._epochs = 0

    def draw(self, reports: Iterable[Report]) -> Finished | Interrupted:
        """Draw the reports as they come; return the last."""
        last: Report | None = None
        with self._progress:
            for last in reports:
                self._show(last)
        assert isinstance(last, Finished | Interrupted)
        return last

    def _show(self, report: Report) -> None:
        match report:
            case Started():
                self._show_started(report)
            case Fetched():
                self._advance("fetching weights", report.done, report.total)
            case FeatureReport():
                which = "validation" if report.validation else "training"
                self._advance(f"frozen part on {which} photos ({report.engine})", report.done, report.total)
            case StepReport():
                text = f"epoch {report.epoch}/{self._epochs} loss {report.loss:.3f}"
                self._advance(text, report.step, report.steps)
            case EpochReport():
                self._show_epoch(report)
            case LeftOut():
                for bad in report.photos:
                    say(f"left out {bad.path}: {bad.reason}")

    def _advance(self, text: str, done: int, total: int | None) -> None:
        if self._task is None:
            self._task = self._progress.add_task(text, total=total)
        self._progress.update(self._task, description=text, completed=done, total=total)

    def _show_started(self, started: Started) -> None:
        self._epochs = started.config.epochs
        for line in _introduction(started):
            say(line)
        err.print(_HEADER, style="bold")

    def _show_epoch(self, report: EpochReport) -> None:
        left = (self._epochs - report.epoch) * report.seconds
        err.print(
            f"{report.epoch:>5}  {report.train_loss:>10.4f}  {percent(report.train_top1):>11}  "
            f"{report.val_loss:>8.4f}  {percent(report.val_top1):>9}{'★' if report.best else ' '} "
            f"{percent(report.val_macro_f1):>8}  {report.images_per_second:>8.1f}  {duration(left):>7}",
        )
        if self._task is not None:
            self._progress.reset(self._task)


_HEADER = "epoch  train loss  train top-1  val loss  val top-1  macro F1  images/s    to go"


def _introduction(started: Started) -> Iterator[str]:
    data, config = started.dataset, started.config
    yield (
        f"{config.model.name} on {started.device}: {len(data.train)} training and {len(data.val)} validation photos, "
        f"{len(data.labels)} classes, into {started.run}"
    )
    if started.moved:
        yield f"the earlier run is now {started.moved}"
    if started.fit:
        head = f"; the head starts afresh with {len(data.labels)} classes" if started.fit.replaced else ""
        head += f"; the names' {started.fit.prefix!r} was left out" if started.fit.prefix else ""
        yield f"weights {config.model.pretrained}: {started.fit.loaded} of {started.fit.total} tensors{head}"
    if config.tune != "full":
        yield f"trained: {started.tuned}; the rest is computed once for {_views(config)} views of each photo"
        yield (
            f"by the settings of {config.tune.replace('-', '_')}: {config.epochs} epochs, batches of "
            f"{config.batch_size}, {config.optimizer.name} from {config.optimizer.learning_rate:g}"
        )
    if started.processes > 1:
        yield f"{started.processes} processes train together"
    if config.model.lr_mult and not started.multipliers_used:
        yield f"{config.model.name} takes no such learning-rate multipliers: lr_mult is not used"
    if started.epoch > 1 or started.step:
        yield f"resumed at epoch {started.epoch}, step {started.step}"


def _views(config: TrainConfig) -> int:
    return (config.head if config.tune == "head" else config.last_stage).views


def is_done(last: Finished | Interrupted) -> bool:
    """Whether all is done, or as much as the time allowed: not stopped by hand."""
    return isinstance(last, Finished) or last.time_is_up


def show(last: Finished | Interrupted, evaluated: Evaluated | None, *, json: bool) -> bool:
    """Print where the best weights are and how good they are. Return False if it was stopped by hand."""
    if isinstance(last, Interrupted):
        why = "the time is up; " if last.time_is_up else ""
        say(f"{why}saved at epoch {last.epoch}, step {last.step}; go on with the same command and --resume")
    if not is_done(last):
        return False
    if json:
        print_json(_as_json(last, evaluated))
    else:
        _show_table(last, evaluated)
    return True


def _show_table(last: Finished | Interrupted, evaluated: Evaluated | None) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    if (best := last.best) is None:
        table.add_row("best epoch", "none yet: the first one was not finished")
    else:
        early = isinstance(last, Finished) and last.stopped_early
        table.add_row("best epoch", f"{best.epoch}{' (stopped early: none better since)' if early else ''}")
        table.add_row("validation top-1", Text(percent(best.val_top1), "bold"))
        table.add_row("macro F1", percent(best.val_macro_f1))
    if evaluated and (bins := evaluated.evaluation.bin_accuracy):
        table.add_row("right bin", Text(percent(bins.value), "bold"))
    table.add_row("time", duration(last.seconds))
    if is_first():  # the others, perhaps on other machines, have none
        table.add_row("run folder", str(last.run))
    if evaluated:
        table.add_row("its report", str(last.run / REPORT / PAGE_FILE))
    out.print(table)


def _as_json(last: Finished | Interrupted, evaluated: Evaluated | None) -> dict[str, Any]:
    best = last.best
    bins = evaluated.evaluation.bin_accuracy if evaluated else None
    return {
        "run": str(last.run),
        "finished": isinstance(last, Finished),
        "best_epoch": best.epoch if best else None,
        "val_top1": best.val_top1 if best else None,
        "val_macro_f1": best.val_macro_f1 if best else None,
        "bin_accuracy": bins.value if bins else None,
        "report": str(last.run / REPORT / PAGE_FILE) if evaluated else None,
        "seconds": round(last.seconds, 1),
    }
