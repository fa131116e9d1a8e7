"""Whether JPEGs that are reduced while they are decoded get the same answers, and what that saves.

    python benchmarks/reduced_decoding.py BUNDLE PHOTOS [--every 1] [--enough 4]

Every photo is enlarged so that its shorter side has just so many pixels that it may be reduced by 2, 4 or 8, given the
grain of a camera, and answered twice in f32: decoded whole, and reduced. Printed are how many photos get another first
kind, how far the scores move (total variation), and the time for decoding and resizing.
"""

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from garbage_cli.bundle import ModelBundle
from garbage_cli.images import find, open_photo
from garbage_cli.predictor import Predictor
from garbage_cli.transforms import ENOUGH, Preprocess

GRAIN = 8.0
"""Standard deviation of the noise, of 255."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--every", type=int, nargs=3, default=(1, 4, 16), help="of how many photos one, by 2, 4 and 8")
    parser.add_argument("--enough", type=float, default=ENOUGH)
    asked = parser.parse_args()
    bundle = ModelBundle.load(asked.bundle)
    predictor, preprocess = Predictor(bundle, precision="f32"), Preprocess(bundle.preprocess)
    for by, every in zip((2, 4, 8), asked.every, strict=True):
        paths = list(find([asked.photos]))[::every]
        changed, moved, seconds = 0, [], [0.0, 0.0]
        side = int(np.ceil(asked.enough * by * bundle.preprocess.resize_short))
        for number, path in enumerate(paths):
            data = enlarged(path, side, np.random.default_rng(number))
            rows = []
            for turn, reduction in enumerate((1, by)):
                begun = time.perf_counter()
                values = preprocess.decoded(open_photo(data, reduction=reduction))
                seconds[turn] += time.perf_counter() - begun
                rows.append(predictor.infer(values[None])[0])
            changed += int(rows[0].argmax() != rows[1].argmax())
            moved.append(float(np.abs(rows[0] - rows[1]).sum() / 2))
        print(
            f"1/{by} of a shorter side of {side:5}: {changed} of {len(paths)} first kinds change; scores move "
            f"{np.mean(moved):.4f} (at most {max(moved):.3f}); time {seconds[1] / seconds[0]:.2f} "
            f"({1000 * seconds[0] / len(paths):.1f} ms whole)",
            flush=True,
        )


def enlarged(path: Path, side: int, random: np.random.Generator) -> bytes:
    image = open_photo(path.read_bytes()).image
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    grain = random.normal(0, GRAIN, (image.height, image.width, 1)).astype(np.float32)
    out = io.BytesIO()
    Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


if __name__ == "__main__":
    main()
