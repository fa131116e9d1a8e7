"""The program itself, and the options that several commands share."""

from typing import Annotated

import typer

from garbage_cli import __version__

app = typer.Typer(
    name="garbage",
    help="Waste-sorting photos, from an archive to a running service.",
    epilog="The commands chain: unpack → data/ → train → output/ → export → inference/ → predict, serve → request.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, for programs.")]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"garbage {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
