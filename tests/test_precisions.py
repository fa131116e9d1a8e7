"""What narrower numbers cost, when they ship, and whether a bundle still answers what it answered at its export."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Result, make_colour_bundle
from test_training import NETWORK, config, run

from garbage_cli import exporter
from garbage_cli.bundle import INT8_MODEL, MANIFEST_FILE, ONNX_FILE, Checkpoint, ModelBundle, Quality
from garbage_cli.card import CARD_FILE
from garbage_cli.config import PreprocessConfig
from garbage_cli.dataset import Dataset
from garbage_cli.engines import Choice, open_engine
from garbage_cli.engines.choosing import candidates
from garbage_cli.engines.openvino import has_bf16
from garbage_cli.engines.speeds import deviation, probes
from garbage_cli.errors import BundleError
from garbage_cli.exporter import Checked, Compared, Exported, Step, check, precisions
from garbage_cli.exporter.precisions import (
    ALLOWED_BIN_DROP,
    ALLOWED_DROP,
    LEAST_AGREEMENT,
    LEAST_PHOTOS,
    Reference,
    calibration_inputs,
    of_reference,
)
from garbage_cli.quantization import quantise
from garbage_cli.reports import Finished

Reports = list[object]
PRECISIONS = ["f32", *(["bf16"] if has_bf16() else []), "int8"]


@pytest.fixture(scope="session")
def checkpoint(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    output = tmp_path_factory.mktemp("precisions")
    assert isinstance(run(config(epochs=1), drawn, output)[-1], Finished)
    return Checkpoint.load(output / NETWORK)


def exported(checkpoint: Checkpoint, out: Path) -> tuple[Reports, ModelBundle]:
    reports: Reports = list(exporter.export(checkpoint, out=out, narrow=True))
    assert isinstance(reports[-1], Exported)
    return reports, reports[-1].bundle


@pytest.fixture(scope="session")
def narrow(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Reports, ModelBundle]:
    """What an export with narrower numbers says and makes, where a few photos are enough to judge by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precisions, "LEAST_PHOTOS", 1)
        return exported(checkpoint, tmp_path_factory.mktemp("narrow") / "inference")


@pytest.fixture
def own(narrow: tuple[Reports, ModelBundle], tmp_path: Path) -> Path:
    """A copy of the bundle of its own."""
    return Path(shutil.copytree(narrow[1].root, tmp_path / "inference"))


def steps(reports: Reports) -> list[str]:
    return [each.what for each in reports if isinstance(each, Step)]


def deciding(monkeypatch: pytest.MonkeyPatch, *ships: bool) -> None:
    """Let one attempt at int8 after the other be good enough or not, whatever the network gives; bf16 as it is."""
    measure, verdicts = precisions.measure, list(ships)

    def measuring(precision: str, *arguments: Any) -> Quality:
        quality = measure(precision, *arguments)
        return replace(quality, ships=verdicts.pop(0)) if precision == "int8" else quality

    monkeypatch.setattr(precisions, "measure", measuring)


# ---- the export


