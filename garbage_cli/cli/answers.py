"""predict, serve and request: from photos to answers, here or over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from garbage_cli.cli.app import Json, app

if TYPE_CHECKING:
    from garbage_cli.prediction import Classifier, Photo

Photos = Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.", show_default=False)]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", help="How many kinds to name per photo.", show_default="5, or all"),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", help='Say "not sure" under this score; 0: never.', show_default="the model's own"),
]
Model = Annotated[Path, typer.Option("--model", help="Inference folder, from `garbage export`.")]
Engine = Annotated[str, typer.Option("--engine", help="auto, openvino, onnxruntime or paddle.")]


@app.command()
def predict(
    photos: Photos,
    model: Model = Path("inference"),
    top_k: TopK = None,
    threshold: Threshold = None,
    engine: Engine = "auto",
    json: Json = False,
) -> None:
    """Say which bin each photo belongs in, or 不确定 not sure. A bad photo is named, the rest go on; exit code 1.

    \b
    garbage predict img.jpg
    garbage predict photos/ --json > answers.jsonl
    """
    from garbage_cli.predictor import Predictor

    found = _find(photos)
    _answer(Predictor.load(model, engine=engine, top_k=top_k, threshold=threshold), found, json=json)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8866,
    workers: Annotated[int, typer.Option(help="Processes, each with the model loaded.", min=1)] = 1,
    model: Model = Path("inference"),
    top_k: TopK = None,
    threshold: Threshold = None,
    engine: Engine = "auto",
    json: Json = False,
) -> None:
    """Answer photos over HTTP: PaddleHub Serving's protocol on /predict/…, our own on /v1/predict.

    \b
    garbage serve --port 8866 --workers 4
    """
    from garbage_cli import server as room
    from garbage_cli.console import answers as view

    options = room.ServeOptions(
        model=model, host=host, port=port, workers=workers, engine=engine, top_k=top_k, threshold=threshold
    )
    room.serve(options, on_ready=lambda url: view.show_ready(url, options.workers, json=json))


@app.command()
def request(
    photos: Photos,
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

    found = _find(photos)
    with Client(url, top_k=top_k) as client:
        _answer(client, found, json=json)


def _find(paths: list[Path]) -> "list[Photo]":
    from garbage_cli.errors import ImageError
    from garbage_cli.images import find, mute_warnings
    from garbage_cli.prediction import Photo

    mute_warnings()
    photos = [Photo.from_path(path) for path in find(paths)]
    if not photos:
        raise ImageError(f"no photo in {paths[0]} (looked for .jpg, .png, .webp and the like)")
    return photos


def _answer(classifier: "Classifier", photos: "list[Photo]", *, json: bool) -> None:
    """The view that `predict` and `request` share."""
    from garbage_cli.console import answers as view

    if not view.show(classifier.predict(photos), total=len(photos), json=json):
        raise typer.Exit(1)
