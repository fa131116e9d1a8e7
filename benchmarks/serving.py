"""How fast photos are answered over HTTP: `garbage serve` beside PaddleHub Serving, LitServe and the bare engine.

    python benchmarks/serving.py BUNDLE PHOTOS [--rounds 3] [--seconds 15] [--serve-options "--workers 2"]
                                 [--litserve-python PATH] [--json FILE]
    python benchmarks/serving.py BUNDLE --engine-table

One machine, one run, with whatever else it is doing; read the ratios. Each server is started in a process group of its
own, asked for a few photos whose answers are compared, warmed, measured with 1, 8 and 64 callers, and stopped; then
comes the next one, and `--rounds` of that, so that what else runs on the machine meets all of them. The callers are one
process (`serving_load.py`) on the same cores, whose own CPU is said.

- PaddleHub, defaults: the real `hub serving start -m`, with a module that does what PaddleClas 2.0's one did
  (`serving_hub_module.py`): Paddle Inference without oneDNN, one photo at a time.
- PaddleHub, best: the same with oneDNN, in the best of several set-ups by a trial before (workers by gunicorn, or one
  process with Paddle's threads).
- LitServe, best: our decoder and OpenVINO in LitServe (`serving_litserve.py`), in the best of several set-ups by a
  trial. It runs in an environment of its own: litserve, openvino, pillow, numpy, pyyaml and platformdirs.
- garbage, raw: `POST /v1/predict` with the photo as the body. garbage, hub: `POST /predict/clas_system` in base64.
- bare engine: our decoder and OpenVINO in a loop, in a process of its own, nothing around them: a stream
  per core and two threads for each, so that one decodes while the other's photo is inferred; for one caller one thread
  with all cores at its photo. It reads photos from files and shares the cores with no callers.

Latencies are of the callers, from sending to the last byte. CPU is that of all processes of a server while it was
measured, memory their peak RSS summed (what they share is counted for each) and their PSS at the end.

`--engine-table` measures what decides a server's design: the network alone, with one stream or one per core, so many
callers side by side and so many photos in a call.
"""

import argparse
import base64
import functools
import itertools
import json
import math
import os
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from serving_load import percentile

from garbage_cli.bundle import ONNX_FILE, PADDLE_PROGRAMS, PADDLE_WEIGHTS, ModelBundle
from garbage_cli.engines import Choice, open_engine
from garbage_cli.engines.choosing import Wish, choose
from garbage_cli.images import find, open_photo
from garbage_cli.transforms import Preprocess
from garbage_cli.vendor import available_cores, openvino

HERE = Path(__file__).parent
HUB = Path(sys.executable).with_name("hub")
START_SECONDS = 120
COMPARED = 8
"""Photos whose answers are compared between the servers."""
TRIAL_CALLERS = 8
MOST_BYTES = 64 * 2**20
"""Of all photos together, which the callers hold in memory."""

HUB_DEFAULTS, HUB_BEST, LITSERVE = "PaddleHub, defaults", "PaddleHub, best", "LitServe, best"
OURS, OURS_HUB, BARE = "garbage, raw", "garbage, hub", "bare engine"


class NotStarted(Exception):
    """A server did not come up; the reason is in words."""


@dataclass(frozen=True)
class Server:
    """How a server is started and asked."""

    name: str
    command: Callable[[int], list[str]]
    """By port; 0 where it says itself which one it got."""
    path: str
    base64: bool
    good: str
    """What the body of a good answer holds."""
    kind: Callable[[dict[str, Any]], int]
    """The class in an answer."""
    ready: str = "/"
    says_port: bool = False
    """Whether its first line on stdout is JSON with its URL."""
    environment: dict[str, str] = field(default_factory=dict)
    setup: str = ""
    """Which of several set-ups this is, in words."""


