"""The view of `demo`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from garbage_cli.console.terminal import err, out, percent, print_json, say
from garbage_cli.demo import Begun, Ended
from garbage_cli.sample import Drawn


def watch(steps: Iterable[Drawn | Begun | Ended]) -> list[Ended]:
    """Show each command before its own output; return what each made."""
    ended = []
    for step in steps:
        match step:
            case Drawn() if step.done == step.total:
                say(f"drew {step.total} photos")
            case Begun():
                err.print(Text.assemble("\n", ("$ " + step.command, "bold cyan")), soft_wrap=True)
            case Ended():
                ended.append(step)
    return ended


def show(steps: list[Ended], top1: float, folder: Path, *, json: bool) -> None:
    """Print what each command made, and what to type next."""
    if json:
        print_json(_as_json(steps, top1))
        return
    table = Table(title=f"The pipeline, in {escape(str(folder))}", title_justify="left")
    table.add_column("command", overflow="fold")
    table.add_column("made")
    table.add_column("seconds", justify="right")
    for step in steps:
        words = step.command.split()
        shown = step.command if len(words) <= 4 else " ".join([*words[:3], "…"])
        table.add_row(escape(shown), escape(step.made), f"{step.seconds:.1f}")
    out.print()
    out.print(table)
    out.print(f"validation top-1: {percent(top1)}", style="bold")
    out.print("What to type next:", style="bold")
    for line in (
        f"cd {folder} && garbage serve",
        "garbage request YOUR_PHOTO.jpg",
        "garbage unpack YOUR_ARCHIVE.rar && garbage train --help",
    ):
        out.print(f"  {escape(line)}", soft_wrap=True)


def _as_json(steps: list[Ended], top1: float) -> dict[str, Any]:
    commands = [{"command": step.command, "made": step.made, "seconds": round(step.seconds, 2)} for step in steps]
    return {"steps": commands, "val_top1": top1}
