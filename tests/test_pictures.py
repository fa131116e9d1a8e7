import importlib.util
import io
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from garbage_cli import pictures
from garbage_cli.config import PreprocessConfig
from garbage_cli.errors import MissingExtraError
from garbage_cli.pictures import batch_png, results_png
from garbage_cli.reports import EpochReport

SPEC = PreprocessConfig()


def report(epoch: int, *, top1: float = 0.5, best: bool = False, rate: float = 0.001) -> EpochReport:
    return EpochReport(
        epoch=epoch, train_loss=2 / epoch, train_top1=top1 - 0.1, val_loss=2.2 / epoch, val_top1=top1,
        val_macro_f1=top1 - 0.05, learning_rate=rate, images_per_second=30.0, seconds=9.0, best=best,
    )  # fmt: skip


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def inputs(*colours: tuple[int, int, int], spec: PreprocessConfig = SPEC) -> np.ndarray:
    """Plain photos of these colours, as the network gets them."""
    photos = np.array(colours, np.float32)[:, :, None, None] / 255 * np.ones((1, 1, 8, 8), np.float32)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    return ((photos - mean) / std).astype(np.float32)


@pytest.mark.parametrize("epochs", [1, 2, 31, 300])
def test_curves_are_drawn_of_one_epoch_and_of_hundreds(epochs: int) -> None:
    history = [report(epoch, top1=0.9 * epoch / epochs, best=True) for epoch in range(1, epochs + 1)]
    picture = opened(results_png(history))
    assert picture.format == "PNG"
    assert picture.width > 2 * picture.height > 600


def test_a_run_that_was_resumed_or_went_wrong_is_drawn_too() -> None:
    odd = [report(7, rate=0), report(8, top1=math.nan), report(9, top1=0.2, best=True), report(10)]
    assert opened(results_png(odd)).format == "PNG"


def test_macro_f1_has_a_curve_of_its_own() -> None:
    history = [report(1, best=True), report(2)]
    other = [replace(each, val_macro_f1=0.1) for each in history]
    assert results_png(history) != results_png(other)


def test_the_best_epoch_is_marked() -> None:
    first, third = ([report(epoch, best=epoch == best) for epoch in (1, 2, 3)] for best in (1, 3))
    assert results_png(first) != results_png(third)


def test_a_run_without_an_epoch_has_no_curves() -> None:
    with pytest.raises(ValueError, match="without an epoch"):
        results_png([])


def test_photos_are_drawn_in_their_own_colours() -> None:
    red, green = (200, 30, 40), (10, 180, 90)
    picture = opened(batch_png(inputs(red, green), ["a", "b"], SPEC)).convert("RGB")
    seen = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert {red, green} <= seen


def test_other_normalisations_are_undone_as_well() -> None:
    spec = PreprocessConfig(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    picture = opened(batch_png(inputs((12, 34, 56), spec=spec), [""], spec)).convert("RGB")
    assert (12, 34, 56) in {colour for _, colour in picture.getcolors(1 << 20) or []}


def test_what_is_no_number_is_drawn_black_or_white() -> None:
    batch = np.stack([np.full((3, 8, 8), value, np.float32) for value in (np.nan, np.inf, -np.inf, 1e30)])
    picture = opened(batch_png(batch, ["", "", "", ""], SPEC, columns=4)).convert("L")
    assert picture.getextrema() == (0, 255)


@pytest.mark.parametrize(
    ("count", "columns", "across", "down"), [(1, 8, 1, 1), (3, 8, 3, 1), (9, 4, 4, 3), (70, 8, 8, 8)]
)
def test_the_picture_is_as_large_as_its_photos_need(count: int, columns: int, across: int, down: int) -> None:
    batch = np.zeros((count, 3, 4, 4), np.float32)
    size = opened(batch_png(batch, [""] * count, SPEC, columns=columns)).size
    assert size == (8 + 188 * across, 8 + 208 * down)


@pytest.mark.parametrize("titles", [[], ["one"]])
def test_every_input_needs_a_title(titles: list[str]) -> None:
    with pytest.raises(ValueError, match="titles"):
        batch_png(np.zeros((2, 3, 4, 4), np.float32), titles, SPEC)
    with pytest.raises(ValueError, match="0 inputs"):
        batch_png(np.zeros((0, 3, 4, 4), np.float32), [], SPEC)


def test_the_same_values_give_the_same_bytes() -> None:
    history = [report(1, best=True), report(2)]
    assert results_png(history) == results_png(history)
    batch = inputs((1, 2, 3))
    assert batch_png(batch, ["易拉罐 can"], SPEC) == batch_png(batch, ["易拉罐 can"], SPEC)
    assert b"Software" not in results_png(history)


def test_no_title_asks_for_a_character_that_its_font_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = ["易拉罐 drink can", "废弃 12", "\x07\n$x_{1}$ \\frac", "😀", "", "可回收物/易拉罐"]
    batch = np.zeros((len(titles), 3, 4, 4), np.float32)
    batch_png(batch, titles, SPEC)  # a missing glyph is a warning, and that an error here
    monkeypatch.setattr(pictures, "CHINESE_FONTS", ())
    batch_png(batch, titles, SPEC)


def test_without_a_chinese_font_the_rest_of_a_title_is_kept() -> None:
    _, has = pictures.font(())
    assert pictures._fitting("易拉罐 drink can", has) == "drink can"
    assert pictures._fitting("可回收物/易拉罐 23", has) == "23"
    assert pictures._fitting("易拉罐", has) == ""


def test_with_a_chinese_font_a_title_is_whole() -> None:
    from matplotlib import font_manager

    names = {entry.name for entry in font_manager.fontManager.ttflist}
    if not names & set(pictures.CHINESE_FONTS):
        pytest.skip("this machine has no font with Chinese")
    _, has = pictures.font(pictures.CHINESE_FONTS)
    assert pictures._fitting("易拉罐 drink can", has) == "易拉罐 drink can"
    batch = np.zeros((1, 3, 4, 4), np.float32)
    assert batch_png(batch, ["易拉罐"], SPEC) != batch_png(batch, [""], SPEC)


def everything(character: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("title", "has", "shown"),
    [
        ("a drink can that has a long name", everything, "a drink can that has a l…"),
        ("易" * 20, everything, "易" * 12 + "…"),
        ("  two   spaces ", everything, "two spaces"),
        ("a" * 30, str.isascii, "a" * 24),
    ],
)
def test_a_title_is_cut_to_the_width_of_its_photo(title: str, has: Callable[[str], bool], shown: str) -> None:
    assert pictures._fitting(title, has) == shown


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    with pytest.raises(MissingExtraError, match=r"garbage-cli\[train\]"):
        results_png([report(1)])
    with pytest.raises(MissingExtraError, match="matplotlib"):
        batch_png(np.zeros((1, 3, 4, 4), np.float32), [""], SPEC)


def test_matplotlib_is_not_loaded_with_the_room_and_pyplot_never() -> None:
    code = (
        "import sys, garbage_cli.pictures as room; assert 'matplotlib' not in sys.modules\n"
        "import numpy; room.batch_png(numpy.zeros((1, 3, 4, 4), numpy.float32), ['a'], room.PreprocessConfig())\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