@dataclass
class Measured:
    """What one server did with so many callers in one round."""

    concurrency: int
    rate: float
    p50: float
    p99: float
    failed: int = 0
    failure: str = ""
    retried: int = 0
    cpu: float = math.nan
    """CPU milliseconds of the server's processes per photo."""
    load_cpu: float = math.nan
    """CPU milliseconds of the callers per photo."""
    peak: float = math.nan
    """MiB: peak RSS, summed over processes."""
    shared: float = math.nan
    """MiB: PSS at the end."""
    connections: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each server with each number of callers")
    parser.add_argument("--trial", type=float, default=5.0, help="seconds of each set-up that is tried")
    parser.add_argument("--trials", type=int, default=2, help="times that each is tried; its best one counts")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--servers", nargs="+", help="only those whose name holds one of these words")
    parser.add_argument("--serve-options", default="", help="further options of `garbage serve`")
    parser.add_argument("--litserve-python", type=Path, help="the interpreter of an environment with litserve")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--engine-table", action="store_true")
    parser.add_argument("--bare", metavar="PRECISION", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    bundle = ModelBundle.load(asked.bundle)
    precision = choose(Wish("openvino"), bundle, photos=None).choices[0].precision
    if asked.engine_table:
        engine_table(bundle, precision, asked.rounds)
        return
    if asked.photos is None:
        parser.error("PHOTOS is missing")
    photos = some(sorted(find([asked.photos])))
    if asked.bare:
        print(json.dumps([asdict(each) for each in bare_loops(bundle, photos, asked)]))
        return
    print(
        f"{bundle.name} in {precision}, {len(photos)} photos of {average(photos):.0f} KB, {available_cores()} cores, ",
        end="",
    )
    print(f"{time.strftime('%F %R')}, load {os.getloadavg()[0]:.1f}")
    with suppress(OSError):
        os.setsid()  # Linux shares the cores out by sessions: all that is measured has the same share
    with tempfile.TemporaryDirectory() as folder:
        result = compare(bundle, precision, photos, asked, Path(folder))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


def some(photos: Sequence[Path]) -> list[Path]:
    """Evenly chosen, as many as fit into memory."""
    step = max(1, math.ceil(sum(path.stat().st_size for path in photos) / MOST_BYTES), len(photos) // 500)
    return list(photos[::step])


def average(photos: Sequence[Path]) -> float:
    return sum(path.stat().st_size for path in photos) / len(photos) / 1000


# ---- the ring


def compare(
    bundle: ModelBundle, precision: str, photos: list[Path], asked: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    """Measure every server in turn, and print the table and the ratios."""
    wanted = functools.partial(is_wanted, asked.servers)
    ring: dict[str, Server] = {}
    tried: dict[str, dict[str, float]] = {}
    expected = expected_kinds(bundle, precision, photos[:COMPARED])
    if wanted(HUB_DEFAULTS) or wanted(HUB_BEST):
        try:
            defaults, best = hub_servers(bundle, folder)
        except (NotStarted, OSError, subprocess.SubprocessError) as error:
            print(f"left out: PaddleHub: {error}")
        else:
            if wanted(HUB_DEFAULTS):
                ring[HUB_DEFAULTS] = defaults
            if wanted(HUB_BEST):
                add_best(ring, HUB_BEST, best, tried, photos, asked, folder)
    if asked.litserve_python and wanted(LITSERVE):
        variants = litserve_servers(bundle, precision, asked.litserve_python)
        add_best(ring, LITSERVE, variants, tried, photos, asked, folder)
    for name, path in ((OURS, "/v1/predict"), (OURS_HUB, "/predict/clas_system")):
        if wanted(name):
            ring[name] = ours(name, path, bundle, asked.serve_options)
    rounds: dict[str, list[list[Measured]]] = {name: [] for name in (*ring, BARE)}
    for number in range(asked.rounds):
        names = list(rounds)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            try:
                if name == BARE:
                    found = bare_process(bundle, precision, asked)
                else:
                    found = measure(ring[name], photos, asked, folder, () if number else expected)
            except (NotStarted, OSError, subprocess.SubprocessError, ValueError) as error:
                print(f"round {number + 1}: {name}: {error}")
                continue
            rounds[name].append(found)
            said = "  ".join(f"{each.concurrency}: {each.rate:.1f}/s" for each in found)
            print(f"round {number + 1}: {name:20} {said}", file=sys.stderr, flush=True)
    figures = {
        name: [medians([each[place] for each in found]) for place in range(len(found[0]))]
        for name, found in rounds.items()
        if found
    }
    show(figures, {name: server.setup for name, server in ring.items()})
    show_ratios(figures)
    return {
        "tried": tried,
        "setups": {name: server.setup for name, server in ring.items()},
        "rounds": {name: [[asdict(each) for each in row] for row in found] for name, found in rounds.items()},
    }


def is_wanted(words: Sequence[str] | None, name: str) -> bool:
    return not words or any(word.lower() in name.lower() for word in words)


def add_best(
    ring: dict[str, Server],
    name: str,
    variants: Sequence[Server],
    tried: dict[str, dict[str, float]],
    photos: list[Path],
    asked: argparse.Namespace,
    folder: Path,
) -> None:
    """Try every set-up for a few seconds with 8 callers; the one with the most photos a second joins the ring."""
    rates: dict[str, float] = {}
    for variant in list(variants) * asked.trials:
        try:
            with started(variant, folder) as (_, port):
                load(variant, port, photos, TRIAL_CALLERS, asked.trial / 2)
                found = load(variant, port, photos, TRIAL_CALLERS, asked.trial)
        except (NotStarted, OSError, subprocess.SubprocessError, ValueError) as error:
            print(f"tried {name}: {variant.setup}: {error}", flush=True)
            continue
        rates[variant.setup] = max(rates.get(variant.setup, 0.0), 0.0 if found["failed"] else found["rate"])
        failed = f"  {found['failed']} failed: {found['failure']}" if found["failed"] else ""
        said = f"{found['rate']:6.1f}/s, p99 {found['p99']:.0f} ms"
        print(f"tried {name}: {said}  {variant.setup}{failed}", flush=True)
    tried[name] = rates
    if rates and max(rates.values()):
        ring[name] = next(each for each in variants if each.setup == max(rates, key=lambda key: rates[key]))
    else:
        print(f"left out: {name}: no set-up of it answered")


def measure(
    server: Server, photos: list[Path], asked: argparse.Namespace, folder: Path, expected: Sequence[int]
) -> list[Measured]:
    """Start a server, compare, warm, measure with each number of callers, stop it."""
    rows = []
    with started(server, folder) as (group, port):
        same_kinds(server, port, photos, expected)
        load(server, port, photos, 2 * available_cores(), min(3.0, asked.seconds))
        for concurrency in asked.concurrency:
            before = cpu_seconds(group)
            found = load(server, port, photos, concurrency, asked.seconds)
            spent, answered = cpu_seconds(group) - before, max(1, found["answered"])
            used = {
                "cpu": 1000 * spent / answered,
                "load_cpu": 1000 * found["cpu"] / answered,
                "peak": memory(group, "status", "VmHWM"),
                "shared": memory(group, "smaps_rollup", "Pss"),
            }
            same = ("rate", "p50", "p99", "failed", "failure", "retried", "connections")
            rows.append(Measured(concurrency, **{key: found[key] for key in same}, **used))
    return rows


def load(server: Server, port: int, photos: list[Path], concurrency: int, seconds: float) -> dict[str, Any]:
    """Run the callers in a process of their own; their figures."""
    wish = {
        "port": port, "path": server.path, "base64": server.base64, "good": server.good,
        "photos": [str(path) for path in photos], "concurrency": concurrency, "seconds": seconds,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(HERE / "serving_load.py")],
        input=json.dumps(wish), capture_output=True, text=True, check=False, timeout=seconds + 300,
    )  # fmt: skip
    if done.returncode:
        raise NotStarted(f"the callers failed: {done.stderr[-500:]}")
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def same_kinds(server: Server, port: int, photos: list[Path], expected: Sequence[int]) -> None:
    """Say how many photos get another kind than from the engine itself; OpenCV resizes otherwise than Pillow."""
    found = 0
    for path, kind in zip(photos, expected, strict=False):
        body, content = path.read_bytes(), "image/jpeg"
        if server.base64:
            body = json.dumps({"images": [base64.b64encode(body).decode()], "top_k": 1}).encode()
            content = "application/json"
        asked = urllib.request.Request(f"http://127.0.0.1:{port}{server.path}", body, {"Content-Type": content})
        with urllib.request.urlopen(asked, timeout=60) as reply:
            text = reply.read().decode()
        if server.good not in text:
            raise NotStarted(f"it answers {text[:300]}")
        found += server.kind(json.loads(text)) == kind
    if found < len(expected):
        print(f"{server.name}: {len(expected) - found} of {len(expected)} photos got another kind than from the engine")


def expected_kinds(bundle: ModelBundle, precision: str, photos: Sequence[Path]) -> list[int]:
    engine, preprocess = open_engine(Choice("openvino", precision), bundle), Preprocess(bundle.preprocess)
    values = [preprocess.decoded(open_photo(path.read_bytes(), reduction=preprocess.reduction)) for path in photos]
    return [int(engine.infer(each[None])[0].argmax()) for each in values]


# ---- processes


@contextmanager
def started(server: Server, folder: Path) -> Iterator[tuple[int, int]]:
    """A server in a process group of its own, killed in any case: the group and its port."""
    port = 0 if server.says_port else free_port()
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            server.command(port), cwd=folder, env={**os.environ, **server.environment}, process_group=0,
            stdout=subprocess.PIPE if server.says_port else errors, stderr=errors,
        )  # fmt: skip
    try:
        if server.says_port:
            port = said_port(process, log)
        wait_until_ready(f"http://127.0.0.1:{port}{server.ready}", process, log)
        yield process.pid, port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def said_port(process: subprocess.Popen[bytes], log: Path) -> int:
    assert process.stdout is not None
    clock = threading.Timer(START_SECONDS, process.kill)
    clock.start()
    line = process.stdout.readline()
    clock.cancel()
    if not line:
        raise NotStarted(f"it ended: {log.read_text()[-500:]}")
    return int(json.loads(line)["url"].rpartition(":")[2])


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NotStarted(f"it ended: {log.read_text()[-500:]}")
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise NotStarted(f"not ready within {START_SECONDS} s: {log.read_text()[-500:]}")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def members(group: int) -> list[tuple[int, list[str]]]:
    """The processes of a group, each with the fields of its `stat` from the state on."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                found.append((int(path.parent.name), fields))
    return found


def cpu_seconds(group: int) -> float:
    """Of a group's processes, with those of their children that ended."""
    ticks = sum(int(fields[place]) for _, fields in members(group) for place in (11, 12, 13, 14))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(group: int, file: str, name: str) -> float:
    """MiB of a line such as VmHWM, summed over a group's processes."""
    total = 0
    for number, _ in members(group):
        with suppress(OSError):
            for line in Path(f"/proc/{number}/{file}").read_text().splitlines():
                if line.startswith(f"{name}:"):
                    total += int(line.split()[1])
    return total / 1024


# ---- servers


def ours(name: str, path: str, bundle: ModelBundle, options: str) -> Server:
    command = [
        sys.executable,
        "-m",
        "garbage_cli",
        "serve",
        "--model",
        str(bundle.root.resolve()),
        "--port",
        "0",
        "--json",
    ]
    command += shlex.split(options)
    root = str(HERE.parent)
    if path == "/v1/predict":
        kind: Callable[[dict[str, Any]], int] = lambda value: value["results"][0]["predictions"][0]["class_id"]  # noqa: E731
        return Server(
            name, lambda port: command, path, False, '"results"', kind, "/readyz", True, {"PYTHONPATH": root}, options
        )
    return Server(
        name, lambda port: command, path, True, '"000"', hub_kind, "/readyz", True, {"PYTHONPATH": root}, options
    )


def hub_kind(value: dict[str, Any]) -> int:
    return int(value["results"][0][0][0])


def hub_servers(bundle: ModelBundle, folder: Path) -> tuple[Server, list[Server]]:
    """Install the baseline's module into a PaddleHub of its own; the defaults, and the set-ups to choose from."""
    environment = hub_home(bundle, folder)
    cores = available_cores()

    def with_config(port: int, *, workers: int, threads: int | None) -> list[str]:
        arguments: dict[str, Any] = {"version": "1.0.0", "use_gpu": False, "enable_mkldnn": True}
        if threads:
            arguments["cpu_num_threads"] = threads
        config = {
            "modules_info": {"clas_system": {"init_args": arguments, "predict_args": {}}},
            "port": port, "use_multiprocess": workers > 0, "workers": workers or 1,
        }  # fmt: skip
        path = folder / f"config-{port}.json"
        path.write_text(json.dumps(config))
        return [str(HUB), "serving", "start", "-c", str(path)]

    def server(name: str, command: Callable[[int], list[str]], setup: str) -> Server:
        return Server(
            name, command, "/predict/clas_system", True, '"000"', hub_kind, environment=environment, setup=setup
        )

    defaults = server(
        HUB_DEFAULTS,
        lambda port: [str(HUB), "serving", "start", "-m", "clas_system", "-p", str(port)],
        "one Flask process, no oneDNN, Paddle's one thread",
    )
    best = [
        server(HUB_BEST, functools.partial(with_config, workers=workers, threads=threads), f"oneDNN, {words}")
        for workers, threads, words in (
            (0, None, "one Flask process, Paddle's one thread"),
            (0, cores, f"one Flask process, {cores} threads"),
            (cores, None, f"{cores} gunicorn workers, Paddle's one thread"),
            (2 * cores - 1, None, f"{2 * cores - 1} gunicorn workers, Paddle's one thread"),
        )
    ]
    return defaults, best


def hub_home(bundle: ModelBundle, folder: Path) -> dict[str, str]:
    """`hub install` into a HUB_HOME whose server, which every command tells what it does, is nobody."""
    module, spec = folder / "clas_system", bundle.preprocess
    module.mkdir()
    (module / "__init__.py").touch()
    shutil.copyfile(HERE / "serving_hub_module.py", module / "module.py")
    program = next(name for name in PADDLE_PROGRAMS if bundle.has(name))
    facts = {
        "program": str((bundle.root / program).resolve()), "weights": str((bundle.root / PADDLE_WEIGHTS).resolve()),
        "resize_short": spec.resize_short, "crop": spec.crop, "mean": spec.mean, "std": spec.std,
    }  # fmt: skip
    (module / "facts.json").write_text(json.dumps(facts))
    (folder / "home" / "conf").mkdir(parents=True)
    settings = "log:\n  enable: true\n  level: ERROR\nserver: http://127.0.0.1:9/paddlehub\n"
    (folder / "home" / "conf" / "config.yaml").write_text(settings)
    environment = {"HUB_HOME": str(folder / "home"), "HOME": str(folder), "NO_PROXY": "*"}
    done = subprocess.run(
        [str(HUB), "install", str(module)],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **environment}, timeout=250,
    )  # fmt: skip
    if done.returncode or "Successfully" not in done.stdout + done.stderr:
        raise NotStarted(f"hub install: {(done.stdout + done.stderr)[-500:]}")
    return environment


