"""Which score best tells photos of other things from photos of the classes that a model knows.

    python benchmarks/unknown_photos.py DATA WEIGHTS.pdparams [--work FOLDER] [--set KEY=VALUE] [--photos PATH ...]

Leaves out each class of DATA (AI Studio lists) in turn: trains on the others with `garbage train` and `garbage export`,
then scores the validation photos of the known classes, all photos of the class left out (near), and pictures that are
no photos of waste at all (far): samples that installed packages bring, the demo's drawings, synthetic ones, and those
of `--photos`. Computed features are kept in FOLDER, if one is given. Prints markdown tables of

- AUROC: how often a known photo has a higher score than another thing;
- FPR95: the part of other things let through by the threshold that keeps 95 % of the known photos;
- AUROC of right against wrong answers among the known photos;
- how many known photos that threshold keeps if they are darker, in warm light, or turned.

Each figure is the mean over the classes left out, with the smallest and the largest. "Beyond chance" counts the classes
where the difference in near AUROC from the maximum probability keeps its sign in 95 % of resamplings of the photos.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score, roc_curve

from garbage_cli.archive import extract
from garbage_cli.bundle import ONNX_FILE, ModelBundle, latest_run
from garbage_cli.dataset import Dataset, Sample
from garbage_cli.images import find, mute_warnings, open_photo
from garbage_cli.labels import Labels
from garbage_cli.parallel import ordered_map
from garbage_cli.sample import write_archive
from garbage_cli.transforms import Input, Preprocess

Values = NDArray[np.float64]
Scored = dict[str, Values]
"""Name of a score → one number a photo."""
Picture = Callable[[], Image.Image]
"""Makes a picture when it is needed."""
Pictures = dict[str, list[Picture]]
"""By where they come from."""

BATCH, NEIGHBOURS, KEPT, RESAMPLINGS = 16, 10, 0.95, 300
SIZE = (512, 384)
"""Width and height of TrashNet's photos, pixels."""
WARM = (1.15, 1.0, 0.7)
DRAWN_BUT_KNOWN = ("0", "1", "2")
"""The demo's cans, bottles and boxes: kinds that DATA may know."""
PACKAGED = {
    "scikit-learn's temple and flower": ("sklearn", ["datasets/images/*.jpg"], 60),
    "matplotlib's portrait": ("matplotlib", ["mpl-data/sample_data/grace_hopper.jpg"], 60),
    "Gradio's animals and streets": ("gradio", ["_frontend_code/component-test/src/lib/images/[blt]*.[jw]*",
                                                 "_frontend_code/component-test/src/lib/images/cheetah1.jpg",
                                                 "test_data/cheetah2.jpg"], 24),
}  # fmt: skip
"""Name → the package, its files, and how many crops of each."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network makes of some photos, one row each."""

    logits: Values
    features: Values
    """What the last linear layer is given."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the scores are told of the known photos."""

    temperature: float
    same_bin: NDArray[np.bool_]
    """Shape (classes, classes): whether two classes go into one bin."""
    directions: Values
    """Features of the training photos, of length 1."""
    means: Values
    precision: Values
    mean: Values
    wide_precision: Values
    """Mean and inverse covariance over all classes together."""
    validation: Outputs


# The scores: each maps a batch of outputs to one number a photo, higher for what looks more known.


def max_probability(outputs: Outputs, known: Known) -> Values:
    return softmax(outputs.logits, axis=1).max(axis=1)


def scaled_probability(outputs: Outputs, known: Known) -> Values:
    return softmax(outputs.logits / known.temperature, axis=1).max(axis=1)


def margin(outputs: Outputs, known: Known) -> Values:
    best = np.sort(softmax(outputs.logits, axis=1), axis=1)
    return best[:, -1] - best[:, -2]


def negative_entropy(outputs: Outputs, known: Known) -> Values:
    return (softmax(outputs.logits, axis=1) * log_softmax(outputs.logits, axis=1)).sum(axis=1)


def bin_probability(outputs: Outputs, known: Known) -> Values:
    """1 where all classes go into one bin, but for rounding errors, which must not rank the photos."""
    shares = softmax(outputs.logits, axis=1) * known.same_bin[outputs.logits.argmax(axis=1)]
    return shares.sum(axis=1).round(9)


def max_logit(outputs: Outputs, known: Known) -> Values:
    return outputs.logits.max(axis=1)


