import base64
import hashlib
import html as html_room
import importlib.util
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import save_photo
from PIL import Image

from garbage_cli import report
from garbage_cli.errors import MissingExtraError
from garbage_cli.evaluation import Served, evaluate
from garbage_cli.evaluation.comparing import compare
from garbage_cli.evaluation.values import (
    Answers,
    Comparison,
    Difference,
    Estimate,
    Evaluation,
    Source,
    Speed,
    Subject,
    Unreadable,
)
from garbage_cli.labels import THE_40, Label, Labels
from garbage_cli.report import words

SIX = Labels.parse(
    [f"可回收物/{kind}" for kind in ("纸板箱", "玻璃瓶", "金属罐", "纸张", "塑料瓶")] + ["其他垃圾/其他"]
)
SUBJECT = Subject(
    name="PPLCNet_x1_0", source="output/PPLCNet_x1_0", form="checkpoint", weights="best_model.pdparams",
    sha256="0123456789abcdef" * 4, crop=224, epoch=11, config={"model": "PPLCNet_x1_0", "epochs": 12, "note": "<b>&"},
    versions={"garbage-cli": "0.4.0", "paddlepaddle": "3.3.1"},
)  # fmt: skip
SPEED = Speed("openvino", cores=2, photos=328, images_per_second=212.4, single=50, ms_p50=6.31, ms_p99=9.87)


def answers(labels: Labels, photos: int, *, skill: float = 3.0, seed: int = 0, strangers: int = 0) -> Answers:
    """Made up: every kind looks a little like its neighbours, and the scores promise too much."""
    rng = np.random.default_rng(seed)
    kinds = len(labels)
    true = np.sort(np.random.default_rng(99).integers(0, kinds, photos))
    looks = rng.normal(size=(photos + strangers, kinds)) * 1.1
    looks[np.arange(photos), true] += skill
    looks[np.arange(photos), np.minimum(true + 1, kinds - 1)] += rng.exponential(1.0, photos)
    scores = np.exp(1.6 * looks - (1.6 * looks).max(axis=1, keepdims=True))
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return Answers(
        labels,
        tuple(f"{kind}/img_{i}.jpg" for i, kind in enumerate(true.tolist())),
        true,
        scores[:photos],
        unreadable=(Unreadable("3/broken.jpg", "damaged or incomplete image"),),
        strangers=tuple(f"new/{i}.jpg" for i in range(strangers)),
        stranger_kinds=("海绵",) * strangers,
        stranger_scores=scores[photos:],
    )


def evaluation(of: Answers, *, speed: Speed | None = SPEED, served: Served | None = None) -> Evaluation:
    source = Source("data/garbage", "val", "AI Studio lists", len(of.names) + len(of.unreadable), 0)
    return evaluate(of, subject=SUBJECT, source=source, speed=speed, served=served)


def comparison(labels: Labels, photos: int, *, skills: tuple[float, float] = (2.6, 3.0)) -> Comparison:
    a, b = (answers(labels, photos, skill=skill, seed=seed) for seed, skill in enumerate(skills))
    return compare(evaluation(a), a, evaluation(b), b)


# ---- the files


@pytest.fixture(scope="module")
def six() -> Evaluation:
    return evaluation(answers(SIX, 328, strangers=40))


@pytest.fixture(scope="module")
def forty() -> Evaluation:
    return evaluation(answers(THE_40, 600, skill=3.6))


def page(of: Evaluation, photos: Mapping[str, Path] | None = None) -> str:
    return report.page.render(of, photos=photos or {}, confusion=b"png")


def test_a_report_is_a_page_its_figures_and_plots(six: Evaluation, tmp_path: Path) -> None:
    written = report.write(six, tmp_path / "报 告", photos={})
    assert written == tmp_path / "报 告" / "report.html"
    plots = {"confusion.png", "bins.png", "reliability.png", "coverage.png", "classes.png"}
    assert {path.name for path in written.parent.iterdir()} == {"report.html", "metrics.json", *plots}
    assert json.loads((written.parent / "metrics.json").read_text(encoding="utf-8"))["top1"] == six.top1.value
    for name in plots:
        with Image.open(written.parent / name) as picture:
            assert picture.format == "PNG"
            assert 300 < picture.width < 2000
            assert 150 < picture.height < 2000


