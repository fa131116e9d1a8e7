"""The PaddleHub module as a folder, and run under a stand-in for PaddleHub (the real one: test_slow_hub.py)."""

import ast
import base64
import importlib.util
import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import COLOURS, make_colour_bundle, save_photo
from PIL import Image

from garbage_cli import wire
from garbage_cli.bundle import ModelBundle
from garbage_cli.console import hubmodule as view
from garbage_cli.engines import Options
from garbage_cli.engines.choosing import Wish
from garbage_cli.errors import BundleError, ConfigError, GarbageError, ImageError
from garbage_cli.hubmodule import HubAnswers, answers, wish_for, write_hub_module
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.wire.hub import hub_results, parse_hub

FILES = {"__init__.py", "module.py", "inference"}


@pytest.fixture
def bundle(colour_bundle: Path) -> ModelBundle:
    return ModelBundle.load(colour_bundle)


@pytest.fixture
def folder(bundle: ModelBundle, tmp_path: Path) -> Path:
    return write_hub_module(bundle, tmp_path / "hub")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- the folder


def test_a_module_is_paddlehubs_two_files_and_the_whole_bundle(
    folder: Path, tmp_path: Path, colour_bundle: Path
) -> None:
    assert folder == tmp_path / "hub" / "garbage_classification"
    assert names(folder) == FILES
    assert content(folder / "inference") == content(colour_bundle)
    assert ModelBundle.load(folder / "inference").name == "Colours"


def test_an_out_of_the_modules_name_is_the_module(bundle: ModelBundle, tmp_path: Path) -> None:
    out = tmp_path / "garbage_classification"
    assert write_hub_module(bundle, out) == out
    assert names(out) == FILES


def test_paddlehub_can_read_the_modules_facts_without_running_it(folder: Path) -> None:
    tree = ast.parse((folder / "module.py").read_text(encoding="utf-8"))
    (module,) = (each for each in tree.body if isinstance(each, ast.ClassDef))
    (decorator,) = module.decorator_list
    assert isinstance(decorator, ast.Call)
    facts = {each.arg: ast.literal_eval(each.value) for each in decorator.keywords}
    assert (facts["name"], facts["version"]) == ("garbage_classification", "1.0.0")
    assert facts["type"] == "cv/image_classification"
    assert all(isinstance(value, str) for value in facts.values())


def test_a_module_replaces_the_one_before_with_what_python_left_in_it(bundle: ModelBundle, folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "inference" / "inference.yml").write_text("changed")
    assert write_hub_module(bundle, folder.parent) == folder
    assert names(folder) == FILES
    assert ModelBundle.load(folder / "inference").files == bundle.files