def energy(outputs: Outputs, known: Known) -> Values:
    """Liu et al. 2020, at temperature 1."""
    return logsumexp(outputs.logits, axis=1)


def neighbours(outputs: Outputs, known: Known) -> Values:
    """Cosine of the angle to the tenth nearest training photo (Sun et al. 2022)."""
    cosines = unit(outputs.features) @ known.directions.T
    return np.partition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]


def mahalanobis(outputs: Outputs, known: Known) -> Values:
    """Minus the squared distance to the nearest class mean (Lee et al. 2018)."""
    return np.max([-squared(outputs.features - mean, known.precision) for mean in known.means], axis=0)


def relative_mahalanobis(outputs: Outputs, known: Known) -> Values:
    """The same, less the distance to all classes together (Ren et al. 2021)."""
    return mahalanobis(outputs, known) + squared(outputs.features - known.mean, known.wide_precision)


def both(outputs: Outputs, known: Known) -> Values:
    """Maximum probability and nearest neighbours, each by how it is spread over the validation photos."""
    sides = [(each(outputs, known), each(known.validation, known)) for each in (max_probability, neighbours)]
    return np.sum([(values - usual.mean()) / usual.std() for values, usual in sides], axis=0)


BASE = "max probability"
SCORES: dict[str, Callable[[Outputs, Known], Values]] = {
    BASE: max_probability,
    "max probability, temperature": scaled_probability,
    "margin of first to second": margin,
    "negative entropy": negative_entropy,
    "probability of the bin": bin_probability,
    "max logit": max_logit,
    "energy": energy,
    f"{NEIGHBOURS} nearest neighbours": neighbours,
    "Mahalanobis": mahalanobis,
    "relative Mahalanobis": relative_mahalanobis,
    "max probability + neighbours": both,
}


def unit(features: Values) -> Values:
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)


def squared(differences: Values, precision: Values) -> Values:
    return ((differences @ precision) * differences).sum(axis=1)


def best_temperature(logits: Values, classes: NDArray[np.intp]) -> float:
    """Return what to divide the logits by for the smallest negative log likelihood (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        fitted = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(fitted[np.arange(len(classes)), classes].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x))


def learn(train: Outputs, classes: NDArray[np.intp], labels: Labels, validation: Outputs, temperature: float) -> Known:
    """Take from the training photos what the scores over features need."""
    means = np.stack([train.features[classes == label.class_id].mean(axis=0) for label in labels.items])
    bins, mean = np.array([label.bin_name or label.name for label in labels.items]), train.features.mean(axis=0)
    within = LedoitWolf(assume_centered=True).fit(train.features - means[classes])
    between = (means - mean)[classes]
    wide = np.linalg.inv(within.covariance_ + between.T @ between / len(classes))
    same_bin = bins[:, None] == bins[None, :]
    return Known(temperature, same_bin, unit(train.features), means, within.precision_, mean, wide, validation)


# The pictures


def photo(path: Path) -> Image.Image:
    return open_photo(path.read_bytes()).image


def darker(path: Path) -> Image.Image:
    return ImageEnhance.Brightness(photo(path)).enhance(0.5)


def warmer(path: Path) -> Image.Image:
    """As under a bulb: 15 % more red, 30 % less blue."""
    pixels = np.asarray(photo(path)) * np.array(WARM)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def turned(path: Path) -> Image.Image:
    return photo(path).transpose(Image.Transpose.ROTATE_90)


def blurred(path: Path) -> Image.Image:
    image = photo(path)
    return image.filter(ImageFilter.GaussianBlur(min(image.size) / 24))


def ground(path: Path) -> Image.Image:
    """The smoothest part of a photo, a third of its height: what a camera sees where nothing lies."""
    image = photo(path)
    side = image.height // 3
    corners = [(x, y) for x in range(0, image.width - side + 1, 32) for y in range(0, image.height - side + 1, 32)]
    parts = [image.crop((x, y, x + side, y + side)) for x, y in corners]
    return min(parts, key=lambda part: float(np.asarray(part).std(axis=(0, 1)).sum()))


def crop(path: Path, number: int) -> Image.Image:
    """A part of a photo, 35 to 90 % of its shorter side, mirrored half the time."""
    image, random = photo(path), np.random.default_rng(number)
    side = int(min(image.size) * random.uniform(0.35, 0.9))
    left, top = int(random.integers(image.width - side + 1)), int(random.integers(image.height - side + 1))
    part = image.crop((left, top, left + side, top + side))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else part


def blank(number: int) -> Image.Image:
    """One colour; the first three are black, grey and white."""
    greys = [(level, level, level) for level in (0, 128, 255)]
    random = np.random.default_rng(number)
    return Image.new("RGB", SIZE, greys[number] if number < 3 else tuple(map(int, random.integers(0, 256, 3))))


def noise(number: int) -> Image.Image:
    """Random pixels of 1 to 32 pixels' side."""
    random, grain = np.random.default_rng(number), 2 ** (number % 6)
    shape = (SIZE[1] // grain, SIZE[0] // grain, 3)
    return Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).resize(SIZE, Image.Resampling.NEAREST)