def test_the_manifest_has_each_precisions_figures_and_answers(narrow: tuple[Reports, ModelBundle]) -> None:
    reports, bundle = narrow
    found = bundle.precisions
    assert list(found) == PRECISIONS
    assert found["f32"].ships
    before = found["f32"].bin_accuracy or 0
    for quality in found.values():
        assert quality.photos == 16
        assert 0 <= (quality.top1 or 0) <= 1
        assert quality.drop == pytest.approx((found["f32"].top1 or 0) - (quality.top1 or 0))
        good = (quality.agreement or 0) >= LEAST_AGREEMENT and before - (quality.bin_accuracy or 0) <= ALLOWED_BIN_DROP
        assert quality.ships == ((quality.drop or 0) <= ALLOWED_DROP + 1e-9 and good)
        assert (quality.answered, quality.right_of_answered) == (None, None)  # no threshold was measured
        assert f"top-1 {100 * (quality.top1 or 0):.1f} %" in quality.why
        assert 0 <= (quality.agreement or 0) <= 1
        assert (quality.bin_accuracy or 0) >= (quality.top1 or 0)
    assert (found["f32"].drop, found["f32"].agreement) == (0, 1)
    compared = [each for each in reports if isinstance(each, Compared)]
    assert {each.precision: each.quality for each in compared} == found  # of int8, the last attempt
    recorded = bundle.facts["probes"]
    assert sorted(recorded) == sorted(name for name, quality in found.items() if quality.ships)
    for precision, rows in recorded.items():
        assert np.shape(rows) == (4, len(bundle.labels))
        np.testing.assert_allclose(np.sum(rows, axis=1), 1, atol=1e-3)
        engine = open_engine(Choice("openvino", precision), bundle)
        scores = np.concatenate([engine.infer(each[None]) for each in probes(bundle.input_shape)])
        np.testing.assert_allclose(scores, rows, atol=1e-4, err_msg=precision)


def test_the_files_of_int8_are_there_exactly_if_it_is_good_enough(narrow: tuple[Reports, ModelBundle]) -> None:
    bundle = narrow[1]
    ships = bundle.precisions["int8"].ships
    for name in INT8_MODEL:
        assert bundle.has(name) == (bundle.root / name).is_file() == ships
    assert (Choice("openvino", "int8") in candidates(bundle)) <= ships


@pytest.mark.slow
def test_int8_that_is_good_enough_at_once_is_tried_once_and_kept(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding(monkeypatch, True)
    reports, bundle = exported(checkpoint, tmp_path / "inference")
    assert [each for each in steps(reports) if "quantising" in each] == ["quantising on 32 training photos"]
    assert all(bundle.has(name) for name in INT8_MODEL)
    assert "int8" in bundle.facts["probes"]
    f32, int8 = (np.array(bundle.facts["probes"][name]) for name in ("f32", "int8"))
    assert deviation(int8, f32.tolist()) > 0
    open_engine(Choice("openvino", "int8"), bundle)


@pytest.mark.slow
def test_int8_gets_a_second_try_with_layers_in_floats_and_is_then_removed(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding(monkeypatch, False, False)
    kept: list[tuple[int, int]] = []

    def quantising(*arguments: Any, keep: int) -> None:
        quantise(*arguments, keep=keep)
        kept.append((keep, (arguments[2] / INT8_MODEL[0]).read_text().count('type="FakeQuantize"')))

    monkeypatch.setattr(exporter, "quantise", quantising)
    reports, bundle = exported(checkpoint, tmp_path / "inference")
    assert [keep for keep, _ in kept] == [0, 10]
    assert kept[0][1] > kept[1][1] > 0  # the first layers are left as they were
    assert [each for each in steps(reports) if "quantising" in each] == [
        "quantising on 32 training photos",
        "quantising on 32 training photos, 10 layers kept in f32",
    ]
    assert not any(bundle.has(name) or (bundle.root / name).exists() for name in INT8_MODEL)
    assert not bundle.precisions["int8"].ships  # its figures are told all the same
    assert "int8" not in bundle.facts["probes"]


@pytest.mark.slow
def test_int8_that_can_not_be_made_is_said_and_the_rest_exported(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*arguments: Any, keep: int) -> None:
        (arguments[2] / INT8_MODEL[0]).write_text("half a network")
        raise BundleError("this network can't be quantised: no reason")

    monkeypatch.setattr(exporter, "quantise", refusing)
    reports, bundle = exported(checkpoint, tmp_path / "inference")
    assert "int8 is left out: this network can't be quantised: no reason" in steps(reports)
    assert "int8" not in bundle.precisions
    assert not (bundle.root / INT8_MODEL[0]).exists()
    assert bundle.precisions["f32"].ships


def test_without_the_photos_there_is_only_f32_and_a_word_why(checkpoint: Checkpoint, tmp_path: Path) -> None:
    gone = replace(checkpoint, data=tmp_path / "gone")
    reports, bundle = exported(gone, tmp_path / "inference")
    said = [each for each in steps(reports) if each.startswith("bf16 and int8 are left out, for there are no photos")]
    assert len(said) == 1
    assert str(tmp_path / "gone") in said[0]
    assert bundle.precisions == {}
    assert not any(bundle.has(name) for name in INT8_MODEL)
    assert {each.precision for each in candidates(bundle)} == {"f32"}
    assert "narrower numbers" not in (bundle.root / CARD_FILE).read_text(encoding="utf-8")


def test_the_card_lists_the_precisions(narrow: tuple[Reports, ModelBundle]) -> None:
    bundle = narrow[1]
    card = (bundle.root / CARD_FILE).read_text(encoding="utf-8")
    part = card.partition("## In narrower numbers")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("|")][2:]
    assert [row.split("|")[1].strip() for row in rows] == PRECISIONS
    for row, quality in zip(rows, bundle.precisions.values(), strict=True):
        assert f"{100 * (quality.top1 or 0):.1f}" in row


def test_a_network_that_nncf_can_not_read_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / ONNX_FILE).write_bytes(b"no network")
    with pytest.raises(BundleError, match="can't be quantised") as error:
        quantise(tmp_path / ONNX_FILE, [np.zeros((1, 3, 32, 32), np.float32)], tmp_path, keep=0)
    assert "\n" not in str(error.value)