def test_an_altered_bundle_leaves_the_module_before_as_it_was(folder: Path, tmp_path: Path) -> None:
    before = content(folder)
    altered = ModelBundle.load(make_colour_bundle(tmp_path / "altered"))
    data = bytearray((altered.root / "model.onnx").read_bytes())
    data[-1] ^= 1
    (altered.root / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match="not what was exported"):
        write_hub_module(altered, folder.parent)
    assert content(folder) == before
    assert names(folder.parent) == {folder.name}
    with pytest.raises(BundleError):
        write_hub_module(altered, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("strange", ["notes.txt", "module.py", "inference/notes.txt"])
def test_a_folder_of_something_else_is_not_replaced(bundle: ModelBundle, folder: Path, strange: str) -> None:
    (folder / strange).write_text("mine")
    with pytest.raises(BundleError, match="holds something that no export wrote"):
        write_hub_module(bundle, folder.parent)
    assert (folder / strange).read_text() == "mine"


def test_a_file_in_the_way_is_not_replaced(bundle: ModelBundle, tmp_path: Path) -> None:
    (tmp_path / "garbage_classification").write_text("mine")
    with pytest.raises(BundleError, match="is a file"):
        write_hub_module(bundle, tmp_path)


def test_an_inference_folder_is_no_place_for_a_module(bundle: ModelBundle, tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "inference")
    before = content(root)
    with pytest.raises(BundleError, match="is an inference folder; choose another --out"):
        write_hub_module(bundle, root)
    assert content(root) == before


def test_a_manifest_that_names_a_file_outside_writes_nothing_there(tmp_path: Path) -> None:
    root = make_colour_bundle(tmp_path / "deep" / "inference")
    (tmp_path / "deep" / "outside").write_text("x")
    manifest = json.loads((root / "garbage.json").read_text())
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    manifest["files"]["../outside"] = {"bytes": 1, "sha256": digest}
    (root / "garbage.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="outside"):
        write_hub_module(ModelBundle.load(root), tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


# ---- the module, under a stand-in for PaddleHub


def stand_in() -> dict[str, ModuleType]:
    """What module.py imports of PaddleHub, in short: the class is built anew, methods are wrapped in functions."""

    def moduleinfo(**facts: object) -> Callable[[type], type]:
        def rebuild(plain: type) -> type:
            attributes = {key: value for key, value in vars(plain).items() if key not in ("__dict__", "__weakref__")}
            return type(plain.__name__, (object,), attributes | {"facts": facts})

        return rebuild

    def wrapped(function: Callable[..., object]) -> Callable[..., object]:
        return lambda *args, **kwargs: function(*args, **kwargs)

    module = ModuleType("paddlehub.module.module")
    vars(module).update(moduleinfo=moduleinfo, serving=wrapped, runnable=wrapped)
    log = ModuleType("paddlehub.utils.log")
    vars(log)["logger"] = logging.getLogger("paddlehub")
    packages = {name: ModuleType(name) for name in ("paddlehub", "paddlehub.module", "paddlehub.utils")}
    return {**packages, module.__name__: module, log.__name__: log}


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module's object before PaddleHub has initialised it."""
    for name, module in stand_in().items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("garbage_classification.module", folder / "module.py")
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    return code.GarbageClassification()


@pytest.fixture
def module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = installed(folder, monkeypatch)
    made._initialize()
    return made


@pytest.fixture
def red(tmp_path: Path) -> bytes:
    return save_photo(tmp_path / "red.png", COLOURS["red"]).read_bytes()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_serving_answers_a_body_as_the_wire_has_it(module: Any, bundle: ModelBundle, red: bytes, photos: Path) -> None:
    green = (photos / "绿 色.png").read_bytes()
    results = module.serving_method(images=[b64(red), b64(green)], top_k=3)
    predictor = Predictor(bundle, top_k=3)
    request = parse_hub({"images": [b64(red), b64(green)]}, input_shape=bundle.input_shape)
    expected: Any = hub_results(request, [predictor.answer(Photo("", each)) for each in (red, green)], seconds=0)
    assert [each[:2] for each in results] == [each[:2] for each in expected]
    assert all(0 < each[2] < 60 for each in results)


def test_serving_names_one_kind_unless_asked_for_more(module: Any, red: bytes) -> None:
    assert [len(part) for part in module.serving_method(images=[b64(red)])[0][:2]] == [1, 1]
    assert len(module.serving_method(images=[b64(red)], top_k=2)[0][0]) == 2


def as_tensor(predictor: Predictor, *photos: bytes) -> dict[str, Any]:
    """What a client of PaddleClas 2.1 and later sends: it has prepared the photos itself."""
    tensor = np.stack([predictor.prepare(Photo("", each)) for each in photos])
    params = {"shape": list(tensor.shape), "dtype": str(tensor.dtype)}
    return {"images": b64(tensor.tobytes()), "revert_params": params}


def test_a_tensor_gets_the_answers_of_its_photos(module: Any, bundle: ModelBundle, red: bytes, photos: Path) -> None:
    sent = [red, (photos / "绿 色.png").read_bytes()]
    predictor = Predictor(bundle)
    files = module.serving_method(images=[b64(each) for each in sent], top_k=3)
    tensor = as_tensor(predictor, *sent)
    b, c = module.serving_method(**tensor, top_k=3), module.serving_method(**tensor)
    assert list(b) == list(c) == ["prediction", "elapse"]
    assert [list(each) for each in b["prediction"]] == [["clas_ids", "scores"]] * 2
    assert [list(each) for each in c["prediction"]] == [["class_ids", "scores", "label_names"]] * 2
    for (class_ids, scores, _), in_b, in_c in zip(files, b["prediction"], c["prediction"], strict=True):
        assert class_ids == in_b["clas_ids"] == in_c["class_ids"]
        np.testing.assert_allclose(in_b["scores"], scores, rtol=0, atol=1e-6)
        np.testing.assert_allclose(in_c["scores"], scores, rtol=0, atol=1e-6)
    assert c["prediction"][1]["label_names"][0] == "厨余垃圾/菜叶菜根"
    assert 0 < b["elapse"] < 60


def test_of_a_tensor_as_many_kinds_are_named_as_are_asked_for_or_five_or_all(
    module: Any, bundle: ModelBundle, red: bytes
) -> None:
    tensor = as_tensor(Predictor(bundle), red)
    assert len(module.serving_method(**tensor, top_k=2)["prediction"][0]["clas_ids"]) == 2
    assert len(module.serving_method(**tensor, top_k=None)["prediction"][0]["clas_ids"]) == 3
    assert len(module.serving_method(**tensor)["prediction"][0]["class_ids"]) == 3
    with pytest.raises(ConfigError, match="this model knows 3 classes"):
        module.serving_method(**tensor, top_k=9)


def test_a_photo_that_fails_is_empty_among_those_that_do_not(module: Any, red: bytes) -> None:
    results = module.serving_method(images=[b64(b"hello"), b64(red), "@@@@", b64(red)])
    assert [each[0] for each in results] == [[], [0], [], [0]]
    assert [len(each[1]) for each in results] == [0, 1, 0, 1]


def test_if_all_photos_fail_it_is_said_of_each(module: Any) -> None:
    with pytest.raises(wire.RequestError) as raised:
        module.serving_method(images=[b64(b"hello"), "@@@@", "", "", ""])
    first, *rest = str(raised.value).split("; images")
    assert first.startswith("images[0]: not an image")
    assert rest == ["[1]: not valid base64", "[2]: the file is empty; and 2 more"]


def test_keys_that_nobody_knows_are_passed_over(module: Any, red: bytes) -> None:
    assert module.serving_method(images=[b64(red)], self=1, body=2, use_gpu=True)[0][0] == [0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, 'the key "images" is missing'),
        ({"images": "aGVsbG8="}, '"images" is one string'),
        ({"images": []}, "not empty"),
        ({"images": "aGVsbG8=", "revert_params": {"shape": [1, 3, 8, 8], "dtype": "float32"}}, "takes [3, 32, 32]"),
        ({"images": ["@@@@"]}, "images[0]: not valid base64"),
        ({"images": ["aGVsbG8="]}, "images[0]: not an image"),
        ({"images": ["aGVsbG8="], "top_k": 9}, "this model knows 3 classes"),
        ({"images": ["aGVsbG8="], "top_k": 0}, "top_k must be a whole number from 1"),
    ],
)
def test_serving_raises_our_words_over_a_bad_body(module: Any, body: dict[str, Any], said: str) -> None:
    with pytest.raises((wire.RequestError, GarbageError)) as raised:
        module.serving_method(**body)
    assert said in str(raised.value)


def test_python_gets_the_objects_of_predict_json(module: Any, bundle: ModelBundle, red: bytes, photos: Path) -> None:
    broken = photos / "broken.jpg"
    found = module.classification(images=[red], paths=[str(photos / "绿 色.png"), broken])
    named = [Photo("images[0]", red), Photo.from_path(photos / "绿 色.png"), Photo.from_path(broken)]
    assert found == [wire.prediction_to_json(each) for each in Predictor(bundle).predict(named)]
    assert [each["bin"] for each in found] == ["有害垃圾", "厨余垃圾", None]
    assert len(module.classification(paths=[broken.parent / "a red.jpg"], top_k=1)[0]["predictions"]) == 1


def test_an_array_in_bgr_is_the_photo_it_was_read_from(module: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    (array,) = module.classification(images=[pixels[..., ::-1]])
    (file,) = module.classification(images=[(tmp_path / "noise.png").read_bytes()])
    assert array == file


@pytest.mark.parametrize(
    ("images", "error"),
    [
        ([], ConfigError),
        (b"x", ConfigError),
        (np.zeros((4, 4, 3), np.uint8), ConfigError),
        ([np.zeros((4, 4), np.uint8)], ImageError),
        ([np.zeros((4, 4, 3), np.float32)], ImageError),
        (["photo.jpg"], ImageError),
    ],
)
def test_what_is_no_list_of_images_is_refused(module: Any, images: Any, error: type[GarbageError]) -> None:
    with pytest.raises(error):
        module.classification(images=images)


def test_hub_run_gives_the_lines_of_predict_json(module: Any, bundle: ModelBundle, photos: Path) -> None:
    said = module.run_cmd(["--input_path", str(photos), "--top_k", "2"])
    paths = sorted(photos.rglob("*.*"), key=lambda path: (path.parent != photos, path.name))
    expected = Predictor(bundle, top_k=2).predict(Photo.from_path(path) for path in paths if path.suffix != ".txt")
    assert [json.loads(line) for line in said.splitlines()] == [wire.prediction_to_json(each) for each in expected]


def test_hub_run_without_a_photo_shows_its_usage(module: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        module.run_cmd([])
    assert "hub run garbage_classification" in capsys.readouterr().err


# ---- how it is initialised


def test_the_init_args_of_the_source_documents_config_are_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, bool]] = []

    def noted(**keys: bool) -> Wish:
        asked.append(keys)
        return Wish()

    monkeypatch.setattr("garbage_cli.hubmodule.wish_for", noted)
    installed(folder, monkeypatch)._initialize(version="1.0.0", use_gpu=True, enable_mkldnn=False)
    assert asked == [{"use_gpu": True, "enable_mkldnn": False}]


def test_paddles_own_keys_choose_paddle() -> None:
    assert wish_for(use_gpu=False, enable_mkldnn=False) == Wish()
    assert wish_for(use_gpu=False, enable_mkldnn=True) == Wish("paddle")
    for mkldnn in (False, True):  # use_gpu wins
        assert wish_for(use_gpu=True, enable_mkldnn=mkldnn) == Wish("paddle", options=Options(use_gpu=True))


def test_a_model_that_paddle_cannot_run_is_said_at_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match="no network for paddle"):
        installed(folder, monkeypatch)._initialize(enable_mkldnn=True)


