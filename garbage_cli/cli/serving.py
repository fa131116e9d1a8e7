"""serve: photos answered over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from garbage_cli.cli.answers import Model, Threshold, TopK
from garbage_cli.cli.app import Json, app
from garbage_cli.cli.engines import Engine, Precision, Set, Verbose, options


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8866,
    workers: Annotated[int, typer.Option(help="Processes, each with the model loaded.", min=1)] = 1,
    model: Model = Path("inference"),
    top_k: TopK = None,
    threshold: Threshold = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    set_: Set = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Answer photos over HTTP: PaddleHub Serving's protocol on /predict/…, our own on /v1/predict.

    \b
    garbage serve --port 8866 --workers 4
    """
    from garbage_cli import server as room
    from garbage_cli.console import serving as view
    from garbage_cli.console.terminal import say

    asked = room.ServeOptions(
        model=model, host=host, port=port, workers=workers, top_k=top_k, threshold=threshold,
        engine=engine, precision=precision, options=options(set_),
    )  # fmt: skip
    room.serve(
        asked, on_ready=lambda url: view.show_ready(url, workers, json=json), tell=say, explain=say if verbose else None
    )
