"""What Ray Serve's proxy costs: `garbage serve --ray` beside `garbage serve` with as many workers, on one machine.

    python benchmarks/serving_ray.py BUNDLE PHOTOS [--workers 1 2] [--rounds 3] [--seconds 15] [--callers 8]
                                     [--ray ADDRESS] [--json FILE]

One machine, one run, with whatever else it is doing; read the ratios. The servers take turns, `--rounds` times, with
the same photos; each is warmed before it is measured. The callers are one process (`serving_load.py`) on the same
cores. Every worker of either server has one thread at the network (`--set cpu_num_threads=1`), so that both have as
much to compute with. Figures are medians over the rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PHOTOS = 64
"""That the callers send in turn."""


@dataclass(frozen=True, slots=True)
class Setup:
    """A server to measure."""

    name: str
    workers: int
    options: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--ray", default="local")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    photos = sorted(each for each in asked.photos.rglob("*") if each.suffix.lower() in (".jpg", ".jpeg", ".png"))
    photos = photos[:: max(1, len(photos) // PHOTOS)][:PHOTOS]
    setups = [
        Setup(name, workers, (*more, "--set", "cpu_num_threads=1"))
        for workers in asked.workers
        for name, more in (("one machine", ()), ("Ray Serve", ("--ray", asked.ray)))
    ]
    figures: dict[str, list[dict[str, Any]]] = {}
    for number in range(asked.rounds):
        for setup in setups if number % 2 == 0 else setups[::-1]:
            row = measured(setup, asked.bundle, photos, asked.callers, asked.seconds)
            figures.setdefault(f"{setup.name}, workers: {setup.workers}", []).append(row)
            print(f"round {number + 1}: {setup.name}, {setup.workers}: {row['rate']:.1f} replies/s", file=sys.stderr)
    show(figures)
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def measured(setup: Setup, bundle: Path, photos: Sequence[Path], callers: int, seconds: float) -> dict[str, Any]:
    with started(setup, bundle) as port:
        load(port, photos, callers, min(5.0, seconds))
        return load(port, photos, callers, seconds)


@contextmanager
def started(setup: Setup, bundle: Path) -> Iterator[int]:
    """A server, until the end of the block; its port."""
    command = [sys.executable, "-m", "garbage_cli", "serve", "--model", str(bundle), "--port", "0", "--json"]
    command += ["--workers", str(setup.workers), *setup.options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{setup.name} did not start")
            yield int(json.loads(line)["url"].rpartition(":")[2])
        finally:
            process.terminate()


def load(port: int, photos: Sequence[Path], callers: int, seconds: float) -> dict[str, Any]:
    """Have callers ask for photos; return what came of it."""
    wish = {
        "port": port, "path": "/v1/predict", "base64": False, "good": '"error":null',
        "photos": [str(each) for each in photos], "concurrency": callers, "seconds": seconds,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(HERE / "serving_load.py")],
        input=json.dumps(wish), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def show(figures: dict[str, list[dict[str, Any]]]) -> None:
    print(f"{'':28}{'replies/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'503':>6}{'failed':>8}")
    for name, rows in figures.items():
        rate, p50, p99 = (statistics.median(row[key] for row in rows) for key in ("rate", "p50", "p99"))
        again, failed = (sum(row[key] for row in rows) for key in ("retried", "failed"))
        print(f"{name:28}{rate:10.1f}{p50:9.1f}{p99:9.1f}{again:6}{failed:8}")


if __name__ == "__main__":
    main()
