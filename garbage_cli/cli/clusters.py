"""--ray [ADDRESS]: what `predict` and `serve` share."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from garbage_cli.cluster import is_address

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Work on a Ray cluster: HOST:PORT, auto: the one that runs here, local: this machine alone. "
        "Without ADDRESS auto, or else local. Takes the extra scale.",
        show_default=False,
    ),
]
"""None without the option, "" without an address."""


class WithRay(TyperCommand):
    """A command whose option --ray may stand without a value: what follows is one only if it looks like an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a lone --ray an empty value. After `--` nothing is an option."""
        end = args.index("--") if "--" in args else len(args)
        given: list[str] = []
        for number, each in enumerate(args):
            given.append(each)
            alone = number + 1 >= len(args) or not is_address(args[number + 1])
            if each == "--ray" and number < end and alone:
                given.append("")
        return super().parse_args(ctx, given)
