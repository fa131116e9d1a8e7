"""How fast photos are loaded for training, beside how fast a network learns from them on the same cores.

    .venv/bin/python benchmarks/loader_speed.py [PHOTOS] [--count 600] [--big-count 60] [--no-steps]

Makes two folders of JPEGs from those below PHOTOS (else from drawn ones): of 341 × 256 pixels, and of 3000 × 2000 with
grain. For each it times, in a process of its own: the loader of training with one and two threads, the same work in two
worker processes, the loader without decoding at reduced scale, with each policy, with mixup; views, eight of a photo;
and the loader of evaluation. Then a training step of two networks on a batch of 32. The rows are run in turn, ROUNDS
times over, and the best of each counts. Ratios are to the loader with two threads. On a machine that others use as well
the processor's time per input tells more than the clock does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from garbage_cli.batches import evaluation_batches, training_batches
from garbage_cli.batches.preparing import augmented, read
from garbage_cli.config import AugmentConfig, TrainConfig
from garbage_cli.dataset import Sample
from garbage_cli.images import find, open_photo
from garbage_cli.parallel import ordered_map
from garbage_cli.transforms import Input, TrainPreprocess
from garbage_cli.vendor import available_cores, paddle

SMALL, BIG = (341, 256), (3000, 2000)
NETWORKS = ("MobileNetV2", "ResNet50_vd")
VIEWS = 8
USUAL = "training, 2 threads"


def make_photo(folder: Path, size: tuple[int, int], sources: list[str], number: int) -> None:
    """Write a source at another size, with grain where it is big: scaling up leaves none."""
    pixels = np.asarray(
        Image.open(sources[number % len(sources)]).convert("RGB").resize(size, Image.Resampling.LANCZOS)
    )
    if size == BIG:
        grain = np.random.default_rng(number).normal(0, 4, (size[1], size[0], 1)).astype(np.int16)
        pixels = (pixels + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=88)


def make(folder: Path, size: tuple[int, int], sources: list[str], count: int) -> None:
    folder.mkdir()
    with ProcessPoolExecutor(available_cores()) as pool:
        list(pool.map(partial(make_photo, folder, size, sources), range(count)))


def drawn_sources(folder: Path) -> list[str]:
    from garbage_cli.archive import extract
    from garbage_cli.sample import write_archive

    for _ in write_archive(folder / "sample.zip"):
        pass
    for _ in extract(folder / "sample.zip", folder / "sample"):
        pass
    return [str(path) for path in find([folder / "sample"])]


def samples_of(folder: Path) -> list[Sample]:
    return [Sample(path, number % 4) for number, path in enumerate(find([folder]))]


def prepare(config: TrainConfig, sample: Sample) -> Input:
    return augmented(read(sample), TrainPreprocess(config.preprocess, config.augment), [[1, 1, 1]])[0]


def prepare_whole(config: TrainConfig, sample: Sample) -> Input:
    transform = TrainPreprocess(config.preprocess, config.augment)
    return transform(open_photo(read(sample)).image, np.random.default_rng([1, 1, 1]))


def training(samples: list[Sample], threads: int = 2, **augment: object) -> Iterator[int]:
    config = replace(TrainConfig(workers=threads), augment=replace(AugmentConfig(), **augment))
    yield from map(len, training_batches(samples, config, epoch=1))


def in_processes(samples: list[Sample]) -> Iterator[int]:
    """What worker processes would do: the arrays are sent back to the one that trains."""
    with ProcessPoolExecutor(2) as pool:  # a first photo each, so that starting them does not count
        list(pool.map(partial(prepare, TrainConfig()), samples[:2]))
        yield -1
        for _ in pool.map(partial(prepare, TrainConfig()), samples, chunksize=4):
            yield 1


def unreduced(samples: list[Sample]) -> Iterator[int]:
    yield from (1 for _ in ordered_map(partial(prepare_whole, TrainConfig()), samples, threads=2, ahead=66))


def views(samples: list[Sample]) -> Iterator[int]:
    config = TrainConfig()
    transform, seeds = TrainPreprocess(config.preprocess, config.augment), [[view] for view in range(VIEWS)]
    photos = ordered_map(lambda sample: augmented(read(sample), transform, seeds), samples, threads=2, ahead=4)
    yield from (1 for inputs in photos for _ in inputs)


def evaluation(samples: list[Sample]) -> Iterator[int]:
    yield from map(len, evaluation_batches(samples, TrainConfig(workers=2)))


def bare(samples: list[Sample]) -> Iterator[int]:
    for sample in samples:
        with Image.open(sample.path) as image:
            image.load()
        yield 1


ROWS: dict[str, Callable[[list[Sample]], Iterator[int]]] = {
    "training, 1 thread": partial(training, threads=1),
    USUAL: training,
    "training, 2 processes": in_processes,
    "training, 2 threads, whole photos": unreduced,
    "training, 2 threads, RandAugment": partial(training, policy="randaugment"),
    "training, 2 threads, AutoAugment": partial(training, policy="autoaugment"),
    "training, 2 threads, mixup": partial(training, mixup=0.2),
    f"views, {VIEWS} of each photo, 2 threads": views,
    "evaluation, 2 threads": evaluation,
    "decoding alone, 1 thread": bare,
}


def processor_seconds() -> float:
    """Of this process, its threads, and its children that have ended."""
    return sum(os.times()[:4])


def rate(row: str, folder: Path) -> tuple[float, float]:
    """Inputs per second of one row, and the processor's milliseconds per input."""
    samples = samples_of(folder)
    seen, begun, used = 0, time.perf_counter(), processor_seconds()
    for count in ROWS[row](samples):
        if count < 0:
            seen, begun = 0, time.perf_counter()
        seen += max(0, count)
    seconds = time.perf_counter() - begun
    return seen / seconds, (processor_seconds() - used) / seen * 1000


