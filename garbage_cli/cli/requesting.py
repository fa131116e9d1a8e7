"""request: answers from a running server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from garbage_cli.cli.answers import Annotate, Csv, Listed, Photos, Resume, ask
from garbage_cli.cli.app import Json, app

if TYPE_CHECKING:
    from garbage_cli.client import Client


@app.command()
def request(
    photos: Photos = None,
    listed: Listed = None,
    csv: Csv = None,
    resume: Resume = False,
    annotate: Annotate = None,
    url: Annotated[str, typer.Option(help="The server's address.")] = "http://127.0.0.1:8866",
    protocol: Annotated[
        str, typer.Option(help="v1 of `garbage serve`, hub of a PaddleHub, or auto: the server is asked.")
    ] = "auto",
    module: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A PaddleHub's module.", show_default="garbage_classification"),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="What a PaddleHub's class numbers mean: an inference folder, a rule or label file.",
            show_default="the 40 kinds",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Requests under way at once.", min=1, max=256)] = 8,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Of one request.", min=0.1, max=86_400)] = 60.0,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key that the server asks for, on its first line.", show_default=False),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", help="How many kinds to name per photo.", show_default="the server's own", min=1),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what kind of server it is.")] = False,
    json: Json = False,
) -> None:
    """Have a running server say which bin each photo belongs in.

    A busy server is asked again, for a minute per photo. A bad photo is named, the rest go on; exit code 1.

    \b
    garbage request img.jpg
    garbage request photos/ --url http://192.0.2.7:8866
    garbage request photos/ --protocol hub --labels garbage_classify_rule.json
    """
    from garbage_cli.console import answers as view
    from garbage_cli.console.terminal import say

    client = _client(
        url, protocol, module=module, labels=labels, concurrency=concurrency, timeout=timeout, key_file=api_key_file,
        top_k=top_k,
    )  # fmt: skip
    with client:
        asked = ask(photos, listed, csv=csv, resume=resume, annotate=annotate, json=json)
        if verbose:
            say(client.find())
        try:
            asked.answer(client)
        except typer.Exit:  # photos without an answer
            view.tell_pace(client.summary, json=json)
            raise
        view.tell_pace(client.summary, json=json)


def _client(
    url: str,
    protocol: str,
    *,
    module: str | None,
    labels: Path | None,
    concurrency: int,
    timeout: float,
    key_file: Path | None,
    top_k: int | None,
) -> "Client":
    from garbage_cli.client import PROTOCOLS, Client, read_api_key, read_labels
    from garbage_cli.console.terminal import say

    spoken = next((each for each in PROTOCOLS if each == protocol), None)
    if spoken is None:
        raise typer.BadParameter(f"no protocol {protocol}; use {', '.join(PROTOCOLS)}", param_hint="--protocol")
    if spoken == "v1" and (module is not None or labels is not None):
        raise typer.BadParameter("--module and --labels are for a PaddleHub; leave them out with --protocol v1")
    if module is not None and not module.strip("./ "):
        raise typer.BadParameter(f"{module!r} is no module's name", param_hint="--module")
    return Client(
        url, protocol=spoken, module=module, labels=read_labels(labels) if labels else None, concurrency=concurrency,
        timeout=timeout, key=read_api_key(key_file) if key_file else None, top_k=top_k, tell=say,
    )  # fmt: skip
