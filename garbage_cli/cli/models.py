"""train and export: from a data set to an inference folder."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from garbage_cli.cli.app import Json, app
from garbage_cli.cli.data import load, tell
from garbage_cli.cli.figures import DEFAULT_PRECISION, OUTPUT, TargetPrecision, measured, report_of_run

if TYPE_CHECKING:
    from garbage_cli.bundle import ModelBundle
    from garbage_cli.dataset import Dataset
    from garbage_cli.evaluator import Evaluated
    from garbage_cli.recipes import Recipe
    from garbage_cli.reports import Finished, Interrupted
    from garbage_cli.trainer.processes import Processes


@app.command()
def train(
    data: Annotated[Path | None, typer.Argument(help="The data set's folder.", show_default="data")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times through the photos.", show_default="60")] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="A ready recipe's name, or a YAML file, PaddleClas's own too.", show_default="the source document's"
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A PaddleClas network.", show_default="ResNet50_vd")] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="ssld, imagenet, none, a .pdparams file or its URL.", show_default="ssld")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Photos per step.", show_default="32")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="At the first step.", show_default="0.00375")] = None,
    tune: Annotated[
        str | None,
        typer.Option(
            help="What is trained: auto, head, last-stage or full. auto is full on a GPU, less on a CPU.",
            show_default="auto",
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop after 90s, 30m or 1.5h, with the state saved.", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn at random.", show_default="42")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, gpu or gpu:N.", show_default="auto")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where run folders go; this one is OUT/<network>.", show_default="output"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly where the run in OUT stopped.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. augment.erase=0.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Fine-tune a PaddleClas network. Ctrl-C saves the state; --resume goes on from it.

    The photos are checked first: those that can't be read are named and left out. At the end stands a report of the
    best weights, in the run folder.

    \b
    garbage train --epochs 60
    garbage train --model MobileNetV2 --pretrained weights.pdparams --epochs 3
    garbage train --config ResNet50_vd.yaml
    """
    from garbage_cli import trainer as room
    from garbage_cli.config import parse_override
    from garbage_cli.console import recipes as account
    from garbage_cli.console import training as view
    from garbage_cli.trainer.processes import joined
    from garbage_cli.vendor import require

    options = {
        "epochs": epochs, "batch_size": batch_size, "optimizer.learning_rate": learning_rate, "device": device,
        "model.name": model, "model.pretrained": pretrained, "tune": tune, "time_limit": time_limit, "seed": seed,
    }  # fmt: skip
    overrides: list[tuple[str, object]] = [(key, value) for key, value in options.items() if value is not None]
    overrides += [parse_override(text) for text in set_ or []]
    with joined(_give_up) as processes:  # before what may go wrong on one machine: then all are told
        recipe = _recipe(config, overrides, out=out, resume=resume, processes=processes)
        require("training", module="paddle", package="paddlepaddle", extra="train")
        account.show(recipe, data=data)
        _require_gpu(recipe)
        dataset = _checked(_dataset(data, recipe))
        output = out or recipe.output or OUTPUT
        with _stop_on_signal() as stop:
            reports = room.train(recipe.config, dataset, output=output, resume=resume, stop=stop, processes=processes)
            last = view.Watch().draw(reports)
    try:
        evaluated = _evaluated(last, dataset) if view.is_done(last) else None
    except BaseException:  # Ctrl-C too: what was trained is said all the same
        view.show(last, None, json=json)
        raise
    if not view.show(last, evaluated, json=json):
        raise typer.Exit(130)


def _give_up(words: str) -> None:
    """End this process from another thread than the one that hangs, as an error does; nothing is half-written."""
    from garbage_cli.console.terminal import show_error

    show_error(words)
    os._exit(1)


def _evaluated(last: "Finished | Interrupted", dataset: "Dataset") -> "Evaluated | None":
    """The evaluation of the best weights, with its report in the run folder; None if there are none yet.

    A report that can't be made doesn't make a training fail that is done and saved: it is said.
    """
    from garbage_cli.bundle import Checkpoint
    from garbage_cli.console.terminal import say
    from garbage_cli.errors import GarbageError
    from garbage_cli.trainer.processes import is_first

    if not last.best or not is_first():
        return None
    try:
        return report_of_run(Checkpoint.load(last.run), dataset)
    except (GarbageError, OSError) as error:
        say(f"the run is saved, but it has no report: {error}; try: garbage evaluate {last.run}")
        return None


def _checked(dataset: "Dataset") -> "Dataset":
    """The photos that can be decoded, after a check that reads only what has changed since the last one."""
    from garbage_cli.check import check as examine
    from garbage_cli.console import checking

    checked = checking.watch(examine(dataset))
    checking.say_before_training(checked)
    return checked.usable_part()


