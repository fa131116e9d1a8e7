"""An evaluation, or a comparison of two → files that a person likes to read, and JSON for programs.

Knows which files there are. Does not know how figures are made, or the terminal.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from garbage_cli.evaluation.plain import METRICS_FILE, as_json, comparison_as_json
from garbage_cli.evaluation.values import Comparison, Evaluation
from garbage_cli.report import comparison as comparison_page
from garbage_cli.report import page, plots
from garbage_cli.report.strict import dumps, tamed
from garbage_cli.storage import require_room, staged_file
from garbage_cli.vendor import require

__all__ = ["require_extras", "require_room", "write", "write_comparison"]

PAGE_FILE, JSON_FILE = "report.html", METRICS_FILE
COMPARISON_PAGE_FILE, COMPARISON_JSON_FILE = "comparison.html", "comparison.json"
BINS_FILE = "bins.png"
"""The plot that not every report has."""


def require_extras() -> None:
    """Raise MissingExtraError if a report can't be made, before the work is done for nothing."""
    require("the page of an evaluation", module="jinja2", package="jinja2", extra="evaluate")
    require("the plots of an evaluation", module="matplotlib", package="matplotlib", extra="evaluate")


def write(evaluation: Evaluation, folder: Path, *, photos: Mapping[str, Path]) -> Path:
    """Write page, JSON and plots into a folder; return the path of the page.

    All are made before the first is written: if one can't be, a report that is there stays as it was. `photos` are the
    files by the names that the evaluation calls them; a name without a file has no picture. The plot of bins of an
    earlier report goes where this one has no bins. Raises MissingExtraError.
    """
    require_extras()
    evaluation = tamed(evaluation)
    drawn = plots.all_plots(evaluation)
    html = page.render(evaluation, photos=photos, confusion=drawn["confusion.png"])
    files = {JSON_FILE: _json(as_json(evaluation)), **drawn, PAGE_FILE: _encoded(html)}
    outdated = BINS_FILE not in drawn and _has_bins(folder)
    _write(folder, files)
    if outdated:
        (folder / BINS_FILE).unlink(missing_ok=True)
    return folder / PAGE_FILE


def write_comparison(comparison: Comparison, folder: Path, *, photos: Mapping[str, Path]) -> Path:
    """Write page and JSON of a comparison into a folder; return the path of the page. As `write`."""
    require_extras()
    html = comparison_page.render(comparison, photos=photos)
    files = {COMPARISON_JSON_FILE: _json(comparison_as_json(comparison)), COMPARISON_PAGE_FILE: _encoded(html)}
    _write(folder, files)
    return folder / COMPARISON_PAGE_FILE


def _has_bins(folder: Path) -> bool:
    """Say whether a report of ours lies here that came with a plot of bins."""
    try:
        known = json.loads((folder / JSON_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(known, dict) and isinstance(known.get("format"), int) and bool(known.get("per_bin"))


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files under other names, then rename them: a full disk leaves what was there."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for name, data in files.items():
            stack.enter_context(staged_file(folder / name)).write_bytes(data)


def _json(value: object) -> bytes:
    return _encoded(dumps(value) + "\n")


def _encoded(text: str) -> bytes:
    """As UTF-8; what is no text in a stranger's name, as the code that JSON has for it."""
    return text.encode("utf-8", "backslashreplace")