def litserve_servers(bundle: ModelBundle, precision: str, python: Path) -> list[Server]:
    """LitServe's set-ups to choose from."""
    cores = available_cores()
    base = [
        str(python.absolute()),
        str(HERE / "serving_litserve.py"),
        str(bundle.root.resolve()),
        "--precision",
        precision,
    ]

    def command(options: str, port: int) -> list[str]:
        return [*base, "--port", str(port), *options.split()]

    def kind(value: dict[str, Any]) -> int:
        return int(value["class_id"])

    shapes = {
        f"1 worker, {cores} threads": f"--workers 1 --threads {cores}",
        f"{cores} workers, 1 thread each": f"--workers {cores} --threads 1",
    }
    extras = {
        "": "",
        ", its fast queue": " --fast-queue",
        ", batches of 8 within 5 ms": " --batch 8 --wait 0.005",
        ", batches of 8 within 5 ms, its fast queue": " --batch 8 --wait 0.005 --fast-queue",
    }
    return [
        Server(
            LITSERVE, functools.partial(command, options + extra), "/predict", False, '"class_id"', kind, "/health",
            environment={"PYTHONPATH": str(HERE.parent)}, setup=words + more,
        )
        for words, options in shapes.items()
        for more, extra in extras.items()
    ]  # fmt: skip


