"""The view of `predict --ray`: a bar over all machines, and what came of it."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from garbage_cli.bulk import Begun, Done, Finished, Machines, Report
from garbage_cli.console.answers import NOT_SURE
from garbage_cli.console.terminal import count, err, out, print_json, say
from garbage_cli.errors import ConfigError, GarbageError
from garbage_cli.labels.bins import bin_called


def show(
    reports: Generator[Report, None, None],
    *,
    written: Callable[[str], int],
    out_name: str,
    verbose: bool,
    json: bool,
) -> bool:
    """Show reports as they come; return whether every photo that was asked about now was answered.

    `written` counts the photos whose answers are in the folder: more than were heard of, where it is broken off.
    """
    answered = failed = before = photos = 0
    bins: Counter[str] = Counter()
    columns = (TextColumn("photos"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    try:
        with Progress(*columns, TimeRemainingColumn(), console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("photos", total=None, pace="")
            for report in reports:
                if isinstance(report, Begun):
                    photos, before = report.photos, report.before
                    bar.stop()
                    say(_begun(report))
                    if verbose:
                        say(report.why)
                    bar.start()
                    bar.update(task, total=report.photos, completed=before)
                elif isinstance(report, Done):
                    answered, failed = answered + report.photos - report.failed, failed + report.failed
                    bins.update(report.bins)
                    bar.advance(task, report.photos)
                    elapsed = bar.tasks[0].elapsed or 0
                    bar.update(task, pace=f"{(answered + failed) / elapsed:.0f}/s" if elapsed else "")
                elif isinstance(report, Machines):
                    say(_came_or_went(report))
                else:
                    finished = report
    except (KeyboardInterrupt, SystemExit, GarbageError) as error:
        reports.close()  # ends what may still write
        with suppress(ConfigError):
            if photos and (kept := written(out_name)):
                say(f"broken off; {kept:,} of {photos:,} photos are done; go on with the same command and --resume")
            elif photos and not isinstance(error, GarbageError):
                say("broken off; nothing was written")
        raise
    if json:
        print_json(_json(finished, answered, failed, before, bins, out_name))
    else:
        if bins:
            out.print(_table(bins, failed, "photos now" if before else "photos"))
        rate = f"; {(answered + failed) / finished.seconds:,.0f} photos/s" if answered + failed else ""
        say(f"{_tally(answered, failed, before)}, in {out_name}{rate}")
    return not failed


def _begun(begun: Begun) -> str:
    photos = f"{begun.photos:,} photo{'' if begun.photos == 1 else 's'}"
    if begun.before == begun.photos:
        return f"{photos}, all of them answered already"
    where = f"{count(begun.workers, 'worker')} on {count(begun.machines, 'machine')}"
    already = f", {begun.before:,} of them answered already" if begun.before else ""
    waits = "; all cores are taken, it begins when others are done" if begun.waits else ""
    return f"{photos}{already}; {where}{waits}"


def _came_or_went(machines: Machines) -> str:
    lost = machines.before - machines.now
    if lost < 0:
        return f"{count(-lost, 'machine')} more, {machines.now} now"
    return f"{count(lost, 'machine')} lost, {machines.now} left; what was in hand there is done anew"


def _tally(answered: int, failed: int, before: int) -> str:
    words = [f"{answered:,} answered"] + [f"{failed:,} failed"] * bool(failed)
    return ", ".join(words + [f"{before:,} before"] * bool(before))


def _table(bins: Counter[str], failed: int, photos: str) -> Table:
    table = Table("bin", photos)
    table.columns[1].justify = "right"
    for name, number in sorted(bins.items(), key=lambda each: (not each[0], -each[1], each[0])):
        bin_ = bin_called(name)
        words = f"{name} {bin_.english}" if bin_ else name
        style = f"bold {bin_.colour}" if bin_ else "" if name else "yellow"
        table.add_row(Text(words if name else NOT_SURE, style), f"{number:,}")
    if failed:
        table.add_row(Text("failed", "red"), f"{failed:,}")
    return table


def _json(
    finished: Finished, answered: int, failed: int, before: int, bins: Counter[str], out_name: str
) -> dict[str, Any]:
    return {
        "photos": finished.photos, "answered": answered, "failed": failed, "before": before,
        "seconds": round(finished.seconds, 3), "bins": {name or "not sure": number for name, number in bins.items()},
        "out": out_name,
    }  # fmt: skip
