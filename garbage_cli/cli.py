"""The commands: parse, one call into a room, show.

Knows Typer, defaults and help texts. Does not know any algorithm. Rooms are imported inside the commands, so that
`garbage --help` loads none of them.
"""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from garbage_cli import __version__
from garbage_cli.errors import GarbageError

if TYPE_CHECKING:
    from garbage_cli.config import TrainConfig
    from garbage_cli.dataset import Dataset
    from garbage_cli.prediction import Classifier, Photo

app = typer.Typer(
    name="garbage",
    help="Waste-sorting photos, from an archive to a running service.",
    epilog="The commands chain: unpack → data/ → train → output/ → export → inference/ → predict, serve → request.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, for programs.")]
Photos = Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.", show_default=False)]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", help="How many kinds to name per photo.", show_default="5, or all"),
]
Model = Annotated[Path, typer.Option("--model", help="Inference folder, from `garbage export`.")]
Engine = Annotated[str, typer.Option("--engine", help="auto, openvino, onnxruntime or paddle.")]


def main() -> None:
    """Run the command line: an error of ours is one line on stderr and exit code 1; a bug keeps its traceback."""
    if sys.stdout is None:
        sys.exit("error: stdout is closed; there is nowhere to write the answer")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # Chinese must not fail where the locale is C
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        app()
    except GarbageError as error:
        _fail(str(error))
    except OSError as error:
        if not error.filename and not error.strerror:
            raise
        _fail(": ".join(str(part) for part in (error.filename, error.strerror) if part))


def _fail(message: str) -> None:
    from garbage_cli.console.terminal import show_error

    show_error(message)
    sys.exit(1)


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
    from garbage_cli.console import unpacking as view
    from garbage_cli.dataset import Dataset

    limits = room.Limits(room.parse_size(max_size), max_members, max_ratio)
    given = room.read_password(password_file) if password_file else None
    reports = room.extract(
        archive, out, force=force, keep_going=keep_going, limits=limits,
        password=lambda: given or view.ask_password(archive), accept=Dataset.load,
    )  # fmt: skip
    skipped = view.watch(reports, archive, out)
    view.show(_load(out), json=json, skipped=skipped)
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

    dataset = _load(data)
    page.require_room(report)
    checked = view.watch(examine(dataset))
    written = page.write(checked, report)  # before the lists: what was found is not lost if those can't be written
    fixed = fixing.fix(checked) if fix else None
    view.show(checked, fixed, page.write(checked, report, fixed) if fixed else written, json=json)
    if not (fixed.after if fixed else checked).usable:
        raise typer.Exit(1)


