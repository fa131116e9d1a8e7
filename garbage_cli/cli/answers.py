"""predict: from photos to answers; and what `request` shares with it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from garbage_cli.cli.app import Json, app
from garbage_cli.cli.clusters import Ray, WithRay
from garbage_cli.cli.engines import Engine, Precision, Set, Verbose, options

if TYPE_CHECKING:
    from garbage_cli.annotating import Annotating
    from garbage_cli.prediction import Classifier, Photo
    from garbage_cli.sheets import Sheet

Photos = Annotated[
    list[str] | None,
    typer.Argument(
        help="Photos, folders of photos, patterns such as 'photos/**/*.jpg', or - for one photo on stdin.",
        show_default=False,
    ),
]
Places = Annotated[
    list[str] | None,
    typer.Argument(
        help="Photos, folders of photos, patterns such as 'photos/**/*.jpg', or - for one photo on stdin. "
        "With --ray s3://BUCKET/PATH too.",
        show_default=False,
    ),
]
Listed = Annotated[
    str | None,
    typer.Option("--list", metavar="FILE", help="A file of paths, one a line; - is stdin.", show_default=False),
]
Csv = Annotated[
    str | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help="Write a row per photo for spreadsheets; - is stdout. Not --csv - with --json. With --ray a folder.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the file of --csv, or the folder: photos that have a row are passed over."
    ),
]
Annotate = Annotated[
    Path | None,
    typer.Option(
        "--annotate", metavar="DIR", help="Draw each answer on its photo, as a JPEG in DIR.", show_default=False
    ),
]
TopK = Annotated[
    int | None,
    typer.Option("--top-k", help="How many kinds to name per photo.", show_default="5, or all"),
]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", help='Say "not sure" under this score; 0: never.', show_default="the model's own"),
]
Model = Annotated[Path, typer.Option("--model", help="Inference folder, from `garbage export`.")]


@app.command(cls=WithRay)
def predict(
    photos: Places = None,
    listed: Listed = None,
    csv: Csv = None,
    parquet: Annotated[
        str | None,
        typer.Option(
            "--parquet", metavar="DIR", help="With --ray: write files of Parquet into DIR.", show_default=False
        ),
    ] = None,
    resume: Resume = False,
    annotate: Annotate = None,
    model: Model = Path("inference"),
    top_k: TopK = None,
    threshold: Threshold = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    set_: Set = None,
    ray: Ray = None,
    partition: Annotated[
        int | None,
        typer.Option(
            "--partition",
            help="With --ray: photos of one file of answers.",
            min=1,
            max=1_000_000,
            show_default="500, or as before",
        ),
    ] = None,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Say which bin each photo belongs in, or 不确定 not sure. A bad photo is named, the rest go on; exit code 1.

    With --ray the photos are shared out over the cores of many machines, and
    --csv or --parquet names a folder that all of them see, or s3://BUCKET/PATH.

    \b
    garbage predict img.jpg
    garbage predict photos/ --json > answers.jsonl
    garbage predict photos/ --csv answers.csv --annotate drawn/
    garbage predict --ray head:6379 s3://bucket/photos --parquet s3://bucket/answers
    """
    from garbage_cli.console.terminal import say

    if ray is not None:
        refused = {"--annotate": annotate, "--top-k": top_k}
        _predict_on_ray(
            photos, listed, csv, parquet, refused=refused, verbose=verbose, json=json,
            asked={
                "model": model, "threshold": threshold, "engine": engine, "precision": precision,
                "options": options(set_), "size": partition, "resume": resume, "address": ray,
            },
        )  # fmt: skip
        return
    if partition is not None:
        raise typer.BadParameter("--partition: answers are written in files of so many photos with --ray")
    if parquet is not None:
        raise typer.BadParameter("--parquet: files of Parquet are written with --ray; without it, use --csv FILE")
    if remote := next((name for name in photos or () if name.startswith("s3://")), None):
        raise typer.BadParameter(f"{remote}: stores of objects are read with --ray and --csv DIR or --parquet DIR")
    from garbage_cli.predictor import UNCOUNTED, Predictor

    asked = ask(photos, listed, csv=csv, resume=resume, annotate=annotate, json=json)
    predictor = Predictor.load(
        model,
        engine=engine,
        precision=precision,
        options=options(set_),
        top_k=top_k,
        threshold=threshold,
        photos=UNCOUNTED if asked.total is None else asked.total,
        tell=say,
    )
    if verbose:
        say(predictor.why)
    asked.answer(predictor)