# ---- the bare engine


def bare_process(bundle: ModelBundle, precision: str, asked: argparse.Namespace) -> list[Measured]:
    command = [sys.executable, __file__, str(bundle.root), str(asked.photos), "--bare", precision]
    command += ["--seconds", str(asked.seconds), "--concurrency", *map(str, asked.concurrency)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=asked.seconds * 4 + 120, process_group=0
    )
    if done.returncode:
        raise NotStarted(f"it ended: {done.stderr[-500:]}")
    return [Measured(**each) for each in json.loads(done.stdout.splitlines()[-1])]


def bare_loops(bundle: ModelBundle, photos: list[Path], asked: argparse.Namespace) -> Iterator[Measured]:
    """One photo at a time for one caller; for more of them a stream per core, and the latency that this rate allows."""
    cores = available_cores()
    one, times, spent_at_one = looped(bundle, asked.bare, photos, 1, 1, asked.seconds)
    rate, _, spent = looped(bundle, asked.bare, photos, cores, 2 * cores, asked.seconds)
    for concurrency in asked.concurrency:
        if concurrency < cores:
            p50, p99 = (1000 * percentile(times, share) for share in (0.5, 0.99))
            yield Measured(concurrency, one, p50, p99, cpu=spent_at_one)
        else:
            ideal = 1000 * concurrency / rate
            yield Measured(concurrency, rate, ideal, ideal, cpu=spent)


