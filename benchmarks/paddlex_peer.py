"""An inference folder in PaddleX's own predictor: does it open, are the answers ours, what does one photo cost cold?

    .venv/bin/python benchmarks/paddlex_peer.py INFERENCE PHOTO [PHOTO …|FOLDER] [--photos 50] [--json]

PaddleX, its Paddle and what they need are installed once into an environment of their own (--env), and run there with a
script of ten lines, as a user of PaddleX would write it; `garbage predict --json` runs here over the same photos. They
are compared three times, so that a difference shows where it comes from: as the files are; with the decoding done
(PNG of our pixels); with the resizing done too, when nothing but the normalising and the network is left. Then the
first photo in the file kinds that decoders disagree about, for information. PaddleX rounds its scores to five places.

Timed are whole processes that answer one photo and end, each in turn, files in the page cache: ours, ours with Paddle,
PaddleX as it comes (oneDNN, 10 threads) and with as many threads as there are cores.

Exit code 1: the folder doesn't open, a best class differs that our scores hold apart, or a score differs, by more than
TOLERANCE, on the files as they are.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from platformdirs import user_cache_path

from garbage_cli.images import find, open_photo
from garbage_cli.vendor import available_cores

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-3
AS_THEY_ARE, KINDS = "as they are", "kinds of files"
PACKAGES = (
    "paddlepaddle==3.3.1",
    "paddlex==3.7.2",
    "opencv-contrib-python==4.10.0.84",  # PaddleX asks for it by this name and version; needs libGL on the system
    "pypdfium2==5.15.2",  # its image reader does not start without a PDF reader
)
KNOWN_NAME = "ResNet50"
"""A classifier's name that PaddleX knows, for a folder whose own it refuses: it only picks the class of predictor."""

PEER = """
import json, sys
from paddlex import create_model

name, folder, settings, *photos = sys.argv[1:]
model = create_model(model_name=name, model_dir=folder, engine_config=json.loads(settings) or None)
for photo in photos:
    try:
        [answer] = model.predict(photo, batch_size=1)
    except Exception as error:
        print(json.dumps({"error": str(error) or repr(error)}))
        continue
    scores = dict(zip(answer["class_ids"].ravel().tolist(), answer["scores"].ravel().tolist()))
    print(json.dumps({"scores": scores, "best": answer["label_names"][0]}))
"""


# ---- the environment


def make_environment(folder: Path) -> Path:
    """Return the Python of PaddleX's environment, made first where it is missing or holds other versions."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done, wanted = folder / "installed.txt", "\n".join(PACKAGES)
    if not done.is_file() or done.read_text() != wanted:
        say(f"installing {', '.join(PACKAGES)} into {folder}: about 1.5 GB, some minutes")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", *PACKAGES], check=True, stdout=sys.stderr)
        done.write_text(wanted)
    return python


def versions(python: Path) -> dict[str, str]:
    """What the peer's answers rest on."""
    names = ["paddlex", "paddlepaddle", "opencv-contrib-python", "pillow", "numpy"]
    code = "import sys, json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    facts: dict[str, str] = json.loads(output([str(python), "-c", code, *names]))
    return facts


def output(command: Sequence[str]) -> str:
    """Run a command to its end; return its stdout, and show its stderr only if it fails."""
    result = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1) or not result.stdout.strip():
        raise RuntimeError((result.stderr.strip() or f"{command[0]} failed").splitlines()[-1])
    return result.stdout