def _predict_on_ray(
    photos: list[str] | None,
    listed: str | None,
    csv: str | None,
    parquet: str | None,
    *,
    refused: Mapping[str, object],
    asked: dict[str, Any],
    verbose: bool,
    json: bool,
) -> None:
    """Have a cluster answer; exit code 1 if a photo got no answer."""
    if csv is not None and parquet is not None:
        raise typer.BadParameter("--ray: either --csv DIR or --parquet DIR, not both")
    if csv is None and parquet is None:
        raise typer.BadParameter("--ray: name the folder for the answers, with --csv DIR or --parquet DIR")
    if given := next((name for name, value in refused.items() if value is not None), None):
        raise typer.BadParameter(f"{given}: not with --ray, whose answers are rows of the likeliest kind")
    if "-" in (*(photos or ()), csv, parquet):
        raise typer.BadParameter("-: not with --ray; the other machines have no part in stdin and stdout")
    if not photos and listed is None:
        raise typer.BadParameter("name photos, folders or patterns, or a list of them with --list FILE")
    from garbage_cli import bulk
    from garbage_cli.console import bulk as view
    from garbage_cli.console.terminal import say

    out = str(parquet if csv is None else csv)
    request = bulk.Asked(tuple(photos or ()), out, "parquet" if csv is None else "csv", listed=listed, **asked)
    reports = bulk.predict(request, tell=say)
    if not view.show(reports, written=bulk.written, out_name=out, verbose=verbose, json=json):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What `predict` and `request` share: which photos, and where the answers go."""

    photos: "Iterator[Photo]"
    total: int | None
    sheet: "Sheet | None"
    annotate: Path | None
    json: bool

    def answer(self, classifier: "Classifier") -> None:
        """Ask, write, draw and show; exit code 1 if a photo got no answer."""
        from garbage_cli.console import answers as view

        drawing = self._drawing(classifier)
        predictions = (drawing or classifier).predict(self.photos)
        if self.sheet:
            predictions = self.sheet.keep(predictions)
        good = view.show(
            predictions, total=self.total, json=self.json, rows=self.sheet is None,
            before=self.sheet.rows if self.sheet else 0, resumable=bool(self.sheet and self.sheet.path),
        )  # fmt: skip
        if drawing:
            view.tell_undrawn(drawing.undrawn)
        if not good:
            raise typer.Exit(1)

    def _drawing(self, classifier: "Classifier") -> "Annotating | None":
        if self.annotate is None:
            return None
        from garbage_cli.annotating import Annotating
        from garbage_cli.console import answers as view

        drawing = Annotating(classifier, self.annotate)
        view.tell_font(drawing.typeface)
        return drawing


def ask(
    names: list[str] | None,
    listed: str | None,
    *,
    csv: str | None,
    resume: bool,
    annotate: Path | None,
    json: bool,
) -> Asked:
    """Find the first photo, and look at the file that the answers go into, before any model is loaded."""
    _check_usage(names, listed, csv=csv, resume=resume, json=json)
    from garbage_cli.images import mute_warnings
    from garbage_cli.sheets import Sheet
    from garbage_cli.sources import Sources

    mute_warnings()
    sources = Sources(tuple(names or ()), listed, apart=annotate)
    sheet = Sheet.open(csv, resume=resume) if csv else None
    photos = sources.photos()
    left = sheet.left if sheet else iter
    return Asked(left(photos), sources.count(left), sheet, annotate, json)


def _check_usage(names: list[str] | None, listed: str | None, *, csv: str | None, resume: bool, json: bool) -> None:
    if not names and listed is None:
        raise typer.BadParameter("name photos, folders or patterns, or a list of them with --list FILE")
    if resume and csv in (None, "-"):
        raise typer.BadParameter("--resume goes on with a file; name it with --csv FILE")
    if json and csv == "-":
        raise typer.BadParameter("--json and --csv - both write to stdout; name a file with --csv, or leave one out")
