"""`garbage evaluate` over bundles and checkpoints: the predictor that serves, on photos of a folder."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import COLOURS, Result, make_colour_bundle, save_photo
from test_cli import loaded_by, run_main
from test_training import config, run

from garbage_cli.bundle import MANIFEST_FILE, Checkpoint, ModelBundle
from garbage_cli.card import CARD_FILE
from garbage_cli.dataset import Dataset
from garbage_cli.errors import BundleError
from garbage_cli.evaluation.matching import match
from garbage_cli.evaluation.measured import Measured
from garbage_cli.evaluation.plain import as_json
from garbage_cli.evaluator import Evaluated, evaluate, open_model, recall
from garbage_cli.exporter import export
from garbage_cli.labels import Labels
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.report import write
from garbage_cli.reports import Finished

Garbage = Callable[..., Result]

KINDS = ["可回收物/易拉罐", "有害垃圾/干电池", "厨余垃圾/菜叶菜根"]
"""The kinds of the bundle that knows colours, in another order than the bundle's."""
COLOUR_OF = dict(zip(KINDS, ("blue", "red", "green"), strict=True))


def make_data(
    root: Path, *, val: list[tuple[str, str]], kinds: list[str] = KINDS, colours: dict[str, str] = COLOUR_OF
) -> Path:
    """A data set with a training photo of each kind, and validation photos of (kind, colour)."""
    root.mkdir(parents=True)
    rule = {str(i): kind for i, kind in enumerate(kinds)}
    (root / "garbage_classify_rule.json").write_text(json.dumps(rule, ensure_ascii=False), encoding="utf-8")
    lines: dict[str, list[str]] = {"train": [], "validate": []}
    photos = [("train", kind, colours[kind]) for kind in kinds] + [("validate", *each) for each in val]
    for i, (split, kind, colour) in enumerate(photos):
        name = f"{kinds.index(kind)}/照 片 {i}.jpg"
        save_photo(root / "images" / name, COLOURS[colour])
        lines[split].append(f"images/{name} {kinds.index(kind)}")
    for split, rows in lines.items():
        (root / f"{split}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


ALL_RIGHT = [(kind, COLOUR_OF[kind]) for kind in KINDS]


def evaluated(bundle: Path, data: Path, **options: object) -> Evaluated:
    *_, last = evaluate(open_model(bundle), Dataset.load(data), **options)
    assert isinstance(last, Evaluated)
    return last


# ---- the command


def test_a_bundle_is_evaluated_with_its_classes_matched_by_name(
    garbage: Garbage, colour_bundle: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path / "数 据", val=[*ALL_RIGHT, ("可回收物/易拉罐", "red")])
    said = garbage("evaluate", colour_bundle, "--data", data, "--report", tmp_path / "报 告", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["photos"], found["top1"], found["bin_accuracy"]) == (4, 0.75, 0.75)
    assert [row["name"] for row in found["per_class"]] == ["干电池", "菜叶菜根", "易拉罐"]  # the model's order
    dearest = found["confusions"][0]
    assert (dearest["true"], dearest["answered"]) == ("可回收物/易拉罐", "有害垃圾/干电池")
    assert (dearest["photos"], dearest["share"], dearest["cost"]) == (1, 0.5, "lost to the wrong bin")
    assert found["mistakes"][0]["image"].endswith("照 片 6.jpg")
    assert found["speed"]["images_per_second"] > 0
    assert found["speed"]["ms_p50"] <= found["speed"]["ms_p99"]
    assert json.loads((tmp_path / "报 告" / "metrics.json").read_text(encoding="utf-8")) == found
    assert "照 片 6.jpg" in (tmp_path / "报 告" / "report.html").read_text(encoding="utf-8")


def test_the_terminal_shows_bins_kinds_and_what_mistakes_cost(
    garbage: Garbage, colour_bundle: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path / "data", val=[*ALL_RIGHT, ("有害垃圾/干电池", "green")])
    said = garbage("evaluate", colour_bundle, "--data", data, "--report", tmp_path / "report")
    assert said.code == 0, said.err
    for words in ("right bin", "75.0 %", "top-3", "macro-F1", "有害垃圾 Hazardous", "hazardous thrown elsewhere"):
        assert words in said.out
    assert "top-5 is top-3 here" in said.err
    assert "report.html" in said.err
    assert all(len(line) <= 80 for line in said.out.splitlines()[1:])  # the first has the path


def test_the_scores_are_those_that_predict_gives(colour_bundle: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    found = evaluated(colour_bundle, data).answers
    photos = [Photo.from_path(sample.path) for sample in Dataset.load(data).val]
    for row, prediction in zip(found.scores, Predictor.load(colour_bundle).predict(photos), strict=True):
        assert prediction.best is not None
        assert float(row.max()) == prediction.best.score


def test_without_a_name_the_exported_model_is_evaluated(
    garbage: Garbage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = garbage("evaluate")
    assert (said.code, said.out) == (1, "")
    assert "no training run in output" in said.err
    make_colour_bundle(tmp_path / "inference")
    make_data(tmp_path / "data", val=ALL_RIGHT)
    assert garbage("evaluate").code == 0
    assert (tmp_path / "report" / "report.html").is_file()


def test_two_models_are_compared_on_the_same_photos(garbage: Garbage, colour_bundle: Path, tmp_path: Path) -> None:
    coarse = make_colour_bundle(tmp_path / "coarse", crop=16)  # the same answers from smaller inputs
    data = make_data(tmp_path / "data", val=[*ALL_RIGHT, ("可回收物/易拉罐", "red")])
    said = garbage("evaluate", colour_bundle, coarse, "--data", data, "--report", tmp_path / "report", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert (found["photos"], found["top1"]["difference"], found["top1"]["p"]) == (4, 0, 1)
    assert not found["top1"]["significant"]
    for name in ("comparison.html", "comparison.json", "a/report.html", "b/metrics.json"):
        assert (tmp_path / "report" / name).is_file(), name
    shown = garbage("evaluate", colour_bundle, coarse, "--data", data, "--report", tmp_path / "report")
    assert "no significant difference" in shown.out
    assert garbage("evaluate", colour_bundle, coarse, coarse, "--data", data).code == 2


def test_a_bundle_is_evaluated_without_paddle(colour_bundle: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    used = loaded_by(run_main("evaluate", colour_bundle, "--data", data, "--report", tmp_path / "report"))
    assert {"sklearn", "openvino"} <= used
    assert not {"paddle", "paddleclas"} & used


def test_without_scikit_learn_the_extra_is_named(
    garbage: Garbage, colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    said = garbage("evaluate", colour_bundle, "--data", make_data(tmp_path / "data", val=ALL_RIGHT))
    assert said.code == 1
    assert "scikit-learn, which is not installed" in said.err
    assert "pip install 'garbage-cli[evaluate]'" in said.err


# ---- what is wrong is said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--split", "validation"), ("no split 'validation'", "train (3)", "val (3)", "or all")),
        (("--split", "test"), ("no photo in test", "it has train (3), val (3)")),
        (("--target-precision", "1.5"), ("target precision is 1.5", "between 0 and 1")),
        (("--target-precision", "nan"), ("target precision is nan",)),
        (("--engine", "abacus"), ("no engine named 'abacus'",)),
        (("--data", "gone"), ("gone",)),
    ],
)
def test_a_bad_split_or_option_is_one_line_and_writes_nothing(
    garbage: Garbage, colour_bundle: Path, tmp_path: Path, options: tuple[str, str], words: tuple[str, ...]
) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    report = tmp_path / "report"
    said = garbage("evaluate", colour_bundle, "--data", data, "--report", report, *options)
    assert (said.code, said.out) == (1, "")
    error = said.err.splitlines()[-1]
    assert error.startswith("error: ")
    assert all(word in error for word in words), error
    assert not report.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "no file or folder"),
        ("data", "neither an inference folder nor a run"),
        ("weights.pdparams", "run.json"),
    ],
)
def test_what_is_no_model_is_said(garbage: Garbage, tmp_path: Path, name: str, words: str) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    (tmp_path / "weights.pdparams").write_bytes(b"")
    said = garbage("evaluate", tmp_path / name, "--data", data, "--report", tmp_path / "report")
    assert said.code == 1
    assert words in said.err
    assert name in said.err


def test_a_report_that_can_not_be_written_is_said_before_the_work(
    garbage: Garbage, colour_bundle: Path, tmp_path: Path
) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    (tmp_path / "file").write_text("")
    said = garbage("evaluate", colour_bundle, "--data", data, "--report", tmp_path / "file")
    assert said.code == 1
    assert "file is a file; name another folder" in said.err
    assert "evaluating" not in said.err


def test_an_unreadable_photo_is_named_and_in_no_figure(colour_bundle: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", val=[*ALL_RIGHT, ("可回收物/易拉罐", "blue")])
    bad = Dataset.load(data).val[-1].path
    bad.write_bytes(bad.read_bytes()[:200])
    found = evaluated(colour_bundle, data).evaluation
    assert (found.photos, found.top1.value) == (3, 1)
    assert [each.name for each in found.unreadable] == ["images/0/照 片 6.jpg"]
    assert any("1 photo could not be read" in note for note in found.notes)


def test_when_no_photo_can_be_read_there_are_no_figures(garbage: Garbage, colour_bundle: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    for sample in Dataset.load(data).val:
        sample.path.write_bytes(b"no photo")
    said = garbage("evaluate", colour_bundle, "--data", data, "--report", tmp_path / "report")
    assert said.code == 1
    assert "could be read; the first" in said.err
    assert not (tmp_path / "report").exists()


def test_a_kind_without_photos_is_named_in_the_terminal(garbage: Garbage, colour_bundle: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT[:2])
    said = garbage("evaluate", colour_bundle, "--data", data, "--report", tmp_path / "report")
    assert said.code == 0
    assert "val has no photo of 菜叶菜根" in said.err


def test_kinds_that_the_model_does_not_know_are_told_apart(colour_bundle: Path, tmp_path: Path) -> None:
    kinds = [*KINDS, "其他垃圾/烟蒂"]
    data = make_data(
        tmp_path / "data",
        val=[*ALL_RIGHT, ("其他垃圾/烟蒂", "red"), ("其他垃圾/烟蒂", "blue")],
        kinds=kinds,
        colours={**COLOUR_OF, "其他垃圾/烟蒂": "red"},
    )
    found = evaluated(colour_bundle, data)
    assert (found.evaluation.photos, found.evaluation.top1.value) == (3, 1)
    assert found.evaluation.rejection.strangers is not None
    assert found.evaluation.rejection.strangers.photos == 2
    assert found.answers.stranger_kinds == ("其他垃圾/烟蒂",) * 2


def test_all_splits_can_be_taken_together(colour_bundle: Path, tmp_path: Path) -> None:
    found = evaluated(colour_bundle, make_data(tmp_path / "data", val=ALL_RIGHT), split="all").evaluation
    assert (found.photos, found.source.split) == (6, "all")
    assert any("flatter" in note for note in found.notes)


def test_a_photo_in_two_lists_counts_once(colour_bundle: Path, tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    (data / "validate.txt").write_bytes((data / "train.txt").read_bytes())
    assert evaluated(colour_bundle, data, split="all").evaluation.photos == 3


def test_evaluating_writes_nothing_into_the_data_set(garbage: Garbage, colour_bundle: Path, tmp_path: Path) -> None:
    for colour, kind in (("blue", "drink can"), ("red", "dry-cell battery"), ("green", "leaves")):
        for i in range(5):
            save_photo(tmp_path / "data" / kind / f"{i}.jpg", COLOURS[colour])
    before = sorted(tmp_path.rglob("*"))
    said = garbage(
        "evaluate",
        colour_bundle,
        "--data",
        tmp_path / "data",
        "--split",
        "all",
        "--report",
        tmp_path / "report",
        "--json",
    )
    assert said.code == 0, said.err
    assert sorted(path for path in tmp_path.rglob("*") if "report" not in path.parts) == before
    found = json.loads(said.out)
    assert (found["photos"], found["top1"]) == (10, 1)  # kinds may be named in English; leaves are not known
    assert "5 photos are of kinds that the model does not know (leaves)" in said.err


def test_scores_that_are_no_numbers_are_an_error_that_names_the_photo(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    nothing = np.full((1, 3), np.nan, np.float32)
    monkeypatch.setattr(Predictor, "infer", lambda self, inputs: nothing)
    with pytest.raises(BundleError, match=r"gives no numbers for .*照 片 3\.jpg"):
        evaluated(colour_bundle, data)
    answer = Predictor.load(colour_bundle).answer(Photo.from_path(Dataset.load(data).val[0].path))
    assert answer.error == "the model gives no numbers for this photo; its weights are spoilt"


def test_a_bundle_on_the_photos_it_was_calibrated_on_is_said_to_be(tmp_path: Path) -> None:
    bundle = with_threshold(make_colour_bundle(tmp_path / "inference"), 0.4)
    manifest = json.loads((bundle / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["metrics"] = {"data": "data", "split": "val", "photos": 3, "asked_precision": 0.7}
    (bundle / MANIFEST_FILE).write_text(json.dumps(manifest), encoding="utf-8")
    same = evaluated(bundle, make_data(tmp_path / "data", val=ALL_RIGHT)).evaluation
    assert any("what seem to be these very photos" in note for note in same.notes)
    assert same.rejection.asked == 0.7
    other = evaluated(bundle, make_data(tmp_path / "other", val=ALL_RIGHT)).evaluation
    assert not any("these very photos" in note for note in other.notes)


def test_a_strangers_bundle_sends_the_terminal_no_commands(garbage: Garbage, tmp_path: Path) -> None:
    bundle = make_colour_bundle(tmp_path / "inference", name="Evil\x1b]0;pwned\x07\u202e[red]")
    data = make_data(tmp_path / "data", val=ALL_RIGHT)
    for models in ([bundle], [bundle, bundle]):
        said = garbage("evaluate", *models, "--data", data, "--report", tmp_path / "report")
        assert said.code == 0, said.err
        assert "Evil" in said.out
        assert not {"\x1b", "\x07", "\u202e"} & set(said.out + said.err)


# ---- matching names


def test_kinds_are_matched_by_bin_and_name_or_by_a_name_that_is_alone() -> None:
    model = Labels.parse(["可回收物/瓶", "其他垃圾/瓶", "其他垃圾/烟蒂", "可回收物/罐"])
    data = Labels.parse(["其他垃圾/瓶", "干垃圾/烟蒂", "其他垃圾/罐", "可回收物/猫"])
    known, unknown, remarks = match(data, model)
    assert known == {0: 1, 1: 2, 2: 3}
    assert unknown == {3: "可回收物/猫"}
    assert len(remarks) == 1  # 干垃圾 is another city's word for 其他垃圾
    assert "罐 (其他垃圾, 可回收物)" in remarks[0]


def test_a_name_that_is_there_twice_is_not_guessed_at() -> None:
    known, unknown, _ = match(
        Labels.parse(["可回收物/瓶", "其他垃圾/瓶"]), Labels.parse(["可回收物/瓶", "有害垃圾/罐"])
    )
    assert (known, unknown) == ({0: 0}, {1: "其他垃圾/瓶"})
    twice = Labels.parse(["可回收物/瓶", "可回收物/瓶", "其他垃圾/烟蒂"])
    assert match(twice, twice)[0] == {0: 0, 1: 1, 2: 2}  # the same list, number by number
    assert match(Labels.parse(["其他垃圾/烟蒂", "可回收物/瓶"]), twice) == ({0: 2}, {1: "可回收物/瓶"}, ())


# ---- not sure


def with_threshold(bundle: Path, threshold: object, temperature: object = 1.0) -> Path:
    manifest = json.loads((bundle / MANIFEST_FILE).read_text(encoding="utf-8"))
    manifest["calibration"] = {"temperature": temperature, "threshold": threshold}
    (bundle / MANIFEST_FILE).write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")
    return bundle


def test_under_the_bundles_threshold_the_answer_is_not_sure(garbage: Garbage, tmp_path: Path) -> None:
    bundle = with_threshold(make_colour_bundle(tmp_path / "inference"), 0.9999)
    photo = save_photo(tmp_path / "红.jpg", COLOURS["red"])
    said = json.loads(garbage("predict", photo, "--model", bundle, "--json").out)
    assert (said["bin"], said["sure"], said["predictions"][0]["bin"]) == (None, False, "有害垃圾")
    shown = garbage("predict", photo, "--model", bundle)
    assert shown.code == 0
    assert shown.out.startswith("不确定 not sure")
    many = garbage("predict", photo, photo, "--model", bundle)
    assert "不确定 not sure" in many.out
    assert "2 not sure" in many.err


def test_the_threshold_can_be_set_by_hand(garbage: Garbage, tmp_path: Path) -> None:
    bundle = with_threshold(make_colour_bundle(tmp_path / "inference"), 0.9999)
    photo = save_photo(tmp_path / "a.jpg", COLOURS["red"])
    sure = json.loads(garbage("predict", photo, "--model", bundle, "--json", "--threshold", 0).out)
    assert (sure["bin"], sure["sure"]) == ("有害垃圾", True)
    for wrong in ("1.5", "-0.1", "nan"):
        said = garbage("predict", photo, "--model", bundle, "--threshold", wrong)
        assert said.code == 1
        assert "a score is from 0 to 1" in said.err


def test_a_score_at_the_threshold_is_sure(colour_bundle: Path, tmp_path: Path) -> None:
    photo = Photo.from_path(save_photo(tmp_path / "a.jpg", COLOURS["red"]))
    best = Predictor.load(colour_bundle).answer(photo).best
    assert best is not None
    assert Predictor.load(colour_bundle, threshold=best.score).answer(photo).sure
    assert not Predictor.load(colour_bundle, threshold=float(np.nextafter(best.score, 1))).answer(photo).sure


@pytest.mark.parametrize(
    ("threshold", "temperature"),
    [
        *((threshold, 1.0) for threshold in ("0.5", 1.2, True)),
        *((0.5, temperature) for temperature in (0, "hot", float("nan"), 1e-300, 10**400)),
    ],
)
def test_a_bundle_with_numbers_that_can_not_be_is_refused(
    garbage: Garbage, tmp_path: Path, threshold: object, temperature: object
) -> None:
    bundle = with_threshold(make_colour_bundle(tmp_path / "inference"), threshold, temperature)
    photo = save_photo(tmp_path / "a.jpg", COLOURS["red"])
    said = garbage("predict", photo, "--model", bundle)
    assert said.code == 1
    assert "calibration" in said.err
    assert "export the model again" in said.err


# ---- from a checkpoint into the bundle


@pytest.fixture(scope="module")
def checkpoint(drawn: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A run that is right now and then, and not only."""
    output = tmp_path_factory.mktemp("evaluated")
    settings = config(epochs=3, optimizer__learning_rate=0.05)
    *_, last = run(settings, drawn, output)
    assert isinstance(last, Finished)
    return Checkpoint.load(last.run)


@pytest.fixture(scope="module")
def of_checkpoint(checkpoint: Checkpoint, drawn: Dataset) -> Evaluated:
    *_, last = evaluate(checkpoint, drawn)
    assert isinstance(last, Evaluated)
    return last


def test_a_checkpoint_is_as_good_as_training_found_it(checkpoint: Checkpoint, of_checkpoint: Evaluated) -> None:
    found = of_checkpoint.evaluation
    assert found.top1.value == pytest.approx(checkpoint.top1)
    assert found.macro_f1.value == pytest.approx(checkpoint.record["best"]["macro_f1"])
    assert (found.subject.form, found.subject.epoch) == ("checkpoint", checkpoint.record["best"]["epoch"])


def test_temperature_and_threshold_go_into_the_bundle_and_its_scores(
    checkpoint: Checkpoint, of_checkpoint: Evaluated, drawn: Dataset, tmp_path: Path
) -> None:
    measured = Measured.read(as_json(of_checkpoint.evaluation))
    measured = replace(measured, temperature=1.7)  # a training of three epochs may need none
    for _ in export(checkpoint, out=tmp_path / "inference", measured=measured):
        pass
    bundle = ModelBundle.load(tmp_path / "inference")
    assert (bundle.temperature, bundle.threshold) == (1.7, measured.threshold)
    assert bundle.facts["metrics"]["top1"] == of_checkpoint.evaluation.top1.value
    *_, last = evaluate(bundle, drawn)
    assert isinstance(last, Evaluated)
    own = np.log(of_checkpoint.answers.scores.astype(np.float64)) / 1.7
    wanted = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(last.answers.scores, wanted, atol=1e-4)
    assert last.evaluation.top1.value == of_checkpoint.evaluation.top1.value
    assert last.evaluation.rejection.threshold == measured.threshold
    own_error = of_checkpoint.evaluation.calibration.ece_uncalibrated
    assert last.evaluation.calibration.ece_uncalibrated == pytest.approx(own_error, abs=1e-3)


def test_the_report_of_a_run_is_recalled_for_the_same_weights_only(
    checkpoint: Checkpoint, of_checkpoint: Evaluated
) -> None:
    assert recall(checkpoint) is None
    write(of_checkpoint.evaluation, checkpoint.root / "report", photos={})
    found = recall(checkpoint)
    assert found is not None
    assert found.top1 == of_checkpoint.evaluation.top1.value
    assert recall(checkpoint, precision=0.5) is None
    path = checkpoint.root / "report" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    for change in (
        {"model": metrics["model"] | {"sha256": "0" * 64}},
        {"data": metrics["data"] | {"split": "train"}},
        {"per_class": [metrics["per_class"][0] | {"name": "zzz"}, *metrics["per_class"][1:]]},
        {"calibration": metrics["calibration"] | {"fitted_here": False}},
        {"calibration": metrics["calibration"] | {"temperature": 10**400}},
        {"photos": float("inf")},
    ):
        path.write_text(json.dumps(metrics | change))
        assert recall(checkpoint) is None, change
    for damaged in ('{"top1": 1}', "{", "[" * 100_000, "[]", '{"model": 3}'):
        path.write_text(damaged)
        assert recall(checkpoint) is None


def test_the_card_says_what_the_model_is_and_how_good(
    checkpoint: Checkpoint, of_checkpoint: Evaluated, tmp_path: Path
) -> None:
    measured = Measured.read(as_json(of_checkpoint.evaluation))
    for _ in export(checkpoint, out=tmp_path / "inference", measured=measured):
        pass
    card = (tmp_path / "inference" / CARD_FILE).read_text(encoding="utf-8")
    for words in (
        f"On {measured.photos} photos, the split val",
        f"| top-1 (right kind) | {100 * measured.top1:.1f} % |",
        "## Use and limits",
        "## Licence of the weights",
        "Trained from nothing",
        "32 training photos",
        "不确定",
    ):
        assert words in card, words
    assert card.count("\n| ") >= len(checkpoint.labels) + 9
    assert ModelBundle.load(tmp_path / "inference").has(CARD_FILE)
