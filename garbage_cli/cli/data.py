"""unpack and check: from an archive to a data set that can be trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from garbage_cli.cli.app import Json, app

if TYPE_CHECKING:
    from garbage_cli.dataset import Dataset

PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="A file whose first line opens an encrypted archive.",
        show_default="asked for on the terminal",
    ),
]
MaxSize = Annotated[
    str, typer.Option("--max-size", metavar="SIZE", help="Refuse to unfold into more: 200G, 1.5T, 800M, or bytes.")
]
MaxMembers = Annotated[int, typer.Option("--max-members", help="Refuse an archive with more members.", min=1)]
MaxRatio = Annotated[
    float, typer.Option("--max-ratio", help="Refuse to unfold into more than this times the archive's size.", min=1)
]


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(help="A .rar, .zip, .7z or .tar.* file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("data"),
    force: Annotated[bool, typer.Option("--force", help="Replace the folder if it exists.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Skip members that are damaged or unsafe; exit code 1 if any were.")
    ] = False,
    password_file: PasswordFile = None,
    max_size: MaxSize = "64G",
    max_members: MaxMembers = 2_000_000,
    max_ratio: MaxRatio = 200,
    json: Json = False,
) -> None:
    """Extract an archive of photos, and show what is in the data set.

    \b
    garbage unpack garbage.rar
    garbage unpack broken.zip --keep-going
    """
    from garbage_cli import archive as room
    from garbage_cli.config import parse_size
    from garbage_cli.console import unpacking as view
    from garbage_cli.dataset import Dataset

    limits = room.Limits(parse_size(max_size), max_members, max_ratio)
    given = room.read_password(password_file) if password_file else None
    reports = room.extract(
        archive, out, force=force, keep_going=keep_going, limits=limits,
        password=lambda: given or view.ask_password(archive), accept=Dataset.load,
    )  # fmt: skip
    skipped = view.watch(reports, archive, out)
    view.show(load(out), json=json, skipped=skipped)
    if skipped:
        raise typer.Exit(1)


@app.command()
def check(
    data: Annotated[Path, typer.Argument(help="The data set's folder, in any layout we know.")] = Path("data"),
    fix: Annotated[
        bool, typer.Option("--fix", help="Write cleaned lists beside the old ones. No photo is deleted.")
    ] = False,
    report: Annotated[Path, typer.Option("--report", help="Folder for check.json and check.html.")] = Path("check"),
    json: Json = False,
) -> None:
    """Read every photo of a data set, and say what is wrong with it. Exit code 0: usable, 1: not.

    \b
    garbage check
    garbage check photos/ --fix
    """
    from garbage_cli.check import check as examine
    from garbage_cli.check import fixing, page
    from garbage_cli.console import checking as view

    dataset = load(data)
    page.require_room(report)
    checked = view.watch(examine(dataset))
    written = page.write(checked, report)  # before the lists: what was found is not lost if those can't be written
    fixed = fixing.fix(checked) if fix else None
    view.show(checked, fixed, page.write(checked, report, fixed) if fixed else written, json=json)
    if not (fixed.after if fixed else checked).usable:
        raise typer.Exit(1)


def load(data: Path, *, write_split: bool = True) -> "Dataset":
    """Read the data set in a folder, and tell of it."""
    from garbage_cli.dataset import Dataset

    return tell(Dataset.load(data), write_split=write_split)


def tell(dataset: "Dataset", *, write_split: bool = True) -> "Dataset":
    """Say what should be known of how a data set was read; write down a split that had to be made."""
    from garbage_cli.console.terminal import say
    from garbage_cli.images import mute_warnings

    mute_warnings()
    for note in (*dataset.notes, dataset.write_split() if write_split else None):
        if note:
            say(note)
    return dataset
