"""The view of `evaluate`, and of the evaluation that `train` ends with."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from garbage_cli.console.terminal import bin_text, count, err, out, percent, plain, print_json, say
from garbage_cli.evaluation.plain import as_json, comparison_as_json
from garbage_cli.evaluation.values import Comparison, Cost, Difference, Estimate, Evaluation, Figures
from garbage_cli.evaluator import Answering, Evaluated
from garbage_cli.exporter import Parity, Step
from garbage_cli.labels import Label
from garbage_cli.report import strict

WORST = 5
"""Kinds and confusions that the terminal shows; the report has them all."""
STYLES = {Cost.HAZARDOUS: "bold red", Cost.SPOILS: "red", Cost.MISPLACED: "yellow", Cost.NAME_ONLY: "dim"}


def watch(reports: Iterable[Step | Parity | Answering | Evaluated], *, model: Path) -> Evaluated:
    """Draw a bar by photos; return the result."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    say(f"evaluating {model}")
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("making the model ready", total=None)
        for report in reports:
            match report:
                case Evaluated():
                    return report
                case Answering():
                    progress.update(task, description="photos", completed=report.done, total=report.total)
                case Step():
                    progress.update(task, description=report.what)
                case Parity(difference=None):
                    say(f"{report.engine} can't run this network and is left out: {report.reason}")
    raise AssertionError("an evaluation ends with its result")


def show(evaluation: Evaluation, page: Path, *, json: bool) -> None:
    """Print the headline, bins, the worst kinds and the dearest confusions; notes go to stderr."""
    if json:
        print_json(strict.plain(as_json(strict.tamed(evaluation))))
    else:
        _show_headline(evaluation)
        if evaluation.bins:
            _show_figures(evaluation.bins, "bin")
        _show_worst(evaluation)
        _show_confusions(evaluation)
    for note in evaluation.notes:
        say(f"note: {note}")
    say(f"the report: {page}")


def _show_headline(evaluation: Evaluation) -> None:
    source = evaluation.source
    title = f"{evaluation.subject.name} on {count(evaluation.photos, 'photo')} of {source.root} ({source.split})"
    out.print(Text(plain(title), "bold"), soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for name, value, more in _headline(evaluation):
        table.add_row(name, Text(value, "bold"), more)
    out.print(table)


def _headline(evaluation: Evaluation) -> Iterator[tuple[str, str, str]]:
    if evaluation.bin_accuracy:
        yield "right bin", *_with_range(evaluation.bin_accuracy)
    yield "top-1", *_with_range(evaluation.top1)
    yield f"top-{evaluation.top5_k}", *_with_range(evaluation.top5)
    yield "macro-F1", *_with_range(evaluation.macro_f1)
    calibration, rejection = evaluation.calibration, evaluation.rejection
    before = f"{percent(calibration.ece_uncalibrated)} without the temperature of {calibration.temperature:.2f}"
    yield "calibration error", percent(calibration.ece), before
    right = _in_brackets(rejection.precision) if rejection.precision else "none"
    would = "would be, " if rejection.proposed else ""
    yield "answered", percent(rejection.coverage.value), f"{would}right {rejection.of} of those {right}"
    yield "not sure", percent(1 - rejection.coverage.value), f"{would}with a score under {rejection.threshold:.2f}"
    if rejection.strangers:
        strangers = rejection.strangers
        yield "not sure of", percent(strangers.refused), f"of {count(strangers.photos, 'photo')} of unknown kinds"
    if speed := evaluation.speed:
        single = f"{speed.ms_p50:.1f} ms alone, 99 % in {speed.ms_p99:.1f} ms"
        cores = f"{speed.cores} core{'s' if speed.cores > 1 else ''}"
        yield "photos/s", f"{speed.images_per_second:.0f}", f"{single} ({speed.engine}, {cores})"


def _in_brackets(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def _with_range(estimate: Estimate) -> tuple[str, str]:
    return percent(estimate.value), f"95 %: {100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def _show_worst(evaluation: Evaluation) -> None:
    known = [each for each in evaluation.kinds if each.f1]
    worst = sorted(known, key=lambda each: each.f1.value if each.f1 else 0)[:WORST]
    _show_figures(worst, "kind" if len(known) <= WORST else f"kind, the worst {WORST} of {len(known)}")


def _show_figures(figures: Iterable[Figures], what: str) -> None:
    table = Table(what)
    table.columns[0].overflow = "fold"
    for name in ("photos", "precision", "recall", "F1"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in figures:
        text = bin_text(each.label) if what == "bin" else _kind_text(each.label)
        shares = (percent(part.value) if part else "—" for part in (each.precision, each.recall, each.f1))
        table.add_row(text, str(each.photos), *shares)
    out.print(table)


def _kind_text(label: Label) -> Text:
    return Text.assemble(plain(label.name), (f" {label.english}" if label.english else "", "dim"))


def _show_confusions(evaluation: Evaluation) -> None:
    if not evaluation.confusions:
        out.print("no photo was taken for another kind")
        return
    out.print("taken for another kind, the dearest first:")
    for each in evaluation.confusions[:WORST]:
        names = f"{plain(each.true.name)} → {plain(each.answered.name)}"
        out.print(Text.assemble(f"{each.photos:>5}  {names}  ", (each.cost.words, STYLES[each.cost])), soft_wrap=True)
    if (more := len(evaluation.confusions) - WORST) > 0:
        out.print(f"       … and {more} more")


def show_comparison(comparison: Comparison, page: Path, *, json: bool) -> None:
    """Print what two models differ in, and whether that can be chance."""
    if json:
        print_json(strict.plain(comparison_as_json(comparison)))
    else:
        _show_differences(comparison)
    for each in (comparison.a, comparison.b):
        for note in each.notes:
            say(f"note on {each.subject.source}: {note}")
    say(f"the photos on which they differ ({len(comparison.disagreements)}): {page}")


def _show_differences(comparison: Comparison) -> None:
    a, b = comparison.a, comparison.b
    for letter, subject in (("A", a.subject), ("B", b.subject)):
        out.print(plain(f"{letter}  {subject.name}, {subject.source}"), markup=False, soft_wrap=True)
    out.print(f"on the same {comparison.photos} photos:")
    table = Table("", "A", "B", "B − A", "95 %", "p")
    for name, each in (("right bin", comparison.bin_accuracy), ("top-1", comparison.top1)):
        if each:
            table.add_row(name, percent(each.a), percent(each.b), *_change(each.difference), f"{each.p:.2g}")
    f1 = comparison.macro_f1
    table.add_row("macro-F1", percent(comparison.a_macro_f1), percent(comparison.b_macro_f1), *_change(f1), "")
    out.print(table)
    out.print(_verdict(comparison.top1), soft_wrap=True)


def _change(estimate: Estimate) -> tuple[str, str]:
    return f"{100 * estimate.value:+.1f}", f"{100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}"


def _verdict(top1: Difference) -> str:
    """One sentence on whether the difference counts."""
    counts = f"only A has {top1.only_a} photos right, only B {top1.only_b}"
    if not top1.significant:
        return f"{counts}: no significant difference (McNemar's exact test, p = {top1.p:.2g})"
    better = "B" if top1.only_b > top1.only_a else "A"
    return f"{counts}: {better} is better (McNemar's exact test, p = {top1.p:.2g})"
