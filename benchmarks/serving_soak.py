"""Whether a server holds for long: its memory over minutes of everything that clients do to it.

    python benchmarks/serving_soak.py BUNDLE PHOTOS [--minutes 20] [--options "--workers 2"] [--json FILE]

A server as a user starts it, and beside it, in this process, callers who send photos in every protocol, several at
once, bodies that are no photos, too large, cut off or slow, and who hang up at every moment; now and then the workers
are told to load the model anew. Every ten seconds: the resident memory of supervisor and workers, open files,
requests so far. At the end the curve, the growth from the second minute on per 100,000 requests, what was answered
how, and the server's exit.
"""

import argparse
import base64
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from garbage_cli.bundle import ModelBundle
from garbage_cli.images import find, open_photo
from garbage_cli.transforms import Preprocess

EVERY = 10.0
SETTLED = 120.0
"""Seconds after which growth counts: by then every thread has had its largest photo."""
BARS = "▁▂▃▄▅▆▇█"
JSON = {"content-type": "application/json"}

Body = tuple[str, bytes, dict[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--callers", type=int, default=6)
    parser.add_argument("--options", default="")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    bodies = make_bodies(
        ModelBundle.load(asked.bundle), [path.read_bytes() for path in list(find([asked.photos]))[:200]]
    )
    command = [sys.executable, "-m", "garbage_cli", "serve", "--model", str(asked.bundle), "--port", "0", "--json"]
    with subprocess.Popen([*command, *asked.options.split()], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["url"].rpartition(":")[2])
        outcomes: Counter[str] = Counter()
        stop = threading.Event()
        callers = [
            threading.Thread(target=call, args=(port, bodies, outcomes, stop, seed)) for seed in range(asked.callers)
        ]
        for caller in callers:
            caller.start()
        samples = watch(server.pid, port, outcomes, 60 * asked.minutes)
        stop.set()
        for caller in callers:
            caller.join()
        last = sample(server.pid, outcomes)
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
    show(samples, last, outcomes, code)
    if asked.json:
        asked.json.write_text(json.dumps({"samples": samples, "outcomes": outcomes, "exit": code}, indent=1) + "\n")


# ---- what is sent


def make_bodies(bundle: ModelBundle, photos: list[bytes]) -> list[tuple[float, Callable[[random.Random], Body]]]:
    """Ways to make a body, with how often each is taken."""
    prepare = Preprocess(bundle.preprocess)
    tensor = np.stack([np.asarray(prepare.decoded(open_photo(photo)), np.float32) for photo in photos[:2]])
    reverted = {"shape": list(tensor.shape), "dtype": "float32"}
    encoded = base64.b64encode(tensor.tobytes()).decode()
    texts = [base64.b64encode(photo).decode() for photo in photos]

    def hub(rng: random.Random) -> Body:
        value = {"images": rng.sample(texts, rng.randint(1, 3)), "top_k": 2}
        return "/predict/clas_system", json.dumps(value).encode(), JSON

    def tensors(rng: random.Random) -> Body:
        value: dict[str, Any] = {"images": encoded, "revert_params": reverted}
        if rng.random() < 0.5:
            value["top_k"] = 1
        return "/predict/garbage_classification", json.dumps(value).encode(), JSON

    def infer(rng: random.Random) -> Body:
        data = rng.sample(texts, 2)
        value = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": data}]}
        return f"/v2/models/{bundle.name}/infer", json.dumps(value).encode(), JSON

    def multipart(rng: random.Random) -> Body:
        parts = b"".join(
            b'--xyz\r\nContent-Disposition: form-data; name="images"; filename="%d.jpg"\r\n\r\n%s\r\n' % (i, photo)
            for i, photo in enumerate(rng.sample(photos, 3))
        )
        return "/v1/predict", parts + b"--xyz--\r\n", {"content-type": "multipart/form-data; boundary=xyz"}

    def bad(rng: random.Random) -> Body:
        photo = bytearray(rng.choice(photos))
        photo[rng.randrange(len(photo)) :] = b""
        junk = [b"", b"{", bytes(photo), rng.randbytes(1000), b'{"images": ["@@"]}', b'{"images": "x"}', b"[" * 5000]
        path = rng.choice(["/v1/predict", "/predict/clas_system", f"/v2/models/{bundle.name}/infer", "/nowhere"])
        return path, rng.choice(junk), rng.choice([JSON, {}, {"content-type": "multipart/form-data; boundary=x"}])

    return [
        (10.0, lambda rng: ("/v1/predict", rng.choice(photos), {"content-type": "image/jpeg"})),
        (3.0, hub),
        (1.0, tensors),
        (1.0, infer),
        (1.0, multipart),
        (2.0, bad),
    ]


# ---- who sends it


def call(port: int, bodies: Any, outcomes: "Counter[str]", stop: threading.Event, seed: int) -> None:
    """Send one thing after the other; now and then not to the end."""
    rng = random.Random(seed)
    weights, ways = zip(*bodies, strict=True)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while not stop.is_set():
        path, body, headers = rng.choices(ways, weights)[0](rng)
        if rng.random() < 0.03:
            outcomes[hang_up(port, path, body, rng)] += 1
            continue
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            reply.read()
            outcomes[f"{reply.status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            outcomes[type(error).__name__] += 1
            connection.close()
        if rng.random() < 0.01:
            connection.close()
            outcomes[ask(port, rng.choice(("/metrics", "/readyz", "/docs", "/openapi.json", "/v1/model")))] += 1


def hang_up(port: int, path: str, body: bytes, rng: random.Random) -> str:
    """Go in the middle of the head, of the body, or right after it; or be too large."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        size = 99_999_999_999 if rng.random() < 0.2 else len(body)
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size)
        sent = head + body
        connection.sendall(sent[: rng.randrange(1, len(sent) + 1)])
        if rng.random() < 0.3:
            time.sleep(0.01)
    return "hung up"


def ask(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        return f"{reply.status} {path}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__} {path}"
    finally:
        connection.close()


# ---- what is watched


def watch(pid: int, port: int, outcomes: "Counter[str]", seconds: float) -> list[dict[str, float]]:
    begun, samples, reloads = time.monotonic(), [], 0
    while (now := time.monotonic() - begun) < seconds:
        samples.append({"seconds": round(now), **sample(pid, outcomes)})
        if now > (reloads + 1) * 240:
            reloads += 1
            os.kill(pid, signal.SIGHUP)
        time.sleep(EVERY)
    return samples


def sample(pid: int, outcomes: "Counter[str]") -> dict[str, float]:
    workers = children(pid)
    return {
        "requests": sum(outcomes.values()),
        "supervisor_mib": resident(pid),
        "workers_mib": round(sum(resident(each) for each in workers), 1),
        "workers": len(workers),
        "files": sum(files(each) for each in workers),
    }


def children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def resident(pid: int) -> float:
    """MiB."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def files(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def show(samples: list[dict[str, float]], last: dict[str, float], outcomes: "Counter[str]", code: int) -> None:
    print("seconds  requests  workers MiB  supervisor MiB  open files")
    step = max(1, len(samples) // 24)
    for each in samples[::step]:
        print(
            f"{each['seconds']:7.0f}  {each['requests']:8.0f}  {each['workers_mib']:11.1f}"
            f"  {each['supervisor_mib']:14.1f}  {each['files']:10.0f}"
        )
    print(f"after it  {last['requests']:7.0f}  {last['workers_mib']:11.1f}")
    curve = [each["workers_mib"] for each in samples]
    low, high = min(curve), max(curve)
    print(
        "".join(BARS[round((each - low) / max(1e-9, high - low) * (len(BARS) - 1))] for each in curve),
        f"{low} to {high} MiB",
    )
    settled = [each for each in samples if each["seconds"] >= SETTLED]
    if len(settled) > 2:
        requests, memory = ([each[key] for each in settled] for key in ("requests", "workers_mib"))
        slope = np.polyfit(requests, memory, 1)[0] * 100_000
        print(f"growth from {SETTLED:g} s on: {slope:+.1f} MiB per 100,000 requests (a line through all samples)")
    print(", ".join(f"{name}: {number}" for name, number in outcomes.most_common()))
    print(f"exit code {code}")


if __name__ == "__main__":
    main()
