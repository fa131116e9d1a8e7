"""The page at the bin in a real browser, with fake cameras and a voice that writes down what it is asked to say."""

import base64
import io
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import onnx
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import INSECURE, NO_VOICES, Trouble, chromium, film, launch, prepare, spoken, visiting
from conftest import COLOURS, Result, make_colour_bundle, run_program
from PIL import Image, ImageOps
from playwright.sync_api import Browser, FloatRect, Page, Playwright, expect, sync_playwright
from test_server import serving

from garbage_cli.archive import extract
from garbage_cli.bundle import ONNX_FILE, ModelBundle
from garbage_cli.config import PreprocessConfig
from garbage_cli.dataset import Dataset
from garbage_cli.labels import Labels
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.sample import write_archive

pytestmark = pytest.mark.slow
expect.set_options(timeout=15_000)

KINDS = ("有害垃圾/干电池", "厨余垃圾/菜叶菜根", "可回收物/易拉罐", "其他垃圾/烟蒂")
BATTERY, LEAVES, CAN = 0, 1, 2
GREY, BLACK = (128, 128, 128), (0, 0, 0)
BINS = {"hazardous": COLOURS["red"], "kitchen": COLOURS["green"], "recyclable": COLOURS["blue"], "other": BLACK}
SIZES = [(320, 568), (390, 844), (844, 390), (820, 1180), (1280, 800), (3840, 2160)]
AWAY = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "readyz", "Failed to load resource")


# ---- servers, browsers, visits


def make_bin_bundle(root: Path) -> Path:
    """The bundle that knows colours, with a fourth bin for what is dark; grey is near to none of them."""
    make_colour_bundle(root)
    model = onnx.load(root / ONNX_FILE)
    weights = np.hstack([np.eye(3, dtype=np.float32) * 2, np.zeros((3, 1), np.float32)])
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(KINDS)
    onnx.save(model, root / ONNX_FILE)
    spec = PreprocessConfig(resize_short=32, crop=32)
    ModelBundle.save(root, name="Colours", labels=Labels.parse(KINDS), preprocess=spec, facts={"parity": {}})
    return root


@dataclass(frozen=True)
class Collecting:
    url: str
    folder: Path

    def files(self) -> set[str]:
        """The photos that are kept, by their paths below the folder."""
        kept = (path for path in self.folder.rglob("*") if path.is_file() and path.name != "labels.txt")
        return {path.relative_to(self.folder).as_posix() for path in kept}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bin_bundle(tmp_path_factory.mktemp("bins") / "inference")


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collecting]:
    """Sure of clear colours, not of grey; keeps photos."""
    folder = tmp_path_factory.mktemp("collected") / "bin"
    with serving(bundle, "--threshold", 0.9, "--collect", folder) as running:
        yield Collecting(running.url, folder)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    if chromium() is None:
        pytest.skip("no Chromium to open the page with")
    with sync_playwright() as running:
        yield running


def plain(colour: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (640, 480), colour)


SCENES: Mapping[str, list[tuple[Image.Image, float]]] = {
    "can": [(plain(COLOURS["blue"]), 0.5)],
    "passing": [(plain(GREY), 3), (plain(COLOURS["red"]), 4)],
    "in a hurry": [(plain(GREY), 3), (plain(COLOURS["red"]), 4), (plain(COLOURS["green"]), 8)],
}

Browsers = Callable[[str], Browser]


@pytest.fixture(scope="module")
def browsers(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsers]:
    """Browsers by what their cameras see, each started once."""
    folder, started = tmp_path_factory.mktemp("films"), {}
    program = chromium()
    assert program

    def started_with(sees: str) -> Browser:
        if sees not in started:
            if sees in SCENES:
                found = launch(playwright, program, seen=film(folder / f"{sees}.mjpeg", SCENES[sees]))
            elif sees.endswith(".mjpeg"):
                found = launch(playwright, program, seen=Path(sees))
            else:
                found = launch(playwright, program, cameras={"nothing": 0, "two sides": 2}[sees])
            started[sees] = found
        return started[sees]

    yield started_with
    for each in started.values():
        each.close()


@dataclass
class Visits:
    """Opens pages; at the end, nothing may have gone wrong on them but what the test provoked."""

    browsers: Browsers
    stack: ExitStack
    troubles: list[Trouble] = field(default_factory=list)
    provoked: list[str] = field(default_factory=list)

    def __call__(self, url: str, path: str = "", *, sees: str = "can", first: str = "", **settings: Any) -> Page:
        page, trouble = self.stack.enter_context(visiting(self.browsers(sees), url, **settings))
        self.troubles.append(trouble)
        if first:
            page.context.add_init_script(first)
        page.goto(f"{url}/{path}")
        return page

    def provokes(self, *patterns: str) -> None:
        self.provoked.extend(patterns)


@pytest.fixture
def visit(browsers: Browsers) -> Iterator[Visits]:
    with ExitStack() as stack:
        visits = Visits(browsers, stack)
        yield visits
        assert [line for trouble in visits.troubles for line in trouble.beside(visits.provoked)] == []


def has_state(page: Page, state: str) -> None:
    expect(page.locator("body")).to_have_attribute("data-state", state)


def shoot(page: Page, bin_key: str = "recyclable") -> None:
    """Press the button once the camera is live."""
    has_state(page, "looking")
    expect(page.locator("body.live")).to_be_attached()
    page.click("#shoot")
    is_answered(page, bin_key)


def is_answered(page: Page, bin_key: str) -> None:
    has_state(page, "answered")
    expect(page.locator("#answer")).to_have_attribute("data-bin", bin_key)


