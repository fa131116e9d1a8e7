"""The commands: parse, one call into a room, show.

Knows Typer, defaults and help texts. Does not know any algorithm. Rooms are imported inside the commands, so that
`garbage --help` loads none of them.
"""

import signal
import sys
from contextlib import suppress

from garbage_cli.cli import data, networks, models, figures, answers, serving, requesting, demo  # isort: skip - each adds its commands, in this order
from garbage_cli.cli.app import app
from garbage_cli.errors import GarbageError

__all__ = ["answers", "app", "data", "demo", "figures", "main", "models", "networks", "requesting", "serving"]


def main() -> None:
    """Run the command line: an error of ours is one line on stderr and exit code 1; a bug keeps its traceback."""
    if sys.stdout is None:
        sys.exit("error: stdout is closed; there is nowhere to write the answer")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Chinese must not fail where the locale is C
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    with suppress(ValueError):  # in a thread, or where there is no such signal
        signal.signal(signal.SIGTERM, _end)
    try:
        app()
    except GarbageError as error:
        _fail(str(error))
    except OSError as error:
        if not error.filename and not error.strerror:
            raise
        _fail(": ".join(str(part) for part in (error.filename, error.strerror) if part))


def _end(number: int, frame: object) -> None:
    """Leave as after Ctrl-C, so that nothing half-written stays."""
    raise SystemExit(128 + number)


def _fail(message: str) -> None:
    from garbage_cli.console.terminal import show_error

    show_error(message)
    sys.exit(1)
