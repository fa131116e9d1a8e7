"""demo: the whole pipeline on photos that it draws."""

from pathlib import Path
from typing import Annotated

import typer

from garbage_cli.cli.app import Json, app


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to work.")] = Path("garbage-demo"),
    json: Json = False,
) -> None:
    """Draw a small data set and run the whole pipeline on it, in about a minute."""
    from garbage_cli import demo as room
    from garbage_cli.console import demonstration as view

    steps = view.watch(room.run(folder))
    view.show(steps, room.validation_top1(folder), folder, json=json)