def environment() -> dict[str, str]:
    """This process's own, with PaddleX kept from asking its model hosts and from writing to the home folder."""
    cache = str(Path(tempfile.gettempdir()) / "paddlex-cache")
    return {**os.environ, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True", "PADDLE_PDX_CACHE_HOME": cache}


# ---- the answers


@dataclass(frozen=True, slots=True)
class Answer:
    """One side's answer to one photo."""

    best: str
    """Bin and kind, as `inference.yml` writes them."""
    scores: Mapping[int, float]
    """By class number, best first: all of ours, the best five of PaddleX's."""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """How two answers to one photo differ; an error on one side counts as a difference of 1."""

    photo: str
    ours: str
    """The best class, or the error."""
    theirs: str
    score: float
    """The largest difference of a score among PaddleX's best five."""
    gap: float
    """By how much our score of our best class is above that of theirs."""


@dataclass(frozen=True, slots=True)
class Model:
    """The folder as PaddleX opens it."""

    folder: Path
    name: str
    classes: int
    refusal: str | None
    """What PaddleX says of the folder as it was exported; None where it opens."""


def open_model(python: Path, bundle: Path, photo: Path, work: Path) -> Model:
    """Try the folder as it is; if PaddleX refuses it, take a copy that carries a name which PaddleX knows."""
    description = (bundle / "inference.yml").read_text(encoding="utf-8")
    tree = yaml.safe_load(description)
    name, classes = tree["Global"]["model_name"], len(tree["PostProcess"]["Topk"]["label_list"])
    try:
        output(peer_command(python, Model(bundle, name, classes, None), [photo]))
        return Model(bundle, name, classes, None)
    except RuntimeError as error:
        refusal = str(error)
    copy = work / "renamed"
    copy.mkdir()
    for path in bundle.glob("inference.*"):
        (copy / path.name).write_bytes(path.read_bytes())
    renamed = description.replace(f"model_name: {name}", f"model_name: {KNOWN_NAME}", 1)
    (copy / "inference.yml").write_text(renamed, encoding="utf-8")
    return Model(copy, KNOWN_NAME, classes, refusal)


def peer_command(
    python: Path, model: Model, photos: Sequence[Path], settings: Mapping[str, Any] | None = None
) -> list[str]:
    options = json.dumps(settings or {})
    return [str(python), "-W", "ignore", "-c", PEER, model.name, str(model.folder), options, *map(str, photos)]


def our_command(bundle: Path, photos: Sequence[Path], *options: str) -> list[str]:
    return [sys.executable, "-m", "garbage_cli", "predict", "--model", str(bundle), *options, *map(str, photos)]


def their_answers(python: Path, model: Model, photos: Sequence[Path]) -> list[Answer]:
    lines = map(json.loads, output(peer_command(python, model, photos)).splitlines())
    return [
        Answer("", {}, line["error"])
        if "error" in line
        else Answer(line["best"], {int(number): score for number, score in line["scores"].items()})
        for line in lines
    ]


def our_answers(bundle: Path, classes: int, photos: Sequence[Path], engine: str) -> list[Answer]:
    options = ("--engine", engine, "--precision", "f32", "--json", "--top-k", str(classes), "--threshold", "0")
    lines = map(json.loads, output(our_command(bundle, photos, *options)).splitlines())
    return [Answer(_best(line), _scores(line), line["error"]) for line in lines]


def _best(line: Mapping[str, Any]) -> str:
    return "{bin}/{name}".format_map(line["predictions"][0]) if line["predictions"] else ""


def _scores(line: Mapping[str, Any]) -> dict[int, float]:
    return {each["class_id"]: each["score"] for each in line["predictions"] or ()}


def difference(photo: Path, ours: Answer, theirs: Answer) -> Difference:
    if ours.error or theirs.error:
        one_sided = 0.0 if ours.error and theirs.error else 1.0
        return Difference(photo.name, ours.error or ours.best, theirs.error or theirs.best, one_sided, one_sided)
    score = max(abs(ours.scores[number] - value) for number, value in theirs.scores.items())
    gap = max(ours.scores.values()) - ours.scores[next(iter(theirs.scores))]
    return Difference(photo.name, ours.best, theirs.best, score, gap)


def compare(python: Path, bundle: Path, model: Model, photos: Sequence[Path], engine: str) -> list[Difference]:
    ours = our_answers(bundle, model.classes, photos, engine)
    theirs = their_answers(python, model, photos)
    return [difference(*each) for each in zip(photos, ours, theirs, strict=True)]


# ---- the photos


def choose(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of the photos, evenly from the whole."""
    photos = [path.resolve() for path in find(paths)]
    return photos[:: -(-len(photos) // count)]


def decoded(photos: Sequence[Path], folder: Path) -> list[Path]:
    """The photos as we see them, without loss: PaddleX has nothing to decode that we would decode in another way."""
    folder.mkdir()
    paths = [folder / f"{number} {photo.stem}.png" for number, photo in enumerate(photos)]
    for photo, path in zip(photos, paths, strict=True):
        open_photo(photo.read_bytes()).image.save(path, compress_level=1)
    return paths


def resized(photos: Sequence[Path], folder: Path, short_side: int) -> list[Path]:
    """The same with the short side that the network's description asks for, so that neither side has to resize."""
    folder.mkdir()
    paths = [folder / photo.name for photo in photos]
    for photo, path in zip(photos, paths, strict=True):
        with Image.open(photo) as image:
            percent = short_side / min(image.size)
            image.resize((round(image.width * percent), round(image.height * percent))).save(path, compress_level=1)
    return paths


def kinds_of_files(photo: Path, folder: Path) -> list[Path]:
    """One photo in the kinds of files about which decoders disagree."""
    folder.mkdir()
    image = open_photo(photo.read_bytes()).image
    exif = image.getexif()
    for orientation in (3, 6, 8):
        exif[0x0112] = orientation
        image.save(folder / f"exif {orientation}.jpg", quality=95, exif=exif)
    image.save(folder / "photo.webp", quality=95)
    image.convert("L").save(folder / "grey.jpg", quality=95)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    image.quantize(64).save(folder / "palette.png")
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    clear.save(folder / "see-through.png")
    return sorted(folder.iterdir())


def short_side(bundle: Path) -> int:
    steps = yaml.safe_load((bundle / "inference.yml").read_text(encoding="utf-8"))["PreProcess"]["transform_ops"]
    return int(steps[0]["ResizeImage"]["resize_short"])


# ---- the cost


@dataclass(frozen=True, slots=True)
class Cost:
    """What whole processes took that answered one photo each."""

    what: str
    seconds: list[float]
    peak_mib: float
    median: float


def timed(command: Sequence[str]) -> tuple[float, float]:
    """Return the seconds and the peak MiB of a process from its start to its end."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {' '.join(command)}")
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def costs(python: Path, bundle: Path, model: Model, photo: Path, *, rounds: int, threads: int) -> list[Cost]:
    """Time all sides in turn, `rounds` times after one that doesn't count; nothing for no rounds."""
    tuned = {"run_mode": "mkldnn", "cpu_threads": threads}
    commands = {
        "garbage predict": our_command(bundle, [photo]),
        "garbage predict --engine paddle": our_command(bundle, [photo], "--engine", "paddle"),
        "PaddleX as it comes": peer_command(python, model, [photo]),
        f"PaddleX, oneDNN, {threads} threads": peer_command(python, model, [photo], tuned),
    }
    results: dict[str, list[tuple[float, float]]] = {what: [] for what in commands}
    for _ in range(rounds and rounds + 1):
        for what, command in commands.items():
            results[what].append(timed(command))
    return [cost(what, runs[1:]) for what, runs in results.items() if runs]


def cost(what: str, runs: Sequence[tuple[float, float]]) -> Cost:
    seconds = [each[0] for each in runs]
    return Cost(what, seconds, max(each[1] for each in runs), statistics.median(seconds))


# ---- the report


def say(text: str) -> None:
    print(text, file=sys.stderr)


def is_wrong(each: Difference) -> bool:
    return each.score > TOLERANCE or (each.ours != each.theirs and each.gap > TOLERANCE)


def table(groups: Mapping[str, Sequence[Difference]]) -> Iterator[str]:
    yield f"{'':<22}{'photos':>7}{'same best':>11}{'largest difference':>20}{'median':>10}{'> ' + str(TOLERANCE):>9}"
    for name, rows in groups.items():
        same, scores = sum(each.ours == each.theirs for each in rows), [each.score for each in rows]
        numbers = f"{max(scores):20.1e}{statistics.median(scores):10.1e}{sum(map(is_wrong, rows)):9}"
        yield f"{name:<22}{len(rows):7}{same:11}{numbers}"


def details(rows: Sequence[Difference]) -> Iterator[str]:
    for each in rows:
        other = "" if each.ours == each.theirs else f" | {each.theirs}"
        yield f"  {each.photo:<20}{each.score:9.1e}  {each.ours}{other}"


def cost_table(rows: Sequence[Cost]) -> Iterator[str]:
    for each in rows:
        ratio, runs = each.median / rows[0].median, " ".join(f"{seconds:.2f}" for seconds in each.seconds)
        yield f"  {each.what:<32}{each.median:7.2f} s  x{ratio:5.2f}{each.peak_mib:7.0f} MiB   {runs}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="what `garbage export` wrote")
    parser.add_argument("paths", type=Path, nargs="+", help="photos, or folders of photos")
    parser.add_argument("--photos", type=int, default=50, help="how many at most, evenly from all")
    parser.add_argument("--engine", default="auto", help="ours, for the answers")
    parser.add_argument("--rounds", type=int, default=5, help="of the timing; 0: none")
    parser.add_argument("--threads", type=int, default=available_cores(), help="PaddleX's, in its tuned run")
    parser.add_argument("--env", type=Path, default=user_cache_path("garbage", appauthor=False) / "paddlex-peer")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object on stdout")
    return parser.parse_args()


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run found."""

    versions: Mapping[str, str]
    cores: int
    refusal: str | None
    """What PaddleX says of the folder as it was exported; None where it opens."""
    answers: Mapping[str, list[Difference]]
    cost: list[Cost]

    @property
    def wrong(self) -> list[Difference]:
        """What is judged: the photos as they are."""
        return [each for each in self.answers[AS_THEY_ARE] if is_wrong(each)]

    def lines(self) -> Iterator[str]:
        yield ", ".join(f"{name} {version}" for name, version in self.versions.items())
        if self.refusal is None:
            yield "PaddleX opens the folder as it is"
        else:
            yield f"PaddleX refuses the folder: {self.refusal}"
            yield f"compared is a copy whose inference.yml says model_name: {KNOWN_NAME}"
        yield from table(self.answers)
        yield from ("kinds of files, not judged:", *details(self.answers[KINDS]))
        if self.wrong:
            yield from (f"{AS_THEY_ARE}, over {TOLERANCE}:", *details(self.wrong))
        if self.cost:
            yield from (f"one photo, whole process, {self.cores} cores:", *cost_table(self.cost))


def measure(options: argparse.Namespace, python: Path, work: Path) -> Report:
    bundle, photos = options.bundle.resolve(), choose(options.paths, options.photos)
    model = open_model(python, bundle, photos[0], work)
    pixels = decoded(photos, work / "decoded")
    groups = {
        AS_THEY_ARE: photos,
        "decoded": pixels,
        "decoded and resized": resized(pixels, work / "resized", short_side(bundle)),
        KINDS: kinds_of_files(photos[0], work / "kinds"),
    }
    answers = {name: compare(python, bundle, model, paths, options.engine) for name, paths in groups.items()}
    spent = costs(python, bundle, model, photos[0], rounds=options.rounds, threads=options.threads)
    return Report(versions(python), available_cores(), model.refusal, answers, spent)


def main() -> None:
    options = arguments()
    python = make_environment(options.env.absolute())
    with tempfile.TemporaryDirectory() as place:
        report = measure(options, python, Path(place))
    lines = [json.dumps(asdict(report), ensure_ascii=False)] if options.json else report.lines()
    print(*lines, sep="\n")
    sys.exit(report.refusal is not None or bool(report.wrong))


if __name__ == "__main__":
    main()