def _load(data: Path) -> "Dataset":
    """Read a data set; say what should be known of how it was read; write a split down that had to be made."""
    from garbage_cli.console.terminal import say
    from garbage_cli.dataset import Dataset
    from garbage_cli.images import mute_warnings

    mute_warnings()
    dataset = Dataset.load(data)
    for note in (*dataset.notes, dataset.write_split()):
        if note:
            say(note)
    return dataset


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="The data set's folder.")] = Path("data"),
    epochs: Annotated[int | None, typer.Option(help="Times through the photos.", show_default="60")] = None,
    config: Annotated[
        str | None,
        typer.Option(help="A ready recipe's name, or a YAML file.", show_default="the source document's"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A PaddleClas network.", show_default="ResNet50_vd")] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="ssld, imagenet, none, a .pdparams file or its URL.", show_default="ssld")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Photos per step.", show_default="32")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the first step.", show_default="0.00375")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, gpu or gpu:N.", show_default="auto")] = None,
    out: Annotated[Path, typer.Option("--out", help="Where run folders go; this one is OUT/<network>.")] = Path(
        "output"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly where the run in OUT stopped.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. augment.erase=0.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Fine-tune a PaddleClas network. Ctrl-C saves the state; --resume goes on from it.

    The photos are checked first: those that can't be read are named and left out.

    \b
    garbage train --epochs 60
    garbage train --model MobileNetV2 --pretrained weights.pdparams --epochs 3
    """
    from garbage_cli import trainer as room
    from garbage_cli.config import parse_override
    from garbage_cli.console import training as view
    from garbage_cli.vendor import require

    options = {
        "epochs": epochs, "batch_size": batch_size, "device": device, "model.name": model,
        "model.pretrained": pretrained, "optimizer.learning_rate": learning_rate,
    }  # fmt: skip
    overrides: list[tuple[str, object]] = [(key, value) for key, value in options.items() if value is not None]
    overrides += [parse_override(text) for text in set_ or []]
    settings = _train_settings(config, overrides, out=out, resume=resume)
    require("training", module="paddle", package="paddlepaddle", extra="train")
    dataset = _checked(_load(data))
    with _stop_on_signal() as stop:
        reports = room.train(settings, dataset, output=out, resume=resume, stop=stop)
        last = view.Watch().draw(reports)
    if not view.show(last, json=json):
        raise typer.Exit(130)


def _checked(dataset: "Dataset") -> "Dataset":
    """The photos that can be decoded, after a check that reads only what has changed since the last one."""
    from garbage_cli.check import check as examine
    from garbage_cli.console import checking

    checked = checking.watch(examine(dataset))
    checking.say_before_training(checked)
    return checked.usable_part()


def _train_settings(
    config: str | None, overrides: list[tuple[str, object]], *, out: Path, resume: bool
) -> "TrainConfig":
    """The recipe with the options on top; a --resume that names no recipe or network goes on with the latest run's."""
    from garbage_cli.bundle import latest_run
    from garbage_cli.config import DEFAULT_CONFIG, load_train_config
    from garbage_cli.runs import CONFIG_FILE

    if resume and config is None and "model.name" not in dict(overrides):
        return load_train_config(str(latest_run(out) / CONFIG_FILE), overrides)
    return load_train_config(config or DEFAULT_CONFIG, overrides)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Give a question that Ctrl-C or SIGTERM answers with yes; a second Ctrl-C stops at once."""
    from garbage_cli.console.terminal import say

    asked = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        say("stopping after this step, and saving; Ctrl-C again stops at once")

    kept = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@app.command()
def export(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="A run folder, or a .pdparams file in one.", show_default="the latest in output/"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="The inference folder to make.")] = Path("inference"),
    json: Json = False,
) -> None:
    """Turn the best checkpoint into an inference folder that all engines agree on.

    \b
    garbage export
    garbage export output/ResNet50_vd/latest.pdparams --out inference-latest
    """
    from garbage_cli import exporter as room
    from garbage_cli.bundle import Checkpoint, latest_run
    from garbage_cli.console import exporting as view

    source = Checkpoint.load(checkpoint or latest_run(Path("output")))
    view.show(view.watch(room.export(source, out=out)), json=json)


@app.command()
def predict(
    photos: Photos,
    model: Model = Path("inference"),
    top_k: TopK = None,
    engine: Engine = "auto",
    json: Json = False,
) -> None:
    """Say which bin each photo belongs in. A bad photo is named and the rest go on; the exit code is then 1.

    \b
    garbage predict img.jpg
    garbage predict photos/ --json > answers.jsonl
    """
    from garbage_cli.predictor import Predictor

    found = _find(photos)
    _answer(Predictor.load(model, engine=engine, top_k=top_k), found, json=json)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for the whole network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8866,
    workers: Annotated[int, typer.Option(help="Processes, each with the model loaded.", min=1)] = 1,
    model: Model = Path("inference"),
    top_k: TopK = None,
    engine: Engine = "auto",
    json: Json = False,
) -> None:
    """Answer photos over HTTP: PaddleHub Serving's protocol on /predict/…, our own on /v1/predict.

    \b
    garbage serve --port 8866 --workers 4
    """
    from garbage_cli import server as room
    from garbage_cli.console import answers as view

    options = room.ServeOptions(model=model, host=host, port=port, workers=workers, engine=engine, top_k=top_k)
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


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to work.")] = Path("garbage-demo"),
    json: Json = False,
) -> None:
    """Draw a small data set and run all six commands on it, in about a minute."""
    from garbage_cli import demo as room
    from garbage_cli.console import demonstration as view

    steps = view.watch(room.run(folder))
    view.show(steps, room.validation_top1(folder), folder, json=json)
