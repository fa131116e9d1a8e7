"""How fast photos are answered: every engine and precision over a folder, against the bare engine and PaddleHub's way.

    python benchmarks/prediction.py BUNDLE PHOTOS [--rounds 3] [--json FILE]

Three tables, from one run on one machine, with whatever else it is doing; read the ratios.

1. Bulk: photos/s of `Predictor` in each engine and precision, of the command `garbage predict`, of a bare loop (Pillow,
   numpy and OpenVINO, nothing of ours) in the precision that `auto` takes, and of Paddle Inference as PaddleHub sets it
   up: one photo at a time, without oneDNN. The ways take turns, a slice of the photos each, so that what else runs on
   the machine meets all of them.
2. Where the time goes for one photo of 0.2, 2 and 12 megapixels: decoding (whole, and reduced as it is done), resizing
   and normalising, the network, the rest.
3. The hardware's own limit: a product of two large matrices in the same numbers, and what the network comes to at that
   rate if its multiply-adds are known.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from garbage_cli import zoo
from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import Options
from garbage_cli.images import find, open_photo
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.transforms import Preprocess
from garbage_cli.vendor import available_cores, openvino

Way = Callable[[Sequence[Path]], None]
MANY = 100_000
PEAK_SIDE = 2048
MEGAPIXELS = (0.2, 2.0, 12.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", type=int, default=24, help="photos per round of the ways below 20 a second")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    bundle, photos = ModelBundle.load(asked.bundle), list(find([asked.photos]))
    print(f"{bundle.name}, {len(photos)} photos, {available_cores()} cores, {time.strftime('%F %R')}")
    result = {
        "bulk": bulk(bundle, photos, asked.rounds, asked.slow),
        "time": where_the_time_goes(bundle, photos[0]),
        "peak": limits(bundle),
    }
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


def bulk(bundle: ModelBundle, photos: list[Path], rounds: int, slow: int) -> dict[str, Any]:
    """Print photos/s of every way, the best first."""
    auto = Predictor(bundle, photos=len(photos))
    ways: dict[str, Way] = {f"garbage, auto ({auto.engine} {auto.precision})": by(auto)}
    for engine, precision in (("openvino", "f32"), ("openvino", "bf16"), ("openvino", "int8"), ("onnxruntime", "f32")):
        try:
            predictor = Predictor(bundle, engine=engine, precision=precision, photos=MANY)
        except Exception as error:  # noqa: BLE001 - this machine or bundle has not got it
            print(f"left out: {engine} {precision}: {error}")
            continue
        if (predictor.engine, predictor.precision) == (engine, precision):
            ways[f"garbage, {engine} {precision}"] = by(predictor)
    ways["garbage, paddle f32 (oneDNN)"] = by(Predictor(bundle, engine="paddle", photos=MANY))
    hub = Predictor(bundle, engine="paddle", options=Options(enable_mkldnn=False), photos=1)
    ways["Paddle Inference as PaddleHub has it"] = one_by_one(hub)
    onednn = Predictor(bundle, engine="paddle", photos=1)
    ways["Paddle Inference, oneDNN, one by one"] = one_by_one(onednn)
    ways[f"bare loop, {auto.engine} {auto.precision}"] = bare(bundle, auto.precision)
    rates: dict[str, list[float]] = {name: [] for name in ways}
    slice_ = len(photos) // rounds
    for number in range(rounds):
        for name, way in ways.items():
            share = photos[number * slice_ : (number + 1) * slice_]
            share = share[:slow] if name.startswith("Paddle") or "paddle" in name else share
            way(share[: 2 * available_cores()])  # caches and threads are warm
            begun = time.perf_counter()
            way(share)
            rates[name].append(len(share) / (time.perf_counter() - begun))
    whole = command(bundle, photos)
    print(f"\nphotos/s, median of {rounds} rounds (lowest, highest)")
    middle = {name: statistics.median(each) for name, each in rates.items()}
    for name in sorted(middle, key=lambda each: -middle[each]):
        print(f"  {middle[name]:7.1f} ({min(rates[name]):.1f}, {max(rates[name]):.1f})  {name}")
    print(f"  {whole:7.1f}  the command `garbage predict PHOTOS --csv`, start included")
    first, *_, last = (middle[name] for name in ways)
    hubs = middle["Paddle Inference as PaddleHub has it"]
    print(f"auto against the bare loop: {first / last:.3f}; against PaddleHub's way: {first / hubs:.1f}")
    return {"photos_per_second": rates, "command": whole}


def by(predictor: Predictor) -> Way:
    """A pass through a predictor, as `predict` makes it."""

    def run(paths: Sequence[Path]) -> None:
        for _ in predictor.predict(Photo.from_path(path) for path in paths):
            pass

    return run


def one_by_one(predictor: Predictor) -> Way:
    def run(paths: Sequence[Path]) -> None:
        for path in paths:
            predictor.answer(Photo.from_path(path))

    return run


def bare(bundle: ModelBundle, precision: str) -> Way:
    """Pillow, numpy and OpenVINO with a thread per core, and nothing else."""
    ov = openvino()
    cores, spec = available_cores(), bundle.preprocess
    name = "model_int8.xml" if precision == "int8" else "model.onnx"
    model = ov.Core().compile_model(
        str(bundle.root / name),
        "CPU",
        {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": cores,
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        },
    )
    mean, std = (np.array(each, np.float32)[:, None, None] for each in (spec.mean, spec.std))
    requests = [model.create_infer_request() for _ in range(cores)]

    def run(paths: Sequence[Path]) -> None:
        def part(number: int) -> None:
            for path in paths[number::cores]:
                image = Image.open(path).convert("RGB")
                scale = spec.resize_short / min(image.size)
                image = image.resize(
                    (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR
                )
                left, top = (image.width - spec.crop) // 2, (image.height - spec.crop) // 2
                image = image.crop((left, top, left + spec.crop, top + spec.crop))
                values = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / 255
                requests[number].infer([((values - mean) / std)[None]])

        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(part, range(cores)))

    return run


def command(bundle: ModelBundle, photos: list[Path]) -> float:
    """Photos/s of the whole command, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "list.txt"
        listed.write_text("\n".join(map(str, photos)) + "\n", encoding="utf-8")
        begun = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "garbage_cli",
                "predict",
                "--model",
                bundle.root,
                "--list",
                listed,
                "--csv",
                f"{listed}.csv",
            ],
            check=True,
            capture_output=True,
        )
        return len(photos) / (time.perf_counter() - begun)


