"""How long a person waits at the bin: from the press of the button to the answer on the screen and the voice.

    python benchmarks/page.py BUNDLE PHOTOS [--times 100] [--network MBIT,MS] [--slower N] [--json FILE]

`garbage serve` and the system's Chromium on this machine, with a fake camera that shows the photos one after another.
The button is pressed so many times, and the page's own marks (User Timing) and the reply's Server-Timing are read:

- capture: press → the camera's picture is drawn, at the size that is sent
- shrink: → it is a JPEG
- send and infer: → the reply is parsed; of that, the server's read, wait, decode and infer, and what is left
- show: → the frame with the answer has been painted
- voice: → the voice was asked to speak (how soon it sounds is the device's affair)
- press to answer: the whole, until both

The voice is a stand-in that writes down what it is asked to say: headless Chromium has none. `--network` slows the
connection down to a phone's (by the browser's own means), `--slower` its processor, by so many times.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from serving_load import percentile

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from browser import chromium, film, launch, visiting

from garbage_cli.images import find
from garbage_cli.vendor import available_cores

PHONE = {"width": 390, "height": 844}
SHOWN = 24
"""Photos in the film at most, each for a fifth of a second."""
STEPS = (("capture", "shoot", "captured"), ("shrink", "captured", "shrunk"), ("send and infer", "shrunk", "replied"),
         ("show", "replied", "shown"), ("voice", "replied", "spoken"))  # fmt: skip
STAGES = ("read", "wait", "decode", "infer")
WHOLE, REST, BYTES = "press to answer", "network and the rest", "bytes sent"

Row = Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--network", metavar="MBIT,MS", help="mbit/s up and round trip in ms, such as 5,40")
    parser.add_argument("--slower", type=float, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = measure(asked.bundle, asked.photos, asked.times, asked.network, asked.slower)
    print(f"{asked.bundle}, {len(rows)} presses, {available_cores()} cores, {time.strftime('%F %R')}")
    print(table(rows))
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=2) + "\n")


@contextmanager
def serving(bundle: Path, *options: str) -> Iterator[str]:
    """A server of this bundle, on a free port; yields its URL."""
    command = [sys.executable, "-m", "garbage_cli", "serve", "--model", str(bundle), "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line:
                sys.exit("garbage serve did not start; its words are above")
            yield json.loads(line)["url"]
        finally:
            process.terminate()


def measure(bundle: Path, photos: Path, times: int, network: str | None, slower: float) -> list[dict[str, float]]:
    """Press the button so many times; returns the milliseconds of each."""
    program = chromium()
    if program is None:
        sys.exit("no Chromium here; install chromium, or google-chrome")
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(bundle) as url,
        sync_playwright() as playwright,
        launch(playwright, program, seen=film_of(photos, Path(folder) / "photos.mjpeg")) as browser,
        visiting(browser, url, viewport=PHONE) as (page, _),
    ):
        page.goto(f"{url}/")
        page.locator("body.live[data-state=looking]").wait_for()
        throttle(page, network, slower)
        press(page)  # the first one warms up
        return [press(page) for _ in range(times)]


def film_of(photos: Path, path: Path) -> Path:
    def scenes() -> Iterator[tuple[Image.Image, float]]:
        paths = sorted(find([photos]))
        for each in paths[:: max(1, len(paths) // SHOWN)][:SHOWN]:
            with Image.open(each) as photo:
                yield photo, 0.2

    return film(path, scenes(), size=(1280, 960))


def throttle(page: Page, network: str | None, slower: float) -> None:
    session = page.context.new_cdp_session(page)
    if slower > 1:
        session.send("Emulation.setCPUThrottlingRate", {"rate": slower})
    if network:
        megabits, round_trip = (float(part) for part in network.split(","))
        speed = megabits * 1e6 / 8
        settings = {"latency": round_trip, "uploadThroughput": speed, "downloadThroughput": 4 * speed, "offline": False}
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", settings)


def press(page: Page) -> dict[str, float]:
    """Press the button, wait for the answer, go back; returns the milliseconds of each step."""
    with page.expect_response(lambda reply: "/v1/predict" in reply.url) as replied:
        page.locator("#shoot").click()
    page.locator("body[data-state=answered]").wait_for()
    marks: dict[str, float] = {}
    while "shown" not in marks:
        found = page.evaluate("performance.getEntriesByType('mark').map(each => [each.name, each.startTime])")
        marks = {name.removeprefix("garbage:"): at for name, at in found}
    server = stages(replied.value.header_value("server-timing") or "")
    row = {name: marks[end] - marks[begin] for name, begin, end in STEPS if end in marks}
    row |= server | {REST: row["send and infer"] - sum(server.values())}
    row[WHOLE] = max(marks["shown"], marks.get("spoken", 0)) - marks["shoot"]
    row[BYTES] = float(replied.value.request.all_headers()["content-length"])
    page.locator("#again").click()
    page.locator("body[data-state=looking]").wait_for()
    return row


def stages(header: str) -> dict[str, float]:
    """`read;dur=0.2, …` → milliseconds of the stages that follow each other."""
    parts = dict(part.strip().split(";dur=") for part in header.split(",") if ";dur=" in part)
    return {name: float(parts[name]) for name in STAGES if name in parts}


def table(rows: Sequence[Row]) -> str:
    """Median and 95th percentile of each step."""
    order = [*[name for name, _, _ in STEPS[:3]], *STAGES, REST, *[name for name, _, _ in STEPS[3:]], WHOLE, BYTES]
    lines = ["| step | median, ms | 95 %, ms |", "|---|---:|---:|"]
    for name in order:
        values = sorted(row[name] for row in rows if name in row)
        if not values:
            continue
        shown = f"of that, {name}" if name in (*STAGES, REST) else name
        digits = 0 if name == BYTES else 1
        lines.append(f"| {shown} | {statistics.median(values):.{digits}f} | {percentile(values, 0.95):.{digits}f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
