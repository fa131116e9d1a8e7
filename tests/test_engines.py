"""Which engine is taken and why, how fast each is, and what each does with what it can't do."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import COLOUR_LABELS, COLOURS, Result, make_colour_bundle, save_photo

from garbage_cli.bundle import INT8_MODEL, ONNX_FILE, ModelBundle, Quality
from garbage_cli.cli.engines import options as parse_options
from garbage_cli.config import PreprocessConfig
from garbage_cli.conversion import save_onnx, save_program
from garbage_cli.engines import KINDS, Choice, Engine, Options, choosing, compiled, open_engine, speeds
from garbage_cli.engines.choosing import DEVIATION, WORTH_TIMING, Wish, candidates, choose, open_best
from garbage_cli.engines.machine import has_int8_products
from garbage_cli.engines.speeds import Speed, deviation, measure, probes, recall, recorded
from garbage_cli.errors import BundleError, ConfigError
from garbage_cli.labels import Labels
from garbage_cli.predictor import Predictor
from garbage_cli.quantization import quantise

CROP = 32
GOOD = Quality(True, 0.9, 100, 0.0, 1.0, None, None, None, "top-1 90.0 %")
LOST = Quality(False, 0.8, 100, 0.1, 0.9, None, None, None, "top-1 80.0 % against 90.0 % in f32 on 100 photos")
F32, BF16, INT8 = (Choice("openvino", precision) for precision in ("f32", "bf16", "int8"))
ORT, PADDLE = Choice("onnxruntime", "f32"), Choice("paddle", "f32")
ALL = tuple(KINDS)


def make_network(seed: int = 3) -> Any:
    """A convolutional network that every engine runs, small enough for a test."""
    import paddle

    nn = paddle.nn
    paddle.seed(seed)
    network = nn.Sequential(
        nn.Conv2D(3, 8, 3), nn.ReLU(), nn.Conv2D(8, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(8, 3), nn.Softmax(),
    )  # fmt: skip
    network.eval()
    return network


def make_bundle(root: Path, *, old: bool = False, **facts: Any) -> Path:
    """A bundle of a real network for all engines, with its int8 network: all precisions are good enough."""
    root.mkdir(parents=True)
    save_program(make_network(), root, crop=CROP, old=old)
    save_onnx(root)
    quantise(root / ONNX_FILE, [each[None] for each in probes((3, CROP, CROP))], root, keep=0)
    describe(root, **facts)
    return root


def describe(root: Path, **facts: Any) -> ModelBundle:
    """Write the manifest of the files that are there."""
    precisions = {name: asdict(GOOD) for name in ("f32", "bf16", "int8")}
    spec = PreprocessConfig(resize_short=CROP, crop=CROP)
    facts = {"parity": dict.fromkeys(ALL, 0.0), "precisions": precisions, **facts}
    ModelBundle.save(root, name="Small", labels=COLOUR_LABELS, preprocess=spec, facts=facts)
    if "probes" not in facts:
        facts["probes"] = {name: answers(root, name) for name in ("f32", "int8") if name == "f32" or has_int8(root)}
        facts["probes"]["bf16"] = facts["probes"]["f32"]  # what some processors have, and others have not
        ModelBundle.save(root, name="Small", labels=COLOUR_LABELS, preprocess=spec, facts=facts)
    return ModelBundle.load(root)


def has_int8(root: Path) -> bool:
    return (root / INT8_MODEL[0]).is_file()


def answers(root: Path, precision: str) -> list[list[float]]:
    """What a precision gives on the inputs that are the same everywhere."""
    engine = open_engine(Choice("openvino", precision), ModelBundle.load(root), kept=False)
    return [[float(score) for score in engine.infer(each[None])[0]] for each in probes((3, CROP, CROP))]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("whole") / "inference")


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> ModelBundle:
    """A copy of its own."""
    return ModelBundle.load(Path(shutil.copytree(whole, tmp_path / "inference")))


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is taken to have every kind of number, whatever this one has: no test here computes in bf16."""
    machine_has(monkeypatch, bf16=True, int8=True)


def machine_has(monkeypatch: pytest.MonkeyPatch, *, bf16: bool, int8: bool) -> None:
    monkeypatch.setattr("garbage_cli.engines.openvino.has_bf16", lambda: bf16)
    monkeypatch.setattr(choosing, "has_int8_products", lambda: int8)


def speed(choice: Choice, *, start: float = 1.0, one: float = 10.0, many: float = 5.0, **rest: Any) -> Speed:
    return Speed(choice, start, one, many, **{"deviation": 0.0, **rest})


def known(monkeypatch: pytest.MonkeyPatch, *found: Speed, elsewhere: Sequence[Speed] = ()) -> None:
    """Let these be the figures of this machine, and those of the one that exported."""
    monkeypatch.setattr(choosing, "recall", lambda bundle: found)
    monkeypatch.setattr(choosing, "recorded", lambda bundle: tuple(elsewhere))


def never(*arguments: object, **options: object) -> None:
    raise AssertionError("nothing is to be timed here")


# ---- what auto takes