def test_the_same_evaluation_gives_the_same_bytes(six: Evaluation, tmp_path: Path) -> None:
    first, second = (report.write(six, tmp_path / name, photos={}).parent for name in ("a", "b"))
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_plot_of_bins_goes_when_there_are_none(six: Evaluation, tmp_path: Path) -> None:
    report.write(six, tmp_path, photos={})
    report.write(evaluation(answers(BARE, 60)), tmp_path, photos={})
    assert not (tmp_path / "bins.png").exists()
    assert (tmp_path / "confusion.png").exists()


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_without_a_package_the_extra_is_named(
    module: str, six: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(MissingExtraError, match=rf"{module}.*garbage-cli\[evaluate\]"):
        report.write(six, tmp_path, photos={})
    with pytest.raises(MissingExtraError, match=module):
        report.plots.classes(six) if module == "matplotlib" else report.require_extras()


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    names = ("0/\udcb5\udcff.jpg", "0/\x1b[31m.jpg", "0/\u202egpj.a\u2028b\n.jpg")
    found = answers(SIX, 60, skill=0.5)
    each = evaluation(replace(found, names=names * 20))
    each = replace(each, subject=replace(SUBJECT, name="net \ud800", source="out/\udcb5"))
    html = report.write(each, tmp_path, photos={}).read_text(encoding="utf-8")
    for said in (r"0/\xb5\xff.jpg", r"net \ud800 on", r"out/\xb5", r"0/\x1b[31m.jpg", r"0/\u202egpj.a\u2028b\n.jpg"):
        assert said in html
    mistaken = {each["image"] for each in json.loads((tmp_path / "metrics.json").read_text("utf-8"))["mistakes"]}
    assert mistaken == {r"0/\xb5\xff.jpg", *names[1:]}


EVIL = "Evil\x1b]0;pwned\x07\u202e"
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def test_no_text_of_a_stranger_steers_the_page(six: Evaluation) -> None:
    config = {"model": EVIL, "note": "one\ntwo\u2028\x7f"}
    subject = replace(SUBJECT, name=EVIL, source=EVIL, config=config, versions={EVIL: EVIL})
    each = replace(six, subject=subject, source=replace(six.source, root=EVIL, split=EVIL), notes=(EVIL,))
    both = comparison(SIX, 60)
    both = replace(both, a=replace(both.a, subject=subject), b=replace(both.b, source=each.source, notes=(EVIL,)))
    for html in (page(each), report.comparison_page.render(both, photos={})):
        checked_page(html)
        assert not STEERING.search(html)
        assert re.search(r"<title>[^<]*Evil\\x1b\]0;pwned\\x07\\u202e", html)
    pre = html_room.unescape(page(each).partition('<pre tabindex="0">')[2].partition("</pre>")[0])
    assert pre.splitlines() == [
        "{", r'  "model": "Evil\u001b]0;pwned\u0007\u202e",', r'  "note": "one\ntwo\u2028\x7f"', "}",
    ]  # fmt: skip


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


STRANGE: dict[str, object] = {
    "versions": ["x"],
    "parity": 5,
    "deep": nested(600),
    "deeper": nested(5000),
    "large": 10**400,
    "larger": 10**5000,
    "none": float("nan"),
    "endless": [float("inf")],
    "date": date(2020, 2, 2),
}


def read_strictly(path: Path) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("versions", [["x"], 5, None, {"a": nested(2000), "b": float("nan"), "c": 10**5000}])
def test_a_strange_manifest_is_shown_as_far_as_it_can_be(versions: Any, six: Evaluation, tmp_path: Path) -> None:
    subject = replace(SUBJECT, config=STRANGE, versions=versions, epoch=STRANGE)  # type: ignore[arg-type]
    written = report.write(replace(six, subject=subject), tmp_path, photos={})
    checked_page(written.read_text(encoding="utf-8"))
    text = shown(written.read_text(encoding="utf-8"))
    assert '"parity": 5' in text
    assert '"none": null' in text
    assert ("<dt>versions" in written.read_text(encoding="utf-8")) == isinstance(versions, dict)
    model = read_strictly(tmp_path / "metrics.json")["model"]
    assert model["config"] == {
        **STRANGE, "deep": model["config"]["deep"], "deeper": model["config"]["deeper"],
        "larger": "a number of 16,610 bits", "none": None, "endless": [None], "date": "2020-02-02",
        "large": "a number of 1,329 bits",
    }  # fmt: skip
    assert model["epoch"] is None


def test_a_long_manifest_is_cut_on_the_page_only(six: Evaluation, tmp_path: Path) -> None:
    each = replace(six, subject=replace(SUBJECT, config={"notes": ["x" * 50] * 10_000}))
    html = report.write(each, tmp_path, photos={}).read_text(encoding="utf-8")
    assert "characters more in metrics.json" in html
    assert len(html) < 300_000
    assert len(read_strictly(tmp_path / "metrics.json")["model"]["config"]["notes"]) == 10_000


def test_what_is_no_number_is_null_in_json(six: Evaluation, tmp_path: Path) -> None:
    nan = float("nan")
    report.write(replace(six, calibration=replace(six.calibration, noise=nan)), tmp_path, photos={})
    metrics = read_strictly(tmp_path / "metrics.json")
    assert metrics["calibration"]["noise"] is None
    assert metrics["top1"] == six.top1.value
    both = replace(comparison(SIX, 60), macro_f1=Estimate(nan, -float("inf"), 0.1))
    report.write_comparison(both, tmp_path, photos={})
    f1 = read_strictly(tmp_path / "comparison.json")["macro_f1"]
    assert (f1["difference"], f1["interval"]) == (None, [None, 0.1])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("step", ["plots.classes", "page.render", "as_json", "staged_file"])
def test_a_report_that_fails_leaves_the_one_before_as_it_was(
    step: str, six: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report.write(six, tmp_path, photos={})
    report.write_comparison(comparison(SIX, 60), tmp_path, photos={})
    before = contents(tmp_path)
    whole = report.staged_file

    def fail(first: object, **_: object) -> Any:
        if isinstance(first, Path) and first.suffix != ".html":
            return whole(first)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"garbage_cli.report.{step}", fail)
    with pytest.raises(OSError, match="No space"):
        report.write(evaluation(answers(BARE, 60)), tmp_path, photos={})
    assert contents(tmp_path) == before


@pytest.mark.parametrize("step", ["comparison_page.render", "comparison_as_json", "staged_file"])
def test_a_comparison_that_fails_leaves_the_one_before_as_it_was(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report.write_comparison(comparison(SIX, 60), tmp_path, photos={})
    before = contents(tmp_path)
    whole = report.staged_file

    def fail(first: object, **_: object) -> Any:
        if isinstance(first, Path) and first.suffix != ".html":
            return whole(first)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"garbage_cli.report.{step}", fail)
    with pytest.raises(OSError, match="No space"):
        report.write_comparison(comparison(SIX, 90), tmp_path, photos={})
    assert contents(tmp_path) == before


def test_a_report_and_a_comparison_share_a_folder_and_say_which_they_are(six: Evaluation, tmp_path: Path) -> None:
    one = report.write(six, tmp_path, photos={})
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    before = contents(tmp_path)
    two = report.write_comparison(comparison(SIX, 60), tmp_path, photos={})
    assert before.items() <= contents(tmp_path).items()
    report.write(six, tmp_path, photos={})
    assert before.items() <= contents(tmp_path).items()
    assert "<title>Evaluation of one model: PPLCNet_x1_0 on val<" in one.read_text(encoding="utf-8")
    assert "<title>Comparison of two models: PPLCNet_x1_0 and PPLCNet_x1_0<" in two.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "known", [None, "no JSON", "[]", "{}", '{"format": 1}', '{"format": 1, "per_bin": []}', '{"per_bin": [1]}']
)
def test_a_picture_that_is_nobodys_plot_stays(known: str | None, tmp_path: Path) -> None:
    (tmp_path / "bins.png").write_bytes(b"mine")
    if known is not None:
        (tmp_path / "metrics.json").write_text(known, encoding="utf-8")
    report.write(evaluation(answers(BARE, 60)), tmp_path, photos={})
    assert (tmp_path / "bins.png").read_bytes() == b"mine"