def test_an_altered_model_is_said_at_the_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = folder / "inference" / "model.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="not what was exported"):
        installed(folder, monkeypatch)._initialize()


def test_without_garbage_cli_the_module_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(folder, monkeypatch)
    monkeypatch.setitem(sys.modules, "garbage_cli.hubmodule", None)
    with pytest.raises(ImportError, match="pip install garbage-cli"):
        made._initialize()


def test_what_garbage_cli_itself_misses_is_not_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = installed(folder, monkeypatch)
    for name in [name for name in sys.modules if name.startswith("garbage_cli.hubmodule")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match="PIL"):
        made._initialize()


# ---- threads and processes


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines of the predictors that are made, chosen as for a server."""
    made: list[str] = []

    def counted(bundle: ModelBundle, **settings: Any) -> Predictor:
        assert settings["photos"] is None
        made.append(settings["engine"])
        return Predictor(bundle, **settings)

    monkeypatch.setattr(answers, "Predictor", counted)
    return made


def test_the_network_is_loaded_once_and_shared_by_threads(colour_bundle: Path, red: bytes, loads: list[str]) -> None:
    shared = HubAnswers(colour_bundle)
    assert loads == []
    found: list[object] = []
    asking = [
        threading.Thread(target=lambda: found.append(shared.serve({"images": [b64(red)] * 3})[2][0])) for _ in range(8)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert found == [[0]] * 8
    assert loads == ["openvino"]


def test_a_forked_process_loads_its_own(
    colour_bundle: Path, red: bytes, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = HubAnswers(colour_bundle)
    for pid in (1, 2, 1, 2):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        assert shared.serve({"images": [b64(red)]})[0][0] == [0]
    assert len(loads) == 2


# ---- the view


def test_the_view_names_the_commands_that_follow(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spaced = folder.parent / "my hub" / folder.name
    shutil.copytree(folder, spaced)
    view.show(spaced, json=False)
    said = capsys.readouterr()
    assert "Colours, 3 classes" in said.out
    assert f"hub install '{spaced}'" in said.out
    assert "hub serving start -m garbage_classification -p 8866" in said.out
    assert said.err == ""


def test_the_view_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    view.show(folder, json=True)
    value = json.loads(capsys.readouterr().out)
    assert (value["root"], value["module"], value["model"]) == (str(folder), "garbage_classification", "Colours")
    assert value["files"] == {name: len(data) for name, data in content(folder).items()}
    assert value["next"] == [f"hub install {folder}", "hub serving start -m garbage_classification -p 8866"]