def test_auto_takes_one_precision_for_all_numbers_of_photos_and_in_it_what_is_done_first(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(
        monkeypatch,
        speed(F32, start=0.5, one=20, many=15),
        speed(BF16, start=1.0, one=9, many=9),
        speed(INT8, start=2.0, one=8, many=2),
        speed(ORT, start=0.1, one=30, many=30),
    )
    monkeypatch.setattr(choosing, "measure", never)
    first = {photos: choose(Wish(), bundle, photos=photos, timed=True).choices[0] for photos in (1, 50, 10_000, None)}
    assert set(first.values()) == {INT8}  # a photo gets the same answer alone and among many
    # the others take 0.52, 1.01 and 0.13 s for one; 1.25, 1.45, 1.6 s for 50; without end, the start is nothing
    assert choose(Wish(), bundle, photos=1).choices == (INT8, ORT, F32, BF16, PADDLE)
    assert choose(Wish(), bundle, photos=50).choices == (INT8, F32, BF16, ORT, PADDLE)
    assert choose(Wish(), bundle, photos=None).choices == (INT8, BF16, F32, ORT, PADDLE)
    every = choose(Wish(), bundle, photos=10_000)
    assert every.choices == (INT8, BF16, F32, ORT, PADDLE)
    assert every.why.startswith("openvino int8 is the fastest here: openvino int8 2.0 ms a photo, ")
    assert choose(Wish(engine="onnxruntime"), bundle).choices == (ORT,)
    assert choose(Wish(engine="openvino"), bundle, photos=10_000).choices == (INT8, BF16, F32)
    only_f32 = describe(bundle.root, precisions={})
    first = {photos: choose(Wish(), only_f32, photos=photos).choices[0] for photos in (1, 50, 10_000, None)}
    assert first == {1: ORT, 50: F32, 10_000: F32, None: F32}


def test_seconds_count_the_start_but_for_photos_without_end() -> None:
    figures = speed(F32, start=0.5, one=20, many=10)
    assert figures.seconds(1) == pytest.approx(0.52)
    assert figures.seconds(100) == pytest.approx(1.5)
    assert figures.seconds(None) == pytest.approx(0.02)
    assert replace(figures, failed="crashed").seconds(1) == float("inf")


@pytest.mark.parametrize("photos", [1, WORTH_TIMING, None])
def test_a_precision_that_does_not_ship_is_never_taken_by_itself(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, photos: int | None
) -> None:
    bundle = describe(bundle.root, precisions={"f32": asdict(GOOD), "bf16": asdict(LOST), "int8": asdict(LOST)})
    known(monkeypatch, *(speed(each, one=1, many=1) for each in (BF16, INT8)), speed(F32), speed(ORT))
    assert {each.precision for each in choose(Wish(), bundle, photos=photos).choices} == {"f32"}
    assert {each.precision for each in candidates(bundle)} == {"f32"}
    # asked for, it is
    assert choose(Wish(precision="int8"), bundle).choices == (INT8,)
    # a bundle that says nothing of precisions proves nothing
    bundle = describe(bundle.root, precisions={})
    assert {each.precision for each in choose(Wish(), bundle, photos=photos).choices} == {"f32"}


def test_what_answers_otherwise_here_is_left_out_and_named(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = speed(INT8, one=1, many=1, deviation=DEVIATION + 0.001)
    known(monkeypatch, speed(F32), speed(BF16, one=20, many=20, deviation=DEVIATION), speed(ORT, one=30), off)
    chosen = choose(Wish(), bundle)
    assert INT8 not in chosen.choices
    assert chosen.choices[:3] == (F32, ORT, BF16)
    assert chosen.why.endswith("; openvino int8 answers otherwise on this processor")


def test_what_failed_is_not_taken_and_its_f32_is_tried_last(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(
        monkeypatch, speed(F32, one=0, many=0, start=0, failed="crashed"), speed(BF16), speed(INT8, many=4), speed(ORT)
    )
    chosen = choose(Wish(), bundle)
    assert chosen.choices == (INT8, BF16, ORT, PADDLE)
    opened = opened_by(monkeypatch, refuse=(BF16, INT8, ORT, PADDLE))
    _, choice, _ = open_best(Wish(), bundle)
    assert choice == F32
    assert opened == [INT8, BF16, ORT, PADDLE, F32]


def test_where_nothing_was_timed_the_exports_figures_count_and_without_them_a_guess(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "measure", never)
    others = [speed(ORT, one=3), speed(F32, one=5), speed(BF16, one=0, many=0, failed="no")]
    known(monkeypatch, elsewhere=[speed(INT8, one=1, many=7), *others])
    chosen = choose(Wish(), bundle)
    assert chosen.choices[:3] == (ORT, F32, INT8)
    assert set(chosen.choices) == {ORT, F32, INT8, BF16, PADDLE}
    assert "was the fastest where the model was exported" in chosen.why
    known(monkeypatch, elsewhere=[speed(INT8, one=9, many=4), *others])
    assert choose(Wish(), bundle).choices[:3] == (INT8, ORT, F32)  # one precision, as where it was timed
    known(monkeypatch)
    chosen = choose(Wish(), bundle)
    assert chosen.choices == (INT8, BF16, F32, ORT, PADDLE)
    assert "nothing was timed on this machine" in chosen.why


def test_engines_are_timed_for_many_photos_only_and_once(bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Choice] = []

    def timing(_: ModelBundle, choices: Sequence[Choice], *, tell: Callable[[str], object]) -> tuple[Speed, ...]:
        timed.extend(choices)
        return tuple(speed(each, one=1 if each == ORT else 9, many=1 if each == ORT else 9) for each in choices)

    known(monkeypatch)
    monkeypatch.setattr(choosing, "measure", timing)
    assert open_best(Wish(), bundle, photos=WORTH_TIMING - 1)[1] == INT8
    assert open_best(Wish(), bundle, photos=None)[1] == INT8
    assert timed == []
    assert open_best(Wish(), bundle, photos=WORTH_TIMING)[1] == ORT
    assert set(timed) == {F32, BF16, INT8, ORT}  # Paddle takes seconds to load


# ---- what was asked for


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(engine="tensorrt"), "no engine named 'tensorrt'; use auto, openvino, onnxruntime, paddle"),
        (Wish(precision="int4"), "no precision named 'int4'; use auto, f32, bf16, int8"),
        (Wish(engine="onnxruntime", precision="int8"), "onnxruntime computes in f32 here, not in int8; .*openvino"),
        (Wish(engine="paddle", precision="int8"), "paddle computes in f32 here, not in int8; .*openvino"),
        (Wish(engine="paddle", precision="bf16"), "paddle computes in f32 here, not in bf16; .*openvino"),
        (Wish(engine="openvino", options=Options(use_gpu=True)), "not Paddle's alone; --engine is openvino"),
        (Wish(engine="openvino", options=Options(gpu_id=1)), "not Paddle's alone; --engine is openvino"),
    ],
)
def test_wishes_that_no_engine_can_fulfil_are_one_line(bundle: ModelBundle, wish: Wish, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        choose(wish, bundle)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("use_cuda=true", "no engine has a setting use_cuda; use one of use_gpu, gpu_id"),
        ("use_gpu=1", "use_gpu is true or false"),
        ("use_gpu=maybe", "use_gpu is true or false"),
        ("gpu_id=true", "gpu_id is a whole number"),
        ("gpu_mem=-1", "gpu_mem is a whole number"),
        ("cpu_num_threads=1.5", "cpu_num_threads is a whole number"),
        ("cpu_num_threads", "KEY=VALUE"),
    ],
)
def test_a_setting_that_is_none_is_one_line(
    garbage: Callable[..., Result], colour_bundle: Path, tmp_path: Path, text: str, words: str
) -> None:
    photo = save_photo(tmp_path / "red.png", COLOURS["red"])
    told = garbage("predict", photo, "--model", colour_bundle, "--set", text)
    assert told.code == 1
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert words in told.err


