"""Accuracy against minutes on a CPU: the head, the last stage, the whole network, and PyTorch on the whole network.

    python benchmarks/cpu_training.py DATA WEIGHTS.pdparams --ways head last-stage full torch \\
        --seeds 0 1 2 --minutes 10 [--torch PYTHON_WITH_TORCH]

Runs `garbage train` as a person would, one after the other, each with an empty cache, and reads what it prints. Minutes
count from the start of the program: imports, checking the photos and computing features are in them. The full network
and PyTorch get `--minutes`, the others their own number of epochs.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LEVELS = (0.80, 0.84, 0.86, 0.88, 0.90)
EPOCH = re.compile(r"^\s*\d+\s+[\d.]+\s+[\d.]+ %\s+[\d.]+\s+([\d.]+) %")
Curve = list[tuple[float, float]]
"""Minutes and validation top-1 after each epoch."""


def lines(command: list[str], **environment: str) -> Iterator[tuple[float, str]]:
    """Run a program; yield its lines with the minutes since its start."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    for line in process.stdout:
        yield (time.monotonic() - started) / 60, line
    if process.wait() not in (0, 130):  # 130: the time limit
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")


def ours(way: str, options: argparse.Namespace, seed: int) -> Curve:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "garbage_cli", "train", str(options.data), "--config", options.config]
        command += ["--pretrained", str(options.weights), "--tune", way, "--seed", str(seed), "--out", folder]
        if way == "full":
            command += ["--epochs", str(options.full_epochs), "--time-limit", f"{options.minutes}m"]
        command += [word for setting in options.set for word in ("--set", setting)]
        found = [(at, EPOCH.match(line)) for at, line in lines(command, XDG_CACHE_HOME=f"{folder}/cache")]
    return [(at, float(match[1]) / 100) for at, match in found if match]


def torch(options: argparse.Namespace, seed: int, *words: str) -> Curve:
    script = str(Path(__file__).with_name("torch_finetune.py"))
    root = next(path.parent for path in sorted(options.data.rglob("train.txt")))
    command = [options.torch, script, str(root), str(options.weights), "--minutes", str(options.minutes)]
    printed = [json.loads(line) for _, line in lines([*command, "--seed", str(seed), *words]) if line.startswith("{")]
    return [(row["minutes"], row["top1"]) for row in printed]


def until(curve: Curve, level: float) -> float | None:
    """The minutes after which a curve first reached a level."""
    return next((at for at, top1 in curve if top1 >= level), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--ways", nargs="+", default=["head", "last-stage"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--full-epochs", type=int, default=4, help="about what fits into the minutes")
    parser.add_argument("--config", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--torch", default="python", help="an interpreter that has torch")
    options = parser.parse_args()
    ways = {"torch": lambda seed: torch(options, seed), "torch-bf16": lambda seed: torch(options, seed, "--bf16")}
    for way in options.ways:
        run = ways.get(way) or (lambda seed, way=way: ours(way, options, seed))
        curves = []
        for seed in options.seeds:
            curves.append(run(seed))
            shown = " ".join(f"{at:.2f}:{top1:.3f}" for at, top1 in curves[-1])
            print(f"{way:<11} seed {seed}  minutes:top1  {shown}", flush=True)
        summary(way, curves)


def summary(way: str, curves: list[Curve]) -> None:
    """Print best and last figure, and the minutes to each level, over the seeds."""
    best = [max(top1 for _, top1 in curve) for curve in curves]
    last = [curve[-1][1] for curve in curves]
    ends = statistics.mean(curve[-1][0] for curve in curves)
    spread = f" ± {statistics.stdev(best):.3f}" if len(best) > 1 else ""
    print(f"{way:<11} best {statistics.mean(best):.3f}{spread}, last {statistics.mean(last):.3f}, {ends:.1f} minutes")
    for level in LEVELS:
        times = [until(curve, level) for curve in curves]
        words = ", ".join("never" if at is None else f"{at:.2f}" for at in times)
        print(f"{way:<11}   {level:.0%} after {words} minutes", flush=True)


if __name__ == "__main__":
    main()