def _recipe(
    config: str | None, overrides: list[tuple[str, object]], *, out: Path | None, resume: bool, processes: "Processes"
) -> "Recipe":
    """The recipe with the options on top; a --resume that names no recipe or network goes on with the latest run's.

    That is the latest that the first process has: the others need not see its disk.
    """
    from garbage_cli.bundle import latest_run
    from garbage_cli.config import DEFAULT_CONFIG
    from garbage_cli.recipes import read_recipe
    from garbage_cli.runs import CONFIG_FILE

    if resume and config is None and "model.name" not in dict(overrides):
        run = latest_run(out or OUTPUT) if processes.first else Path()
        with processes.shared_files(run, (CONFIG_FILE,)) as folder:
            return read_recipe(str(folder / CONFIG_FILE), overrides)
    return read_recipe(config or DEFAULT_CONFIG, overrides)


def _require_gpu(recipe: "Recipe") -> None:
    """Say at once that there is no GPU, where the file or an option asks for one: a check may take minutes."""
    from garbage_cli.errors import ConfigError
    from garbage_cli.vendor import choose_device

    device = recipe.config.device
    try:
        if device.startswith("gpu"):
            choose_device(device)
    except ConfigError as error:
        by_theirs = recipe.theirs and recipe.theirs.settings.get("device") == device
        raise ConfigError(f"{recipe.source}: {error}" if by_theirs else str(error)) from None


def _dataset(data: Path | None, recipe: "Recipe") -> "Dataset":
    """The named folder's, else what the recipe names, else that of data/."""
    named = recipe.dataset() if data is None else None
    return tell(named) if named else load(data or Path("data"))


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Give a question that Ctrl-C or SIGTERM answers with yes; a second Ctrl-C stops at once."""
    from garbage_cli.console.terminal import say
    from garbage_cli.vendor import paddle

    paddle("training")  # before our own handlers: it has some
    asked = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        if asked.is_set():  # a launcher ends its processes once more
            return
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
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder to make.", show_default="inference, or hub"),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="bundle: an inference folder; hub: a module for PaddleHub.")
    ] = "bundle",
    program: Annotated[
        str, typer.Option("--program", help="Paddle's file: json, or pdmodel for readers before Paddle 3.")
    ] = "json",
    quantize: Annotated[
        bool, typer.Option("--quantize/--no-quantize", help="Make an int8 network; measure it and bf16 against f32.")
    ] = True,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="Time every engine on this machine.")] = True,
    target_precision: TargetPrecision = DEFAULT_PRECISION,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="BUNDLE", help="Only verify an inference folder.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Turn the best checkpoint into an inference folder that all engines agree on.

    Temperature, threshold and figures for the model card come from the run's report, or are measured on its photos now.
    bf16 and int8 are used by themselves only where they lose no more than half a point of top-1 on those photos.

    \b
    garbage export
    garbage export output/ResNet50_vd/latest.pdparams --out inference-latest
    garbage export --format hub
    garbage export --check inference
    """
    from garbage_cli import exporter as room
    from garbage_cli.bundle import Checkpoint, latest_run
    from garbage_cli.console import exporting as view

    _check_export(format_, program, target_precision)
    if check is not None:
        if not view.show_check(room.check(check), check, json=json):
            raise typer.Exit(1)
        return
    source = Checkpoint.load(checkpoint or latest_run(OUTPUT))
    figures = measured(source, precision=target_precision)
    folder = out or Path("inference")
    with _place(folder, hub=format_ == "hub") as place:
        steps = room.export(source, out=place, measured=figures, narrow=quantize, timed=timing, program=program)
        done = view.watch(steps)
        if format_ == "hub":
            _write_hub_module(done.bundle, out or Path("hub"), json=json)
            return
    view.show(done, json=json)


def _check_export(format_: str, program: str, target_precision: float) -> None:
    if not 0 < target_precision < 1:
        raise typer.BadParameter(f"{target_precision:g} is no share between 0 and 1", param_hint="--target-precision")
    if format_ not in ("bundle", "hub"):
        raise typer.BadParameter(f"no format {format_}; use bundle or hub", param_hint="--format")
    if program not in ("json", "pdmodel"):
        raise typer.BadParameter(f"no program {program}; use json or pdmodel", param_hint="--program")


@contextmanager
def _place(folder: Path, *, hub: bool) -> Iterator[Path]:
    """Where the bundle goes: for a module it is made apart, and copied into it."""
    import tempfile

    if not hub:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="garbage-", ignore_cleanup_errors=True) as apart:
        yield Path(apart) / "inference"


def _write_hub_module(bundle: "ModelBundle", out: Path, *, json: bool) -> None:
    from garbage_cli.console import hubmodule as view
    from garbage_cli.hubmodule import write_hub_module

    view.show(write_hub_module(bundle, out), json=json)
