"""Pictures of the page at the bin for the documents: docs/images/page-*.png.

    python benchmarks/page_pictures.py BUNDLE PHOTOS [--out docs/images]

`garbage serve`, the system's Chromium, and a fake camera that shows one of the photos: of each bin one that is
answered well, on an even ground that can be drawn on to the window's shape, and one whose bin it is not sure of.
"""

import argparse
import io
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from page import serving
from PIL import Image, ImageOps
from playwright.sync_api import Page, Playwright, sync_playwright

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from browser import chromium, film, launch, visiting

from garbage_cli.images import find
from garbage_cli.prediction import Photo, Prediction
from garbage_cli.predictor import Predictor

PHONE, TABLET, KIOSK = (390, 844), (820, 1180), (1280, 800)
LARGEST = 150_000
WELL = 0.95
LIKED = ("塑料瓶", "饮料瓶", "易拉罐", "金属罐")
LOOKED_AT = 200


@dataclass(frozen=True)
class Shot:
    """A picture: which photo is before the camera (a bin's key, or "unsure"), and where the page is."""

    name: str
    photo: str
    window: tuple[int, int]
    answered: bool = True
    path: str = ""
    language: str = "zh-CN"
    dialog: str = ""


SHOTS = (
    Shot("page-looking", "recyclable", PHONE, answered=False),
    Shot("page-phone", "recyclable", PHONE),
    Shot("page-unsure", "unsure", PHONE),
    Shot("page-tablet", "other", TABLET, language="en-GB"),
    Shot("page-kiosk", "recyclable", KIOSK, path="?kiosk=1"),
    Shot("page-kinds", "recyclable", PHONE, dialog="#wrong"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    program = chromium()
    if program is None:
        sys.exit("no Chromium here; install chromium, or google-chrome")
    chosen = {window: choose(asked.bundle, asked.photos, window) for window in {shot.window for shot in SHOTS}}
    with tempfile.TemporaryDirectory() as folder, serving(asked.bundle) as url, sync_playwright() as playwright:
        for shot in SHOTS:
            photo = chosen[shot.window].get(shot.photo)
            if photo is None:
                print(f"left out: {shot.name}, for want of a photo that is {shot.photo}")
                continue
            seen = film(Path(folder) / f"{shot.name}.mjpeg", [(scene(photo, shot.window), 0.5)], size=shot.window)
            data = small(take(playwright, program, url, seen, shot))
            (asked.out / f"{shot.name}.png").write_bytes(data)
            print(f"{shot.name}.png: {len(data) // 1000} kB of {photo.name}")


def choose(bundle: Path, photos: Path, window: tuple[int, int]) -> dict[str, Path]:
    """Of each bin the photo on the most even ground that is answered well, and the one whose bins are least sure."""
    paths = sorted(find([photos]))
    paths = paths[:: max(1, len(paths) // LOOKED_AT)]
    even: dict[str, tuple[float, Path]] = {}
    unsure: list[tuple[float, Path]] = []
    predictor = Predictor.load(bundle)
    seen = (Photo(str(each), jpeg(scene(each, window))) for each in paths)
    for path, answer in zip(paths, predictor.predict(seen), strict=True):
        best = answer.best
        if best is None or best.label.bin is None:
            continue
        if not answer.sure:
            unsure.append((lead(answer), path))
        elif best.score >= WELL:
            ranked = (unevenness(path) + 255 * (best.label.name not in LIKED), path)
            even[best.label.bin.key] = min(even.get(best.label.bin.key, ranked), ranked)
    return {key: path for key, (_, path) in even.items()} | ({"unsure": min(unsure)[1]} if unsure else {})


def lead(answer: Prediction) -> float:
    """How far the likeliest bin is before the next."""
    sums: Counter[str | None] = Counter()
    for each in answer.scores:
        sums[each.label.bin_name] += each.score
    first, second, *_ = [*sorted(sums.values(), reverse=True), 0.0]
    return first - second


def unevenness(path: Path) -> float:
    """How much the edge of a photo changes along itself."""
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L").resize((64, 64)))
    return float(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).std())


def scene(photo: Path, window: tuple[int, int]) -> Image.Image:
    """The photo as a camera would see it through this window: whole, its edges drawn on to the window's shape."""
    with Image.open(photo) as image:
        whole = np.asarray(ImageOps.contain(image.convert("RGB"), window))
    rows, columns = window[1] - whole.shape[0], window[0] - whole.shape[1]
    beside = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
    return Image.fromarray(np.pad(whole, beside, mode="edge"))


def jpeg(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    return data.getvalue()


def take(playwright: Playwright, program: str, url: str, seen: Path, shot: Shot) -> bytes:
    width, height = shot.window
    screen = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"}
    with (
        launch(playwright, program, seen=seen) as browser,
        visiting(browser, url, locale=shot.language, **screen) as (page, trouble),
    ):
        page.goto(f"{url}/{shot.path}")
        page.locator("body.live[data-state=looking]").wait_for()
        if shot.answered:
            answered(page, shot)
        page.wait_for_timeout(700)  # pictures of the camera come, and what fades is gone
        if trouble.found:
            sys.exit("\n".join(trouble.found))
        return page.screenshot()


def answered(page: Page, shot: Shot) -> None:
    page.click("#shoot")
    page.locator("body[data-state=answered]").wait_for()
    if shot.dialog:
        page.click(shot.dialog)
        page.locator("dialog[open]").wait_for()


def small(picture: bytes) -> bytes:
    """As a PNG of as many colours as fit."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colours in (256, 128, 64, 32):
        data = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.FLOYDSTEINBERG).save(data, "PNG", optimize=True)
        if data.tell() <= LARGEST:
            break
    return data.getvalue()


if __name__ == "__main__":
    main()