def looped(
    bundle: ModelBundle, precision: str, photos: list[Path], streams: int, threads: int, seconds: float
) -> tuple[float, list[float], float]:
    """Photos/s of so many threads, the seconds of each photo, sorted, and the CPU milliseconds of one."""
    compiled, preprocess = network(bundle, precision, streams, 1), Preprocess(bundle.preprocess)
    requests = [compiled.create_infer_request() for _ in range(threads)]
    times: list[float] = []
    turn = itertools.count()

    def run(number: int, end: float) -> None:
        while (begun := time.perf_counter()) < end:
            data = photos[next(turn) % len(photos)].read_bytes()
            values = preprocess.decoded(open_photo(data, reduction=preprocess.reduction))[None]
            requests[number].infer([values], share_inputs=True)
            times.append(time.perf_counter() - begun)

    for number in range(threads):  # one after the other, and warm
        run(number, time.perf_counter() + 0.5)
    times.clear()
    cpu, begun = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads), [begun + seconds] * threads))
    wall, spent = time.perf_counter() - begun, time.process_time() - cpu
    return len(times) / wall, sorted(times), 1000 * spent / len(times)


# ---- what is printed


def medians(rows: Sequence[Measured]) -> Measured:
    """Of the rounds; failures and retries are summed."""
    first = rows[0]
    middle = {
        key: statistics.median(getattr(row, key) for row in rows)
        for key in ("rate", "p50", "p99", "cpu", "load_cpu", "peak", "shared")
    }
    failure = next((row.failure for row in rows if row.failure), "")
    failed, retried = sum(row.failed for row in rows), sum(row.retried for row in rows)
    return Measured(
        first.concurrency, failed=failed, failure=failure, retried=retried, connections=first.connections, **middle
    )


