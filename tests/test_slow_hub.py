"""The module in the real PaddleHub: `hub install`, `hub serving start`, `hub run`, beside `garbage serve`.

To a body that is right, PaddleHub 2.4.0 (Flask 3) answers the same bytes as we do, but for the seconds, and for
Chinese, which Flask 3 escapes (older ones did not, as we do not). What else differs:

| | PaddleHub 2.4.0 | `garbage serve` |
|---|---|---|
| a body that is not JSON | HTTP 400, a page in HTML | status 101 |
| another content type than JSON, or none | HTTP 415, a page (status 112 with an older Flask) | status 112 |
| JSON that is no object | HTTP 500, a page; 112 for null | status 101 |
| JSON nested too deep | HTTP 500, a page | status 101 |
| NaN or Infinity, which JSON has not | read | status 101 |
| some photos of several fail | their lists are empty, `msg` too | their lists are empty, `msg` says why |
| no such route or method | a page | `{"error": …}` |
| GET / | a line that says there is no page | the page at the bin; POST / has a line |
| OPTIONS | HTTP 200 | HTTP 405, but for CORS |
| /gradio/MODULE | HTTP 500; 111 for an unknown module | HTTP 404 |
| a client that sends half a request | one process: all others wait for it | nobody waits |
| size of a body, photos under way, keys | no limit, none | HTTP 4xx or 503, `{"error": …}` |

`REAL` and the tables below hold all of it.
"""

import gzip
import importlib.util
import json
import os
import re
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
from conftest import COLOUR_LABELS, COLOURS, free_port, save_photo
from test_contracts import BAD, JSON, RED64, TOLERATED, images, in_lines, tensor, tensor64
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


def results(reply: httpx.Response) -> Any:
    """Generation A's results without the seconds, which are positive."""
    value = reply.json()["results"]
    assert all(0 < image[2] < 60 for image in value)
    return [image[:2] for image in value]


def plain(reply: httpx.Response) -> str:
    """A reply's text with # for its seconds, and Chinese as it is."""
    if reply.headers["content-type"] != JSON:
        return reply.text
    text = json.dumps(reply.json(), ensure_ascii=False, separators=(",", ":")) + "\n"
    if "\\u" not in reply.text:
        assert reply.text == text
    return re.sub(r'("elapse":|\],)[0-9.e-]+(?=[,\]])', r"\1#", text)


# ---- serving


def test_hub_install_says_so(home: Home) -> None:
    assert "Successfully installed garbage_classification-1.0.0" in home.said


TWO = tensor(tensor64(3, -2, 1, count=2), shape=[2, 3, 32, 32])

BODIES = [
    *((body.name, body.content, body.kind) for body in BAD),
    *((body.name, body.content, JSON) for body in TOLERATED),
    ("A", images(RED64), JSON),
    ("A: five photos, two classes", b'{"top_k": 2, "images": [%b]}' % b", ".join([b'"RED"'] * 5), JSON),
    ("A: keys that mean something in Python or PaddleHub", images(RED64, self=2, name="x", module=1, body=[1]), JSON),
    ("A: JSON of another kind", images(RED64), "application/vnd.x+json"),
    ("B", TWO[:-1] + b', "top_k": 1}', JSON),
    ("B: top_k in front", b'{"top_k": 3, ' + TWO[1:], JSON),
    ("C", TWO, JSON),
    ("C: line breaks", tensor(in_lines(tensor64())), JSON),
    ("one photo of several fails", images(RED64, "@@", RED64), JSON),
    ("no content type", images(RED64), ""),
    ("compressed", gzip.compress(images(RED64)), JSON),
    ("NaN in a key that nobody reads", images(RED64)[:-1] + b', "x": NaN}', JSON),
]

NO_JSON = [
    "empty body", "spaces only", "truncated JSON", "two objects", "Python's repr", "a form", "a photo", "GBK",
    "an integer of 10,000 digits", "compressed",
]  # fmt: skip
NO_KIND = ["a form by its content type", "text by its content type", "no content type"]
REAL = {
    **dict.fromkeys(NO_JSON, "HTTP 400, a page"),
    **dict.fromkeys(NO_KIND, "HTTP 415, a page"),
    **dict.fromkeys(["a string", "a number", "deep nesting"], "HTTP 500, a page"),
    "a list": '101: the key "images" is missing',
    "null": "112: This usage is out of date",
    "NaN": '101: "images" must be a list of base64 strings, and not empty',
    "-Infinity": "101: top_k must be a whole number from 1, not -Infinity",
    "NaN in a key that nobody reads": "000: ",
    "256 photos": "000: ",
    "one photo of several fails": "000: ",
}
"""What the real one does with each body that it answers otherwise than we do."""


