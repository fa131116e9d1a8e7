"""request: answers from a running server."""

from typing import Annotated

import typer

from garbage_cli.cli.answers import Annotate, Csv, Listed, Photos, Resume, TopK, ask
from garbage_cli.cli.app import Json, app


@app.command()
def request(
    photos: Photos = None,
    listed: Listed = None,
    csv: Csv = None,
    resume: Resume = False,
    annotate: Annotate = None,
    url: Annotated[str, typer.Option(help="The server's address.")] = "http://127.0.0.1:8866",
    top_k: TopK = None,
    json: Json = False,
) -> None:
    """Have a running server say which bin each photo belongs in.

    \b
    garbage request img.jpg
    garbage request photos/ --url http://192.0.2.7:8866
    """
    from garbage_cli.client import Client

    asked = ask(photos, listed, csv=csv, resume=resume, annotate=annotate, json=json)
    with Client(url, top_k=top_k) as client:
        asked.answer(client)