def show(figures: dict[str, list[Measured]], setups: dict[str, str]) -> None:
    for place, concurrency in enumerate(each.concurrency for each in next(iter(figures.values()))):
        callers = "1 caller" if concurrency == 1 else f"{concurrency} callers"
        print(f"\n{callers:20} photos/s  p50 ms  p99 ms  CPU ms  callers' CPU ms  RSS MiB  PSS MiB  failed  503")
        for name, rows in figures.items():
            row = rows[place]
            cells = [
                f"{row.rate:8.1f}", f"{row.p50:7.1f}", f"{row.p99:7.1f}", f"{row.cpu:7.1f}", f"{row.load_cpu:16.2f}",
                f"{row.peak:8.0f}", f"{row.shared:8.0f}", f"{row.failed:7d}", f"{row.retried:4d}",
            ]  # fmt: skip
            print(f"{name:20} {' '.join(cells)}{'  ' + row.failure if row.failure else ''}".replace("nan", "  —"))
    print()
    for name, setup in setups.items():
        print(f"{name}: {setup or 'its defaults'}")


def show_ratios(figures: dict[str, list[Measured]]) -> None:
    """Print ours against each of the others, and the tail with 8 callers against the ideal."""
    if OURS not in figures:
        return
    print(f"\nphotos/s of {OURS} over those of")
    for name, rows in figures.items():
        if name != OURS:
            shares = zip(figures[OURS], rows, strict=True)
            cells = [f"{mine.concurrency}: {mine.rate / theirs.rate:7.3f}" for mine, theirs in shares if theirs.rate]
            print(f"  {name:20} {'  '.join(cells)}")
    row = next((each for each in figures[OURS] if each.concurrency == 8), None)
    if row and BARE in figures:
        ideal = 1000 * 8 / next(each.rate for each in figures[BARE] if each.concurrency == 8)
        times = row.p99 / ideal
        verdict = "within" if times <= 2 else "over"
        print(f"p99 with 8 callers: {row.p99:.1f} ms, {verdict} twice the ideal of {ideal:.1f} ms ({times:.2f} times)")