def png(colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def mottled(colour: tuple[int, int, int], seed: int) -> bytes:
    """A photo of a colour that is none other's copy."""
    shades = np.random.default_rng(seed).uniform(0.85, 1, (6, 8, 1)) * colour
    data = io.BytesIO()
    Image.fromarray(shades.astype(np.uint8)).resize((320, 240)).save(data, "PNG")
    return data.getvalue()


def pick(page: Page, data: bytes, name: str = "photo.png", kind: str = "image/png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def answered_once(page: Page, colour: tuple[int, int, int], bin_key: str) -> None:
    """Pick a photo of a colour, from any state."""
    if page.locator("#again").is_visible():
        page.click("#again")
    has_state(page, "looking")
    pick(page, png(colour))
    is_answered(page, bin_key)


def files_dropped(page: Page, data: bytes, name: str) -> Any:
    make = """([text, name]) => {
      const bytes = Uint8Array.from(atob(text), each => each.charCodeAt(0));
      const carried = new DataTransfer();
      carried.items.add(new File([bytes], name, { type: "image/png" }));
      return carried;
    }"""
    return page.evaluate_handle(make, [base64.b64encode(data).decode(), name])


def becomes_true(page: Page, check: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert check()


def sets(page: Page, *, close: bool = True, **values: object) -> None:
    """Change settings, by the ids of their fields."""
    page.click("#open-settings")
    for name, value in values.items():
        at = page.locator(f"#{name}")
        at.set_checked(value) if isinstance(value, bool) else at.select_option(str(value))
    if close:
        page.keyboard.press("Escape")
        expect(page.locator("#settings")).to_be_hidden()


def history(page: Page) -> tuple[list[str], dict[str, int]]:
    """The answers, newest first, and the counts that are not 0."""
    page.click("#open-history")
    answers = page.locator("#answers li").all_inner_texts()
    counts = page.locator("#counts li").evaluate_all(
        "all => all.map(each => [each.dataset.bin, Number(/\\d+$/.exec(each.textContent.trim())[0])])"
    )
    page.keyboard.press("Escape")
    return answers, {name: number for name, number in counts if number}


# ---- photo, answer, voice


def test_a_photo_by_the_button_fills_the_screen_with_its_bin_and_is_read_out(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    shoot(page)
    facts = httpx.get(f"{server.url}/v1/model").json()
    national = {each["key"]: each for each in facts["regions"][0]["bins"]}
    expect(page.locator("#answer-bin")).to_have_text("可回收物")
    expect(page.locator("#answer-kind")).to_have_text("易拉罐")
    said = page.locator("#answer").inner_text()
    assert "Recyclable" in said
    assert "drink can" in said
    assert re.fullmatch(r"9\d\s?%", page.locator("#answer-score").inner_text())
    expect(page.locator("#answer-others")).to_contain_text("烟蒂")
    expect(page.locator("#answer-how")).to_have_text(facts["classes"][CAN]["preparation"]["chinese"])
    painted = page.locator("#answer").evaluate("each => getComputedStyle(each).backgroundColor")
    assert painted == f"rgb{tuple(bytes.fromhex(national['recyclable']['fill'][1:]))}"
    box = page.locator("#answer").bounding_box()
    assert box
    assert (box["width"], box["height"]) >= (1280, 720)
    assert spoken(page) == [{"text": "该垃圾为可回收物，易拉罐", "lang": "zh-CN", "voice": "Tingting"}]


def test_each_bin_is_shown_in_its_own_colour_with_its_own_sign(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    seen = set()
    for bin_key, colour in BINS.items():
        answered_once(page, colour, bin_key)
        expect(page.locator("#answer-how")).to_be_visible()
        style = "each => getComputedStyle(each).backgroundColor"
        sign = page.locator("#answer svg use").first.get_attribute("href")
        seen.add((page.locator("#answer").evaluate(style), sign, page.locator("#answer-bin").inner_text()))
    assert [len(set(column)) for column in zip(*seen, strict=True)] == [4, 4, 4]


def test_an_unsure_answer_names_the_two_likeliest_bins(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    has_state(page, "looking")
    pick(page, png(GREY))
    is_answered(page, "unsure")
    expect(page.locator("#answer-bin")).to_have_text("不确定")
    said = page.locator("#answer").inner_text()
    assert "可回收物" in said
    assert "厨余垃圾" in said
    assert "有害垃圾" not in said
    assert spoken(page)[0]["text"] == "不确定，可能是可回收物或厨余垃圾"
    first, second = page.locator("#likeliest li").all()
    one, other = first.bounding_box(), second.bounding_box()
    assert one
    assert other
    assert one["x"] + one["width"] == pytest.approx(other["x"])  # one surface of two colours, no buttons
    assert first.evaluate("each => getComputedStyle(each).borderStyle") == "none"


def test_an_answer_leaves_its_times_in_order(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    shoot(page)
    becomes_true(page, lambda: page.evaluate("performance.getEntriesByName('garbage:shown').length"))
    marks = dict(page.evaluate("performance.getEntriesByType('mark').map(each => [each.name, each.startTime])"))
    order = ["shoot", "captured", "shrunk", "replied"]
    assert sorted(order, key=lambda each: marks[f"garbage:{each}"]) == order
    assert marks["garbage:replied"] <= min(marks["garbage:shown"], marks["garbage:spoken"])


def test_two_presses_at_once_send_one_photo(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    has_state(page, "looking")
    expect(page.locator("body.live")).to_be_attached()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "/v1/predict" in request.url else None)
    page.evaluate("for (const _ of [1, 2, 3]) document.getElementById('shoot').click()")
    is_answered(page, "recyclable")
    assert len(sent) == 1


def test_in_english_page_answer_and_voice_are_english(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    sets(page, language="en")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    shoot(page)
    expect(page.locator("#answer-bin")).to_have_text("Recyclable")
    expect(page.locator("#answer-kind")).to_have_text("drink can")
    assert "可回收物" in page.locator("#answer").inner_text()
    assert spoken(page) == [{"text": "Recyclable: drink can.", "lang": "en-GB", "voice": "Daniel"}]
    page.reload()
    expect(page.locator("#open-settings")).to_have_accessible_name("Settings")


def test_a_browser_that_speaks_english_is_met_in_english(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, locale="en-GB")
    expect(page.locator("html")).to_have_attribute("lang", "en")


def test_a_muted_voice_stays_muted_and_says_nothing(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    page.click("#mute")
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
    page.reload()
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
    shoot(page)
    assert spoken(page) == []
    page.click("#mute")
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "false")


def test_without_a_voice_answers_are_silent_and_settings_say_why(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, voices=NO_VOICES)
    shoot(page)
    assert spoken(page) == []
    sets(page, close=False)
    expect(page.locator("#settings")).to_contain_text("没有安装中文语音")


def test_a_voice_of_a_server_elsewhere_is_never_used(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, first="speechSynthesis.getVoices().forEach(each => each.localService = false)")
    shoot(page)
    assert spoken(page) == []


def test_a_browser_without_speech_answers_all_the_same(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, first="Object.defineProperty(window, 'speechSynthesis', { value: undefined })")
    shoot(page)


# ---- history and corrections


def test_history_keeps_answers_over_a_reload_counts_bins_and_is_cleared(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    for bin_key, colour in (*BINS.items(), ("recyclable", COLOURS["blue"])):
        answered_once(page, colour, bin_key)
    page.reload()
    has_state(page, "looking")
    answers, counts = history(page)
    kinds = [kind.partition("/")[2] for kind in KINDS]
    assert [next(kind for kind in kinds if kind in line) for line in answers] == [kinds[i] for i in (2, 3, 2, 1, 0)]
    assert counts == {"hazardous": 1, "kitchen": 1, "recyclable": 2, "other": 1}
    page.click("#open-history")
    page.click("#clear")
    expect(page.locator("#answers")).to_contain_text("还没有回答")
    page.reload()
    has_state(page, "looking")
    assert history(page)[1] == {}


def test_two_taps_correct_an_answer_and_the_photo_moves_to_what_a_person_said(
    visit: Visits, server: Collecting, tmp_path: Path
) -> None:
    page = visit(server.url)
    expect(page.locator("#collecting")).to_be_visible()

    def stored(seed: int) -> str:
        before = server.files()
        has_state(page, "looking")
        pick(page, mottled(COLOURS["blue"], seed))
        is_answered(page, "recyclable")
        becomes_true(page, lambda: len(server.files() - before) == 1)
        kept = (server.files() - before).pop()
        assert kept.startswith("unconfirmed/可回收物/易拉罐/")
        return kept.rpartition("/")[2]

    corrected = stored(1)
    page.click("#wrong")
    page.locator(f'#kinds [data-class="{BATTERY}"]').first.click()
    becomes_true(page, lambda: f"train/有害垃圾/干电池/{corrected}" in server.files())
    expect(page.locator("#answer")).to_contain_text("谢谢")
    answers, counts = history(page)
    assert "干电池" in answers[0]
    assert "已更正" in answers[0]
    assert counts == {"hazardous": 1}
    page.click("#again")
    confirmed = stored(2)
    page.click("#right")
    becomes_true(page, lambda: f"train/可回收物/易拉罐/{confirmed}" in server.files())
    page.click("#again")
    strange = stored(3)
    page.click("#wrong")
    page.click('#kinds [data-class="none"]')
    becomes_true(page, lambda: f"none/{strange}" in server.files())
    assert not {name for name in server.files() if name.startswith("unconfirmed/") and corrected in name}
    answers, counts = history(page)
    assert "都不是" in answers[0]
    for seed in range(4, 24):  # until there are some for validation too
        class_id, colour = ((BATTERY, "red"), (CAN, "blue"))[seed % 2]
        kept = httpx.post(f"{server.url}/v1/predict?collect=1", content=mottled(COLOURS[colour], seed)).json()
        said = {"id": kept["collected"][0], "class_id": class_id}
        assert httpx.post(f"{server.url}/v1/corrections", json=said).status_code == 200
    checked = run_program("check", server.folder, "--json", "--report", tmp_path / "check")
    assert checked.code == 0, checked.err
    each = Dataset.load(server.folder)
    assert {sample.path.name for sample in each.train + each.val} >= {corrected, confirmed}


def test_what_a_person_said_can_be_said_anew_and_the_last_one_counts(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    before = server.files()
    answered_once(page, COLOURS["blue"], "recyclable")
    becomes_true(page, lambda: len(server.files() - before) == 1)
    name = (server.files() - before).pop().rpartition("/")[2]
    place = f"train/{KINDS[CAN]}/{name}"

    def says(choice: object) -> None:
        page.click("#wrong")
        page.locator(f'#kinds [data-class="{choice}"]').first.click()
        expect(page.locator("#wrong")).to_have_text("更改")
        expect(page.locator("#right")).to_be_hidden()

    page.click("#right")
    becomes_true(page, lambda: place in server.files())
    says(BATTERY)
    is_answered(page, "hazardous")
    becomes_true(page, lambda: f"train/{KINDS[BATTERY]}/{name}" in server.files())
    says("none")
    becomes_true(page, lambda: f"none/{name}" in server.files())
    says(CAN)
    is_answered(page, "recyclable")
    becomes_true(page, lambda: place in server.files())
    assert [each for each in server.files() if each.endswith(name)] == [place]
    answers, counts = history(page)
    assert "已确认" in answers[0]
    assert counts == {"recyclable": 1}


def test_a_photo_is_kept_only_where_its_sender_agrees(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    sets(page, collect=False)
    expect(page.locator("#collecting")).to_be_hidden()
    before = server.files()
    shoot(page)
    page.click("#right")
    expect(page.locator("#answer")).to_contain_text("谢谢")
    assert server.files() == before


def test_a_server_that_keeps_nothing_is_not_said_to(visit: Visits, bundle: Path) -> None:
    with serving(bundle) as other:
        page = visit(other.url)
        shoot(page)
        page.click("#right")
        expect(page.locator("#answer")).to_contain_text("谢谢")
        page.click("#again")
        expect(page.locator("#collecting")).to_be_hidden()
        sets(page, close=False)
        expect(page.locator("#collect")).to_be_hidden()


# ---- other ways for a photo


def test_a_photo_is_picked_dropped_or_pasted(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    answered_once(page, COLOURS["red"], "hazardous")
    page.click("#again")
    has_state(page, "looking")
    page.dispatch_event("body", "drop", {"dataTransfer": files_dropped(page, png(COLOURS["green"]), "绿 色.png")})
    is_answered(page, "kitchen")
    page.click("#again")
    has_state(page, "looking")
    carried = files_dropped(page, png(BLACK), "image.png")
    page.evaluate(
        "files => document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: files, bubbles: true }))",
        carried,
    )
    is_answered(page, "other")


def test_the_button_that_picks_opens_the_file_chooser(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    has_state(page, "looking")
    with page.expect_file_chooser() as chosen:
        page.click("#pick")
    chosen.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": png(COLOURS["red"])})
    is_answered(page, "hazardous")
    page.click("#again")
    has_state(page, "looking")
    with page.expect_file_chooser() as chosen:
        page.click("#pick")
    chosen.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": png(COLOURS["red"])})  # the same again
    is_answered(page, "hazardous")


def test_a_big_photo_is_shrunk_before_it_is_sent(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    has_state(page, "looking")
    noise = np.random.default_rng(0).integers(0, 60, (3000, 4000, 3), dtype=np.uint8)
    noise[..., 0] += 180
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "JPEG", quality=92)
    assert data.tell() > 3e6
    before = server.files()
    with page.expect_request("**/v1/predict*") as asked:
        pick(page, data.getvalue(), "big.jpg", "image/jpeg")
    is_answered(page, "hazardous")
    assert 500 < int(asked.value.all_headers()["content-length"]) < 100_000
    (kept,) = server.files() - before
    with Image.open(server.folder / kept) as photo:
        assert photo.format == "JPEG"
        assert 32 <= min(photo.size) <= 256
        assert photo.size[0] / photo.size[1] == pytest.approx(4 / 3, abs=0.05)


def test_a_photo_that_lies_on_its_side_arrives_upright(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    has_state(page, "looking")
    upright = Image.new("RGB", (300, 400), COLOURS["red"])
    upright.paste((255, 255, 255), (0, 0, 300, 100))
    sideways, data = upright.transpose(Image.Transpose.ROTATE_90), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    sideways.save(data, "JPEG", exif=exif)
    before = server.files()
    pick(page, data.getvalue(), "phone.jpg", "image/jpeg")
    is_answered(page, "hazardous")
    (kept,) = server.files() - before
    with Image.open(server.folder / kept) as photo:
        assert photo.size[0] < photo.size[1]
        assert photo.getexif().get(0x0112, 1) == 1
        assert photo.getpixel((photo.width // 2, 4))[2] > 200
        assert photo.getpixel((photo.width // 2, photo.height - 4))[2] < 80


def test_a_text_that_is_named_a_photo_gets_a_clear_notice(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    visit.provokes("422")
    has_state(page, "looking")
    pick(page, "这不是照片".encode(), "photo.jpg", "image/jpeg")
    expect(page.locator("#notice")).to_contain_text("不是能读的照片")
    has_state(page, "failed")
    expect(page.locator("#shoot")).to_be_visible()
    page.click("#shoot")
    is_answered(page, "recyclable")


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (413, '{"error": "too large"}', "照片太大"),
        (500, '{"error": "strange <b>words</b>"}', "strange <b>words</b>"),
        (502, "<html>Bad Gateway", "连不上服务器"),
        (200, '{"results": [{"error": "not an image", "predictions": []}]}', "不是能读的照片"),
    ],
)
def test_what_a_server_can_not_answer_is_said_and_the_next_photo_is_answered(
    visit: Visits, server: Collecting, status: int, body: str, said: str
) -> None:
    page = visit(server.url, sees="nothing")
    visit.provokes(f"HTTP {status}", f"status of {status}")
    has_state(page, "looking")
    page.route("**/v1/predict*", lambda route: route.fulfill(status=status, body=body), times=1)
    pick(page, png(COLOURS["red"]))
    expect(page.locator("#notice")).to_contain_text(said)
    has_state(page, "failed")
    pick(page, png(COLOURS["red"]))
    is_answered(page, "hazardous")
    expect(page.locator("#notice")).to_be_empty()


def test_a_busy_server_is_asked_again(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    visit.provokes("503")
    has_state(page, "looking")
    busy = {"status": 503, "body": '{"error": "busy"}', "headers": {"retry-after": "1"}}
    page.route("**/v1/predict*", lambda route: route.fulfill(**busy), times=1)
    pick(page, png(COLOURS["red"]))
    is_answered(page, "hazardous")


def test_names_of_kinds_and_bins_are_never_markup(visit: Visits, tmp_path: Path) -> None:
    root = make_bin_bundle(tmp_path / "inference")
    name = "<img src=x onerror=alert(1)>"
    ModelBundle.save(
        root,
        name="<b>Colours</b>",
        labels=Labels.parse([f"<i>桶<／i>/{name}", *KINDS[1:]]),
        preprocess=PreprocessConfig(resize_short=32, crop=32),
        facts={"parity": {}},
    )
    with serving(root) as running:
        page = visit(running.url, sees="nothing")
        answered_once(page, COLOURS["red"], "")
        expect(page.locator("#answer-kind")).to_have_text(name)
        expect(page.locator("#answer-bin")).to_have_text("<i>桶<／i>")
        page.click("#wrong")
        expect(page.locator("#kinds-list")).to_contain_text(name)
        page.keyboard.press("Escape")
        assert name in history(page)[0][0]
        page.click("#again")
        answered_once(page, COLOURS["blue"], "recyclable")


# ---- cameras


def test_without_a_camera_the_page_says_so_and_takes_files(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    expect(page.locator("#why")).to_contain_text("没有找到摄像头")
    answered_once(page, COLOURS["red"], "hazardous")
    page.click("#again")
    with page.expect_file_chooser():
        page.click("#shoot")


def test_a_camera_that_is_denied_is_said_to_be(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, camera=False)
    expect(page.locator("#why")).to_contain_text("权限")
    answered_once(page, COLOURS["red"], "hazardous")


def test_a_camera_that_another_program_has_is_said_to_be(visit: Visits, server: Collecting) -> None:
    taken = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotReadableError'); }"
    page = visit(server.url, first=taken)
    expect(page.locator("#why")).to_contain_text("其他程序")
    answered_once(page, COLOURS["red"], "hazardous")


def test_on_an_insecure_origin_the_page_names_https_and_takes_files(visit: Visits, server: Collecting) -> None:
    page = visit(server.url.replace("127.0.0.1", INSECURE))
    assert page.evaluate("isSecureContext") is False
    expect(page.locator("#why")).to_contain_text("https")
    answered_once(page, COLOURS["red"], "hazardous")


def test_over_https_a_bin_that_is_called_by_any_name_gets_the_camera(
    visit: Visits, bundle: Path, tmp_path: Path
) -> None:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "bin.pem", tmp_path / "bin.key"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={INSECURE}"]
    subprocess.run([openssl, *words, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    with serving(bundle, "--certificate", certificate, "--private-key", key) as running:
        page = visit(running.url.replace("127.0.0.1", INSECURE), ignore_https_errors=True)
        visit.provokes("SSL certificate error")  # nobody signed it: the page is not kept for when the server is away
        assert page.evaluate("isSecureContext")
        shoot(page)


def test_the_camera_that_was_chosen_last_is_taken_again(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="two sides")
    has_state(page, "looking")
    label = "document.getElementById('view').srcObject?.getVideoTracks()[0].label"
    expect(page.locator("body.live")).to_be_attached()
    expect(page.locator("#flip")).to_be_visible()
    first = page.evaluate(label)
    page.click("#flip")
    becomes_true(page, lambda: page.evaluate(label) not in (None, first))
    second = page.evaluate(label)
    page.reload()
    expect(page.locator("body.live")).to_be_attached()
    assert page.evaluate(label) == second
    page.click("#flip")
    becomes_true(page, lambda: page.evaluate(label) == first)


def test_the_model_sees_all_that_is_in_the_frame(visit: Visits, server: Collecting, tmp_path: Path) -> None:
    width, height = 390, 844
    page = visit(server.url, viewport={"width": width, "height": height})
    expect(page.locator("body.live")).to_be_attached()
    frame = page.locator("#frame").bounding_box()
    assert frame
    scene = Image.new("RGB", (width, height), COLOURS["blue"])
    left, top = round(frame["x"]), round(frame["y"])
    scene.paste(COLOURS["green"], (left, top, left + round(frame["width"]), top + round(frame["height"])))
    seen = film(tmp_path / "frame.mjpeg", [(scene, 0.5)], size=(width, height))
    page = visit(server.url, sees=str(seen), viewport={"width": width, "height": height})
    expect(page.locator("body.live")).to_be_attached()
    before = server.files()
    page.click("#shoot")
    has_state(page, "answered")
    (kept,) = server.files() - before
    with Image.open(server.folder / kept) as photo:
        short = min(photo.size)
        square = np.asarray(ImageOps.fit(photo.convert("RGB"), (short, short)))  # the network gets the middle
    in_frame = square[..., 1] > square[..., 2]
    rows, columns = np.flatnonzero(in_frame.any(axis=1)), np.flatnonzero(in_frame.any(axis=0))
    shape = (np.ptp(columns) + 1) / (np.ptp(rows) + 1)
    assert shape == pytest.approx(frame["width"] / frame["height"], abs=0.05)


def test_one_camera_has_no_button_for_another(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    has_state(page, "looking")
    expect(page.locator("body.live")).to_be_attached()
    expect(page.locator("#flip")).to_be_hidden()


def test_a_camera_that_is_pulled_out_is_said_to_be_gone(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    expect(page.locator("body.live")).to_be_attached()
    page.evaluate("""() => {
      const [track] = document.getElementById("view").srcObject.getVideoTracks();
      navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotFoundError"); };
      track.stop();
      track.dispatchEvent(new Event("ended"));
    }""")
    expect(page.locator("#why")).to_contain_text("没有找到摄像头")
    answered_once(page, COLOURS["red"], "hazardous")


# ---- settings


def test_a_region_changes_the_words_and_is_remembered(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    answered_once(page, COLOURS["green"], "kitchen")
    expect(page.locator("#answer-bin")).to_have_text("厨余垃圾")
    sets(page, region="shanghai")
    expect(page.locator("#answer-bin")).to_have_text("湿垃圾")
    page.reload()
    answered_once(page, COLOURS["green"], "kitchen")
    expect(page.locator("#answer-bin")).to_have_text("湿垃圾")
    assert spoken(page)[-1]["text"] == "该垃圾为湿垃圾，菜叶菜根"
    answered_once(page, BLACK, "other")
    expect(page.locator("#answer-bin")).to_have_text("干垃圾")


KEY = "a-key-that-nobody-guesses-0123456789"


@pytest.fixture
def locked(bundle: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server that asks for the key."""
    (tmp_path / "keys.txt").write_text(f"phone: {KEY}\n")
    with serving(bundle, "--api-key-file", tmp_path / "keys.txt") as running:
        yield running.url


@pytest.mark.parametrize(
    ("language", "none", "wrong"),
    [
        ("zh-CN", "服务器要求 API 密钥，请填写。", "服务器不接受这个 API 密钥，请检查后重新填写。"),
        (
            "en-GB",
            "The server asks for an API key. Please enter it.",
            "The server does not accept this API key. Please check it and enter it again.",
        ),
    ],
)
def test_a_wrong_key_is_said_to_be_and_nothing_is_said_any_more_once_one_is_accepted(
    visit: Visits, locked: str, language: str, none: str, wrong: str
) -> None:
    page = visit(locked, locale=language)
    visit.provokes("401")
    for said, typed in ((none, "a key that is none"), (wrong, KEY)):
        expect(page.locator("#notice")).to_have_text(said)
        expect(page.locator("#key-needed")).to_have_text(said)
        page.fill("#key", typed)
        page.keyboard.press("Tab")
    expect(page.locator("#notice")).to_be_empty()
    expect(page.locator("#key-needed")).to_be_empty()


@pytest.mark.parametrize(("language", "said"), [("zh-CN", "请在这个浏览器里打开"), ("en-GB", "in this browser")])
def test_a_kiosk_says_where_its_key_is_entered_and_takes_it_from_there(
    visit: Visits, locked: str, language: str, said: str
) -> None:
    kiosk = visit(locked, "?kiosk=1", locale=language, sees="nothing")
    visit.provokes("401")
    expect(kiosk.locator("#notice")).to_contain_text(said)
    expect(kiosk.locator("#notice")).to_contain_text(f"{locked}/")
    expect(kiosk.locator("#settings")).to_be_hidden()
    page = kiosk.context.new_page()
    page.goto(locked)
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    expect(kiosk.locator("#notice")).to_be_empty()
    pick(kiosk, png(COLOURS["red"]))
    is_answered(kiosk, "hazardous")


def test_a_key_is_asked_for_once_and_remembered(visit: Visits, locked: str) -> None:
    page = visit(locked)
    visit.provokes("401")
    expect(page.locator("#settings")).to_be_visible()
    expect(page.locator("#key")).to_be_focused()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    if page.locator("#settings").is_visible():
        page.keyboard.press("Escape")
    shoot(page)
    page.reload()
    shoot(page)
    expect(page.locator("#settings")).to_be_hidden()


def test_what_is_being_typed_stays_when_something_else_arrives(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    expect(page.locator("body.live")).to_be_attached()
    page.click("#open-settings")
    page.click("#key")
    page.keyboard.type("half a ")
    page.evaluate("speechSynthesis.dispatchEvent(new Event('voiceschanged'))")
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_timeout(300)
    page.keyboard.type("key")
    expect(page.locator("#key")).to_have_value("half a key")


# ---- hands-free, kiosk

NOTES_STATES = """
window.states = [];
document.addEventListener("DOMContentLoaded", () => new MutationObserver((all) => {
  states.push(...all.map(each => each.oldValue));
}).observe(document.body, { attributeFilter: ["data-state"], attributeOldValue: true }));
"""


def states(page: Page) -> list[str]:
    """The states of a page from its beginning, also those that were too short to be looked at."""
    return [state for state, _ in groupby(page.evaluate("[...states, document.body.dataset.state]"))]


def test_hands_free_answers_what_is_held_up_and_looks_again_when_it_is_gone(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="passing", first=NOTES_STATES)
    has_state(page, "looking")
    sets(page, handsfree=True)
    page.reload()  # the film begins anew
    becomes_true(page, lambda: states(page).count("answered") >= 2, 45)
    assert states(page)[:7] == ["starting", "looking", "asking", "answered", "looking", "asking", "answered"]
    is_answered(page, "hazardous")


def test_hands_free_does_not_lose_what_comes_while_an_answer_is_read(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="in a hurry")
    has_state(page, "looking")
    sets(page, handsfree=True)
    page.reload()
    is_answered(page, "hazardous")
    is_answered(page, "kitchen")


def test_hands_free_leaves_a_still_scene_alone(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    has_state(page, "looking")
    sets(page, handsfree=True)
    page.wait_for_timeout(4000)
    has_state(page, "looking")
    assert history(page)[0] == ["还没有回答。"]


def test_a_kiosk_shows_nothing_to_fiddle_with_and_looks_again_after_ten_seconds(
    visit: Visits, server: Collecting
) -> None:
    page = visit(server.url, sees="nothing")
    page.clock.install()
    page.goto(f"{server.url}/?kiosk=1")
    has_state(page, "looking")
    expect(page.locator("body.kiosk")).to_be_attached()
    for name in ("#open-settings", "#open-history", "#mute", "#pick"):
        expect(page.locator(name)).to_be_hidden()
    expect(page.locator("#shoot")).to_be_visible()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 10)  # it would go on by itself too
    pick(page, png(COLOURS["red"]))
    is_answered(page, "hazardous")
    page.clock.run_for(9_000)
    has_state(page, "answered")
    page.clock.run_for(1_500)
    has_state(page, "looking")


@pytest.mark.parametrize("language", ["zh-CN", "en-GB"])
@pytest.mark.parametrize("size", [(1080, 1920), (1280, 800), (844, 390)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_kiosk_invites_beside_its_frame_and_is_pressed_with_a_full_hand(
    visit: Visits, server: Collecting, size: tuple[int, int], language: str
) -> None:
    page = visit(server.url, "?kiosk=1", locale=language, viewport={"width": size[0], "height": size[1]})
    expect(page.locator("#invite")).to_be_visible()
    assert page.locator("#invite").evaluate(IN_VIEW)
    invite, frame = place_of(page, "#invite"), place_of(page, "#frame")
    assert invite["y"] + invite["height"] <= frame["y"] or invite["x"] >= right_of(page, "#frame")
    assert invite["y"] + invite["height"] <= place_of(page, "#shoot")["y"]
    page.evaluate("document.getElementById('notice').textContent = '…'")
    expect(page.locator("#invite")).to_be_hidden()
    shoot(page)
    assert page.evaluate(SPILLED) == [0, 0]
    tall = min(size) / 13
    for name in ("#right", "#wrong", "#again"):
        expect(page.locator(name)).to_be_in_viewport(ratio=1)
        assert place_of(page, name)["height"] >= tall
    page.click("#wrong")
    assert page.evaluate(SPILLED) == [0, 0]
    assert place_of(page, "#kinds [data-class]")["height"] >= tall


def test_a_kiosk_closes_what_a_person_has_left_open(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    page.clock.install()
    page.goto(f"{server.url}/?kiosk=1")
    has_state(page, "looking")
    pick(page, png(COLOURS["red"]))
    is_answered(page, "hazardous")
    page.click("#wrong")
    expect(page.locator("#kinds")).to_be_visible()
    page.clock.run_for(10_500)
    has_state(page, "looking")
    expect(page.locator("#kinds")).to_be_hidden()


def test_a_kiosk_darkens_until_somebody_comes(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    page.clock.install()
    page.goto(f"{server.url}/?kiosk=1")
    has_state(page, "looking")
    expect(page.locator("body.live")).to_be_attached()
    expect(page.locator("body")).not_to_have_class(re.compile("asleep"))
    page.clock.run_for(35_000)
    expect(page.locator("body")).to_have_class(re.compile("asleep"))
    page.mouse.click(640, 200)
    expect(page.locator("body")).not_to_have_class(re.compile("asleep"))
    shoot(page)


def test_a_kiosk_outlives_its_server(visit: Visits, bundle: Path) -> None:
    with serving(bundle) as first:
        page = visit(first.url, "?kiosk=1", sees="nothing")
        has_state(page, "looking")
        expect(page.locator("body")).to_have_attribute("data-server", "here")
        visit.provokes(*AWAY)
    expect(page.locator("body")).to_have_attribute("data-server", "away")
    expect(page.locator("#notice")).to_contain_text("连不上服务器")
    with serving(bundle, "--port", urlsplit(first.url).port):
        expect(page.locator("body")).to_have_attribute("data-server", "here")
        pick(page, png(COLOURS["red"]))
        is_answered(page, "hazardous")


def test_a_model_of_fewer_kinds_behind_the_page_is_asked_for_what_it_knows(
    visit: Visits, bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(bundle, tmp_path / "inference")
    make_colour_bundle(tmp_path / "next")
    with serving(tmp_path / "inference") as running:
        page = visit(running.url, sees="nothing")
        answered_once(page, COLOURS["red"], "hazardous")
        (tmp_path / "inference").rename(tmp_path / "former")
        (tmp_path / "next").rename(tmp_path / "inference")
        running.process.send_signal(signal.SIGHUP)
        classes = lambda: len(httpx.get(f"{running.url}/v1/model").json()["classes"])  # noqa: E731
        becomes_true(page, lambda: classes() == 3)
        visit.provokes("400")  # the page asks for four kinds, and then by what the server has
        answered_once(page, COLOURS["green"], "kitchen")
        page.click("#wrong")
        numbers = page.locator("#kinds [data-class]").evaluate_all("all => all.map(each => each.dataset.class)")
        assert set(numbers) == {"0", "1", "2", "none"}


@pytest.mark.parametrize(
    ("scores", "likely"), [((0.986, 0.008, 0.004, 0.002), []), ((0.6, 0.38, 0.012, 0.008), ["0", "1", "2"])]
)
def test_only_kinds_of_at_least_one_per_cent_are_listed_as_likely(
    visit: Visits, server: Collecting, scores: tuple[float, ...], likely: list[str]
) -> None:
    page = visit(server.url, sees="nothing")
    has_state(page, "looking")
    named = [text.split("/") for text in KINDS]
    predictions = [
        {"class_id": i, "name": name, "bin": bin_name, "score": score}
        for i, ((bin_name, name), score) in enumerate(zip(named, scores, strict=True))
    ]
    reply = {"results": [{"sure": not likely, "bin": None, "predictions": predictions, "error": None}]}
    page.route("**/v1/predict*", lambda route: route.fulfill(json=reply))
    pick(page, png(COLOURS["red"]))
    has_state(page, "answered")
    page.click("#wrong")
    first, *_ = page.locator("#kinds-list h3").all_inner_texts()
    assert (first == "可能是") == bool(likely)
    assert page.locator("#kinds ul").first.locator("button").evaluate_all(
        "all => all.map(each => each.dataset.class)"
    ) == (likely or ["0"])


def test_none_of_the_kinds_takes_the_wrong_answer_off_the_screen(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    answered_once(page, COLOURS["red"], "hazardous")
    page.click("#wrong")
    page.click('#kinds [data-class="none"]')
    expect(page.locator("#answer")).to_have_attribute("data-bin", "")
    expect(page.locator("#answer-bin")).to_have_text("都不是")
    expect(page.locator("#answer-how")).to_be_hidden()
    expect(page.locator("#right")).to_be_hidden()


def test_a_file_that_comes_while_kinds_are_chosen_is_not_taken(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    answered_once(page, COLOURS["red"], "hazardous")
    page.click("#wrong")
    pick(page, png(COLOURS["green"]))
    page.wait_for_timeout(500)
    is_answered(page, "hazardous")
    expect(page.locator("#kinds")).to_be_visible()


def test_a_photo_that_the_browser_can_not_read_is_never_kept(visit: Visits, server: Collecting) -> None:
    page = visit(server.url, sees="nothing")
    has_state(page, "looking")
    before = server.files()
    data = io.BytesIO()
    Image.new("RGB", (64, 48), COLOURS["red"]).save(data, "TIFF")
    pick(page, data.getvalue(), "photo.tif", "image/tiff")
    is_answered(page, "hazardous")
    assert server.files() == before


def test_a_photo_for_a_server_that_is_away_is_said_to_be_unanswered(visit: Visits, bundle: Path) -> None:
    with serving(bundle) as gone:
        page = visit(gone.url)
        has_state(page, "looking")
        expect(page.locator("body.live")).to_be_attached()
        visit.provokes(*AWAY)
    page.click("#shoot")
    has_state(page, "failed")
    expect(page.locator("#frame")).to_have_css("opacity", "1")
    expect(page.locator("#notice")).to_contain_text("连不上服务器")
    expect(page.locator("body")).to_have_attribute("data-server", "away")


# ---- installed


KEPT = "caches.keys().then(names => Promise.all(names.map(name => caches.open(name).then(each => each.keys()))))"


def test_after_one_visit_the_page_opens_without_its_server_and_says_so(visit: Visits, bundle: Path) -> None:
    with serving(bundle) as gone:
        page = visit(gone.url)
        shoot(page)
        becomes_true(page, lambda: page.evaluate("navigator.serviceWorker.controller?.state === 'activated'"))
        urls = page.evaluate(f"{KEPT}.then(all => all.flat().map(each => new URL(each.url).pathname))")
        visit.provokes(*AWAY, "ERR_FAILED")
    assert {"/", "/page/app.js", "/page/style.css"} <= set(urls)
    assert not [url for url in urls if url.startswith(("/v1", "/readyz"))]  # no photo, no answer
    page.reload()
    has_state(page, "looking")
    expect(page.locator("#shoot")).to_be_visible()
    expect(page.locator("body")).to_have_attribute("data-server", "away")
    expect(page.locator("#notice")).to_contain_text("连不上服务器")
    assert history(page)[1] == {"recyclable": 1}


def test_the_page_can_be_installed(playwright: Playwright, server: Collecting, tmp_path: Path) -> None:
    program = chromium()
    context = playwright.chromium.launch_persistent_context(tmp_path / "profile", executable_path=program)
    page, trouble = prepare(context, server.url, camera=False)
    page.goto(server.url)
    page.evaluate("navigator.serviceWorker.ready.then(() => 0)")
    session = context.new_cdp_session(page)
    manifest = session.send("Page.getAppManifest")
    assert manifest["errors"] == []
    assert urlsplit(manifest["url"]).path == "/page/manifest.webmanifest"
    assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] == []
    assert trouble.found == []
    context.close()


def test_behind_a_proxy_under_a_path_the_page_asks_for_nothing_outside_it(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    page.context.route(
        f"{server.url}/at/the/bin/**",
        lambda route: route.fulfill(response=route.fetch(url=route.request.url.replace("/at/the/bin", "", 1))),
    )
    asked: list[str] = []
    page.wait_for_load_state("networkidle")
    page.context.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.goto(f"{server.url}/at/the/bin/")
    shoot(page)
    assert asked
    assert [path for path in asked if not path.startswith("/at/the/bin/")] == []


# ---- for everybody

SPILLED = """() => {
  const open = document.querySelector("dialog[open]");
  return [document.scrollingElement.scrollWidth - innerWidth, open ? open.scrollWidth - open.clientWidth : 0];
}"""
IN_VIEW = """each => {
  const box = each.getBoundingClientRect();
  const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return box.width > 0 && box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight
    && each.contains(found);
}"""


def through_all(page: Page) -> Iterator[str]:
    """Bring the page into each of its states; yields their names."""
    has_state(page, "looking")
    yield "looking"
    for bin_key, colour in BINS.items():
        answered_once(page, colour, bin_key)
        yield bin_key
    page.click("#wrong")
    expect(page.locator("#kinds")).to_be_visible()
    yield "kinds"
    page.locator('#kinds [data-class="0"]').first.click()
    yield "corrected"
    answered_once(page, GREY, "unsure")
    yield "unsure"
    page.click("#open-history")
    yield "history"
    page.keyboard.press("Escape")
    page.click("#open-settings")
    yield "settings"
    page.keyboard.press("Escape")


@pytest.mark.parametrize("turned", ["ltr", "rtl"])
@pytest.mark.parametrize("text", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_nothing_spills_and_the_button_is_in_view(
    visit: Visits, server: Collecting, size: tuple[int, int], text: int, turned: str
) -> None:
    page = visit(server.url, viewport={"width": size[0], "height": size[1]})
    expect(page.locator("body.live")).to_be_attached()
    page.evaluate(f"document.documentElement.dir = '{turned}'; document.documentElement.style.fontSize = '{text}00%'")
    spilled = {}
    for state in through_all(page):
        spilled[state] = page.evaluate(SPILLED)
        if state == "looking":
            if text == 2 and size[1] < 400:  # a phone on its side may be scrolled
                page.locator("#shoot").scroll_into_view_if_needed()
            assert page.locator("#shoot").evaluate(IN_VIEW)
        if state in BINS:
            expect(page.locator("#answer-bin")).to_be_in_viewport(ratio=1)
            if text == 1:
                expect(page.locator("#again")).to_be_in_viewport(ratio=1)
    assert {state: by for state, by in spilled.items() if max(by) > 0} == {}


def place_of(page: Page, selector: str) -> FloatRect:
    found = page.locator(selector).first.bounding_box()
    assert found
    return found


def right_of(page: Page, selector: str) -> float:
    at = place_of(page, selector)
    return at["x"] + at["width"]


@pytest.mark.parametrize("language", ["zh-CN", "en-GB"])
@pytest.mark.parametrize("size", [(844, 390), (740, 360), (667, 375), (568, 320)], ids="{0[0]}x{0[1]}".format)
def test_on_a_phone_on_its_side_the_frame_takes_the_height_and_the_buttons_stand_beside(
    visit: Visits, server: Collecting, size: tuple[int, int], language: str
) -> None:
    page = visit(server.url, locale=language, viewport={"width": size[0], "height": size[1]})
    expect(page.locator("body.live")).to_be_attached()
    assert place_of(page, "#frame")["height"] > 0.85 * size[1]
    page.evaluate("document.getElementById('notice').textContent = 'The server is away; trying again …'")
    for beside in ("#shoot", "#pick", "#notice", "#collecting"):
        assert place_of(page, beside)["x"] >= right_of(page, "#frame")
    for state in through_all(page):
        if state in BINS or state == "unsure":
            expect(page.locator("#again")).to_be_in_viewport(ratio=1)
            beside = "#likeliest" if state == "unsure" else "#answer-how"
            expect(page.locator(beside)).to_be_in_viewport(ratio=1)
            assert place_of(page, "#choices")["x"] >= right_of(page, beside)
            if size[1] > 320:
                assert page.evaluate("document.scrollingElement.scrollHeight") == size[1]
    page = visit(server.url, sees="nothing", locale=language, viewport={"width": size[0], "height": size[1]})
    expect(page.locator("#why")).to_be_visible()
    assert page.locator("#shoot").evaluate(IN_VIEW)
    assert place_of(page, "#shoot")["x"] >= right_of(page, "#why")


BROKEN = r"""() => {
  const range = document.createRange(), broken = [];
  for (const each of document.querySelectorAll("h1, h2, h3, b, button, label, span, p")) {
    for (const text of each.childNodes) {
      for (const word of text.nodeType === Node.TEXT_NODE ? text.data.matchAll(/[A-Za-z]+/g) : []) {
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(line => Math.round(line.top))).size > 1) broken.push(word[0]);
      }
    }
  }
  return broken;
}"""


@pytest.mark.parametrize("size", [(320, 568), (390, 844), (844, 390)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_text_of_twice_the_size_breaks_no_word_but_one_that_is_longer_than_its_line(
    visit: Visits, server: Collecting, size: tuple[int, int]
) -> None:
    page = visit(server.url, locale="en-GB", viewport={"width": size[0], "height": size[1]})
    expect(page.locator("body.live")).to_be_attached()
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    broken = {state: page.evaluate(BROKEN) for state in through_all(page)}
    assert {state: words for state, words in broken.items() if words} == {}
    answered_once(page, COLOURS["red"], "hazardous")
    for name in ("answer-bin", "answer-kind", "answer-how", "wrong"):
        page.evaluate("name => document.getElementById(name).textContent = 'long'.repeat(30)", name)
    assert "long" * 30 in page.evaluate(BROKEN)
    assert max(page.evaluate(SPILLED)) <= 0


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("colours", ["light", "dark", "forced"])
@pytest.mark.parametrize("language", ["zh-CN", "en-GB"])
def test_axe_finds_nothing_in_any_state(visit: Visits, server: Collecting, language: str, colours: str) -> None:
    look = {"forced_colors": "active"} if colours == "forced" else {"color_scheme": colours}
    page = visit(server.url, locale=language, reduced_motion="reduce", **look)
    found = {state: violations(page) for state in through_all(page)}
    for name, where, settings in (
        ("kiosk", "?kiosk=1", {}),
        ("no camera", "", {"sees": "nothing"}),
        ("kiosk without a camera", "?kiosk=1", {"sees": "nothing"}),
    ):
        page = visit(server.url, where, locale=language, reduced_motion="reduce", **look, **settings)
        has_state(page, "looking")
        found[name] = violations(page)
    pick(page, png(COLOURS["red"]))
    is_answered(page, "hazardous")
    found["kiosk, answered"] = violations(page)
    assert {state: lines for state, lines in found.items() if lines} == {}


def test_who_wants_less_motion_gets_none(visit: Visits, server: Collecting) -> None:
    moving = "() => document.getAnimations().filter(each => each.playState === 'running').length"
    for motion in ("no-preference", "reduce"):
        page = visit(server.url, reduced_motion=motion, first="document.addEventListener('DOMContentLoaded', () => {"
            "window.moved = 0; for (const name of ['animationstart', 'transitionrun'])"
            "addEventListener(name, () => window.moved += 1, true); })")  # fmt: skip
        shoot(page)
        if motion == "no-preference":
            becomes_true(page, lambda page=page: page.evaluate("window.moved") > 0)
        else:
            page.wait_for_timeout(300)
            assert page.evaluate("window.moved") == 0
    assert page.evaluate(moving) == 0


def tab_to(page: Page, selector: str, *, most: int = 30) -> None:
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
    raise AssertionError(f"{most} tabs do not reach {selector}")


def test_the_keyboard_alone_goes_from_a_photo_to_its_correction(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    expect(page.locator("body.live")).to_be_attached()
    tab_to(page, "#shoot")
    page.keyboard.press("Enter")
    is_answered(page, "recyclable")
    assert page.evaluate("document.getElementById('answer').contains(document.activeElement)")
    tab_to(page, "#wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#kinds")).to_be_visible()
    assert page.evaluate("document.getElementById('kinds').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(page.locator("#kinds")).to_be_hidden()
    expect(page.locator("#wrong")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, f'#kinds [data-class="{LEAVES}"]')
    page.keyboard.press("Enter")
    is_answered(page, "kitchen")
    expect(page.locator("#again")).to_be_focused()
    page.keyboard.press("Space")
    has_state(page, "looking")
    expect(page.locator("#shoot")).to_be_focused()
    for opener, sheet in (("#open-history", "#history"), ("#open-settings", "#settings")):
        tab_to(page, opener)
        page.keyboard.press("Enter")
        expect(page.locator(sheet)).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(opener)).to_be_focused()
    page.keyboard.press("Enter")


def test_escape_leaves_an_answer(visit: Visits, server: Collecting) -> None:
    page = visit(server.url)
    shoot(page)
    page.keyboard.press("Escape")
    has_state(page, "looking")


# ---- photos, real where they are here, and a model that was trained on them


@dataclass(frozen=True)
class Sorter:
    bundle: Path
    photo: Path
    kind: str
    """What the model says of this photo."""


@pytest.fixture(scope="module")
def sorter(request: pytest.FixtureRequest, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Sorter:
    """The head of a real network trained on some real photos; where they are not here, colours in drawn ones."""
    folder = tmp_path_factory.mktemp("sorter")
    archive = folder / "garbage.zip"
    try:
        data = request.getfixturevalue("real_data")
    except pytest.skip.Exception:
        for _ in write_archive(archive, train=1, val=3):
            pass
        for _ in extract(archive, folder / "data"):
            pass
    else:
        for _ in extract(data / "garbage.rar", folder / "data"):
            pass
        bundle = trained(folder, data / "MobileNetV2_imagenet.pdparams")
    photos = [sample.path for sample in Dataset.load(folder / "data").val][::7]
    answers = list(Predictor.load(bundle).predict(Photo.from_path(path) for path in photos))
    clearest = max(answers, key=lambda each: each.best.score if each.best else 0)
    assert clearest.best
    return Sorter(bundle, photos[answers.index(clearest)], clearest.best.label.name)


def trained(folder: Path, weights: Path) -> Path:
    """Train on 20 photos of each kind."""
    dataset = Dataset.load(folder / "data")
    root = dataset.root
    few = []
    for label in dataset.labels.items:
        few += [sample for sample in dataset.train if sample.class_id == label.class_id][:20]
    (root / "train.txt").write_text("".join(f"./{dataset.name(s.path)} {s.class_id}\n" for s in few), "utf-8")

    def run(*words: object) -> Result:
        said = run_program(*words, cwd=folder)
        assert said.code == 0, said.err
        return said

    run(
        "train",
        "--config",
        "quick",
        "--pretrained",
        weights,
        "--set",
        "preprocess.resize_short=128",
        "--set",
        "preprocess.crop=128",
    )
    run("export")
    return folder / "inference"


def test_a_photo_before_the_camera_is_answered_as_predict_answers_its_file(
    visit: Visits, sorter: Sorter, tmp_path: Path
) -> None:
    with Image.open(sorter.photo) as photo:
        seen = film(tmp_path / "photo.mjpeg", [(photo, 1)])
    with serving(sorter.bundle, "--threshold", 0) as running:
        page = visit(running.url, sees=str(seen), viewport={"width": 1280, "height": 960})
        has_state(page, "looking")
        expect(page.locator("body.live")).to_be_attached()
        page.click("#shoot")
        has_state(page, "answered")
        expect(page.locator("#answer-kind")).to_have_text(sorter.kind)
        assert sorter.kind in str(spoken(page)[0]["text"])
