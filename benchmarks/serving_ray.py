"""Ray Serve against our own server: replies a second by replicas, with the same photos and callers in the same run.

    python benchmarks/serving_ray.py BUNDLE PHOTOS [--workers 1 2] [--callers 8] [--seconds 10] [--rounds 3]

Each server is started once per round, the two kinds in turns. Callers share the cores with what they measure. The model
runs in f32, so that the network is what takes the time, unless `--precision` says otherwise.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from garbage_cli.images import find
from garbage_cli.vendor import available_cores

LOAD = Path(__file__).with_name("serving_load.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="f32")
    asked = parser.parse_args()
    photos = [str(path) for path in sorted(find([asked.photos]))[::10][:200]]
    when = time.strftime("%F %R")
    print(f"{asked.bundle} in {asked.precision}, {asked.callers} callers, {available_cores()} cores, {when}")
    figures: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for _ in range(asked.rounds):
        for workers in asked.workers:
            for name, more in (("garbage serve", []), ("Ray Serve", ["--ray", "local"])):
                options = ["--workers", str(workers), "--precision", asked.precision, *more]
                with serving(asked.bundle, options) as url:
                    load(url, photos, asked.callers, 2)
                    got = load(url, photos, asked.callers, asked.seconds)
                figures.setdefault((name, workers), []).append(got)
    print("| server | workers | photos/s | p50, ms | p99, ms | failed |\n|---|---:|---:|---:|---:|---:|")
    for (name, workers), each in figures.items():
        middle = {key: statistics.median(got[key] for got in each) for key in ("rate", "p50", "p99")}
        failed = sum(got["failed"] for got in each)
        rate, p50, p99 = (f"{value:.1f}" for value in middle.values())
        print(f"| {name} | {workers} | {rate} | {p50} | {p99} | {failed} |")
    print(json.dumps([[*key, value] for key, value in figures.items()]))


@contextmanager
def serving(bundle: Path, options: list[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "garbage_cli", "serve", "--model", str(bundle), "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(60)


def load(url: str, photos: list[str], callers: int, seconds: float) -> dict[str, Any]:
    wish = {
        "port": urlsplit(url).port, "path": "/v1/predict", "base64": False, "good": '"predictions"', "photos": photos,
        "concurrency": callers, "seconds": seconds,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, LOAD], input=json.dumps(wish), capture_output=True, text=True, check=True, timeout=seconds + 90
    )
    got = json.loads(done.stdout)
    assert isinstance(got, dict)
    return got


if __name__ == "__main__":
    main()