CHANGES = {"half as bright": darker, "in warm light": warmer, "turned by 90°": turned}


def seen_as(how: Callable[[Path], Image.Image], samples: Iterable[Sample]) -> list[Picture]:
    return [partial(how, sample.path) for sample in samples]


def crops(paths: Iterable[Path], count: int) -> list[Picture]:
    return [partial(crop, path, number) for path in paths for number in range(count)]


def packaged(package: str, patterns: list[str]) -> list[Path]:
    """The files of an installed package that match; none if it isn't there."""
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    return sorted({path for folder in folders for pattern in patterns for path in folder.glob(pattern)})


def drawn(folder: Path) -> list[Path]:
    for _ in write_archive(folder / "drawn.zip"):
        pass
    for _ in extract(folder / "drawn.zip", folder / "drawn"):
        pass
    return [path for path in find([folder / "drawn"]) if path.parent.name not in DRAWN_BUT_KNOWN]


def far_pictures(folder: Path, given: list[Path]) -> Pictures:
    """The pictures of other things that are the same whichever class is left out."""
    found = {name: crops(packaged(package, files), count) for name, (package, files, count) in PACKAGED.items()}
    found["given photos"] = crops(find(given), 24)
    found["the demo's drawings"] = [partial(photo, path) for path in drawn(folder)]
    found["one colour"] = [partial(blank, number) for number in range(60)]
    found["noise"] = [partial(noise, number) for number in range(60)]
    return {name: pictures for name, pictures in found.items() if pictures}


# The models


def without(data: Dataset, left_out: int, folder: Path) -> None:
    """Write the lists of a data set that lacks a class, its photos behind a link."""
    folder.mkdir()
    (folder / "photos").symlink_to(data.root.resolve(), target_is_directory=True)
    texts = [label.text for label in data.labels.items if label.class_id != left_out]
    rule = {str(number): text for number, text in enumerate(texts)}
    (folder / "garbage_classify_rule.json").write_text(json.dumps(rule, ensure_ascii=False), encoding="utf-8")
    for name, samples in (("train.txt", data.train), ("validate.txt", data.val)):
        kept = renumbered(samples, left_out)
        lines = [f"./photos/{data.name(sample.path)} {sample.class_id}\n" for sample in kept]
        (folder / name).write_text("".join(lines), encoding="utf-8")


def renumbered(samples: Iterable[Sample], left_out: int) -> list[Sample]:
    kept = [sample for sample in samples if sample.class_id != left_out]
    return [Sample(each.path, each.class_id - (each.class_id > left_out)) for each in kept]