def outcome(reply: httpx.Response) -> str:
    if reply.headers["content-type"] != JSON:
        return f"HTTP {reply.status_code}, a page"
    assert reply.status_code == 200
    return f"{reply.json()['status']}: {reply.json()['msg']}"


@pytest.mark.parametrize(("name", "content", "kind"), BODIES, ids=[name for name, _, _ in BODIES])
def test_the_real_one_answers_the_same_but_where_it_is_known_not_to(
    theirs: str, ours: str, name: str, content: bytes, kind: str
) -> None:
    headers = {"content-type": kind} if kind else {}
    content = content.replace(b"RED", RED64.encode())
    real, mine = (httpx.post(url + ROUTE, content=content, headers=headers, timeout=60) for url in (theirs, ours))
    assert (mine.status_code, mine.headers["content-type"]) == (200, JSON)
    if plain(real) == plain(mine):
        assert (real.status_code, real.headers["content-type"]) == (200, JSON)
        assert name not in REAL
    else:
        assert outcome(real).startswith(REAL.get(name, "the same as ours"))
        assert outcome(mine)[:3] in ("000", "101", "112")
    after = httpx.post(theirs + ROUTE, json={"images": [RED64]}, timeout=60)
    assert results(after)[0][0] == [0]  # it lives on


def test_all_that_is_known_to_differ_is_tried() -> None:
    names = [name for name, _, _ in BODIES]
    assert len(set(names)) == len(names)
    assert set(REAL) <= set(names)


def test_photos_of_all_kinds_get_the_same_answers(theirs: str, ours: str, encoded: dict[str, str]) -> None:
    sent = {"images": [encoded[name] for name in ("red", "green", "blue", "wide", "cut", "words")], "top_k": 3}
    real, mine = (httpx.post(url + ROUTE, json=sent, timeout=60) for url in (theirs, ours))
    assert results(real) == results(mine)
    assert [len(ids) for ids, _ in results(real)] == [3, 3, 3, 3, 0, 0]


@pytest.mark.parametrize(
    ("method", "path", "real_code", "our_code"),
    [
        ("GET", "/", 200, 200),
        ("POST", "/", 200, 200),
        ("HEAD", "/", 200, 200),
        ("PUT", "/", 405, 405),
        ("OPTIONS", "/", 200, 405),
        ("OPTIONS", ROUTE, 200, 405),
        ("GET", ROUTE, 405, 405),
        ("GET", "/nowhere", 404, 404),
        ("POST", "/predict", 404, 404),
        ("POST", "/predict/", 404, 404),
        ("POST", ROUTE + "/", 404, 404),
        ("POST", ROUTE + "/more", 404, 404),
        ("GET", "/gradio/garbage_classification", 500, 404),
    ],
)
def test_routes_and_methods(theirs: str, ours: str, method: str, path: str, real_code: int, our_code: int) -> None:
    real, mine = httpx.request(method, theirs + path), httpx.request(method, ours + path)
    assert (real.status_code, mine.status_code) == (real_code, our_code)
    assert real.headers["content-type"] == "text/html; charset=utf-8"
    assert mine.headers["content-type"] == (real.headers["content-type"] if our_code == 200 else JSON)
    if our_code != 200:
        assert list(mine.json()) == ["error"] + ["msg", "results", "status"] * path.startswith("/predict/")


@pytest.mark.parametrize("module", ["other", "垃圾", "a%20b"])
def test_another_module_is_said_in_the_same_words(theirs: str, ours: str, module: str) -> None:
    real, mine = (httpx.post(f"{url}/predict/{module}", json={}) for url in (theirs, ours))
    assert real.status_code == mine.status_code == 200
    assert real.json() == mine.json()
    assert real.json()["status"] == "111"


def test_half_a_request_stops_the_real_one_and_not_us(theirs: str, ours: str) -> None:
    def answers(url: str) -> bool:
        try:
            return httpx.post(url + ROUTE, json={"images": [RED64]}, timeout=5).json()["status"] == "000"
        except httpx.ReadTimeout:
            return False

    for url, expected in ((theirs, False), (ours, True)):
        host, port = url.removeprefix("http://").split(":")
        head = f"POST {ROUTE} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {JSON}\r\nContent-Length: 99\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(head.encode() + b'{"images": [')
            assert answers(url) is expected
    assert any(answers(theirs) for _ in range(12))  # once the slow one is gone


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