# ---- the page


class Reader(HTMLParser):
    """Reads a page and holds what is open, what is there and what would be loaded."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.loads: list[str] = []
        self.anchors: list[str] = []
        self.ids: list[str] = []
        self.sorting: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("src", "data", "srcset", "poster", "action") or (key == "href" and tag != "a"):
                self.loads.append(value or "")
            if key == "href" and tag == "a":
                self.anchors.append(value or "")
            if key == "id":
                self.ids.append(value or "")
            if key.startswith("on"):
                self.handlers.append(key)
        if tag == "th" and "data-sort" in dict(attrs):
            self.sorting.append(dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag


def checked_page(html: str) -> Reader:
    """The page read; it is well-formed, loads nothing, and its anchors lead somewhere."""
    reader = Reader(html)
    assert all(load.startswith("data:image/") for load in reader.loads)
    assert not re.search(r"url\(|@import|https?://", html)
    assert len(reader.ids) == len(set(reader.ids))
    assert {anchor.removeprefix("#") for anchor in reader.anchors} <= set(reader.ids)
    assert not reader.handlers
    assert reader.tags["script"] == 1
    return reader


def shown(html: str) -> str:
    """What a person reads, with plain spaces."""
    without = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    text = html_room.unescape(re.sub(r"<[^>]*>", " ", without))
    return " ".join(text.split())


def test_the_page_is_well_formed_and_loads_nothing(six: Evaluation, forty: Evaluation) -> None:
    for each in (six, forty):
        checked_page(page(each))


def test_the_policy_lets_the_one_script_run_and_nothing_else(six: Evaluation) -> None:
    html = page(six)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert policy
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    rules = html_room.unescape(policy[1])
    assert f"script-src 'sha256-{digest}'" in rules
    assert rules.startswith("default-src 'none';")
    assert "img-src data:" in rules


def test_the_headline_says_every_figure_with_its_interval(six: Evaluation) -> None:
    text = shown(page(six))
    assert six.bin_accuracy
    for name, each in (
        ("Right bin", six.bin_accuracy),
        ("Right kind (top-1)", six.top1),
        ("Among the first 5 (top-5)", six.top5),
        ("Macro-F1", six.macro_f1),
    ):
        ends = f"95 %: {100 * each.low:.1f} – {100 * each.high:.1f} %"
        assert f"{name} {100 * each.value:.1f} % {ends}" in text
    assert f"Calibration error (ECE) {100 * six.calibration.ece:.1f} %" in text
    assert "Photos a second 212" in text
    for note in six.notes:
        assert note in text


def test_every_kind_has_its_figures_the_worst_first(six: Evaluation) -> None:
    html = page(six)
    table = html.partition('id="kinds"')[2].partition("</section>")[0]
    rows = [shown(row) for row in table.partition("<tbody>")[2].split("</tr>")[:-1]]
    worst_first = sorted(six.kinds, key=lambda each: each.f1.value if each.f1 else 1)
    assert len(rows) == len(six.kinds)
    for row, each in zip(rows, worst_first, strict=True):
        values = [f"{100 * e.value:.1f} %" for e in (each.f1, each.precision, each.recall) if e]
        assert row.startswith(f"{each.label.class_id} {each.label.name} {each.label.english} {values[0]}")
        assert all(value in row for value in values)
        assert f" {each.photos} {each.label.bin_name}" in row


def test_columns_can_be_sorted_with_the_keyboard_and_say_how_they_are(six: Evaluation) -> None:
    html = page(six)
    reader = checked_page(html)
    assert [head for head in reader.sorting if head.get("aria-sort")] == [
        {"scope": "col", "data-sort": "number", "aria-sort": "ascending"}
    ]
    assert html.count('<button type="button">') == 7
    keys = re.findall(r'data-key="([^"]*)"><div><b>([\d.]+)', html)
    assert keys
    assert all(f"{100 * float(key):.1f}" == value for key, value in keys)


def test_confusions_come_with_their_cost_in_words(forty: Evaluation) -> None:
    text = shown(page(forty))
    first = forty.confusions[0]
    assert first.cost.words == "hazardous thrown elsewhere"
    said = f"{first.true.name} {first.true.english} {first.answered.name} {first.answered.english}"
    assert f"{first.cost.words} {said} {first.photos} {100 * first.share:.1f} %" in text
    assert f"and {len(forty.confusions) - 16} more pairs; metrics.json has all" in text
    total = sum(each.photos for each in forty.confusions if each.cost == first.cost)
    assert f"hazardous thrown elsewhere: {total} photos" in text


def test_the_confusion_holds_every_count(six: Evaluation, forty: Evaluation) -> None:
    for each in (six, forty):
        table = page(each).partition('id="confusion"')[2].partition("</table>")[0]
        cells = [int(cell or 0) for cell in re.findall(r"<td[^>]*>(\d*)</td>", table)]
        assert cells == each.confusion.ravel().tolist()


def test_the_threshold_and_the_scores_are_said_in_sentences(six: Evaluation) -> None:
    text = shown(page(six))
    given = six.rejection
    assert given.precision
    assert (
        f"At the threshold {given.threshold:.2f}, {100 * given.coverage.value:.1f} % of photos are answered, "
        f"and of those {100 * given.precision.value:.1f} % go to the right bin." in text
    )
    assert given.strangers
    assert f"Of 40 photos, {100 * given.strangers.refused:.1f} % are under the threshold" in text
    assert f"AUROC of {given.strangers.auroc:.3f}" in text
    assert f"share of right answers differ by {100 * six.calibration.ece:.1f} % on average" in text
    assert f"Without the temperature it would be {100 * six.calibration.ece_uncalibrated:.1f} %" in text


def test_what_came_with_a_bundle_is_not_said_to_be_chosen_here() -> None:
    text = shown(page(evaluation(answers(SIX, 200), served=Served(1.5, 0.5))))
    assert "The temperature came with the bundle and is 1.50" in text
    assert "It came with the bundle; the precision of 99.0 % that is asked of it is" in text
    assert "chosen on these very photos" not in text


def test_a_bundle_without_a_threshold_is_told_what_it_could_have() -> None:
    each = evaluation(answers(SIX, 200, strangers=30), served=Served(1.5, None))
    text = shown(page(each))
    assert each.rejection.proposed
    assert (
        f"This bundle carries no threshold and always answers; {each.rejection.threshold:.2f} would give an answer to "
        f"{100 * each.rejection.coverage.value:.1f} % of photos, and of those" in text
    )
    assert "go to the right bin. Export it again to have it." in text
    assert "would be answered" in text
    assert f"proposed threshold {each.rejection.threshold:.2f}" in text
    assert "would say “not sure”" not in text
    assert "At the threshold" not in text


@pytest.mark.parametrize(
    ("number", "said"), [(200, "20 answers"), (40, "20 answers"), (31, "16 answers"), (1, "1 answer")]
)
def test_where_no_threshold_is_good_enough_it_says_how_many_answers_it_must_leave(
    number: int, said: str, six: Evaluation
) -> None:
    rejection = replace(six.rejection, reached=False, asked=0.999)
    sentence = words.of_choice(rejection, number=number).replace(words.NO_BREAK, " ")
    assert sentence.startswith(f"No threshold that leaves {said} gives the precision of 99.9 % that was asked for;")


@pytest.mark.parametrize(("reached", "said"), [(True, "is reached"), (False, "is not reached")])
def test_a_bundle_is_held_to_what_it_promises(reached: bool, said: str, six: Evaluation) -> None:
    rejection = replace(six.rejection, fitted_here=False, reached=reached, asked=0.95)
    sentence = words.of_choice(rejection, number=200).replace(words.NO_BREAK, " ")
    assert sentence == f"It came with the bundle; the precision of 95.0 % that is asked of it {said} here."


@pytest.mark.parametrize(("noise", "said"), [(0.0712, "about 7 %"), (0.0043, "about 0.4 %")])
def test_what_chance_makes_of_the_calibration_error_is_said_beside_it(noise: float, said: str, six: Evaluation) -> None:
    text = shown(page(replace(six, calibration=replace(six.calibration, noise=noise))))
    assert text.count(f"By chance, even perfect scores would show {said} on 328 photos.") == 2


@pytest.mark.parametrize("noise", [None, 0.0])
def test_where_chance_makes_no_error_nothing_is_said(noise: float | None, six: Evaluation) -> None:
    assert "By chance" not in shown(page(replace(six, calibration=replace(six.calibration, noise=noise))))


def test_charts_have_their_points_inside(six: Evaluation) -> None:
    html = page(six)
    assert html.count("<svg") == 2
    for points in re.findall(r'<polyline[^>]* points="([^"]*)"', html):
        for pair in points.split():
            x, y = map(float, pair.split(","))
            assert 44 <= x <= 346
            assert 12 <= y <= 230


def test_mistakes_are_shown_with_photos(six: Evaluation, tmp_path: Path) -> None:
    first, second = six.mistakes[:2]
    photos = {
        first.name: save_photo(tmp_path / "a.jpg", (200, 20, 30), (900, 600)),
        second.name: tmp_path / "gone.jpg",
    }
    html = page(six, photos)
    pictures = re.findall(r"data:image/jpeg;base64,([\w+/=]+)", html)
    assert len(pictures) == 1
    assert Image.open(io.BytesIO(base64.b64decode(pictures[0]))).size == (256, 171)
    assert html.count("no picture") == min(48, len(six.mistakes)) - 1
    said = f"true {first.true.name} {first.true.english}"
    assert said in shown(html)
    refused = sum(each.refused for each in six.mistakes[:48])
    assert html.count("would say “not sure”") == refused


def test_of_many_mistakes_and_unreadable_photos_the_first_are_shown_and_the_rest_counted() -> None:
    found = answers(SIX, 400, skill=0.3)
    bad = tuple(Unreadable(f"bad/{i}.jpg", "empty file") for i in range(130))
    each = evaluation(replace(found, unreadable=bad))
    html = page(each)
    assert html.count('<div class="picture">') == 48
    assert f"and {len(each.mistakes) - 48} more; metrics.json names all" in shown(html)
    assert "bad/99.jpg: empty file" in shown(html)
    assert "bad/100.jpg" not in html
    assert "and 30 more; metrics.json names all" in shown(html)


def test_what_strangers_named_stays_text(tmp_path: Path) -> None:
    labels = Labels.parse(["<script>alert(1)<\"'", "可回收物/<img src=x onerror=alert(2)>", "$x_{1}$ \\frac", "纸张"])
    found = answers(labels, 80, skill=0.5)
    name = '"><img src=x>.jpg'
    subject = replace(SUBJECT, name="<b>net</b>", source="</title><script>", config={"</pre>": "<script>"})
    each = evaluation(replace(found, names=tuple(f"{i}{name}" for i in range(80))))
    each = replace(each, subject=subject, notes=("<script>note",), unreadable=(Unreadable(name, "<i>why"),))
    written = report.write(each, tmp_path, photos={})
    reader = checked_page(written.read_text(encoding="utf-8"))
    assert reader.tags["img"] == 0
    assert not reader.tags.keys() & {"pre>", "net"}
    text = shown(written.read_text(encoding="utf-8"))
    for word in ("<script>alert(1)<\"'", "<img src=x onerror=alert(2)>", "$x_{1}$", name, "<b>net</b>", "<i>why"):
        assert word in text


# ---- what is missing or much


BARE = Labels.parse(["glass", "paper", "metal"])


def perfect(labels: Labels, photos: int) -> Answers:
    true = np.arange(photos) % len(labels)
    scores = np.full((photos, len(labels)), 0.01, np.float32)
    scores[np.arange(photos), true] = 1 - 0.01 * (len(labels) - 1)
    return Answers(labels, tuple(f"{i}.jpg" for i in range(photos)), true, scores)


ODD = {
    "labels without bins": lambda: evaluation(answers(BARE, 60)),
    "some without bins": lambda: evaluation(answers(Labels.parse(["可回收物/纸张", "glass", "my bin/wood"]), 60)),
    "kinds without photos": lambda: evaluation(replace_kinds(answers(THE_40, 300))),
    "one kind": lambda: evaluation(perfect(Labels.parse(["可回收物/纸张"]), 12)),
    "no mistake": lambda: evaluation(perfect(SIX, 60)),
    "one photo": lambda: evaluation(perfect(SIX, 1)),
    "nothing right": lambda: evaluation(wrong(SIX, 60)),
    "no speed": lambda: evaluation(answers(SIX, 60), speed=None),
    "a threshold that nothing reaches": lambda: evaluation(answers(SIX, 60), served=Served(1.0, 1.1)),
    "61 kinds": lambda: evaluation(answers(Labels.parse([f"kind {i}" for i in range(61)]), 300)),
}


def replace_kinds(found: Answers) -> Answers:
    """Only kinds 0 to 9 have photos."""
    return replace(found, true=found.true % 10)


def wrong(labels: Labels, photos: int) -> Answers:
    found = perfect(labels, photos)
    return replace(found, true=(found.true + 1) % len(labels))


@pytest.mark.parametrize("what", ODD)
def test_what_is_odd_is_drawn_too(what: str, tmp_path: Path) -> None:
    each: Evaluation = ODD[what]()
    written = report.write(each, tmp_path, photos={})
    html = written.read_text(encoding="utf-8")
    checked_page(html)
    assert (tmp_path / "bins.png").exists() == bool(each.bins)
    assert "nan" not in re.findall(r"\w+", shown(html).lower())
    assert ("Photos a second —" in shown(html)) == (each.speed is None)
    assert ("Right bin —" in shown(html)) == (each.bin_accuracy is None)


def test_what_is_not_known_is_a_dash_with_its_reason() -> None:
    table = page(ODD["kinds without photos"]()).partition('id="kinds"')[2].partition("</table>")[0]
    assert shown(table).count("— no photo") == 60


def test_top_5_of_few_kinds_is_said_to_be_no_merit() -> None:
    text = shown(page(ODD["no speed"]()))
    assert "Among the first 5 (top-5)" in text
    text = shown(page(ODD["labels without bins"]()))
    assert "Among the first 3 (top-3) 100.0 %" in text
    assert "The model knows no more than 3 kinds, so this is always 100 %." in text


def test_a_thousand_kinds_make_a_page_that_opens(tmp_path: Path) -> None:
    labels = Labels.parse([f"可回收物/kind {i}" for i in range(1000)])
    written = report.write(evaluation(answers(labels, 2000, skill=5)), tmp_path, photos={})
    html = written.read_text(encoding="utf-8")
    checked_page(html)
    assert "1000 kinds are too many for a table" in html
    assert html.count("data:image/png;base64,") == 1
    assert len(html) < 3_000_000
    with Image.open(tmp_path / "classes.png") as picture:
        assert picture.height < 2500


def test_a_thousand_bins_make_a_page_that_opens(tmp_path: Path) -> None:
    labels = Labels.parse([f"bin {i}/kind {i}" for i in range(1000)])
    written = report.write(evaluation(answers(labels, 2000, skill=5)), tmp_path, photos={})
    html = written.read_text(encoding="utf-8")
    checked_page(html)
    assert "1000 bins are too many for a table of who is taken for whom; bins.png" in shown(html)
    assert (tmp_path / "bins.png").exists()
    assert len(html) < 4_000_000


def test_the_footer_says_what_the_intervals_are_worth(six: Evaluation) -> None:
    assert "those of macro figures somewhat less often" in shown(page(six))


def test_without_a_chinese_font_plots_have_english_names_or_numbers(
    forty: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report.plots, "CHINESE_FONTS", ())
    assert report.plots.all_plots(forty)  # a missing glyph is a warning, and that an error here
    labels = (
        THE_40[37],
        Label(5, "海绵"),
        Label(0, "有害垃圾", "有害垃圾"),
        Label(1, "$x_{1}$ <b>"),
        Label(2, "a" * 40),
    )
    names = ["dry-cell battery", "5", "Hazardous", "$x_{1}$ <b>", "a" * 17 + "…"]
    assert report.plots._names(labels) == names


def test_with_a_chinese_font_plots_have_chinese_names() -> None:
    from matplotlib import font_manager

    if not {entry.name for entry in font_manager.fontManager.ttflist} & set(report.plots.CHINESE_FONTS):
        pytest.skip("this machine has no font with Chinese")
    labels = (THE_40[37], Label(0, "有害垃圾", "有害垃圾"), Label(1, "很" * 20))
    assert report.plots._names(labels) == ["干电池", "有害垃圾", "很" * 8 + "…"]


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.912, "91.2 %"),
        (1.0, "100.0 %"),
        (0.9997, "99.97 %"),
        (0.0, "0.0 %"),
        (0.99951, "99.95 %"),
        (0.99999, ">99.99 %"),
        (0.99994, "99.99 %"),
        (1 - 1e-12, ">99.99 %"),
        (0.0003, "0.03 %"),
        (0.00001, "<0.01 %"),
    ],
)
def test_a_share_that_is_nearly_all_is_not_said_to_be_all(share: float, said: str) -> None:
    assert words.percent(share).replace(words.NO_BREAK, " ") == said


# ---- two models


def difference(only_a: int, only_b: int, p: float) -> Difference:
    return Difference(0.9, 0.9, Estimate(0.0, -0.01, 0.01), only_a, only_b, p)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            difference(5, 12, 0.143),
            "By kind, B has 12 photos right that A has wrong, A 5 that B has wrong: "
            "p = 0.14, no significant difference.",
        ),
        (
            difference(3, 30, 0.0000013),
            "By kind, B has 30 photos right that A has wrong, A 3 that B has wrong: p < 0.001, B is better.",
        ),
        (
            difference(30, 1, 0.0123),
            "By kind, B has 1 photo right that A has wrong, A 30 that B has wrong: p = 0.012, A is better.",
        ),
        (difference(0, 0, 1.0), "By kind, A and B have the same photos right."),
    ],
)
def test_a_difference_is_a_sentence(found: Difference, said: str) -> None:
    assert words.of_difference(found, "kind") == said


def test_a_comparison_says_by_how_much_and_who_is_right(tmp_path: Path) -> None:
    compared = comparison(SIX, 200, skills=(2.0, 3.0))
    one = compared.disagreements[0]
    photo = save_photo(tmp_path / "a.jpg", (10, 200, 30))
    written = report.write_comparison(compared, tmp_path / "both", photos={one.name: photo})
    assert {path.name for path in written.parent.iterdir()} == {"comparison.html", "comparison.json"}
    html = written.read_text(encoding="utf-8")
    checked_page(html)
    text = shown(html)
    top1 = compared.top1
    assert words.of_difference(top1, "kind") in text
    assert f"Right kind (top-1), B - A {100 * top1.difference.value:+.1f} points" in text.replace("\u2212", "-")
    for verdict, title in (("a", "A is right, B is wrong"), ("b", "B is right, A is wrong"), ("neither", "Neither")):
        number = sum(each.verdict == verdict for each in compared.disagreements)
        assert re.search(rf"{title}[\w ]*: {number} ", text)
    groups = re.split(r"<h3>", html)[1:]
    assert [len(re.findall(r'class="wins">right', group)) for group in groups][2:] == [0]
    first = groups[0]  # B is right
    assert first.count('class="wins"') == min(36, first.count("<li>"))
    assert re.search(r"<dt>B</dt><dd>[^\n]*wins", first)
    assert not re.search(r"<dt>A</dt><dd>[^\n]*wins", first)
    assert html.count("data:image/jpeg;base64,") == 1
    assert json.loads((written.parent / "comparison.json").read_text("utf-8"))["photos"] == 200


@pytest.mark.parametrize("low", [0.01, -0.01])
def test_no_verdict_is_given_on_macro_f1(low: float) -> None:
    both = replace(comparison(SIX, 60), a_macro_f1=0.7512, b_macro_f1=0.8, macro_f1=Estimate(0.0488, low, 0.09))
    text = shown(report.comparison_page.render(both, photos={})).replace("\u2212", "-")
    tile = text.partition("Macro-F1, B - A")[2].partition("Figures")[0]
    assert f"95 %: {100 * low:+.1f} to +9.0 points An interval, no test" in tile
    assert not re.search("better|significant", tile.partition("What must be known")[0])
    assert f"macro-F1 75.1 % 80.0 % +4.9 {100 * low:+.1f} to +9.0 points, an interval, no test" in text


def test_a_model_without_a_threshold_is_compared_as_one_that_always_answers() -> None:
    both = comparison(SIX, 60)
    both = replace(both, a=replace(both.a, rejection=replace(both.a.rejection, proposed=True)))
    coverage = f"{100 * both.b.rejection.coverage.value:.1f} %"
    text = shown(report.comparison_page.render(both, photos={}))
    assert f"answered at its threshold always (no threshold) {coverage}" in text


def test_two_equal_models_are_compared_too(tmp_path: Path) -> None:
    same = answers(BARE, 60)
    written = report.write_comparison(compare(evaluation(same), same, evaluation(same), same), tmp_path, photos={})
    text = shown(written.read_text(encoding="utf-8"))
    checked_page(written.read_text(encoding="utf-8"))
    assert "By kind, A and B have the same photos right." in text
    assert "None: both say the same of every photo." in text
    assert "Right bin, B \u2212 A" not in text


# ---- in a browser


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.skip("no Chromium to open the page with")
    return found


WRAPPER = """<!doctype html><meta charset="utf-8">
<iframe id="f" src="report.html" style="width:WIDTHpx;height:900px;border:0"></iframe><pre id="said"></pre><script>
const said = [];
f.onload = () => {
  const page = f.contentDocument;
  const table = page.querySelector("table.sorts"), head = table.tHead.rows[0].cells;
  const key = cell => cell.dataset.key ?? cell.textContent;
  const column = index => [...table.tBodies[0].rows].map(row => key(row.cells[index]));
  const at = name => [...head].findIndex(each => each.textContent.trim() === name);
  const press = name => {
    head[at(name)].querySelector("button").click();
    return head[at(name)].getAttribute("aria-sort");
  };
  said.push(`live ${table.classList.contains("live")}`, `width ${page.documentElement.scrollWidth}`);
  said.push(`photos ${press("photos")} ${column(at("photos"))}`, `F1 ${press("F1")} ${column(at("F1"))}`);
  said.push(`again ${press("F1")} ${column(at("F1"))}`, `class ${press("class")} ${column(0)}`);
  document.getElementById("said").textContent = "SAID\\n" + said.join("\\n") + "\\nEND";
};
</script>"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_tables_sort_and_nothing_overflows(width: int, tmp_path: Path) -> None:
    program = browser()
    labels = Labels.parse([*THE_40.texts, f"可回收物/{'W' * 80}"])
    found = answers(labels, 500, skill=2)
    true = np.where(found.true == 5, 6, found.true)
    each = evaluation(replace(found, true=true, names=tuple(f"{'x' * 120}{i}.jpg" for i in range(500))))
    report.write(each, tmp_path, photos={})
    (tmp_path / "wrapper.html").write_text(WRAPPER.replace("WIDTH", str(width)), encoding="utf-8")
    done = subprocess.run(
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'browser'}", "--window-size=1400,1000",
            "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom",
            (tmp_path / "wrapper.html").as_uri(),
        ],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    said = html_room.unescape(done.stdout).partition('id="said">SAID\n')[2].partition("\nEND")[0].splitlines()
    assert said, done.stderr
    assert "Content Security Policy" not in done.stderr
    lines = {line.split()[0]: line.split()[1:] for line in said}
    assert lines["live"] == ["true"]
    assert int(lines["width"][0]) <= width
    photos = sorted((kind.photos for kind in each.kinds), reverse=True)
    assert lines["photos"] == ["descending", ",".join(map(str, photos))]
    known = sorted(kind.f1.value for kind in each.kinds if kind.f1)
    for name, direction, wanted in (("F1", "ascending", known), ("again", "descending", known[::-1])):
        way, values = lines[name]
        assert way == direction
        assert [float(value) for value in values.split(",") if value] == pytest.approx(wanted)
        assert values.endswith(",")  # the kind without a photo is last either way
    assert lines["class"] == ["ascending", ",".join(map(str, range(41)))]
