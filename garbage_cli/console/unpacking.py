"""The view of `unpack`."""

import getpass
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from garbage_cli.archive import Report, Skipped
from garbage_cli.console.classes import classes_json, show_classes
from garbage_cli.console.terminal import count as counted
from garbage_cli.console.terminal import err, print_json, say
from garbage_cli.dataset import Dataset
from garbage_cli.errors import ConfigError

SKIPPED = 50
"""Members that were skipped and are named one by one."""
PROBLEMS = 5
"""List lines that can't be used and are named; `garbage check` has them all."""


def watch(reports: Generator[Report, None, None], archive: Path, folder: Path) -> list[Skipped]:
    """Draw a bar by bytes, name what was skipped, then say how many files came out; return what was skipped."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
    task = progress.add_task(f"unpacking {escape(archive.name)}", total=None)
    count, skipped = 0, list[Skipped]()
    with closing(reports), _stopped(progress):
        for report in reports:
            if isinstance(report, Skipped):
                skipped.append(report)
                if len(skipped) <= SKIPPED:
                    say(f"skipped: {report}")
            else:
                count += 1
                progress.update(task, completed=report.done, total=report.total)
            progress.start()  # not before: a password may have been asked for until here
    said = f"; {len(skipped)} skipped" if skipped else ""
    say(f"{counted(count, 'file')} in {folder}{said}")
    return skipped


@contextmanager
def _stopped(progress: Progress) -> Iterator[None]:
    try:
        yield
    finally:
        progress.stop()


def ask_password(archive: Path) -> str | None:
    """Ask on the terminal, without echo; None where there is none."""
    if not sys.stdin or not sys.stdin.isatty():
        return None
    try:
        return getpass.getpass(f"password of {archive.name}: ", stream=sys.stderr)
    except EOFError:
        return None
    except UnicodeDecodeError:
        raise ConfigError("the password is no UTF-8; give it with --password-file FILE") from None


def show(dataset: Dataset, *, json: bool, skipped: Sequence[Skipped] = ()) -> None:
    """Print classes × bins × splits, and what should be known of the data set."""
    for problem in dataset.problems[:PROBLEMS]:
        say(f"{problem.where}: {problem.path!r}: {problem.reason}")
    if len(dataset.problems) > PROBLEMS:
        say(f"… and {len(dataset.problems) - PROBLEMS} more lines that can't be used; see: garbage check")
    if json:
        print_json(_as_json(dataset, skipped))
    else:
        show_classes(dataset)


def _as_json(dataset: Dataset, skipped: Sequence[Skipped]) -> dict[str, Any]:
    return {
        "root": str(dataset.root),
        "layout": dataset.layout,
        "train": len(dataset.train),
        "val": len(dataset.val),
        "classes": classes_json(dataset),
        "problems": len(dataset.problems),
        "skipped": [{"name": each.name, "reason": each.reason} for each in skipped],
    }
