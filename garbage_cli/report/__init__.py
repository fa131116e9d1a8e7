"""An evaluation, or a comparison of two → files that a person likes to read, and JSON for programs.

Knows which files there are. Does not know how figures are made, or the terminal.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from garbage_cli.evaluation.plain import as_json, comparison_as_json
from garbage_cli.evaluation.values import Comparison, Evaluation
from garbage_cli.report import comparison as comparison_page
from garbage_cli.report import page, plots
from garbage_cli.storage import require_room, write_bytes
from garbage_cli.vendor import require

__all__ = ["require_extras", "require_room", "write", "write_comparison"]

PAGE_FILE, JSON_FILE = "report.html", "metrics.json"
COMPARISON_PAGE_FILE, COMPARISON_JSON_FILE = "comparison.html", "comparison.json"
PLOT_FILES = ("confusion.png", "bins.png", "reliability.png", "coverage.png", "classes.png")


def require_extras() -> None:
    """Raise MissingExtraError if a report can't be made, before the work is done for nothing."""
    require("the page of an evaluation", module="jinja2", package="jinja2", extra="evaluate")
    require("the plots of an evaluation", module="matplotlib", package="matplotlib", extra="evaluate")


def write(evaluation: Evaluation, folder: Path, *, photos: Mapping[str, Path]) -> Path:
    """Write page, JSON and plots into a folder; return the path of the page.

    `photos` are the files by the names that the evaluation calls them; a name without a file has no picture. An old
    plot that this evaluation has nothing to draw for (bins) is removed. Raises MissingExtraError.
    """
    require_extras()
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / JSON_FILE, as_json(evaluation))  # first: the figures are not lost if a page can't be made
    drawn = plots.all_plots(evaluation)
    for name in PLOT_FILES:
        if name in drawn:
            write_bytes(folder / name, drawn[name])
        else:
            (folder / name).unlink(missing_ok=True)
    _write_text(folder / PAGE_FILE, page.render(evaluation, photos=photos, confusion=drawn["confusion.png"]))
    return folder / PAGE_FILE


def write_comparison(comparison: Comparison, folder: Path, *, photos: Mapping[str, Path]) -> Path:
    """Write page and JSON of a comparison into a folder; return the path of the page. As `write`."""
    require_extras()
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / COMPARISON_JSON_FILE, comparison_as_json(comparison))
    _write_text(folder / COMPARISON_PAGE_FILE, comparison_page.render(comparison, photos=photos))
    return folder / COMPARISON_PAGE_FILE


def _write_json(path: Path, value: dict[str, Any]) -> None:
    _write_text(path, json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Write UTF-8; what is no text in a stranger's name, as the code that JSON has for it."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))