def step_rate(name: str, *, size: int = 32, steps: int = 3) -> float:
    """Photos per second of forward, backward and an optimiser's step, all parameters trained, after one to warm up."""
    from garbage_cli.zoo import build

    module = paddle("this benchmark")
    network, _ = build(name, class_count=40)
    optimizer = module.optimizer.Momentum(0.001, parameters=network.parameters())
    inputs, classes = module.randn([size, 3, 224, 224]), module.zeros([size], "int64")
    seconds = []
    for _ in range(steps + 1):
        begun = time.perf_counter()
        module.nn.functional.cross_entropy(network(inputs), classes).backward()
        optimizer.step()
        optimizer.clear_grad()
        seconds.append(time.perf_counter() - begun)
    return size / min(seconds[1:])


def measured(*side: str) -> tuple[float, ...]:
    """Run one row in a fresh process, so that none profits from another."""
    done = subprocess.run([sys.executable, __file__, "--side", *side], stdout=subprocess.PIPE, text=True, check=True)
    return tuple(map(float, done.stdout.splitlines()[-1].split()))


def compare(folder: Path, rounds: int) -> float:
    rows: dict[str, list[tuple[float, ...]]] = {row: [] for row in ROWS}
    for _ in range(rounds):
        for row in ROWS:
            rows[row].append(measured(row, str(folder)))
    usual, usual_cost = max(each[0] for each in rows[USUAL]), min(each[1] for each in rows[USUAL])
    for row, results in rows.items():
        best, cost = max(results)[0], min(each[1] for each in results)
        speed = f"{best:7.0f} inputs/s  x{best / usual:5.2f}"
        print(f"  {row:<36}{speed}{cost:8.2f} ms of processor  x{cost / usual_cost:5.2f}", flush=True)
    return usual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--big-count", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-steps", action="store_true")
    parser.add_argument("--side", nargs="+")
    options = parser.parse_args()
    if options.side:
        row, *folder = options.side
        print(*rate(row, Path(folder[0])) if folder else [step_rate(row)])
        return
    loaders = {}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        sources = [str(path) for path in find([options.photos])] if options.photos else drawn_sources(work)
        for size, count in ((SMALL, options.count), (BIG, options.big_count)):
            folder = work / "{}x{}".format(*size)
            make(folder, size, sources, count)
            mean = sum(path.stat().st_size for path in find([folder])) / count / 1024
            print("{} JPEGs of {} × {}, {:.0f} KB, on {} cores".format(count, *size, mean, available_cores()))
            loaders[folder.name] = compare(folder, options.rounds)
    if not options.no_steps:
        print("a training step, batch of 32 at 224 pixels; how many times as fast the loader is")
        for name in NETWORKS:
            step = measured(name)[0]
            ratios = ", ".join(f"x{loader / step:.0f} on {photos}" for photos, loader in loaders.items())
            print(f"  {name:<36}{step:8.1f} inputs/s  {ratios}", flush=True)


if __name__ == "__main__":
    main()
