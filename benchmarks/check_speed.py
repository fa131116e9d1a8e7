"""How fast `garbage check` reads photos, against a bare Pillow loop over the same files on the same cores.

    .venv/bin/python benchmarks/check_speed.py [DATA] [--count 15000]

Makes COUNT photos of about 20 KB (from those of DATA, else drawn ones; each a crop of its own, with grain), then times
in turn: the bare loop in as many processes as there are cores, `check` without its cache, and `check` with it. Prints
seconds, ratios and peak memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from garbage_cli.check import Checked, check
from garbage_cli.dataset import Dataset
from garbage_cli.images import find
from garbage_cli.vendor import available_cores

SIZE = (341, 256)
CLASSES = 10


def make_photo(folder: Path, sources: list[str], number: int) -> None:
    """Write one photo: a crop of a source at SIZE, with grain, about 20 KB."""
    random = np.random.default_rng(number)
    image = Image.open(sources[number % len(sources)]).convert("RGB")
    scale = random.uniform(0.6, 1)
    width, height = int(image.width * scale), int(image.height * scale)
    left, top = int(random.integers(image.width - width + 1)), int(random.integers(image.height - height + 1))
    pixels = np.asarray(image.resize(SIZE, box=(left, top, left + width, top + height)), np.int16)
    grain = random.normal(0, 4, (*pixels.shape[:2], 1)).astype(np.int16)
    path = folder / str(number % len(sources) % CLASSES) / f"{number}.jpg"
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(path, quality=88)


def make(folder: Path, sources: list[str], count: int) -> None:
    for class_id in range(CLASSES):
        (folder / str(class_id)).mkdir(parents=True)
    with ProcessPoolExecutor(available_cores()) as pool:
        list(pool.map(partial(make_photo, folder, sources), range(count), chunksize=100))


def drawn_sources(folder: Path) -> list[str]:
    from garbage_cli.archive import extract
    from garbage_cli.sample import write_archive

    for _ in write_archive(folder / "sample.zip"):
        pass
    for _ in extract(folder / "sample.zip", folder / "sample"):
        pass
    return [str(path) for path in find([folder / "sample"])]


def decode(path: str) -> None:
    with Image.open(path) as image:
        image.load()


def bare(folder: Path) -> int:
    """The thing to compare with: every file opened and decoded, nothing kept."""
    paths = [str(path) for path in find([folder])]
    with ProcessPoolExecutor(available_cores()) as pool:
        list(pool.map(decode, paths, chunksize=32))
    return len(paths)


def run(folder: Path) -> int:
    *_, result = check(Dataset.load(folder))
    assert isinstance(result, Checked)
    print("found", result.counts(), file=sys.stderr)
    return result.fresh


def measured(what: str, folder: Path, cache: Path) -> tuple[float, float, int]:
    """Run one side in a fresh process; return seconds, peak MiB of it and its workers together, photos read."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    begun = time.perf_counter()
    command = [sys.executable, __file__, "--side", what, str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    peak = 0
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, resident(watched))
        time.sleep(0.1)
    seconds = time.perf_counter() - begun
    assert process.stdout is not None
    return seconds, peak / 2**20, int(process.stdout.read().split()[-1])


def resident(process: psutil.Process) -> int:
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["bare", "check"])
    options = parser.parse_args()
    if options.side:
        print(bare(options.data) if options.side == "bare" else run(options.data))
        return
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        sources = [str(path) for path in find([options.data])] if options.data else drawn_sources(work)
        for count in (options.count // 10, options.count):
            compare(work / f"{count} photos", sources, count, options.rounds)


def compare(folder: Path, sources: list[str], count: int, rounds: int) -> None:
    make(folder, sources, count)
    Dataset.load(folder).write_split()  # as the commands do, once
    mean = sum(path.stat().st_size for path in find([folder])) / count / 1024
    print(f"{count} photos of {mean:.1f} KB, {available_cores()} cores")
    rows: dict[str, list[tuple[float, float, int]]] = {"bare Pillow loop": [], "check": [], "check, cached": []}
    for number in range(rounds):
        cache = folder.with_name(f"cache {count} {number}")
        rows["bare Pillow loop"].append(measured("bare", folder, cache))
        rows["check"].append(measured("check", folder, cache))
        rows["check, cached"].append(measured("check", folder, cache))
    base = sorted(rows["bare Pillow loop"])[rounds // 2][0]
    for name, results in rows.items():
        seconds, peak, fresh = sorted(results)[rounds // 2]
        rate = f"{seconds:7.2f} s{count / seconds:9.0f} photos/s"
        print(f"  {name:<18}{rate}  x{seconds / base:5.2f}{peak:7.0f} MiB  {fresh} read")


if __name__ == "__main__":
    main()
