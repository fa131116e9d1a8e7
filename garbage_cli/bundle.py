"""The two folders a model lives in: a training run (`Checkpoint`) and an inference folder (`ModelBundle`).

Knows their files and how to check them. Does not know how a model was trained or how it runs.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from garbage_cli.config import PreprocessConfig, TrainConfig, parse_train_config
from garbage_cli.errors import BundleError, CheckpointError, GarbageError
from garbage_cli.labels import Labels
from garbage_cli.storage import sha256, write_json, write_text

RUN_FILE = "run.json"
BEST_WEIGHTS = "best_model.pdparams"
LATEST_WEIGHTS = "latest.pdparams"

MANIFEST_FILE = "garbage.json"
DESCRIPTION_FILE = "inference.yml"
ONNX_FILE = "model.onnx"
PADDLE_WEIGHTS = "inference.pdiparams"
PADDLE_PROGRAMS = ("inference.json", "inference.pdmodel")
INT8_MODEL = ("model_int8.xml", "model_int8.bin")
"""OpenVINO's graph and weights of the network in 8-bit numbers."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights of a training run, with all it takes to use them."""

    root: Path
    weights: Path
    config: TrainConfig
    labels: Labels
    data: Path
    """The data set it was trained on, as it was named then."""
    record: Mapping[str, Any]
    """The whole of `run.json`: progress, best epoch, history, versions."""

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Open a run folder (its best weights), or one .pdparams file inside a run folder."""
        _check_run_path(path)
        root = path.parent if path.suffix == ".pdparams" else path
        lone = f"{path.name} can be used only in the run folder that `garbage train` wrote it to"
        hint = "is this a folder that `garbage train` wrote?" if root == path else lone
        record = read_json(root / RUN_FILE, CheckpointError, hint=hint)
        weights = path if path.suffix == ".pdparams" else _best_file(root, record)
        if not weights.is_file():
            raise CheckpointError(f"no {weights.name} in {root}: the run has not finished its first epoch")
        try:
            config = parse_train_config(record["config"], where=str(root / RUN_FILE))
            labels = Labels.parse(record["labels"])
            return cls(root, weights, config, labels, Path(record["data"]), record)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{root / RUN_FILE} is incomplete: {error}") from None

    @property
    def top1(self) -> float | None:
        """Validation top-1 of the best weights, 0…1, if this is them."""
        best = self.record.get("best") or {}
        return best.get("top1") if self.weights.name in (BEST_WEIGHTS, best.get("file")) else None


def _best_file(root: Path, record: Mapping[str, Any]) -> Path:
    """The best weights by the name in `run.json`; the fixed name may be one epoch behind if the run was killed."""
    named = root / Path(str((record.get("best") or {}).get("file"))).name
    return named if named.is_file() else root / BEST_WEIGHTS


def _check_run_path(path: Path) -> None:
    """Say what is wrong with a path that can't be a run before its parts are missed one by one."""
    if not path.exists():
        raise CheckpointError(f"no file or folder {path}; name a run folder, or a .pdparams file in one")
    if path.is_file() and path.suffix != ".pdparams":
        raise CheckpointError(
            f"{path} is no run folder; name one that `garbage train` wrote, or a .pdparams file in it"
        )
    runs = sorted(each.parent.name for each in path.glob(f"*/{RUN_FILE}")) if path.is_dir() else []
    if runs and not (path / RUN_FILE).is_file():
        raise CheckpointError(f"{path} holds the runs {', '.join(runs)}: name one, as in {path / runs[0]}")