def where_the_time_goes(bundle: ModelBundle, photo: Path) -> dict[str, Any]:
    """Print the milliseconds of one photo of several sizes, one after the other, all cores at the network."""
    print("\nms per photo: size, decoded whole, decoded as it is, resized and normalised, network, rest, in all")
    predictor = Predictor(bundle, photos=1)
    preprocess = Preprocess(bundle.preprocess)
    found = {}
    for megapixels in MEGAPIXELS:
        data = enlarged(photo, megapixels)
        whole = middle(lambda data=data: open_photo(data))
        decoding = middle(lambda data=data: open_photo(data, reduction=preprocess.reduction))
        photo_ = open_photo(data, reduction=preprocess.reduction)
        resizing = middle(lambda photo=photo_: preprocess.decoded(photo))
        values = preprocess.decoded(photo_)[None]
        network = middle(lambda values=values: predictor.infer(values))
        in_all = middle(lambda data=data: predictor.answer(Photo("photo", data)))
        rest = in_all - decoding - resizing - network
        print(
            f"  {megapixels:4.1f} MP {len(data) / 1e6:4.1f} MB: {whole:7.2f} {decoding:7.2f} {resizing:6.2f} "
            f"{network:6.2f} {rest:6.2f} {in_all:7.2f}  ({predictor.engine} {predictor.precision})"
        )
        found[megapixels] = [whole, decoding, resizing, network, rest, in_all]
    return found


def enlarged(photo: Path, megapixels: float) -> bytes:
    """A JPEG of so many megapixels with the grain of a camera."""
    image = open_photo(photo.read_bytes()).image
    scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    grain = np.random.default_rng(0).normal(0, 6, (image.height, image.width, 1))
    out = io.BytesIO()
    Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def middle(work: Callable[[], object], *, seconds: float = 1.0) -> float:
    """Median milliseconds of some work, warm."""
    work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def limits(bundle: ModelBundle) -> dict[str, float]:
    """Print the rate of a large matrix product in each precision, and the network's time at that rate."""
    print(f"\nproduct of two {PEAK_SIDE} × {PEAK_SIDE} matrices in OpenVINO; the network at that rate; as it is")
    macs = multiply_adds(bundle)
    found = {}
    for precision in ("f32", "bf16", "int8"):
        try:
            predictor = Predictor(bundle, precision=precision, photos=1)
        except Exception:  # noqa: BLE001 - not in this bundle
            predictor = None
        multiply = product(precision)
        rate = 2 * PEAK_SIDE**3 / middle(multiply) / 1e6  # of 10⁹ operations a second
        ideal = 2 * macs / rate / 1e6 if macs else None
        real = middle(predictor.warm_up) if predictor and predictor.precision == precision else None
        said = f"{ideal:.2f} ms" if ideal else "unknown"
        print(f"  {precision:5} {rate:7.0f} GOP/s   {said:>9}   {f'{real:.2f} ms' if real else '—':>9}")
        found[precision] = rate
    return found


def product(precision: str) -> Callable[[], object]:
    """A matrix product in OpenVINO, ready to run; int8 by way of fake quantisation, as networks have it."""
    ov = openvino()
    op = ov.opset13
    rng = np.random.default_rng(0)
    given = op.parameter([PEAK_SIDE, PEAK_SIDE], np.float32)
    weights = op.constant(rng.uniform(-1, 1, (PEAK_SIDE, PEAK_SIDE)).astype(np.float32))

    def narrowed(node: Any, levels: int) -> Any:
        low, high = op.constant(np.float32(-1)), op.constant(np.float32(1))
        return op.fake_quantize(node, low, high, low, high, levels)

    if precision == "int8":
        node = op.matmul(narrowed(given, 256), narrowed(weights, 255), False, False)
    else:
        node = op.matmul(given, weights, False, False)
    hint = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = ov.Core().compile_model(ov.Model([node], [given]), "CPU", hint).create_infer_request()
    values = rng.uniform(-1, 1, (PEAK_SIDE, PEAK_SIDE)).astype(np.float32)
    return lambda: request.infer([values], share_inputs=True)


def multiply_adds(bundle: ModelBundle) -> float | None:
    """Of one input, by the table of networks; None if it does not know."""
    found = zoo.catalogue().get(bundle.name)
    if found is None or found.multiply_adds is None or found.pixels is None:
        return None
    return found.multiply_adds * (bundle.preprocess.crop / found.pixels) ** 2


if __name__ == "__main__":
    main()
