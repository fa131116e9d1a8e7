import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import COLOURS, make_colour_bundle, save_photo

from garbage_cli.bundle import ModelBundle
from garbage_cli.errors import BundleError, ConfigError
from garbage_cli.images import find
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor


def photos_in(folder: Path) -> list[Photo]:
    return [Photo.from_path(path) for path in find([folder])]


def test_answers_come_in_order_and_a_bad_photo_fails_alone(colour_bundle: Path, photos: Path) -> None:
    answers = list(Predictor.load(colour_bundle).predict(photos_in(photos)))
    assert [Path(answer.image).name for answer in answers] == ["a red.jpg", "broken.jpg", "绿 色.png", "blue.webp"]
    assert [answer.bin_name for answer in answers] == ["有害垃圾", None, "厨余垃圾", "可回收物"]
    assert "damaged or incomplete" in (answers[1].error or "")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_engines_agree(colour_bundle: Path, photos: Path, engine: str) -> None:
    reference = list(Predictor.load(colour_bundle).predict(photos_in(photos)))
    answers = list(Predictor.load(colour_bundle, engine=engine).predict(photos_in(photos)))
    for mine, theirs in zip(reference, answers, strict=True):
        assert [s.label for s in mine.scores] == [s.label for s in theirs.scores]
        np.testing.assert_allclose([s.score for s in mine.scores], [s.score for s in theirs.scores], atol=1e-6)


def test_top_k_is_five_or_all_and_more_than_all_is_an_error(colour_bundle: Path, photos: Path) -> None:
    assert Predictor.load(colour_bundle).top_k == 3
    answer = next(Predictor.load(colour_bundle, top_k=1).predict(photos_in(photos)))
    assert len(answer.scores) == 1
    for wrong in (4, 0, -1):
        with pytest.raises(ConfigError, match=f"top-k is {wrong}; this model knows 3 classes"):
            Predictor.load(colour_bundle, top_k=wrong)


def test_photos_are_drawn_only_as_they_are_needed(colour_bundle: Path, tmp_path: Path) -> None:
    photo = Photo.from_path(save_photo(tmp_path / "red.png", COLOURS["red"]))
    drawn = 0

    def endless() -> Iterator[Photo]:
        nonlocal drawn
        while True:
            drawn += 1
            yield photo

    answers = Predictor.load(colour_bundle).predict(endless())
    for _ in range(20):
        next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert drawn < 200


def test_many_threads_get_the_right_answers(colour_bundle: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(colour_bundle, top_k=1)
    wrong: list[str] = []

    def ask(colour: str, class_id: int) -> None:
        photo = Photo.from_path(save_photo(tmp_path / f"{colour}.png", COLOURS[colour]))
        for _ in range(30):
            best = predictor.answer(photo).best
            if best is None or best.label.class_id != class_id:
                wrong.append(colour)

    threads = [threading.Thread(target=ask, args=(c, i)) for i, c in enumerate(COLOURS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_bundle_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    with (root / "model.onnx").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(BundleError, match=r"model\.onnx has 100 bytes"):
        ModelBundle.load(root)
    (root / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        ModelBundle.load(root)
    (root / "garbage.json").write_text("{")
    with pytest.raises(BundleError, match="is damaged"):
        ModelBundle.load(root)
    with pytest.raises(BundleError, match="garbage export"):
        ModelBundle.load(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"garbage\.json: No such file"):
        ModelBundle.load(tmp_path)


def test_an_altered_network_is_refused(tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    data = bytearray((root / "model.onnx").read_bytes())
    data[-20] ^= 1
    (root / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.onnx is not what was exported"):
        Predictor.load(root)


def test_altered_labels_are_refused(tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    text = (root / "inference.yml").read_text()
    (root / "inference.yml").write_text(text.replace("有害垃圾/干电池", "厨余垃圾/干电池"))
    with pytest.raises(BundleError, match=r"inference\.yml is not what was exported"):
        ModelBundle.load(root)


def test_an_engine_that_is_unknown_or_has_no_network_is_said(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="no engine named 'tensorrt'"):
        Predictor.load(colour_bundle, engine="tensorrt")
    with pytest.raises(BundleError, match="holds no network for paddle"):
        Predictor.load(colour_bundle, engine="paddle")
    monkeypatch.setattr("garbage_cli.engines.choosing.is_installed", lambda name: name == "openvino")
    told: list[str] = []
    assert Predictor.load(colour_bundle, engine="onnxruntime", tell=told.append).engine == "openvino"
    assert len(told) == 1
    assert "onnxruntime is not installed (pip install 'garbage-cli[train]')" in told[0]
