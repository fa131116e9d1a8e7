"""evaluate: how good a model is, and what it gets wrong; and the report that `train` and `export` draw on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from garbage_cli.cli.app import Json, app
from garbage_cli.cli.data import load
from garbage_cli.cli.engines import Engine, Precision, Set, Verbose, options

if TYPE_CHECKING:
    from garbage_cli.bundle import Checkpoint
    from garbage_cli.dataset import Dataset
    from garbage_cli.evaluation.measured import Measured
    from garbage_cli.evaluator import Evaluated

_PRECISION = (
    'How often an answer must name the right bin; less sure ones are "not sure". '
    "The least sure 1 % of right answers are so in any case."
)
TargetPrecision = Annotated[float, typer.Option("--target-precision", help=_PRECISION)]
DEFAULT_PRECISION = 0.99
OUTPUT = Path("output")


@app.command()
def evaluate(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL",
            help="An inference folder, a run folder or a .pdparams file in one; two are compared.",
            show_default="inference, or the latest run in output/",
        ),
    ] = None,
    data: Annotated[Path, typer.Option("--data", help="The data set's folder.")] = Path("data"),
    split: Annotated[str, typer.Option("--split", help="train, val, test or all.")] = "val",
    report: Annotated[Path, typer.Option("--report", help="Folder for the page, plots and metrics.json.")] = Path(
        "report"
    ),
    target_precision: Annotated[
        float | None, typer.Option("--target-precision", help=_PRECISION, show_default="0.99, or the bundle's own")
    ] = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    set_: Set = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Say how good a model is: right bins, right kinds, what it mistakes for what, whether its scores can be trusted.

    \b
    garbage evaluate
    garbage evaluate output/ResNet50_vd --split test
    garbage evaluate inference old/inference --data photos
    """
    from garbage_cli import evaluator as room
    from garbage_cli.console import figures as view
    from garbage_cli.console.terminal import say
    from garbage_cli.engines.choosing import Wish
    from garbage_cli.evaluation import require_libraries
    from garbage_cli.evaluation.comparing import compare
    from garbage_cli.report import require_extras, require_room, write, write_comparison

    require_libraries()
    require_extras()
    require_room(report)
    opened = [room.open_model(path) for path in _named(models)]
    dataset = load(data, write_split=False)
    wish = Wish(engine, precision, options(set_))
    done = [
        view.watch(
            room.evaluate(model, dataset, split=split, precision=target_precision, wish=wish, tell=say), model=path
        )
        for model, path in zip(opened, _named(models), strict=True)
    ]
    if verbose:
        for each in done:
            say(each.why)
    if len(done) == 1:
        page = write(done[0].evaluation, report, photos=done[0].photos)
        view.show(done[0].evaluation, page, json=json)
        return
    for one, name in zip(done, "ab", strict=True):
        write(one.evaluation, report / name, photos=one.photos)
    a, b = done
    compared = compare(a.evaluation, a.answers, b.evaluation, b.answers)
    view.show_comparison(compared, write_comparison(compared, report, photos=a.photos), json=json)


def _named(models: list[Path] | None) -> list[Path]:
    """The models that were named, else the one there is."""
    from garbage_cli.bundle import MANIFEST_FILE, latest_run

    if models and len(models) > 2:
        raise typer.BadParameter("name one model, or two to compare", param_hint="MODEL")
    inference = Path("inference")
    return models or [inference if (inference / MANIFEST_FILE).is_file() else latest_run(OUTPUT)]


def report_of_run(checkpoint: "Checkpoint", dataset: "Dataset") -> "Evaluated":
    """Evaluate a run's best weights on its validation photos, and write the report into the run folder."""
    from garbage_cli import evaluator as room
    from garbage_cli.console import figures as view
    from garbage_cli.report import write

    done = view.watch(room.evaluate(checkpoint, dataset), model=checkpoint.root)
    write(done.evaluation, checkpoint.root / room.REPORT, photos=done.photos)
    return done


def measured(checkpoint: "Checkpoint", *, precision: float) -> "Measured | None":
    """The figures of these weights: from the run's report, else measured now; None if the photos are gone."""
    from garbage_cli import evaluator as room
    from garbage_cli.console import figures as view
    from garbage_cli.console.terminal import say
    from garbage_cli.errors import DatasetError
    from garbage_cli.evaluation.measured import Measured
    from garbage_cli.evaluation.plain import as_json

    if known := room.recall(checkpoint, precision=precision):
        return known
    try:
        dataset = load(checkpoint.data, write_split=False)
        steps = room.evaluate(checkpoint, dataset, precision=precision, timed=False)
        evaluated = view.watch(steps, model=checkpoint.root)
    except DatasetError as error:
        say(f"not evaluated, so without calibration and threshold: {error}")
        return None
    return Measured.read(as_json(evaluated.evaluation))
