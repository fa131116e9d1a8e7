"""Bulk prediction: one process with all cores against Ray's workers, one per core, on the same photos in the same run.

    python benchmarks/bulk.py BUNDLE PHOTOS [--photos 8000] [--rounds 2] [--nodes 1 2] [--precision bf16]

Each way is run over a quarter of the photos and over all of them; what the difference took is the steady rate, and what
is left the start: of the process and its model, or of Ray, its workers and their models. The ways take turns. With
`--nodes` the workers live on so many nodes of a cluster on this machine, each with its share of the cores. Photos are
named over and over until there are enough.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from garbage_cli.images import find
from garbage_cli.vendor import available_cores

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from raycluster import cluster

Way = Callable[[Path, Path], list[object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--photos", dest="number", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--nodes", type=int, nargs="*", default=[])
    parser.add_argument("--partition", type=int, default=250)
    parser.add_argument("--precision", default="auto")
    asked = parser.parse_args()
    cores = available_cores()
    print(f"{asked.bundle.name}, {asked.number} photos, {cores} cores, {time.strftime('%F %R')}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        lists = [listed(Path(folder), list(find([asked.photos])), asked.number // part) for part in (4, 1)]
        common = ["--model", asked.bundle, "--precision", asked.precision]
        ways: dict[str, Way] = {
            "one process": lambda names, out: ["--list", names, "--csv", out.with_suffix(".csv"), *common],
        }

        def on_ray(address: str) -> Way:
            more = ["--ray", address, "--partition", asked.partition, "--json"]
            return lambda names, out: ["--list", names, "--csv", out, *common, *more]

        ways["Ray, here"] = on_ray("local")
        for number in asked.nodes:
            made = stack.enter_context(cluster(*(max(1, cores // number) for _ in range(number))))
            ways[f"Ray, {number} node{'s' * (number > 1)}"] = on_ray(made.address)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        starts: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(asked.rounds):
            for name, way in ways.items():
                few, many = (
                    timed(way(names, Path(folder, f"{turn}-{name}-{i}".replace(" ", ""))))
                    for i, names in enumerate(lists)
                )
                photos = asked.number - asked.number // 4
                rates[name].append(photos / (many - few))
                starts[name].append(many - asked.number / rates[name][-1])
        first = statistics.median(rates["one process"])
        print("| way | photos/s | of one process | start, s |\n|---|---:|---:|---:|")
        for name in ways:
            rate = statistics.median(rates[name])
            print(f"| {name} | {rate:.0f} | {rate / first:.2f} | {statistics.median(starts[name]):.1f} |")
        print(json.dumps({"rates": rates, "starts": starts}))


def listed(folder: Path, photos: list[Path], number: int) -> Path:
    """A list of so many names, of photos named over and over."""
    path = folder / f"{number}.txt"
    path.write_text("".join(f"{photos[i % len(photos)]}\n" for i in range(number)))
    return path


def timed(arguments: list[object]) -> float:
    command = [sys.executable, "-m", "garbage_cli", "predict", *map(str, arguments)]
    began = time.monotonic()
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


if __name__ == "__main__":
    main()
