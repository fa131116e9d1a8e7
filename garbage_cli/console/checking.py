"""The view of `check`, and what `train` says of the check it begins with."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from garbage_cli.check import KINDS, Checked, Checking, Finding
from garbage_cli.check.fixing import Fixed
from garbage_cli.check.page import as_json
from garbage_cli.console.classes import show_classes
from garbage_cli.console.terminal import count, err, out, plain, print_json, say
from garbage_cli.dataset.text import printable

EXAMPLES = 3
"""Findings of a kind that are named in the terminal; the page and check.json have them all."""
LEFT_OUT = 100
"""Photos that training names one by one."""
STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def watch(reports: Iterable[Checking | Checked]) -> Checked:
    """Draw a bar by photos; return the result."""
    columns = (TextColumn("checking photos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=None)
        for report in reports:
            if isinstance(report, Checked):
                return report
            progress.update(task, completed=report.done, total=report.total)
    raise AssertionError("a check ends with its result")


def show(checked: Checked, fixed: Fixed | None, page: Path, *, json: bool) -> None:
    """Print classes and findings, then the verdict; what was written goes to stderr."""
    if json:
        print_json(as_json(checked, fixed))
    else:
        per_class = Counter(f.class_id for f in checked.findings if f.class_id is not None)
        show_classes(checked.dataset, found=per_class)
        _show_findings(checked)
    if fixed:
        say(f"wrote {', '.join(path.name for path in fixed.written)} in {checked.dataset.root}")
        say(f"they leave out {count(len(fixed.left_out), 'entry')}; no photo was deleted, no old list changed")
    if not json:
        _show_verdict(checked, fixed)
    say(f"{count(len(checked.records), 'photo')}, {checked.fresh} of them read now; details in {page}")


def _show_findings(checked: Checked) -> None:
    for name, number in checked.counts().items():
        found = [finding for finding in checked.findings if finding.kind.name == name]
        kind = found[0].kind
        out.print(
            Text.assemble((f"{kind.severity:>7} {number:>5}  ", STYLES[kind.severity]), kind.title), soft_wrap=True
        )
        if kind.severity == "note":
            continue
        for finding in found[:EXAMPLES]:
            out.print(Text(f"               {_line(finding)}", "dim"), soft_wrap=True)
        if number > EXAMPLES:
            out.print(Text(f"               … and {number - EXAMPLES} more", "dim"))


def _line(finding: Finding) -> str:
    """A finding in a line."""
    named = f"{finding.path}: " if finding.path else ""
    where = f" ({finding.where})" if finding.where else ""
    return plain(printable(f"{named}{finding.detail}{where}"))


def _show_verdict(checked: Checked, fixed: Fixed | None) -> None:
    if (fixed.after if fixed else checked).usable:
        out.print("usable with the cleaned lists" if fixed else "usable", style="bold green")
        return
    helps = not fixed and any(finding.kind.dropped for finding in checked.findings)
    advice = "; --fix writes lists without what can't be used" if helps else ""
    out.print(Text(f"not usable as it is{advice}", "bold red"), soft_wrap=True)


def say_before_training(checked: Checked) -> None:
    """Name the photos that training leaves out, and say what else is an error."""
    unusable = [finding for finding in checked.findings if finding.kind.unusable]
    for finding in unusable[:LEFT_OUT]:
        say(f"left out {_line(finding)}")
    if len(unusable) > LEFT_OUT:
        say(f"left out {len(unusable) - LEFT_OUT} more; see: garbage check {checked.dataset.root}")
    for name, number in checked.counts().items():
        if name in ("leak", "two-labels"):
            say(f"{number} × {KINDS[name].title}: figures will mislead; see: garbage check {checked.dataset.root}")