def garbage(*words: str | Path, cache: Path) -> None:
    """Run a command as a person would; show what it says only if it fails."""
    command = [sys.executable, "-m", "garbage_cli", *map(str, words)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


def trained(folder: Path, options: argparse.Namespace, cache: Path) -> ModelBundle:
    words = ["--config", options.config, "--pretrained", options.weights, "--seed", str(options.seed)]
    settings = [word for setting in options.set for word in ("--set", setting)]
    garbage("train", folder, *words, *settings, "--out", folder / "output", cache=cache)
    garbage("export", latest_run(folder / "output"), "--out", folder / "inference", cache=cache)
    return ModelBundle.load(folder / "inference")


class Network:
    """A bundle's ONNX file that also answers what goes into its last softmax and its last linear layer."""

    def __init__(self, bundle: ModelBundle, copy: Path) -> None:
        model = onnx.load(bundle.file(ONNX_FILE))
        names = inner_names(model.graph)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        onnx.save(model, copy)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(copy), options, providers=["CPUExecutionProvider"])
        self._names = [*names, model.graph.output[0].name]
        self._input = self._session.get_inputs()[0].name
        self._preprocess = Preprocess(bundle.preprocess)
        self._temperature = bundle.temperature

    def __call__(self, pictures: Iterable[Picture]) -> Outputs:
        parts = [self._run(batch) for batch in batches(self._inputs(pictures))]
        logits, features, probabilities = (np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True))
        assert np.allclose(softmax(logits, axis=1), probabilities, atol=1e-4), "these are not the logits"
        return Outputs(logits * self._temperature, features)  # the network's own, whatever export divided them by

    def _inputs(self, pictures: Iterable[Picture]) -> Iterator[Input]:
        return ordered_map(lambda picture: self._preprocess(picture()), pictures, threads=2, ahead=2 * BATCH)

    def _run(self, batch: list[Input]) -> list[NDArray[np.float32]]:
        return self._session.run(self._names, {self._input: np.stack(batch)})


def inner_names(graph: onnx.GraphProto) -> tuple[str, str]:
    """Return the names of the logits and of the features: up from the last softmax to the first product."""
    makers = {name: node for node in graph.node for name in node.output}
    logits = [node for node in graph.node if node.op_type == "Softmax"][-1].input[0]
    node = makers[logits]
    while node.op_type not in ("MatMul", "Gemm"):
        node = makers[node.input[0]]
    return logits, node.input[0]


def batches(inputs: Iterable[Input]) -> Iterator[list[Input]]:
    batch: list[Input] = []
    for each in inputs:
        batch.append(each)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


# The measures


@dataclass(frozen=True, slots=True)
class Fold:
    """What the scores say with one class left out: name of score → one number a photo."""

    name: str
    facts: tuple[str, ...]
    inside: Scored
    """Of the validation photos of the known classes."""
    right: NDArray[np.bool_]
    """Which of these the network answers rightly."""
    near: Scored
    far: dict[str, Scored]
    changed: dict[str, Scored]
    """Of validation photos in other light, or turned: they should be known still."""

    def near_auroc(self, score: str) -> float:
        return auroc(self.inside[score], self.near[score])

    def right_auroc(self, score: str) -> float:
        return auroc(self.inside[score][self.right], self.inside[score][~self.right])

    def kept(self, score: str, source: str) -> float:
        """The part of changed photos above the threshold that keeps 95 % of the unchanged."""
        return float((self.changed[source][score] >= np.quantile(self.inside[score], 1 - KEPT)).mean())


def auroc(higher: Values, lower: Values) -> float:
    return float(roc_auc_score(np.r_[np.ones(len(higher)), np.zeros(len(lower))], np.r_[higher, lower]))


def let_through(known: Values, other: Values) -> float:
    """The part of the others above the highest threshold that keeps 95 % of the known."""
    accepted, kept, _ = roc_curve(np.r_[np.ones(len(known)), np.zeros(len(other))], np.r_[known, other])
    return float(accepted[np.argmax(kept >= KEPT)])


def beyond_chance(fold: Fold) -> dict[str, int]:
    """Return 1, −1 or 0 a score: better than BASE, worse, or not told apart, over resamplings of the photos."""
    random, areas = np.random.default_rng(0), []
    for _ in range(RESAMPLINGS):
        first, second = (random.integers(len(part[BASE]), size=len(part[BASE])) for part in (fold.inside, fold.near))
        areas.append([auroc(fold.inside[score][first], fold.near[score][second]) for score in SCORES])
    gains = np.array(areas) - np.array(areas)[:, [list(SCORES).index(BASE)]]
    low, high = np.quantile(gains, [0.025, 0.975], axis=0)
    return {score: int(low[i] > 0) - int(high[i] < 0) for i, score in enumerate(SCORES)}


