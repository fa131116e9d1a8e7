"""What can be evaluated: an inference folder, or a run's weights; and what is known of it already.

Knows the two folders. Does not know photos or figures.
"""

from pathlib import Path

from garbage_cli.bundle import MANIFEST_FILE, ONNX_FILE, PADDLE_WEIGHTS, RUN_FILE, Checkpoint, ModelBundle, read_json
from garbage_cli.config import to_tree
from garbage_cli.errors import BundleError, CheckpointError, GarbageError
from garbage_cli.evaluation import PRECISION
from garbage_cli.evaluation.measured import Measured
from garbage_cli.evaluation.plain import METRICS_FILE
from garbage_cli.evaluation.values import Subject
from garbage_cli.labels import Label
from garbage_cli.storage import sha256

REPORT = "report"
"""The folder in a run where `train` writes the report of its best checkpoint."""

Model = Checkpoint | ModelBundle


def open_model(path: Path) -> Model:
    """Open an inference folder, a run folder or a .pdparams file in one; raise an error that says what else it is."""
    if (path / MANIFEST_FILE).is_file():
        return ModelBundle.load(path)
    try:
        return Checkpoint.load(path)
    except CheckpointError as error:
        if path.suffix == ".pdparams" or (path / RUN_FILE).exists() or "holds the runs" in str(error):
            raise
        what = "no file or folder" if not path.exists() else "neither an inference folder nor a run:"
        raise BundleError(f"{what} {path}; name one that `garbage export` or `garbage train` wrote") from None


def subject_of(model: Model) -> Subject:
    """Return what a report says of a model."""
    if isinstance(model, Checkpoint):
        best = model.record.get("best") or {}
        is_best = model.top1 is not None
        return Subject(
            name=model.config.model.name,
            source=str(model.root if is_best else model.weights),
            form="checkpoint",
            weights=model.weights.name,
            sha256=sha256(model.weights),
            crop=model.config.preprocess.crop,
            epoch=best.get("epoch") if is_best else None,
            config=to_tree(model.config),
            versions=model.record.get("versions") or {},
        )
    weights = next((name for name in (ONNX_FILE, PADDLE_WEIGHTS) if model.has(name)), MANIFEST_FILE)
    return Subject(
        name=model.name,
        source=str(model.root),
        form="bundle",
        weights=weights,
        sha256=str(model.files.get(weights, {}).get("sha256", "")),
        crop=model.preprocess.crop,
        epoch=None,
        config={key: value for key, value in model.facts.items() if key not in ("files", "metrics", "format")},
        versions=model.facts.get("versions") or {},
    )


def recall(checkpoint: Checkpoint, *, precision: float = PRECISION) -> Measured | None:
    """Return the figures of these very weights from the report in their run folder, if it is there and of them."""
    path, texts = checkpoint.root / REPORT / METRICS_FILE, checkpoint.labels.texts
    try:
        metrics = read_json(path, CheckpointError, hint="")
        named = (f"{row['bin']}/{row['name']}" if row["bin"] else row["name"] for row in metrics["per_class"])
        ours = (
            metrics["model"]["sha256"] == sha256(checkpoint.weights)
            and metrics["data"]["split"] == "val"
            and metrics["rejection"]["asked"] == precision
            and metrics["rejection"]["fitted_here"] is metrics["calibration"]["fitted_here"] is True
            and [Label.parse(0, text).text for text in named] == [Label.parse(0, text).text for text in texts]
        )
        return Measured.read(metrics) if ours else None
    except (GarbageError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError):
        return None