# ---- the network alone


def engine_table(bundle: ModelBundle, precision: str, rounds: int) -> None:
    """Print photos/s and milliseconds of the network alone, by streams, shape, callers and photos per call.

    Many short turns and the best of them: on a machine that others use, that is what the machine can do.
    """
    cores = available_cores()
    print(
        f"{bundle.name} in OpenVINO {precision}, {cores} cores, {time.strftime('%F %R')}, load {os.getloadavg()[0]:.1f}"
    )
    ways: dict[tuple[str, str, int, int], Any] = {}
    for mode, streams in (("latency", 1), ("throughput", cores)):
        free = network(bundle, precision, streams, None)
        for callers, batches in ((1, (1, 2, 4, 8, 16)), (cores, (1, 2, 4, 8, 16)), (4 * cores, (1,))):
            ways |= {(mode, "dynamic", callers, batch): free for batch in batches}
        for batch in (1, 4, 8):
            ways[mode, "static", streams, batch] = network(bundle, precision, streams, batch)
    found: dict[tuple[str, str, int, int], list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(4 * rounds):
        for way, compiled in ways.items():
            found[way].append(inferred(compiled, way[2], way[3], bundle.input_shape, 0.25))
    print("      mode   shape  callers  batch  photos/s, best  (median, lowest)  ms/call, best")
    for (mode, shape, callers, batch), rows in found.items():
        rates, times = zip(*rows, strict=True)
        spread = f"({statistics.median(rates):.1f}, {min(rates):.1f})"
        print(
            f"{mode:>10} {shape:>7} {callers:8d} {batch:6d} {max(rates):15.1f}  {spread:>16}  {min(times):13.2f}",
            flush=True,
        )


def network(bundle: ModelBundle, precision: str, streams: int, batch: int | None) -> Any:
    """The network, compiled for so many streams, and for one size of batch if that is given."""
    core = openvino().Core()
    model = core.read_model(str(bundle.root / ("model_int8.xml" if precision == "int8" else ONNX_FILE)))
    if batch:
        model.reshape([batch, *bundle.input_shape])
    settings = {
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": available_cores(),
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "ENABLE_CPU_PINNING": False,  # a pinned thread waits while something else has its core
    }
    return core.compile_model(model, "CPU", settings)


def inferred(
    compiled: Any, callers: int, batch: int, shape: tuple[int, int, int], seconds: float
) -> tuple[float, float]:
    """Photos/s of all callers, and the median milliseconds of a call."""
    requests = [compiled.create_infer_request() for _ in range(callers)]
    inputs = np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)
    for each in requests:
        each.infer([inputs], share_inputs=True)
    took: list[list[float]] = [[] for _ in requests]
    gate, end = threading.Barrier(callers + 1), time.perf_counter() + seconds

    def call(number: int) -> None:
        gate.wait()
        while (begun := time.perf_counter()) < end:
            requests[number].infer([inputs], share_inputs=True)
            took[number].append(time.perf_counter() - begun)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for each in threads:
        each.start()
    begun = time.perf_counter()
    gate.wait()
    for each in threads:
        each.join()
    wall = time.perf_counter() - begun
    times = [each for row in took for each in row]
    return batch * len(times) / wall, 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