def measured(data: Dataset, left_out: int, folder: Path, far: Pictures, make: Callable[[Path], ModelBundle]) -> Fold:
    """Train without a class, and score."""
    without(data, left_out, folder)
    bundle = make(folder)
    network = Network(bundle, folder / "exposed.onnx")
    train, val = renumbered(data.train, left_out), renumbered(data.val, left_out)
    truth, seen = (np.array([sample.class_id for sample in samples]) for samples in (val, train))
    inside = network(seen_as(photo, val))
    temperature = best_temperature(inside.logits, truth)
    known = learn(network(seen_as(photo, train)), seen, bundle.labels, inside, temperature)

    def scored(pictures: list[Picture]) -> Scored:
        outputs = network(pictures)
        return {score: function(outputs, known) for score, function in SCORES.items()}

    right = inside.logits.argmax(axis=1) == truth
    others = [sample for sample in (*data.train, *data.val) if sample.class_id == left_out]
    far = far | {"known photos, blurred": seen_as(blurred, val), "their empty ground": seen_as(ground, val)}
    changed = {name: seen_as(change, val) for name, change in CHANGES.items()}
    return Fold(
        data.labels[left_out].english or data.labels[left_out].name,
        (*map(str, (len(train), len(val), len(others))), f"{right.mean():.1%}", f"{temperature:.2f}"),
        scored(seen_as(photo, val)),
        right,
        scored(seen_as(photo, others)),
        {source: scored(pictures) for source, pictures in far.items()},
        {source: scored(pictures) for source, pictures in changed.items()},
    )


# The tables


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    head = list(head)
    print("\n| " + " | ".join(head) + " |\n|---" + "|---:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def spread(values: Iterable[float]) -> str:
    values = list(values)
    return f"{np.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def show(folds: list[Fold]) -> None:
    facts = ("training", "known", "unknown", "top-1", "temperature", f"{BASE} that keeps {KEPT:.0%}")
    thresholds = [f"{np.quantile(fold.inside[BASE], 1 - KEPT):.3f}" for fold in folds]
    table(("left out", *facts), [(f.name, *f.facts, at) for f, at in zip(folds, thresholds, strict=True)])
    show_near(folds)
    names = [fold.name for fold in folds]
    rows = [(score, *(f"{fold.near_auroc(score):.3f}" for fold in folds)) for score in SCORES]
    table(("AUROC, near, without", *names), rows)
    show_far(folds, "AUROC, far", auroc)
    show_far(folds, "FPR95, far", let_through)
    sources = list(folds[0].changed)
    rows = [(score, *(spread(fold.kept(score, source) for fold in folds) for source in sources)) for score in SCORES]
    table(("known photos still kept", *sources), rows)


def show_near(folds: list[Fold]) -> None:
    chances = [beyond_chance(fold) for fold in folds]
    rows = []
    for score in SCORES:
        gains = [fold.near_auroc(score) - fold.near_auroc(BASE) for fold in folds]
        signs = [chance[score] for chance in chances]
        through = [let_through(fold.inside[score], fold.near[score]) for fold in folds]
        row = [spread(fold.near_auroc(score) for fold in folds), f"{np.mean(gains):+.3f}"]
        row += [f"{sum(gain > 0 for gain in gains)}, {signs.count(1)}", f"{signs.count(-1)}"]
        rows.append([score, *row, spread(through), spread(fold.right_auroc(score) for fold in folds)])
    against = ("gain", "better on, beyond chance on", "worse beyond chance on")
    table(("score", "AUROC, near", *against, "FPR95, near", "AUROC, right or wrong"), rows)


def show_far(folds: list[Fold], what: str, measure: Callable[[Values, Values], float]) -> None:
    sources = list(folds[0].far)
    counts = {source: sorted({len(fold.far[source][BASE]) for fold in folds}) for source in sources}
    heads = [f"{source}: {'–'.join(map(str, dict.fromkeys((seen[0], seen[-1]))))}" for source, seen in counts.items()]
    figures = {
        score: [spread(measure(fold.inside[score], fold.far[source][score]) for fold in folds) for source in sources]
        for score in SCORES
    }
    table((what, *heads), [(score, *cells) for score, cells in figures.items()])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--work", type=Path, help="keeps the computed features for another run")
    parser.add_argument("--config", default="quick")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], help="more photos of other things, or folders")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    mute_warnings()
    data = Dataset.load(options.data)
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as place:
        here = Path(place).resolve()
        cache = (options.work or here).resolve() / "cache"
        far = far_pictures(here, options.photos)
        make = partial(trained, options=options, cache=cache)
        folds = []
        for label in data.labels.items:
            folds.append(measured(data, label.class_id, here / f"without {label.class_id}", far, make))
            print(f"without {folds[-1].name}: done", file=sys.stderr, flush=True)
    show(folds)


if __name__ == "__main__":
    main()