def latest_run(output: Path) -> Path:
    """Return the run folder below `output` that was written last; raise CheckpointError if there is none."""
    runs = [path.parent for path in output.glob(f"*/{RUN_FILE}")]
    if not runs:
        raise CheckpointError(f"no training run in {output}; make one with: garbage train")
    return max(runs, key=lambda run: (run / RUN_FILE).stat().st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a network answers in numbers of one precision, on validation photos."""

    ships: bool
    """Whether it is good enough to be taken without being asked for."""
    top1: float | None
    """0…1; None if it could not be measured."""
    photos: int
    drop: float | None
    """By how much top-1 is below that of f32, 0…1."""
    agreement: float | None
    """The share of photos with the same first kind as in f32."""
    bin_accuracy: float | None
    answered: float | None
    """The share of photos whose score reaches the bundle's threshold; None without one."""
    right_of_answered: float | None
    """The share of those in the right bin, or of the right kind where there are no bins."""
    why: str
    """In a few words, with the figure."""


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """An inference folder: the network for each engine, how to feed it, what its outputs mean."""

    root: Path
    name: str
    labels: Labels
    preprocess: PreprocessConfig
    files: Mapping[str, Mapping[str, Any]]
    """Name → {"bytes", "sha256"} of every file but the manifest."""
    facts: Mapping[str, Any]
    """The rest of the manifest: parity, metrics, versions, source."""

    @classmethod
    def load(cls, root: Path) -> "ModelBundle":
        """Open and check an inference folder: every file is there, with its size (content: see `file`)."""
        if root.is_file():
            raise BundleError(f"{root} is a file; name the folder that `garbage export` wrote")
        if not root.is_dir():
            raise BundleError(f"no folder {root}; make one with: garbage export --out {root}")
        manifest = read_json(root / MANIFEST_FILE, BundleError, hint="is this a folder that `garbage export` wrote?")
        try:
            files = manifest["files"]
            if manifest["format"] != FORMAT:
                raise BundleError(f"{root} has format {manifest['format']}; this garbage reads format {FORMAT}")
            for name, facts in files.items():
                _check_entry(name, facts)
                _check_size(root / name, facts["bytes"])
            _check_content(root / DESCRIPTION_FILE, files[DESCRIPTION_FILE]["sha256"])
            _check_calibration(root, manifest.get("calibration") or {})
            spelt, labels, preprocess = _read_description(root / DESCRIPTION_FILE)
            bundle = cls(root, str(manifest.get("model", spelt)), labels, preprocess, files, manifest)
            _check_facts(bundle)
            return bundle
        except OSError as error:
            raise BundleError(f"{root}: {error.strerror or error}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{root / MANIFEST_FILE} is incomplete ({error!r}); export the model again") from None

    @classmethod
    def save(
        cls, root: Path, *, name: str, labels: Labels, preprocess: PreprocessConfig, facts: Mapping[str, Any]
    ) -> None:
        """Describe the network files already in `root`; the manifest is written last."""
        write_text(root / DESCRIPTION_FILE, _description(name, labels, preprocess))
        paths = sorted(path for path in root.iterdir() if path.is_file() and path.name != MANIFEST_FILE)
        files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths}
        write_json(root / MANIFEST_FILE, {"format": FORMAT, **facts, "files": files})

    def has(self, name: str) -> bool:
        """Say whether the bundle holds a file of this name."""
        return name in self.files

    def file(self, name: str) -> Path:
        """Return a file of the bundle after checking its content; raise BundleError if it was altered."""
        if not self.has(name):
            raise BundleError(f"{self.root} holds no {name}; export the model again")
        _check_content(self.root / name, self.files[name]["sha256"])
        return self.root / name

    @property
    def digest(self) -> str:
        """A name for all that the bundle holds, in hexadecimal."""
        content = "".join(str(facts.get("sha256")) for _, facts in sorted(self.files.items()))
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def temperature(self) -> float:
        """What the network divides its logits by before the softmax, so that scores hold what they promise."""
        return float(self._calibration.get("temperature", 1.0))

    @property
    def threshold(self) -> float | None:
        """The score under which the answer is "not sure"; None where there is always an answer."""
        threshold = self._calibration.get("threshold")
        return None if threshold is None else float(threshold)

    @property
    def precisions(self) -> Mapping[str, Quality]:
        """What the export measured of each precision; empty in a bundle that knows only f32."""
        return {name: Quality(**facts) for name, facts in (self.facts.get("precisions") or {}).items()}

    @property
    def _calibration(self) -> Mapping[str, Any]:
        return self.facts.get("calibration") or {}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one input."""
        return 3, self.preprocess.crop, self.preprocess.crop


def read_json(path: Path, error_type: type[GarbageError], *, hint: str) -> dict[str, Any]:
    """Read a JSON object from a file; raise `error_type` if it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise error_type(f"{path}: {error.strerror}; {hint}") from None
    except (ValueError, RecursionError) as error:
        raise error_type(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise error_type(f"{path} is damaged: not a JSON object")
    return value


def _check_entry(name: str, facts: Mapping[str, Any]) -> None:
    """Refuse what is no file of this folder; raises TypeError, which is said as incomplete."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise TypeError(f"{name!r} is no file name")
    if not isinstance(facts["bytes"], int) or not re.fullmatch("[0-9a-f]{64}", str(facts["sha256"])):
        raise TypeError(f"of {name} it says neither size nor SHA-256")


def _check_size(path: Path, expected: int) -> None:
    if not path.is_file():
        raise BundleError(f"{path} is missing; export the model again")
    if (size := path.stat().st_size) != expected:
        raise BundleError(f"{path} has {size:,} bytes, not {expected:,}: damaged or incomplete; export it again")


def _check_content(path: Path, expected: str) -> None:
    if sha256(path) != expected:
        raise BundleError(f"{path} is not what was exported (SHA-256 differs); export the model again")


_FIGURES = ("top1", "drop", "agreement", "bin_accuracy", "answered", "right_of_answered")


def _check_facts(bundle: ModelBundle) -> None:
    """Refuse what the choice of an engine could not read; raises TypeError, which is said as incomplete."""
    for key in ("parity", "precisions", "speeds", "probes"):
        if not isinstance(bundle.facts.get(key) or {}, Mapping):
            raise TypeError(f"{key} is no object")
    for quality in bundle.precisions.values():
        figures = tuple(getattr(quality, name) for name in _FIGURES)
        if not isinstance(quality.ships, bool) or not all(_is_number(each) or each is None for each in figures):
            raise TypeError("precisions holds no figures")
    for rows in (bundle.facts.get("probes") or {}).values():
        if not isinstance(rows, list) or not rows or not all(_is_row(row, len(bundle.labels)) for row in rows):
            raise TypeError("probes holds no scores of these classes")


def _is_row(row: object, length: int) -> bool:
    return isinstance(row, list) and len(row) == length and all(map(_is_number, row))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _check_calibration(root: Path, facts: Mapping[str, Any]) -> None:
    """Refuse numbers by which no score could be read."""
    temperature, threshold = facts.get("temperature", 1.0), facts.get("threshold")
    numbers = (temperature, 0.0 if threshold is None else threshold)
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        raise BundleError(f"{root / MANIFEST_FILE}: calibration {facts} holds no numbers; export the model again")
    if not (0.01 <= temperature <= 100 and 0 <= numbers[1] <= 1):
        raise BundleError(f"{root / MANIFEST_FILE}: calibration {facts} is out of range; export the model again")


def paddlex_name(name: str) -> str:
    """Return how PaddleX 3 spells a network of PaddleClas; it opens a folder only under a name that it knows.

    Source: paddlex 3.7's list of image classification models. A network that is not in it keeps its name.
    """
    if name in ("MobileNetV1", "MobileNetV2"):
        return f"{name}_x1_0"
    name = re.sub("^PP(?=LCNet|HGNet)", "PP-", name)
    return re.sub("^(PP-HGNetV2|FasterNet|StarNet)_", r"\1-", name)


def _description(name: str, labels: Labels, spec: PreprocessConfig) -> str:
    """The description file in the form that PaddleClas and PaddleX read."""
    operations = [
        {"ResizeImage": {"resize_short": spec.resize_short, "interpolation": spec.interpolation, "backend": "pil"}},
        {"CropImage": {"size": spec.crop}},
        {
            "NormalizeImage": {
                "scale": 1 / 255,
                "mean": list(spec.mean),
                "std": list(spec.std),
                "order": "",
                "channel_num": 3,
            }
        },
        {"ToCHWImage": None},
    ]
    tree = {
        "Global": {"model_name": paddlex_name(name)},
        "PreProcess": {"transform_ops": operations},
        "PostProcess": {"Topk": {"topk": min(5, len(labels)), "label_list": list(labels.texts)}},
    }
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)


def _read_description(path: Path) -> tuple[str, Labels, PreprocessConfig]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        operations = {name: args for step in tree["PreProcess"]["transform_ops"] for name, args in step.items()}
        resize, normalize = operations["ResizeImage"], operations["NormalizeImage"]
        spec = PreprocessConfig(
            resize_short=int(resize["resize_short"]),
            crop=int(operations["CropImage"]["size"]),
            mean=tuple(normalize["mean"]),
            std=tuple(normalize["std"]),
            interpolation=resize.get("interpolation", "bilinear"),
        )
        return str(tree["Global"]["model_name"]), Labels.parse(tree["PostProcess"]["Topk"]["label_list"]), spec
    except (OSError, yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"{path} can't be used: {error!r}; export the model again") from None