def test_settings_are_read() -> None:
    assert parse_options(None) == Options()
    read = parse_options(["use_gpu=true", "gpu_id=1", "gpu_mem=4000", "enable_mkldnn=false", "cpu_num_threads=3"])
    assert read == Options(use_gpu=True, gpu_id=1, gpu_mem=4000, enable_mkldnn=False, cpu_num_threads=3)


@pytest.mark.parametrize("option", [("--engine", "tensorrt"), ("--precision", "int4")])
def test_an_unknown_engine_or_precision_on_the_command_line_is_one_line(
    garbage: Callable[..., Result], colour_bundle: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    photo = save_photo(tmp_path / "red.png", COLOURS["red"])
    told = garbage("predict", photo, "--model", colour_bundle, *option)
    assert told.code == 1
    assert len(told.err.splitlines()) == 1
    assert repr(option[1]) in told.err


def without_int8(bundle: ModelBundle, **precisions: Quality) -> ModelBundle:
    for name in INT8_MODEL:
        (bundle.root / name).unlink()
    return describe(bundle.root, precisions={name: asdict(quality) for name, quality in precisions.items()})


def test_int8_that_the_export_left_out_says_what_it_lost(bundle: ModelBundle) -> None:
    lost = without_int8(bundle, f32=GOOD, int8=LOST)
    with pytest.raises(BundleError, match=r"has no int8 network: top-1 80\.0 % against 90\.0 %.*--precision auto"):
        choose(Wish(engine="openvino", precision="int8"), lost)
    unknown = describe(bundle.root, precisions={})
    with pytest.raises(BundleError, match="has no int8 network; export the model with --quantize, where its"):
        choose(Wish(engine="openvino", precision="int8"), unknown)


def test_int8_that_the_export_left_out_is_said_whatever_the_engine(bundle: ModelBundle) -> None:
    lost = without_int8(bundle, f32=GOOD, bf16=LOST, int8=LOST)
    with pytest.raises(BundleError, match=r"has no int8 network: top-1 80\.0 %"):
        choose(Wish(precision="int8"), lost)


def test_what_answers_otherwise_here_is_not_taken_even_if_all_others_failed(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = [speed(each, deviation=0.9) for each in (BF16, INT8)]
    known(monkeypatch, speed(F32, failed="crashed"), speed(ORT, failed="crashed"), *off)
    assert {each.precision for each in choose(Wish(), bundle).choices} == {"f32"}


@pytest.mark.parametrize("facts", [{"parity": 5}, {"speeds": "text"}, {"speeds": [1]}, {"probes": [1]}], ids=str)
def test_a_manifest_whose_facts_are_something_else_is_an_error_of_the_bundle(
    bundle: ModelBundle, facts: dict[str, Any]
) -> None:
    with pytest.raises(BundleError):
        choose(Wish(), describe(bundle.root, **facts))


# ---- narrower numbers are proved before they are used


def test_a_precision_without_recorded_answers_is_never_taken_by_itself(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    unproved = describe(bundle.root, probes={"f32": bundle.facts["probes"]["f32"]})
    known(monkeypatch, *(speed(each, one=1, many=1) for each in (BF16, INT8)), speed(F32), speed(ORT))
    assert {each.precision for each in choose(Wish(), unproved).choices} == {"f32"}
    assert {each.precision for each in candidates(unproved)} == {"f32"}
    assert choose(Wish(precision="int8"), unproved).choices == (INT8,)


@pytest.mark.parametrize("others", ["shifted", "fewer"])
def test_a_precision_that_answers_otherwise_when_opened_is_told_and_the_next_taken(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    recorded_here = bundle.facts["probes"]
    given = np.roll(recorded_here["int8"], 1, axis=1).tolist() if others == "shifted" else recorded_here["int8"][:1]
    elsewhere = describe(bundle.root, probes={**recorded_here, "int8": given})
    # figures of another machine: nothing was proved on this one
    known(monkeypatch, elsewhere=[speed(INT8, many=1), speed(F32), speed(BF16, one=30, many=9), speed(ORT, one=20)])
    monkeypatch.setattr(choosing, "processor", lambda: "Some CPU")
    why = "openvino int8 answers otherwise on this processor (Some CPU) than where it was exported"
    for precision in ("auto", "int8"):
        told: list[str] = []
        predictor = Predictor(elsewhere, precision=precision, tell=told.append)
        assert (predictor.engine, predictor.precision) == ("openvino", "f32")
        assert told == [f"{why}; openvino f32 is used in its place"]
        assert predictor.why == f"openvino f32: {why}"
    assert Predictor(bundle).precision == "int8"


def test_labels_that_do_not_fit_the_network_are_an_error_of_the_bundle(tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    spec = PreprocessConfig(resize_short=CROP, crop=CROP)
    labels = Labels.parse(["有害垃圾/干电池", "厨余垃圾/菜叶菜根"])
    ModelBundle.save(root, name="Two", labels=labels, preprocess=spec, facts={"parity": {}})
    bundle = ModelBundle.load(root)
    for choice in (F32, ORT):
        with pytest.raises(BundleError, match=r"has 2 labels for a network that gives \(3,\) numbers"):
            open_engine(choice, bundle)
    with pytest.raises(BundleError, match="has 2 labels for a network") as error:
        Predictor(bundle)
    assert "\n" not in str(error.value)


# ---- what is not here


@pytest.mark.parametrize("name", ["onnxruntime", "paddle"])
def test_an_engine_that_is_not_installed_is_told_and_another_taken(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(choosing, "is_installed", lambda each: each == "openvino")
    told: list[str] = []
    assert Predictor(bundle, engine=name, tell=told.append).engine == "openvino"
    assert told == [f"{name} is not installed (pip install 'garbage-cli[train]'); another engine is used in its place"]


def test_where_no_engine_is_installed_those_that_would_do_are_named(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "is_installed", lambda each: False)
    with pytest.raises(BundleError, match="runs in openvino, onnxruntime, paddle: install one of them"):
        choose(Wish(), bundle)


def test_an_engine_that_the_export_left_out_is_taken_only_where_it_is_named(bundle: ModelBundle) -> None:
    bundle = describe(bundle.root, parity={"onnxruntime": 0.0})
    assert {each.engine for each in choose(Wish(), bundle).choices} == {"onnxruntime"}
    assert {each.engine for each in choose(Wish(engine="openvino"), bundle).choices} == {"openvino"}


def opened_by(monkeypatch: pytest.MonkeyPatch, *, refuse: Sequence[Choice]) -> list[Choice]:
    """Have some engines refuse to load; return what is tried to open, as it is."""
    opened: list[Choice] = []

    def opening(choice: Choice, bundle: ModelBundle, **options: Any) -> Engine:
        opened.append(choice)
        if choice in refuse:
            raise BundleError(f"{choice} can't load it")
        return open_engine(choice, bundle, **options)

    monkeypatch.setattr(choosing, "open_engine", opening)
    return opened


def test_an_engine_that_fails_to_load_is_told_and_the_next_taken(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(monkeypatch, speed(F32, one=1), speed(ORT, one=2), speed(BF16, one=9), speed(INT8, one=9))
    opened = opened_by(monkeypatch, refuse=(F32,))
    told: list[str] = []
    predictor = Predictor(bundle, tell=told.append)
    assert (predictor.engine, opened) == ("onnxruntime", [F32, ORT])
    assert told == ["openvino f32 can't load it; onnxruntime f32 is used in its place"]
    assert predictor.why == "onnxruntime f32: openvino f32 can't load it"


def test_an_engine_that_was_asked_for_and_fails_to_load_is_replaced_and_told(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_by(monkeypatch, refuse=(ORT,))
    told: list[str] = []
    assert Predictor(bundle, engine="onnxruntime", tell=told.append).engine == "openvino"
    assert told == ["onnxruntime f32 can't load it; openvino f32 is used in its place"]


def test_when_every_engine_fails_all_reasons_are_said(bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [Choice(engine, precision) for engine, kind in KINDS.items() for precision in kind.files]
    opened = opened_by(monkeypatch, refuse=every)
    with pytest.raises(BundleError) as error:
        Predictor(bundle)
    for choice in (F32, BF16, INT8, ORT, PADDLE):
        assert f"{choice} can't load it" in str(error.value)
    assert len(opened) == len(set(opened)) == 5


def test_a_network_that_no_engine_reads_is_an_error_of_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference" / ONNX_FILE).write_bytes(b"no network")
    bundle = describe(tmp_path / "inference", probes={})
    told: list[str] = []
    with pytest.raises(BundleError, match=r"openvino f32 can't load .*; onnxruntime f32 can't load") as error:
        Predictor(bundle, tell=told.append)
    assert "\n" not in str(error.value)
    assert told == []


def flip(path: Path) -> None:
    """Change one bit and not the size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "wish"),
    [
        (ONNX_FILE, Wish(engine="openvino", precision="f32")),
        (ONNX_FILE, Wish(engine="onnxruntime")),
        (INT8_MODEL[0], Wish()),
        (INT8_MODEL[1], Wish()),
        (INT8_MODEL[1], Wish(precision="int8")),
        ("inference.pdiparams", Wish(engine="paddle")),
        ("inference.json", Wish(engine="paddle")),
    ],
)
def test_an_altered_file_is_an_error_and_no_reason_for_another_engine(
    bundle: ModelBundle, name: str, wish: Wish
) -> None:
    flip(bundle.root / name)
    told: list[str] = []
    with pytest.raises(BundleError, match=rf"{name} is not what was exported"):
        open_best(wish, bundle, tell=told.append)
    assert told == []


def test_a_processor_without_narrow_numbers_is_told_and_f32_used(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_has(monkeypatch, bf16=False, int8=False)
    monkeypatch.setattr(choosing, "processor", lambda: "Some CPU")
    for precision in ("bf16", "int8"):
        told: list[str] = []
        predictor = Predictor(bundle, precision=precision, tell=told.append)
        assert predictor.precision == "f32"
        assert told == [f"this processor has no {precision} (Some CPU); f32 is used in its place"]
    assert {each.precision for each in choose(Wish(), bundle).choices} == {"f32"}
    assert {each.precision for each in candidates(bundle)} == {"f32"}


def test_openvino_asked_for_bf16_that_the_processor_lacks_refuses_rather_than_pretends(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_has(monkeypatch, bf16=False, int8=True)
    with pytest.raises(BundleError, match=r"openvino bf16 can't load .*: this processor has no bf16"):
        open_engine(BF16, bundle)


# ---- figures


def test_probes_are_the_same_everywhere_and_of_the_range_that_photos_have() -> None:
    first = probes((3, 40, 24))
    assert first.shape == (4, 3, 40, 24)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, probes((3, 40, 24)))
    assert -2.2 < first.min() < -1.5
    assert 2.0 < first.max() < 2.7
    # the first coarse value stands in the first corner: numpy's generator is the same on every platform
    assert first[0, 0, 0, 0] == np.float32(np.random.default_rng(6).uniform(-2, 2.4))
    assert len({each.tobytes() for each in first}) == 4


def test_deviation_is_the_distance_of_two_distributions() -> None:
    one = np.array([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    assert deviation(one, one.tolist()) == 0
    assert deviation(np.eye(3), np.roll(np.eye(3), 1, axis=0).tolist()) == 1
    assert deviation(np.array([[0.5, 0.5]]), [[0.6, 0.4]]) == pytest.approx(0.1)


def no_process(*arguments: object, **options: object) -> None:
    raise AssertionError("a process was started")


def test_figures_are_measured_apart_and_remembered_for_this_bundle_and_machine(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = ModelBundle.load(colour_bundle)
    assert recall(bundle) == ()
    told: list[str] = []
    measured = measure(bundle, [F32, ORT], tell=told.append)
    assert [each.choice for each in measured] == [F32, ORT]
    for each in measured:
        assert each.failed is None
        assert min(each.ready_s, each.single_ms, each.bulk_ms) > 0
        assert each.deviation is None  # this bundle says nothing of what it answered
    assert told == ["timing openvino f32 on this machine", "timing onnxruntime f32 on this machine"]
    monkeypatch.setattr(subprocess, "run", no_process)
    assert recall(bundle) == measured
    assert recall(ModelBundle.load(make_colour_bundle(tmp_path / "other", crop=33))) == ()
    assert choose(Wish(), bundle, photos=WORTH_TIMING, timed=True).why.count(" ms") == 2
    monkeypatch.setattr(speeds, "fingerprint", lambda: "another machine")
    assert recall(bundle) == ()


def test_figures_of_the_export_count_on_the_same_machine_only(
    bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = (speed(F32), speed(INT8, deviation=None), speed(ORT, failed="crashed"))
    bundle = describe(bundle.root, speeds=json.loads(json.dumps(speeds.as_facts(figures))))
    assert recall(bundle) == recorded(bundle) == figures
    monkeypatch.setattr(speeds, "fingerprint", lambda: "another machine")
    assert recall(bundle) == ()
    assert recorded(bundle) == figures
    for damaged in ({"measured": 5}, {"measured": [{}]}, {"measured": ["text"]}, {"measured": [{"engine": 1}]}, [1], 7):
        assert recorded(replace(bundle, facts={"speeds": damaged})) == ()


@pytest.mark.parametrize("name", ["json.py", "numpy.py", "garbage_cli.py"])
def test_timing_takes_no_module_from_the_current_folder(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_text("raise SystemExit('a module of the current folder')\n")
    shutil.copytree(colour_bundle, tmp_path / "inference")
    monkeypatch.chdir(tmp_path)
    (found,) = measure(ModelBundle.load(Path("inference")), [ORT])
    assert found.failed is None
    assert found.single_ms > 0


ROW = {"engine": "onnxruntime", "precision": "f32", "ready_s": 1, "single_ms": 1, "bulk_ms": 1, "deviation": None,
       "failed": None}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"measured": []}',
        json.dumps({"measured": [{**ROW, "engine": "tensorrt"}]}),
        json.dumps({"measured": [{**ROW, "precision": "int8"}]}),
        json.dumps({"measured": [{**ROW, "bulk_ms": -1}]}),
        json.dumps({"measured": [{**ROW, "bulk_ms": "NaN"}]}),
        json.dumps({"measured": [{**ROW, "bulk_ms": 5}]}).replace("5", "1e400"),
        json.dumps({"measured": [{**ROW, "bulk_ms": 10**400}]}),
        '{"measured": ' + "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
    ],
    ids=["empty", "object", "no rows", "unknown", "not its own", "negative", "NaN", "1e400", "huge", "cut", "deep"],
)
def test_remembered_figures_that_are_none_leave_those_of_the_export(bundle: ModelBundle, content: str) -> None:
    figures = (speed(F32), speed(ORT))
    bundle = describe(bundle.root, speeds=json.loads(json.dumps(speeds.as_facts(figures))))
    record = speeds._file(bundle, speeds.fingerprint())
    record.parent.mkdir(parents=True)
    record.write_text(content)
    assert recall(bundle) == figures
    assert recorded(replace(bundle, facts={"speeds": {"measured": content}})) == ()
    assert choose(Wish(), bundle).choices


def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Have this shell script started in place of Python."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))


FIGURES = '{"ready_s": 1.0, "single_ms": 2.0, "bulk_ms": 3.0, "deviation": null, "failed": null}'


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"[]", b"{}", b'{"measured": 5}', b'{"measured": [{"engine": "openvino"}]}', b"null"],
)
def test_a_damaged_record_of_figures_is_as_good_as_none(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    pretend(monkeypatch, tmp_path, f"echo '{FIGURES}'")
    bundle = ModelBundle.load(colour_bundle)
    measure(bundle, [ORT])
    assert recall(bundle) == (Speed(ORT, 1.0, 2.0, 3.0, None),)
    (record,) = (Path(os.environ["XDG_CACHE_HOME"]) / "garbage" / "speeds").iterdir()
    record.write_bytes(content)
    assert recall(bundle) == ()
    measure(bundle, [ORT])
    assert recall(bundle) == (Speed(ORT, 1.0, 2.0, 3.0, None),)


def test_a_cache_that_can_not_be_written_costs_nothing_but_the_memory(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, tmp_path, f"echo '{FIGURES}'")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    bundle = ModelBundle.load(colour_bundle)
    assert measure(bundle, [ORT]) == (Speed(ORT, 1.0, 2.0, 3.0, None),)
    assert recall(bundle) == ()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -9 $$", "it ended with code -9"),
        ("kill -SEGV $$", "it ended with code -11"),
        ("echo first >&2; echo 'the last line' >&2; exit 1", "the last line"),
        ("echo no figures", ""),
        ("exit 0", ""),
        ("sleep 20", "not done within 1 seconds"),
    ],
)
def test_a_process_that_crashes_takes_nothing_along(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    pretend(monkeypatch, tmp_path, f"exec {script}" if script.startswith("sleep") else script)
    monkeypatch.setattr(speeds, "TIME_OUT", 1 if script.startswith("sleep") else 100)
    bundle = ModelBundle.load(colour_bundle)
    (found,) = measure(bundle, [ORT])
    assert found.failed is not None
    assert why in found.failed
    assert (found.choice, found.seconds(1)) == (ORT, float("inf"))
    assert recall(bundle) == (found,)  # so that it isn't tried for every folder of photos


def test_what_failed_is_tried_again_after_a_day(
    bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = 'case "$*" in *onnxruntime*) echo crashed >&2; exit 1;; esac'
    pretend(monkeypatch, tmp_path, f"{failing}; echo '{FIGURES}'")
    good = [F32, BF16, INT8]
    measure(bundle, [*good, ORT])
    assert {each.choice: each.failed for each in recall(bundle)} == {**dict.fromkeys(good), ORT: "crashed"}
    monkeypatch.setattr(choosing, "measure", never)
    assert choose(Wish(), bundle, photos=WORTH_TIMING, timed=True).choices
    (record,) = (Path(os.environ["XDG_CACHE_HOME"]) / "garbage" / "speeds").iterdir()
    past = time.time() - speeds.FAILURE_HOLDS
    os.utime(record, (past + 600, past + 600))
    assert len(recall(bundle)) == 4
    os.utime(record, (past - 1, past - 1))
    assert [each.choice for each in recall(bundle)] == good
    monkeypatch.setattr(choosing, "measure", measure)
    pretend(monkeypatch, tmp_path, f"echo '{FIGURES}'")  # it works again
    told: list[str] = []
    choose(Wish(), bundle, photos=WORTH_TIMING, timed=True, tell=told.append)
    assert "timing onnxruntime f32 on this machine" in told
    assert {each.choice: each.failed for each in recall(bundle)} == dict.fromkeys([*good, ORT])


def test_a_program_that_can_not_be_started_is_a_failure(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    (found,) = measure(ModelBundle.load(colour_bundle), [F32])
    assert "No such file" in (found.failed or "")


def test_a_bundle_that_can_not_be_timed_is_one_line(bundle: ModelBundle, capsys: pytest.CaptureFixture[str]) -> None:
    flip(bundle.root / ONNX_FILE)
    assert speeds.main(str(bundle.root), "onnxruntime", "f32", "0") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "is not what was exported" in said.err


# ---- the engines themselves


def infer_all(engine: Engine) -> np.ndarray:
    return np.concatenate([engine.infer(each[None]) for each in probes((3, CROP, CROP))])


def asked_at_once(engine: Engine, *, rounds: int, turns: int = 20) -> list[object]:
    """Ask from eight threads at once, new ones in each round; return what came that should not have."""
    inputs = probes((3, CROP, CROP))
    expected = infer_all(engine)
    assert np.abs(expected - expected[0]).max(axis=1)[1:].min() > 1e-3  # or nothing could be mixed up
    wrong: list[object] = []

    def ask(number: int, gate: threading.Barrier) -> None:
        gate.wait()
        for turn in range(turns):
            which = (number + turn) % len(inputs)
            try:
                answer = engine.infer(inputs[which][None])[0]
            except Exception as error:  # noqa: BLE001 - whatever it is
                wrong.append(error)
                return
            if np.abs(answer - expected[which]).max() > 1e-5:
                wrong.append(which)

    for _ in range(rounds):
        gate = threading.Barrier(8)
        threads = [threading.Thread(target=ask, args=(number, gate)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return wrong


@pytest.mark.parametrize("choice", [F32, INT8, ORT], ids=str)
@pytest.mark.parametrize("parallel", [False, True], ids=["one-by-one", "side-by-side"])
def test_eight_threads_at_once_get_each_its_own_answer(whole: Path, choice: Choice, parallel: bool) -> None:
    engine = open_engine(choice, ModelBundle.load(whole), parallel=parallel, threads=2)
    assert engine.callers == (2 if parallel else 1)
    assert asked_at_once(engine, rounds=3) == []


@pytest.mark.parametrize(("parallel", "onednn"), [(False, True), (False, False), (True, False)])
def test_eight_threads_at_once_get_each_its_own_answer_from_paddle(whole: Path, parallel: bool, onednn: bool) -> None:
    options = Options(enable_mkldnn=onednn)
    engine = open_engine(PADDLE, ModelBundle.load(whole), parallel=parallel, threads=2, options=options)
    assert engine.callers == 1  # several are slower
    assert asked_at_once(engine, rounds=3) == []


@pytest.mark.slow
def test_paddle_with_onednn_side_by_side_survives_threads_that_come_and_go(whole: Path) -> None:
    """In a process of its own, for it may end that."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_engines import *\n"
        "from garbage_cli.engines.paddle import PaddleEngine\n"
        f"root = Path({str(whole)!r})\n"
        "files = root / 'inference.json', root / 'inference.pdiparams'\n"
        "engine = PaddleEngine(*files, input_shape=(3, CROP, CROP), callers=2, threads=2)\n"
        "assert engine.callers == 2\n"
        "wrong = asked_at_once(engine, rounds=100)\n"
        "assert not wrong, wrong[:3]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-500:]


def test_an_answer_is_not_changed_by_the_next_one(whole: Path) -> None:
    inputs = probes((3, CROP, CROP))
    for choice in (F32, ORT, PADDLE):
        engine = open_engine(choice, ModelBundle.load(whole))
        first = engine.infer(inputs[:1])
        kept = first.copy()
        engine.infer(inputs[1:2])
        np.testing.assert_array_equal(first, kept, err_msg=str(choice))


def compiled_forms() -> list[Path]:
    return sorted((Path(os.environ["XDG_CACHE_HOME"]) / "garbage" / "compiled").iterdir())


def is_whole(form: Path) -> bool:
    """Whether the digest at its beginning is that of the rest."""
    content = form.read_bytes()
    return len(content) > 32 and hashlib.sha256(content[32:]).digest() == content[:32]


def test_openvino_keeps_what_it_compiled_and_answers_the_same_from_it(whole: Path) -> None:
    bundle = ModelBundle.load(whole)
    first = infer_all(open_engine(F32, bundle))
    (form,) = compiled_forms()
    assert re.fullmatch(r"[0-9a-f]{32}\.blob", form.name)
    assert is_whole(form)
    before = form.stat().st_ino
    np.testing.assert_array_equal(infer_all(open_engine(F32, bundle)), first)
    assert [form] == compiled_forms()
    assert form.stat().st_ino == before  # read, not written again
    open_engine(F32, bundle, parallel=True, threads=2)
    open_engine(INT8, bundle)
    assert len(compiled_forms()) == 3
    open_engine(F32, bundle, threads=1, kept=False)
    assert len(compiled_forms()) == 3


def test_a_compiled_network_belongs_to_the_content_of_all_its_files_and_to_no_path(whole: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(whole, tmp_path / name)
        open_engine(INT8, ModelBundle.load(tmp_path / name))
        assert len(compiled_forms()) == 1
    graph, weights = (tmp_path / "two" / name for name in INT8_MODEL)
    flip(weights)
    open_engine(INT8, describe(tmp_path / "two", probes={}))
    assert len(compiled_forms()) == 2
    graph.write_bytes(graph.read_bytes() + b"\n")
    open_engine(INT8, describe(tmp_path / "two", probes={}))
    assert len(compiled_forms()) == 3


def test_of_the_compiled_networks_only_the_last_used_are_kept(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(os.environ["XDG_CACHE_HOME"]) / "garbage" / "compiled"
    root.mkdir(parents=True)
    for number in range(20):
        (root / f"old{number}.blob").write_bytes(b"")
        os.utime(root / f"old{number}.blob", (number, number))
    bundle = ModelBundle.load(whole)
    open_engine(F32, bundle)
    names = {path.name for path in compiled_forms()}
    assert len(names) == compiled.KEPT
    assert {f"old{number}.blob" for number in range(21 - compiled.KEPT, 20)} < names
    monkeypatch.setattr(compiled, "KEPT", 2)
    open_engine(INT8, bundle)
    int8, f32 = sorted(compiled_forms(), key=lambda path: path.name in names)
    os.utime(f32, (100, 100))
    os.utime(int8, (200, 200))
    open_engine(F32, bundle)  # used: now INT8's is the older
    open_engine(F32, bundle, parallel=True, threads=2)
    left = compiled_forms()
    assert len(left) == 2
    assert f32 in left
    assert int8 not in left


@pytest.mark.parametrize("choice", [F32, INT8], ids=str)
def test_a_compiled_network_with_changed_bytes_is_not_taken_and_made_anew(whole: Path, choice: Choice) -> None:
    bundle = ModelBundle.load(whole)
    first = infer_all(open_engine(choice, bundle))
    (form,) = compiled_forms()
    for place in (0.5, 0.9, 0.0):
        data = bytearray(form.read_bytes())
        start = int(len(data) * place)
        data[start : start + 8] = bytes(each ^ 0xFF for each in data[start : start + 8])
        form.write_bytes(data)
        assert not is_whole(form)
        np.testing.assert_array_equal(infer_all(open_engine(choice, bundle)), first)
        assert is_whole(form)
        assert compiled_forms() == [form]


@pytest.mark.parametrize("damage", [b"", b"junk", None], ids=["empty", "junk", "half"])
def test_a_damaged_compiled_network_does_not_break_a_start(whole: Path, damage: bytes | None) -> None:
    bundle = ModelBundle.load(whole)
    first = infer_all(open_engine(F32, bundle))
    (form,) = compiled_forms()
    form.write_bytes(form.read_bytes()[: form.stat().st_size // 2] if damage is None else damage)
    np.testing.assert_array_equal(infer_all(open_engine(F32, bundle)), first)
    assert is_whole(form)


def test_a_cache_folder_that_can_not_be_written_does_not_break_a_start(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert infer_all(open_engine(F32, ModelBundle.load(whole))).shape == (4, 3)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/1/nothing")  # not even root may
    assert infer_all(open_engine(F32, ModelBundle.load(whole))).shape == (4, 3)


def test_the_engines_agree_on_a_convolutional_network(whole: Path) -> None:
    bundle = ModelBundle.load(whole)
    reference = infer_all(open_engine(F32, bundle))
    np.testing.assert_allclose(reference.sum(axis=1), 1, atol=1e-5)
    for choice in (ORT, PADDLE):
        np.testing.assert_allclose(infer_all(open_engine(choice, bundle)), reference, atol=1e-5, err_msg=str(choice))
    if has_int8_products():
        assert 0 < deviation(infer_all(open_engine(INT8, bundle)), reference.tolist()) < DEVIATION


# ---- Paddle


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(use_gpu=True), "use_gpu: this Paddle sees no GPU; install paddlepaddle-gpu"),
        (Options(use_gpu=True, use_tensorrt=True), "use_gpu: this Paddle sees no GPU"),
        (Options(use_tensorrt=True), "use_tensorrt works on a GPU only; set use_gpu=true too"),
    ],
)
def test_what_this_paddle_has_not_is_told_and_another_engine_taken(
    whole: Path, options: Options, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import paddle

    monkeypatch.setattr(paddle.device, "is_compiled_with_cuda", lambda: False)
    bundle = ModelBundle.load(whole)
    with pytest.raises(BundleError, match=words):
        open_engine(PADDLE, bundle, options=options)
    for engine in ("auto", "paddle"):
        told: list[str] = []
        predictor = Predictor(bundle, engine=engine, options=options, tell=told.append)
        assert predictor.engine == "openvino"
        assert len(told) == 1
        assert words in told[0]
        assert told[0].endswith("; openvino f32 is used in its place")


def test_a_setting_of_paddles_takes_paddle(whole: Path) -> None:
    predictor = Predictor(ModelBundle.load(whole), options=Options(enable_mkldnn=False))
    assert (predictor.engine, predictor.precision) == ("paddle", "f32")


def test_without_onednn_paddle_answers_the_same(whole: Path) -> None:
    bundle = ModelBundle.load(whole)
    with_it = infer_all(open_engine(PADDLE, bundle))
    without = infer_all(open_engine(PADDLE, bundle, options=Options(enable_mkldnn=False)))
    np.testing.assert_allclose(without, with_it, atol=1e-5)


def only_paddle(root: Path, *, old: bool) -> ModelBundle:
    root.mkdir()
    save_program(make_network(), root, crop=CROP, old=old)
    return describe(root, precisions={}, parity={"paddle": 0.0}, probes={})


def test_both_of_paddles_files_are_read(whole: Path, tmp_path: Path) -> None:
    old = only_paddle(tmp_path / "old", old=True)
    assert old.has("inference.pdmodel")
    assert not old.has("inference.json")
    new = ModelBundle.load(whole)
    assert new.has("inference.json")
    np.testing.assert_allclose(infer_all(open_engine(PADDLE, old)), infer_all(open_engine(PADDLE, new)), atol=1e-5)


def test_a_paddle_before_3_is_not_given_the_file_that_it_crashes_over(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import paddle

    old = only_paddle(tmp_path / "old", old=True)
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    words = r"Paddle 2\.6\.2 can't read inference\.json, .*install a newer Paddle, or export with --program pdmodel"
    with pytest.raises(BundleError, match=words):
        open_engine(PADDLE, ModelBundle.load(whole))
    told: list[str] = []
    assert Predictor(ModelBundle.load(whole), engine="paddle", tell=told.append).engine == "openvino"
    assert "2.6.2" in told[0]
    assert infer_all(open_engine(PADDLE, old)).shape == (4, 3)
    monkeypatch.setattr(paddle, "__version__", "0.0.0")  # a build of one's own
    assert infer_all(open_engine(PADDLE, ModelBundle.load(whole))).shape == (4, 3)


# ---- no reporter


def test_predicting_counts_and_reports_nothing(colour_bundle: Path, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "red.png", COLOURS["red"])
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from garbage_cli.prediction import Photo\n"
        "from garbage_cli.predictor import Predictor\n"
        f"photo = Photo.from_path(Path({str(photo)!r}))\n"
        f"answers = list(Predictor.load(Path({str(colour_bundle)!r})).predict([photo]))\n"
        "assert answers[0].bin_name == '有害垃圾', answers\n"
        "assert 'openvino' in sys.modules\n"
        "assert sys.modules.get('openvino_telemetry') is None\n"
    )
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"garbage"}


def test_the_number_of_threads_that_is_asked_for_counts_before_a_workers_share(whole: Path) -> None:
    engine = open_engine(F32, ModelBundle.load(whole), parallel=True, threads=4, options=Options(cpu_num_threads=3))
    assert engine.callers == 3


@pytest.mark.parametrize(
    ("flags", "features", "has"),
    [
        ("avx2 avx_vnni", {"AVX2": True}, True),  # a processor of today without AVX-512
        ("avx2 avx512f avx512_vnni", {"AVX2": True, "AVX512F": True, "AVX512_ICL": True}, True),
        ("avx2 avx512f avx_vnni", {"AVX2": True}, False),  # an old one, emulated on one that has it
        ("avx2", {"AVX2": True}, False),
        ("sse2 avx_vnni", {}, False),
    ],
)
def test_8_bit_products_are_those_of_the_processor_and_not_of_the_machine_around_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, features: dict[str, bool], has: bool
) -> None:
    from garbage_cli.engines import machine

    monkeypatch.setattr(machine, "_cpuinfo", lambda key: flags)
    monkeypatch.setattr(machine, "_features", lambda: features)
    assert machine.has_int8_products() == has
