"""The module in the real PaddleHub: `hub install`, `hub serving start`, `hub run`, beside `garbage serve`.

What is in a reply of PaddleHub 2.4.0 (Flask 3) is equal to ours, but for

- Chinese and other signs in `msg`, which Flask 3 escapes (older ones did not, as we do not);
- a body that is not JSON, which is HTTP 400 and a page in HTML, where we answer 101;
- another content type, which is HTTP 415 and a page in HTML, where older ones answered 112, as we do;
- a body that is JSON but no object, which is HTTP 500, where we answer 101;
- the seconds per photo, of course.
"""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import COLOUR_LABELS, COLOURS, save_photo
from test_server import b64, serving

from garbage_cli.bundle import ModelBundle
from garbage_cli.config import PreprocessConfig
from garbage_cli.conversion import save_onnx, save_program
from garbage_cli.hubmodule import write_hub_module
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor
from garbage_cli.vendor import paddle
from garbage_cli.wire import prediction_to_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("paddlehub") is None, reason="needs the extra hub"),
]

HUB = Path(sys.executable).with_name("hub")
ROUTE = "/predict/garbage_classification"


@dataclass(frozen=True)
class Home:
    """A PaddleHub of its own with the module installed."""

    environment: dict[str, str]
    said: str
    """By `hub install`."""

    def hub(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [str(HUB), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=cwd, env=self.environment, timeout=250
        )

    @contextmanager
    def serving(self, *arguments: object, port: int, cwd: Path) -> Iterator[str]:
        """`hub serving start` in a process group of its own, which is killed in any case."""
        log = cwd / f"serving-{port}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [str(HUB), "serving", "start", *map(str, arguments)],
                cwd=cwd, env=self.environment, stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip
        try:
            yield wait_for(f"http://127.0.0.1:{port}", process, log)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            httpx.get(url, timeout=5)
            return url
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def install(bundle: Path, folder: Path) -> Home:
    """`hub install` into a HUB_HOME whose server, which every command tells what it does, is nobody."""
    module = write_hub_module(ModelBundle.load(bundle), folder)
    (folder / "home" / "conf").mkdir(parents=True)
    settings = "log:\n  enable: true\n  level: DEBUG\nserver: http://127.0.0.1:9/paddlehub\n"
    (folder / "home" / "conf" / "config.yaml").write_text(settings)
    environment = {**os.environ, "HUB_HOME": str(folder / "home"), "HOME": str(folder), "NO_PROXY": "*"}
    done = Home(environment, "").hub("install", module, cwd=folder)
    assert done.returncode == 0, done.stderr
    return Home(environment, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def home(colour_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return install(colour_bundle, tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def theirs(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the real PaddleHub Serving."""
    port = free_port()
    arguments = ("-m", "garbage_classification", "-p", port)
    with home.serving(*arguments, port=port, cwd=tmp_path_factory.mktemp("theirs")) as url:
        yield url


@pytest.fixture(scope="module")
def ours(colour_bundle: Path) -> Iterator[str]:
    with serving(colour_bundle) as server:
        yield server.url


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Photos in base64, by name: drawn ones, and what is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    photos = {name: save_photo(folder / f"{name}.jpg", colour).read_bytes() for name, colour in COLOURS.items()}
    wide = save_photo(folder / "wide.png", (90, 120, 30), (333, 57)).read_bytes()
    texts = {name: b64(data) for name, data in {**photos, "wide": wide}.items()}
    return {**texts, "cut": b64(photos["red"][:200]), "words": b64("不是照片".encode()), "junk": "@@@@"}


def filled(body: dict[str, Any], encoded: dict[str, str]) -> dict[str, Any]:
    """The body with its photos in place of their names."""
    match body.get("images"):
        case str(name):
            return {**body, "images": encoded[name]}
        case [*names]:
            return {**body, "images": [encoded[name] for name in names]}
    return body


def results(reply: httpx.Response) -> Any:
    """The results without the seconds, which are positive."""
    value = reply.json()["results"]
    assert all(0 < image[2] < 60 for image in value)
    return [image[:2] for image in value]


# ---- serving


def test_hub_install_says_so(home: Home) -> None:
    assert "Successfully installed garbage_classification-1.0.0" in home.said


@pytest.mark.parametrize(
    "body",
    [
        {"images": ["red"]},
        {"images": ["red"], "top_k": 1},
        {"images": ["blue"], "top_k": 3},
        {"images": ["red", "green", "blue", "wide", "red"], "top_k": 2},
        {"images": ["green", "wide"], "unknown": [1], "self": 2, "name": "x"},
    ],
)
def test_photos_get_the_same_answers(theirs: str, ours: str, encoded: dict[str, str], body: dict[str, Any]) -> None:
    sent = filled(body, encoded)
    real, mine = httpx.post(theirs + ROUTE, json=sent), httpx.post(ours + ROUTE, json=sent)
    assert real.status_code == mine.status_code == 200
    assert real.headers["content-type"] == mine.headers["content-type"] == "application/json"
    assert list(real.json()) == list(mine.json()) == ["msg", "results", "status"]
    assert (real.json()["status"], real.json()["msg"]) == (mine.json()["status"], mine.json()["msg"]) == ("000", "")
    assert results(real) == results(mine)
    assert len(results(real)) == len(sent["images"])
    assert all(len(ids) == body.get("top_k", 1) for ids, _ in results(real))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"images": ["junk"]}, "images[0] is not valid base64"),
        ({"images": ["red", "cut"]}, "images[1]: "),
        ({"images": ["words"]}, "images[0]: not an image"),
        ({"images": []}, "not empty"),
        ({"images": "red"}, "is one string; send a list"),
        ({"images": None}, "must be a list"),
        ({"top_k": 1}, 'the key "images" is missing'),
        ({"images": ["red"], "top_k": 4}, "this model knows 3 classes"),
        ({"images": ["red"], "top_k": "two"}, "top_k must be a whole number"),
    ],
)
def test_what_is_wrong_is_said_in_the_same_words(
    theirs: str, ours: str, encoded: dict[str, str], body: dict[str, Any], said: str
) -> None:
    sent = filled(body, encoded)
    real, mine = httpx.post(theirs + ROUTE, json=sent), httpx.post(ours + ROUTE, json=sent)
    assert real.status_code == mine.status_code == 200
    assert real.json() == mine.json()
    assert (real.json()["status"], real.json()["results"]) == ("101", "")
    assert said in real.json()["msg"]


def test_another_module_gets_the_same_bytes(theirs: str, ours: str) -> None:
    real, mine = (httpx.post(f"{url}/predict/other", json={}) for url in (theirs, ours))
    assert (real.status_code, real.content) == (mine.status_code, mine.content)
    assert real.json()["status"] == "111"


@pytest.mark.parametrize(
    ("content", "kind", "their_code", "our_status"),
    [
        (b"{", "application/json", 400, "101"),
        (b"[1]", "application/json", 500, "101"),
        (b"{}", "text/plain", 415, "112"),
    ],
)
def test_where_the_real_one_has_pages_in_html_we_have_the_envelope(
    theirs: str, ours: str, content: bytes, kind: str, their_code: int, our_status: str
) -> None:
    real, mine = (httpx.post(url + ROUTE, content=content, headers={"content-type": kind}) for url in (theirs, ours))
    assert (real.status_code, real.headers["content-type"]) == (their_code, "text/html; charset=utf-8")
    assert (mine.status_code, mine.json()["status"]) == (200, our_status)


# ---- started by a config.json, as the source document does


@pytest.fixture(scope="module")
def paddle_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that knows colours, with a network of Paddle's."""
    root = tmp_path_factory.mktemp("paddle") / "inference"
    root.mkdir()
    module = paddle("this test")
    nn = module.nn
    linear = nn.Linear(3, 3, module.ParamAttr(initializer=nn.initializer.Assign(2 * module.eye(3))))
    network = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Flatten(), linear, nn.Softmax())
    network.eval()
    save_program(network, root, crop=32)
    save_onnx(root)
    spec = PreprocessConfig(resize_short=32, crop=32)
    ModelBundle.save(root, name="Colours", labels=COLOUR_LABELS, preprocess=spec, facts={"parity": {}})
    return root


@pytest.fixture(scope="module")
def paddle_home(paddle_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return install(paddle_bundle, tmp_path_factory.mktemp("paddle hub"))


@pytest.mark.parametrize(
    ("keys", "init_args"),
    [
        ({"use_multiprocess": False, "workers": 1}, {"version": "1.0.0", "use_gpu": False, "enable_mkldnn": True}),
        ({"use_multiprocess": False, "workers": 2}, {"version": "1.0.0", "use_gpu": True, "enable_mkldnn": False}),
        ({"use_multiprocess": True, "workers": 2}, {"version": "1.0.0"}),
        ({"use_multiprocess": True, "workers": 2}, {"version": "1.0.0", "use_gpu": False, "enable_mkldnn": True}),
    ],
    ids=[
        "one process, Paddle",
        "the source document's, without its GPU",
        "workers, the fastest engine",
        "workers, Paddle",
    ],
)
def test_a_config_json_starts_it(
    paddle_home: Home,
    paddle_bundle: Path,
    encoded: dict[str, str],
    tmp_path: Path,
    keys: dict[str, Any],
    init_args: dict[str, Any],
) -> None:
    port = free_port()
    modules = {"garbage_classification": {"init_args": init_args, "predict_args": {"top_k": 2}}}
    (tmp_path / "config.json").write_text(json.dumps({"modules_info": modules, "port": port, **keys}))
    sent = {"images": [encoded[name] for name in ("red", "green", "wide")]}
    engine = "paddle" if init_args.get("enable_mkldnn") else "auto"
    with (
        paddle_home.serving("-c", "config.json", port=port, cwd=tmp_path) as theirs,
        serving(paddle_bundle, "--engine", engine, "--top-k", 2) as server,
    ):
        expected = results(httpx.post(server.url + ROUTE, json=sent, timeout=60))
        for _ in range(6):  # of the workers, each has a turn
            found = results(httpx.post(theirs + ROUTE, json=sent, timeout=60))
            for (ids, scores), (expected_ids, expected_scores) in zip(found, expected, strict=True):
                assert ids == expected_ids
                assert scores == pytest.approx(expected_scores, abs=1e-5)


def test_init_args_that_the_model_cannot_follow_end_the_start_with_our_words(home: Home, tmp_path: Path) -> None:
    modules = {"garbage_classification": {"init_args": {"enable_mkldnn": True}, "predict_args": {}}}
    (tmp_path / "config.json").write_text(json.dumps({"modules_info": modules, "port": free_port()}))
    done = home.hub("serving", "start", "-c", "config.json", cwd=tmp_path)
    assert done.returncode != 0
    assert "holds no network for paddle" in done.stderr


# ---- run


def test_hub_run_prints_what_predict_json_does(home: Home, colour_bundle: Path, photos: Path) -> None:
    done = home.hub("run", "garbage_classification", "--input_path", "a red.jpg", "绿 色.png", "broken.jpg", cwd=photos)
    assert done.returncode == 0, done.stderr
    named = [Photo(name, photos / name) for name in ("a red.jpg", "绿 色.png", "broken.jpg")]
    expected = [prediction_to_json(each) for each in Predictor.load(colour_bundle).predict(named)]
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected


def test_without_garbage_cli_the_real_one_says_what_to_install(home: Home, photos: Path, tmp_path: Path) -> None:
    """A finder stands in for an environment without the package; hub install has run before."""
    finder = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'garbage_cli':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    (tmp_path / "sitecustomize.py").write_text(finder)
    path = os.pathsep.join([str(tmp_path), home.environment.get("PYTHONPATH", "")])
    bare = Home({**home.environment, "PYTHONPATH": path}, "")
    done = bare.hub("run", "garbage_classification", "--input_path", "a red.jpg", cwd=photos)
    assert done.returncode != 0
    assert "pip install garbage-cli" in done.stderr