# ---- the photos that the ranges of 8-bit numbers are from


def test_calibration_takes_photos_of_all_kinds_in_turn(
    drawn: Dataset, narrow: tuple[Reports, ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, kinds = narrow[1], len(drawn.labels)
    taken: list[int] = []
    one = precisions._one

    def noting(sample: Any, **rest: Any) -> Any:
        values, class_id = one(sample, **rest)
        assert values is None or values.shape == bundle.input_shape
        return values, class_id

    monkeypatch.setattr(precisions, "_one", noting)
    inputs_of = precisions._inputs

    def listening(samples: Any, *rest: Any) -> Any:
        taken.extend(sample.class_id for sample in samples)
        return inputs_of(samples, *rest)

    monkeypatch.setattr(precisions, "_inputs", listening)
    inputs = calibration_inputs(drawn, bundle)
    assert len(inputs) == len(drawn.train) == 4 * kinds
    assert {each.shape for each in inputs} == {(1, *bundle.input_shape)}
    for turn in range(4):
        assert len(set(taken[turn * kinds : (turn + 1) * kinds])) == kinds
    # of a kind with few photos all are taken, and few in all are spread over the kinds
    few = replace(drawn, train=tuple(each for each in drawn.train if each.class_id < 2 or each == drawn.train[-1]))
    monkeypatch.setattr(precisions, "CALIBRATION", 5)
    taken.clear()
    assert len(calibration_inputs(few, bundle)) == 5
    assert len(set(taken[:3])) == 3
    assert sorted(np.bincount(taken, minlength=kinds)[:2]) == [2, 2]


def test_a_bad_photo_is_left_out_of_the_calibration(
    drawn: Dataset, narrow: tuple[Reports, ModelBundle], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    broken = replace(drawn, train=(replace(drawn.train[0], path=bad), *drawn.train[1:]))
    assert len(calibration_inputs(broken, narrow[1])) == len(drawn.train) - 1


KINDS = 8


def answering(true: np.ndarray, **wrong: int) -> np.ndarray:
    """Sure and right scores; of the first photos some are wrong by so many kinds: by1=5 of five by one."""
    scores = np.eye(KINDS, dtype=np.float32)[true]
    for name, count in wrong.items():
        scores[:count] = np.roll(scores[:count], int(name.removeprefix("by")), axis=1)
    return scores


def judge(monkeypatch: pytest.MonkeyPatch, base: Reference, scores: np.ndarray, *rest: Any) -> Quality:
    """What is said of these scores, whoever gave them."""
    monkeypatch.setattr(precisions, "_answer", lambda *_: (scores, []))
    return precisions.measure("f32", base, *rest)


def test_half_a_point_may_be_lost_and_no_more(
    drawn: Dataset, narrow: tuple[Reports, ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, count = narrow[1], 1000
    true = np.arange(count) % KINDS
    base = Reference(answering(true), true, None, None)
    for wrong, ships in ((0, True), (5, True), (6, False)):
        quality = judge(monkeypatch, base, answering(true, by1=wrong), drawn, bundle)
        assert (quality.ships, quality.bin_accuracy) == (ships, None)
        assert quality.drop == pytest.approx(wrong / count)
        assert quality.agreement == pytest.approx(1 - wrong / count)
        assert f"on {count} photos" in quality.why
        assert ("0.5 points less are allowed" in quality.why) != ships
    scores = answering(true)
    scores[0, 0] = np.nan
    assert not judge(monkeypatch, base, scores, drawn, bundle).ships


def test_of_few_photos_nothing_is_concluded(
    drawn: Dataset, narrow: tuple[Reports, ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    for count, ships in ((LEAST_PHOTOS - 1, False), (LEAST_PHOTOS, True)):
        true = np.arange(count) % KINDS
        scores = answering(true)
        assert judge(monkeypatch, Reference(scores, true, None, None), scores, drawn, narrow[1]).ships == ships


def test_losses_that_are_made_good_elsewhere_are_losses_too(
    drawn: Dataset, narrow: tuple[Reports, ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = np.arange(1000) % KINDS
    for wrong, ships in ((50, True), (51, False)):
        base = Reference(answering(true, by1=wrong), true, None, None)
        quality = judge(monkeypatch, base, answering(true, by2=wrong), drawn, narrow[1])
        assert (quality.ships, quality.drop, quality.agreement) == (ships, 0, pytest.approx(1 - wrong / 1000))


def test_a_point_of_right_bins_may_be_lost_and_no_more(
    drawn: Dataset, narrow: tuple[Reports, ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = np.arange(1000) // 2 % (KINDS // 2) * 2  # even kinds only, so that the next one is in the same bin
    bins = np.arange(KINDS) // 2
    for wrong, ships in ((10, True), (11, False)):
        base = Reference(answering(true, by1=wrong), true, bins, None)
        quality = judge(monkeypatch, base, answering(true, by2=wrong), drawn, narrow[1])
        assert (quality.ships, quality.drop, quality.bin_accuracy) == (ships, 0, pytest.approx(1 - wrong / 1000))


def test_what_is_answered_at_the_threshold_is_told() -> None:
    true = np.array([0, 0, 1, 1])
    scores = np.full((4, KINDS), 0.01, np.float32)
    scores[[0, 1, 2, 3], [0, 1, 3, 1]] = [0.9, 0.8, 0.7, 0.2]  # of the last it is not sure
    told = [of_reference(Reference(scores, true, bins, 0.5)) for bins in (None, np.arange(KINDS) // 2)]
    assert [each.answered for each in told] == [0.75, 0.75]
    assert [each.right_of_answered for each in told] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    nothing = of_reference(Reference(scores, true, None, 0.95))
    assert (nothing.answered, nothing.right_of_answered) == (0, None)
    unasked = of_reference(Reference(scores, true, None, None))
    assert (unasked.answered, unasked.right_of_answered) == (None, None)


def test_photos_that_come_or_go_while_they_are_answered_are_an_error(
    drawn: Dataset, narrow: tuple[Reports, ModelBundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = np.arange(16) % KINDS
    base = Reference(answering(true), true, None, None)
    with pytest.raises(BundleError, match="photos came or went"):
        judge(monkeypatch, base, answering(true)[1:], drawn, narrow[1])


# ---- export --check


def verdicts(root: Path) -> dict[str, Checked]:
    return {each.what: each for each in check(root)}


def test_a_good_bundle_is_what_was_exported(garbage: Callable[..., Result], own: Path) -> None:
    bundle = ModelBundle.load(own)
    found = verdicts(own)
    assert all(each.good for each in found.values()), found
    assert set(bundle.files) < set(found)
    assert {"openvino f32", "onnxruntime f32", "paddle f32"} < set(found)
    assert "from what it gave when it was exported" in found["onnxruntime f32"].detail
    assert ("openvino int8" in found) == bundle.has(INT8_MODEL[0])
    told = garbage("export", "--check", own)
    assert told.code == 0
    assert "BAD" not in told.out
    assert "is what was exported" in told.err


def test_a_good_bundle_in_json(garbage: Callable[..., Result], own: Path) -> None:
    told = garbage("export", "--check", own, "--json")
    assert told.code == 0
    value = json.loads(told.out)
    assert (value["root"], value["good"]) == (str(own), True)
    assert {each["what"] for each in value["checked"]} == set(verdicts(own))
    assert all(each["good"] is True and each["detail"] for each in value["checked"])


def test_checking_a_bundle_without_paddles_files_or_precisions(garbage: Callable[..., Result], tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    told = garbage("export", "--check", root)
    assert told.code == 0
    assert "ok  openvino f32: runs" in told.out
    assert "paddle" not in told.out


def flip(path: Path) -> None:
    """Change one bit and not the size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def bad_lines(told: Result) -> list[str]:
    return [line for line in told.out.splitlines() if line.startswith("BAD ")]


@pytest.mark.parametrize("name", [ONNX_FILE, "inference.pdiparams", CARD_FILE])
def test_an_altered_file_is_named(garbage: Callable[..., Result], own: Path, name: str) -> None:
    flip(own / name)
    told = garbage("export", "--check", own)
    assert told.code == 1
    (bad,) = bad_lines(told)
    assert bad.startswith(f"BAD {name}: ")
    assert f"{own / name} is not what was exported" in bad
    good = [line for line in told.out.splitlines() if line.startswith("ok ")]
    assert len(good) == len(ModelBundle.load(own).files) - 1  # the other files, and no engine
    assert told.err.splitlines() == [f"{own} should not be used; export the model again"]


def test_each_altered_file_is_named_and_none_hides_another(garbage: Callable[..., Result], own: Path) -> None:
    for name in (ONNX_FILE, CARD_FILE):
        flip(own / name)
    told = garbage("export", "--check", own, "--json")
    assert told.code == 1
    value = json.loads(told.out)
    assert value["good"] is False
    assert {each["what"] for each in value["checked"]} == set(ModelBundle.load(own).files)
    bad = {each["what"]: each["detail"] for each in value["checked"] if not each["good"]}
    assert set(bad) == {ONNX_FILE, CARD_FILE}
    for name, detail in bad.items():
        assert f"{own / name} is not what was exported" in detail


def only_bad(garbage: Callable[..., Result], root: Path, words: str) -> None:
    """Check that a bundle that can't be loaded is one bad row, in text and in JSON."""
    told = garbage("export", "--check", root)
    assert told.code == 1
    assert told.out.splitlines() == bad_lines(told)
    assert told.out.startswith(f"BAD {root}: ")
    assert words in told.out
    assert "Traceback" not in told.err
    told = garbage("export", "--check", root, "--json")
    assert told.code == 1
    value = json.loads(told.out)
    assert value["good"] is False
    ((row),) = value["checked"]
    assert (row["what"], row["good"]) == (str(root), False)
    assert words in row["detail"]


def test_an_altered_description_is_named(garbage: Callable[..., Result], own: Path) -> None:
    flip(own / "inference.yml")
    only_bad(garbage, own, "inference.yml is not what was exported")


@pytest.mark.parametrize("name", [ONNX_FILE, "inference.pdiparams", CARD_FILE])
def test_a_truncated_or_missing_file_is_named(garbage: Callable[..., Result], own: Path, name: str) -> None:
    (own / name).write_bytes((own / name).read_bytes()[:100])
    only_bad(garbage, own, f"{name} has 100 bytes, not ")
    (own / name).unlink()
    only_bad(garbage, own, f"{name} is missing")


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "deep/x", "..", ".", "", "deep\\x", "a\0b"])
def test_a_file_of_another_folder_in_the_manifest_is_refused(
    garbage: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    (tmp_path / "x").write_bytes(b"x")
    (root / "deep").mkdir()
    (root / "deep" / "x").write_bytes(b"x")
    files = json.loads((root / MANIFEST_FILE).read_text(encoding="utf-8"))["files"]
    edit(root, files={**files, name: {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}})
    only_bad(garbage, root, "is no file name")


@pytest.mark.parametrize(
    "entry", [{"bytes": 1}, {"bytes": "1", "sha256": "0" * 64}, {"bytes": 1, "sha256": "0" * 63}, [], None, 7], ids=str
)
def test_a_file_without_size_or_digest_in_the_manifest_is_refused(
    garbage: Callable[..., Result], tmp_path: Path, entry: object
) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    files = json.loads((root / MANIFEST_FILE).read_text(encoding="utf-8"))["files"]
    edit(root, files={**files, "x": entry})
    only_bad(garbage, root, "is incomplete")


FIGURES = {"ships": True, "top1": 0.9, "photos": 300, "drop": 0.0, "agreement": 1.0, "bin_accuracy": None,
           "answered": None, "right_of_answered": None, "why": "top-1 90.0 %"}  # fmt: skip


@pytest.mark.parametrize(
    "facts",
    [
        {"ships": "yes"}, {"ships": 1}, {"ships": None}, {"top1": float("nan")}, {"drop": float("inf")},
        {"agreement": "1"}, {"bin_accuracy": True}, {"answered": []}, {"right_of_answered": float("nan")},
        {"unknown": 1},
    ],
    ids=str,
)  # fmt: skip
def test_figures_of_a_precision_that_are_none_are_refused(
    garbage: Callable[..., Result], tmp_path: Path, facts: dict[str, object]
) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    edit(root, precisions={"f32": FIGURES, "int8": FIGURES})
    assert ModelBundle.load(root).precisions["int8"].ships
    edit(root, precisions={"f32": FIGURES, "int8": {**FIGURES, **facts}})
    with pytest.raises(BundleError, match="is incomplete"):
        ModelBundle.load(root)
    only_bad(garbage, root, "is incomplete")


@pytest.mark.parametrize(
    "rows",
    [[], "text", [[0.5, 0.5]], [[0.2, 0.3, float("nan")]], [[0.2, 0.3, "0.5"]], [0.2, 0.3, 0.5], {"0": [1, 0, 0]}],
    ids=str,
)
def test_recorded_answers_that_are_no_scores_are_refused(
    garbage: Callable[..., Result], tmp_path: Path, rows: object
) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    edit(root, probes={"f32": rows})
    only_bad(garbage, root, "is incomplete")


def edit(root: Path, **facts: Any) -> None:
    manifest = json.loads((root / MANIFEST_FILE).read_text(encoding="utf-8"))
    (root / MANIFEST_FILE).write_text(json.dumps({**manifest, **facts}), encoding="utf-8")


def test_a_network_whose_answers_are_others_now_is_bad(garbage: Callable[..., Result], own: Path) -> None:
    others = [[1.0, *row[1:]] for row in np.zeros((4, len(ModelBundle.load(own).labels))).tolist()]
    edit(own, probes={"f32": others})
    told = garbage("export", "--check", own)
    assert told.code == 1
    for engine in ("openvino", "onnxruntime", "paddle"):
        assert f"BAD {engine} f32: " in told.out
    assert f"ok  {ONNX_FILE}: " in told.out
    assert "should not be used; export the model again" in told.err
    told = garbage("export", "--check", own, "--json")
    assert told.code == 1
    value = json.loads(told.out)
    assert value["good"] is False
    bad = [each["what"] for each in value["checked"] if not each["good"]]
    assert bad == ["openvino f32", "onnxruntime f32", "paddle f32"]


@pytest.mark.parametrize("recorded", [[[1, 2]], [[0.5, 0.5]] * 3, "text", {"0": 1}], ids=str)
def test_recorded_answers_that_are_none_are_bad(garbage: Callable[..., Result], own: Path, recorded: object) -> None:
    edit(own, probes={"f32": recorded})
    assert garbage("export", "--check", own).code == 1


def test_engines_that_disagree_are_bad(own: Path, tmp_path: Path) -> None:
    """The ONNX file of another network under a manifest of its own: each file is what it says, and they disagree."""
    colours = make_colour_bundle(tmp_path / "colours")
    shutil.copy(colours / ONNX_FILE, own / ONNX_FILE)
    for name in INT8_MODEL:
        (own / name).unlink(missing_ok=True)
    bundle = ModelBundle.load(colours)
    for name in ("inference.json", "inference.pdiparams"):
        shutil.copy(own / name, colours / name)
    spec = PreprocessConfig(resize_short=32, crop=32)
    ModelBundle.save(colours, name="Mixed", labels=bundle.labels, preprocess=spec, facts={"parity": {}})
    found = verdicts(colours)
    assert found["openvino f32"].good
    assert not found["paddle f32"].good
    assert "has 3 labels for a network that gives" in found["paddle f32"].detail


def test_an_engine_that_is_not_installed_is_no_fault_of_the_bundle(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("garbage_cli.exporter.checking.is_installed", lambda name: name == "openvino")
    found = verdicts(own)
    assert found["paddle f32"].good
    assert found["paddle f32"].detail == "not installed here"


def test_an_engine_that_can_not_run_it_is_bad_only_if_it_could_at_the_export(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opening(choice: Choice, bundle: ModelBundle, *, kept: bool) -> Any:
        if choice.engine == "paddle":
            raise BundleError("it can't")
        return open_engine(choice, bundle, kept=kept)

    monkeypatch.setattr("garbage_cli.exporter.checking.open_engine", opening)
    assert not verdicts(own)["paddle f32"].good
    edit(own, parity={"openvino": 0.0, "onnxruntime": 0.0})
    found = verdicts(own)["paddle f32"]
    assert found.good
    assert found.detail == "left out at the export too: it can't"


@pytest.mark.parametrize("place", ["nowhere", "a file"])
def test_what_is_no_bundle_is_one_line(garbage: Callable[..., Result], tmp_path: Path, place: str) -> None:
    (tmp_path / "a file").write_text("text")
    told = garbage("export", "--check", tmp_path / place)
    assert told.code == 1
    assert len(told.err.splitlines()) == 1
    assert place in told.err


def test_a_manifest_of_enormous_numbers_or_depth_is_one_line(own: Path) -> None:
    text = (own / "garbage.json").read_text(encoding="utf-8")
    edit(own, probes={"f32": [[10**400] * 8] * 4})
    assert not list(check(own))[-1].good
    (own / "garbage.json").write_text('{"a":' + "[" * 100_000, encoding="utf-8")
    assert "is damaged" in next(iter(check(own))).detail
    (own / "garbage.json").write_text(text, encoding="utf-8")


def test_a_bundle_without_a_network_is_bad(tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    manifest = json.loads((root / "garbage.json").read_text(encoding="utf-8"))
    del manifest["files"][ONNX_FILE]
    (root / "garbage.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert [each.what for each in check(root) if not each.good] == ["engines"]
