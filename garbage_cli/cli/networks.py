"""models: which networks there are to train."""

from typing import Annotated

import typer

from garbage_cli.cli.app import Json, app


@app.command()
def models(
    wanted: Annotated[
        str, typer.Argument(metavar="FILTER", help="A part of a name, or a pattern.", show_default="all")
    ] = "",
    json: Json = False,
) -> None:
    """List PaddleClas's networks: size, published accuracy, and whose weights are here. Needs no Paddle.

    \b
    garbage models resnet50
    garbage models 'PPLCNet_x?_0' --json
    """
    from garbage_cli.console import networks as view
    from garbage_cli.zoo import find

    view.show(find(wanted), json=json)
