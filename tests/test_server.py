"""The real server as a program of its own, spoken to over a real socket."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, Result, make_colour_bundle, save_photo

from garbage_cli.client import Client
from garbage_cli.errors import ServerError
from garbage_cli.images import find
from garbage_cli.prediction import Classifier, Photo
from garbage_cli.predictor import Predictor


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[str]


@contextmanager
def serving(bundle: Path, *options: object, seconds: float = 30) -> Iterator[Server]:
    """A server, with what GARBAGE_TEST_SERVE adds to its options; it may take so many seconds to stop."""
    more = os.environ.get("GARBAGE_TEST_SERVE", "").split()
    command = [sys.executable, "-m", "garbage_cli", "serve", "--model", bundle, "--port", 0, "--json", *options, *more]
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            yield Server(json.loads(line)["url"], process)
        finally:
            process.terminate()
            process.wait(timeout=seconds)


@pytest.fixture(scope="module")
def server(colour_bundle: Path) -> Iterator[Server]:
    with serving(colour_bundle) as running:
        yield running


@pytest.fixture
def red(tmp_path: Path) -> bytes:
    return save_photo(tmp_path / "red.png", COLOURS["red"]).read_bytes()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ---- the same behaviour, here and over the network


@pytest.fixture(params=["predict", "request"])
def classifier(request: pytest.FixtureRequest, colour_bundle: Path, server: Server) -> Iterator[Classifier]:
    if request.param == "predict":
        yield Predictor.load(colour_bundle)
    else:
        with Client(server.url) as client:
            yield client


def test_local_and_remote_answers_are_equal(classifier: Classifier, colour_bundle: Path, photos: Path) -> None:
    named = [Photo.from_path(path) for path in find([photos, photos / "gone.jpg"])]
    expected = list(Predictor.load(colour_bundle).predict(named))
    answers = list(classifier.predict(named))
    assert [answer.image for answer in answers] == [photo.name for photo in named]
    for mine, theirs in zip(expected, answers, strict=True):
        assert mine.error == theirs.error
        assert [s.label for s in mine.scores] == [s.label for s in theirs.scores]
        assert all(abs(a.score - b.score) < 1e-4 for a, b in zip(mine.scores, theirs.scores, strict=True))


def test_no_photos_give_no_answers(classifier: Classifier) -> None:
    assert list(classifier.predict([])) == []


def test_order_is_kept_over_many_photos(classifier: Classifier, tmp_path: Path) -> None:
    data = {name: save_photo(tmp_path / f"{name}.png", colour).read_bytes() for name, colour in COLOURS.items()}
    names = [list(COLOURS)[i * i % 3] for i in range(60)]
    answers = classifier.predict(Photo(f"{i} {name}", data[name]) for i, name in enumerate(names))
    for i, answer in enumerate(answers):
        assert answer.image == f"{i} {names[i]}"
        assert answer.best is not None
        assert answer.best.label.class_id == list(COLOURS).index(names[i])


# ---- /v1


def test_v1_takes_a_raw_body_multipart_files_and_json(server: Server, red: bytes) -> None:
    url = f"{server.url}/v1/predict"
    raw = httpx.post(url, content=red, headers={"content-type": "image/png"}).json()
    files = httpx.post(url, files=[("images", ("红 色.png", red)), ("images", ("bad.png", b"x"))]).json()
    sent = httpx.post(url, json={"images": [b64(red)], "top_k": 1}).json()
    assert raw["model"] == "Colours"
    assert raw["results"][0]["bin"] == "有害垃圾"
    assert [each["image"] for each in files["results"]] == ["红 色.png", "bad.png"]
    assert files["results"][0]["predictions"] == raw["results"][0]["predictions"]
    assert files["results"][1]["error"].startswith("not an image")
    assert sent["results"][0]["predictions"] == raw["results"][0]["predictions"][:1]
    alone = httpx.post(url, content=b"no photo")
    assert (alone.status_code, alone.json()["results"][0]["bin"]) == (422, None)


def test_under_the_threshold_v1_and_request_are_not_sure_and_the_hub_answers_as_ever(
    colour_bundle: Path, red: bytes, tmp_path: Path, garbage: Callable[..., Result]
) -> None:
    (tmp_path / "红.png").write_bytes(red)
    with serving(colour_bundle, "--threshold", 0.9999) as doubtful:
        value = httpx.post(f"{doubtful.url}/v1/predict", content=red).json()["results"][0]
        hub = httpx.post(f"{doubtful.url}/predict/clas_system", json={"images": [b64(red)]}).json()
        said = garbage("request", tmp_path / "红.png", "--url", doubtful.url)
    assert (value["bin"], value["sure"], value["predictions"][0]["bin"]) == (None, False, "有害垃圾")
    assert (hub["status"], hub["results"][0][0]) == ("000", [0])
    assert said.code == 0
    assert said.out.startswith("不确定 not sure")


def test_a_threshold_that_is_no_score_is_said_before_ready(colour_bundle: Path, garbage: Callable[..., Result]) -> None:
    said = garbage("serve", "--model", colour_bundle, "--threshold", 7)
    assert (said.code, said.out) == (1, "")
    assert "threshold is 7; a score is from 0 to 1" in said.err


def test_v1_top_k_goes_in_the_query(server: Server, red: bytes) -> None:
    reply = httpx.post(f"{server.url}/v1/predict?top_k=2", content=red)
    assert len(reply.json()["results"][0]["predictions"]) == 2
    reply = httpx.post(f"{server.url}/v1/predict?top_k=4", content=red)
    assert reply.status_code == 400
    assert "this model knows 3 classes" in reply.json()["error"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "image/jpeg"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"junk", "multipart/form-data"),
        (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n", "multipart/form-data; boundary=x"),
    ],
)
def test_v1_answers_400_to_a_bad_body(server: Server, body: bytes, content_type: str) -> None:
    reply = httpx.post(f"{server.url}/v1/predict", content=body, headers={"content-type": content_type})
    assert reply.status_code == 400
    assert reply.json()["error"]


def test_health_readiness_greeting_and_schema(server: Server) -> None:
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{server.url}/readyz")
    assert (ready.status_code, ready.json()["classes"]) == (200, 3)
    assert httpx.get(server.url).status_code == httpx.post(server.url).status_code == 200
    assert "/v1/predict" in httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert httpx.get(f"{server.url}/nowhere").status_code == 404
    assert httpx.get(f"{server.url}/v1/predict").json()["error"] == (
        "GET /v1/predict: Method Not Allowed; /docs lists what there is"
    )


# ---- PaddleHub Serving, generation A


@pytest.mark.parametrize("module", ["garbage_classification", "clas_system"])
def test_generation_a_gets_its_shape(server: Server, red: bytes, module: str) -> None:
    reply = httpx.post(f"{server.url}/predict/{module}", json={"images": [b64(red), b64(red)], "top_k": 1})
    assert reply.headers["content-type"] == "application/json"
    assert reply.text.startswith('{"msg":"","results":[[[0],[0.')
    value = reply.json()
    assert value["status"] == "000"
    for class_ids, scores, seconds in value["results"]:
        assert (class_ids, len(scores)) == ([0], 1)
        assert 0 < seconds < 60


@pytest.mark.parametrize(
    ("module", "body", "content_type", "status", "said"),
    [
        ("other", b"{", "text/plain", "111", "Module other is not available."),
        ("clas_system", b"{}", "text/plain", "112", "application/json"),
        ("clas_system", b"{", "application/json", "101", "not valid JSON"),
        ("clas_system", b'{"images": []}', "application/json", "101", "not empty"),
        ("clas_system", b'{"images": ["aGVsbG8="]}', "application/json", "101", "images[0]: not an image"),
        ("clas_system", b'{"images": ["aGVsbG8="], "top_k": 9}', "application/json", "101", "knows 3 classes"),
    ],
)
def test_the_hub_says_what_is_wrong_with_http_200(
    server: Server, module: str, body: bytes, content_type: str, status: str, said: str
) -> None:
    reply = httpx.post(f"{server.url}/predict/{module}", content=body, headers={"content-type": content_type})
    assert reply.status_code == 200
    value = reply.json()
    assert (value["status"], value["results"]) == (status, "")
    assert said in value["msg"]


# ---- what each reply has, and who gets one


def test_a_photo_that_is_no_base64_fails_alone_and_all_of_them_are_422(server: Server, red: bytes) -> None:
    some, none = (
        httpx.post(f"{server.url}/v1/predict", json={"images": sent}) for sent in (["@@", b64(red)], ["@@", "@"])
    )
    assert (some.status_code, none.status_code) == (200, 422)
    assert [each["error"] for each in some.json()["results"]] == ["not valid base64", None]
    assert [each["error"] for each in none.json()["results"]] == ["not valid base64"] * 2


def test_v1_model_says_what_answers_here(server: Server, colour_bundle: Path) -> None:
    value = httpx.get(f"{server.url}/v1/model").json()
    assert list(value) == [
        "name", "version", "garbage", "classes", "bins", "regions", "input",
        "top_k", "threshold", "engine", "precision", "figures", "collects",
    ]  # fmt: skip
    predictor = Predictor.load(colour_bundle)
    assert (value["name"], value["top_k"], value["threshold"]) == ("Colours", 3, 0.0)
    assert value["version"] == predictor.bundle.digest[:12]
    assert [(each["class_id"], each["name"], each["bin"]) for each in value["classes"]] == [
        (0, "干电池", "有害垃圾"),
        (1, "菜叶菜根", "厨余垃圾"),
        (2, "易拉罐", "可回收物"),
    ]
    assert [each["name"] for each in value["bins"]] == ["可回收物", "厨余垃圾", "有害垃圾"]  # 其他垃圾 has no class
    assert [each["key"] for each in value["bins"]] == [each["bin_key"] for each in reversed(value["classes"])]
    assert value["classes"][2]["preparation"]["english"] == "Empty it, rinse it and crush it flat."
    national, *others = value["regions"]
    assert (national["key"], national["chinese"]) == ("national", "全国")
    assert others
    for region in value["regions"]:
        assert [each["key"] for each in region["bins"]] == ["recyclable", "kitchen", "hazardous", "other"]
        assert all(list(each) == ["key", "chinese", "english", "fill"] for each in region["bins"])
    assert value["input"]["shape"] == [3, 32, 32]
    assert value["figures"] is None  # nothing was measured


def test_the_greeting_is_a_line_of_html(server: Server) -> None:
    reply = httpx.post(server.url, content=b"anything")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "/predict/garbage_classification" in reply.text
    assert len(reply.text.splitlines()) == 1


def test_every_reply_has_an_id_and_a_harmless_one_of_the_client_is_kept(server: Server) -> None:
    asked = [("GET", "/"), ("GET", "/healthz"), ("GET", "/nowhere"), ("POST", "/v1/predict"), ("PUT", "/v2")]
    ids = [httpx.request(method, server.url + path).headers["x-request-id"] for method, path in asked]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 32 for each in ids)
    for given, is_kept in (("order-7.a", True), ("a b", False), ("x" * 129, False)):
        reply = httpx.get(server.url, headers={"x-request-id": given})
        assert (reply.headers["x-request-id"] == given) is is_kept


@pytest.fixture(scope="module")
def guarded(colour_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two keys, one origin, and two classes a photo unless asked for more or fewer."""
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text("line 3: 0123456789abcdef\nfedcba9876543210\n")
    keys.chmod(0o600)
    options = ("--api-key-file", keys, "--cors", "https://sorting.example", "--top-k", 2)
    with serving(colour_bundle, *options) as running:
        yield running


KEY = {"x-api-key": "fedcba9876543210"}


def test_without_a_key_there_is_health_and_the_page_and_nothing_else(guarded: Server) -> None:
    from garbage_cli.server.app import ROUTES

    health = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
    assert health < set(ROUTES)
    with httpx.Client(base_url=guarded.url) as client:
        for route in (*ROUTES, "/nowhere", "/healthz/", "//healthz", "/HEALTHZ"):
            path = guarded.url + route.format(module="clas_system", model="Colours", version="1", name="style.css")
            wrong = {"x-api-key": "0123456789abcdeF"}
            for reply in (client.get(path), client.post(path, content=b"{}", headers=wrong)):
                if route in ("/", "/page/{name}") and reply.request.method == "GET":
                    assert reply.status_code == 200
                    continue
                if route in health:
                    assert reply.status_code in (200, 405)
                    continue
                assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
                assert "an API key is needed" in reply.json()["error"]


def test_with_either_key_in_either_header_all_is_open(guarded: Server) -> None:
    from garbage_cli.server.app import ROUTES

    for headers in (KEY, {"authorization": "Bearer 0123456789abcdef"}):
        with httpx.Client(base_url=guarded.url, headers=headers) as client:
            for route in ROUTES:
                path = route.format(module="clas_system", model="Colours", version="1", name="style.css")
                for method in ("GET", "POST"):
                    assert client.request(method, path).status_code in (200, 400, 405), (method, route)


def test_pages_of_the_named_origin_may_read_replies_and_others_may_not(guarded: Server, server: Server) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key,content-type"}
    origin = {"origin": "https://sorting.example"}
    before = httpx.options(f"{guarded.url}/v1/predict", headers={**origin, **asks})  # a browser shows no key here
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == "https://sorting.example"
    assert "POST" in before.headers["access-control-allow-methods"]
    assert "x-api-key" in before.headers["access-control-allow-headers"]
    for headers in ({**origin, **KEY}, origin):  # what is wrong can be read as well
        reply = httpx.get(f"{guarded.url}/v1/model", headers=headers)
        assert reply.headers["access-control-allow-origin"] == "https://sorting.example"
    other = {"origin": "https://other.example"}
    assert httpx.options(f"{guarded.url}/v1/predict", headers={**other, **asks}).status_code == 400
    for url, headers in ((guarded.url, {**other, **KEY}), (server.url, origin)):
        assert "access-control-allow-origin" not in httpx.get(f"{url}/v1/model", headers=headers).headers


def test_top_k_of_the_server_counts_where_a_request_names_none(guarded: Server, server: Server, red: bytes) -> None:
    def counts(url: str) -> list[int]:
        import numpy as np

        tensor = {
            "images": b64(np.zeros((1, 3, 32, 32), np.float32).tobytes()),
            "revert_params": {"shape": [1, 3, 32, 32], "dtype": "float32"},
        }
        image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [b64(red)]}
        with httpx.Client(base_url=url, headers=KEY) as client:
            a = [
                client.post("/predict/clas_system", json={"images": [b64(red)], **keys}).json()["results"][0][0]
                for keys in ({}, {"top_k": 1}, {"top_k": 3})
            ]
            b = client.post("/predict/clas_system", json={**tensor, "top_k": 1}).json()["results"]["prediction"]
            c = client.post("/predict/clas_system", json=tensor).json()["results"]["prediction"]
            v1 = [client.post(f"/v1/predict{query}", content=red).json() for query in ("", "?top_k=1")]
            v2 = client.post("/v2/models/Colours/infer", json={"inputs": [image]}).json()["outputs"]
            return [
                *map(len, a),
                len(b[0]["clas_ids"]),
                len(c[0]["class_ids"]),
                *(len(each["results"][0]["predictions"]) for each in v1),
                v2[0]["shape"][1],
            ]

    assert counts(guarded.url) == [2, 1, 3, 1, 2, 2, 1, 2]
    assert counts(server.url) == [1, 1, 3, 1, 3, 3, 1, 3]  # PaddleClas's own A names one class


# ---- limits and stopping


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_a_client_that_hangs_up_leaves_no_traceback_and_takes_no_place(colour_bundle: Path, red: bytes) -> None:
    with serving(colour_bundle) as server:
        host, port = server.url.removeprefix("http://").split(":")
        slow = []
        for _ in range(80):  # more than the places inside
            connection = socket.create_connection((host, int(port)), timeout=10)
            connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
            slow.append(connection)
        assert httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200
        for connection in slow:
            connection.close()
        assert httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200
        server.process.terminate()
        _, said = server.process.communicate(timeout=30)
    assert said == ""


def test_generation_a_names_one_class_unless_asked_for_more(server: Server, red: bytes) -> None:
    reply = httpx.post(f"{server.url}/predict/clas_system", json={"images": [b64(red)]}).json()
    assert len(reply["results"][0][0]) == 1


def test_sigterm_finishes_what_was_accepted(colour_bundle: Path, tmp_path: Path) -> None:
    photo = save_photo(tmp_path / "large.png", COLOURS["red"], (6000, 6000)).read_bytes()
    with serving(colour_bundle) as server:
        codes: list[int] = []

        def ask() -> None:
            codes.append(httpx.post(f"{server.url}/v1/predict", content=photo, timeout=60).status_code)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        while len(codes) + inside(server) < 6:
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert server.process.wait(timeout=30) == 0
    assert codes == [200] * 6


def inside(server: Server) -> float:
    text = httpx.get(f"{server.url}/metrics", timeout=60).text
    (line,) = [each for each in text.splitlines() if each.startswith("garbage_inside_requests ")]
    return float(line.rpartition(" ")[2])


def workers_of(parent: int) -> list[int]:
    """The server's child processes that were spawned to serve, read from /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
            if status["PPid"] == str(parent) and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_several_workers_answer_and_one_that_dies_is_replaced(colour_bundle: Path, red: bytes) -> None:
    with serving(colour_bundle, "--workers", 2) as server:
        children = workers_of(server.process.pid)
        assert len(children) == 2
        os.kill(children[0], signal.SIGKILL)
        answered = 0
        for _ in range(100):
            try:
                answered += httpx.post(f"{server.url}/v1/predict", content=red).status_code == 200
            except httpx.TransportError:
                time.sleep(0.1)
        assert answered > 90


def test_workers_do_not_outlive_a_killed_server(colour_bundle: Path) -> None:
    with serving(colour_bundle, "--workers", 2) as server:
        server.process.kill()
        host, port = server.url.removeprefix("http://").split(":")
        for _ in range(200):
            try:
                socket.create_connection((host, int(port)), timeout=5).close()
            except ConnectionRefusedError:
                return
            time.sleep(0.1)
        pytest.fail("the workers still answer")


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_exit_code_130_and_no_traceback(colour_bundle: Path, workers: int) -> None:
    with serving(colour_bundle, "--workers", workers) as server:
        server.process.send_signal(signal.SIGINT)
        _, said = server.process.communicate(timeout=30)
        assert server.process.returncode == 130
        assert "Traceback" not in said


def test_an_address_of_another_machine_is_not_blamed_on_the_port(colour_bundle: Path) -> None:
    from conftest import run_program

    result = run_program("serve", "--model", colour_bundle, "--host", "192.0.2.1", "--port", 0)
    assert result.code == 1
    assert "is --host an address of this machine?" in result.err


# ---- the client's bad days


def test_a_dead_server_is_one_clear_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with Client(url) as client, pytest.raises(ServerError, match=r"no server at .*; start one with: garbage serve"):
            list(client.predict([Photo("x", b"data")]))


@pytest.mark.parametrize(
    "url", ["", "localhost:8866", "ftp://x", "http://", "http:///x", "http://[::1", "http://x:abc"]
)
def test_what_is_no_address_is_said(url: str) -> None:
    with pytest.raises(ServerError, match="is no server address"):
        Client(url)


def test_a_server_of_something_else_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*command[:1], "-u", *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=tmp_path
    ) as other:
        try:
            assert other.stdout is not None
            port = other.stdout.readline().split(" port ")[1].split()[0]
            with (
                Client(f"http://127.0.0.1:{port}") as client,
                pytest.raises(ServerError, match="not a reply of garbage serve"),
            ):
                list(client.predict([Photo("x", b"data")]))
        finally:
            other.kill()


def test_a_port_in_use_and_a_bad_bundle_are_said_before_anything_is_loaded(
    server: Server, colour_bundle: Path, tmp_path: Path
) -> None:
    from conftest import run_program

    port = server.url.rpartition(":")[2]
    taken = run_program("serve", "--model", colour_bundle, "--port", port)
    assert (taken.code, taken.out) == (1, "")
    assert taken.err == (
        f"error: can't serve on 127.0.0.1 port {port}: Address already in use; choose another with --port\n"
    )
    broken = make_colour_bundle(tmp_path / "broken")
    (broken / "model.onnx").write_bytes(bytes((broken / "model.onnx").stat().st_size))
    altered = run_program("serve", "--model", broken, "--port", 0)
    assert altered.code == 1
    assert "is not what was exported" in altered.err
    assert len(altered.err.splitlines()) == 1


def test_replies_do_not_wait_for_an_ack(colour_bundle: Path) -> None:
    """asyncio sets TCP_NODELAY only on sockets that name their protocol; without it a reply takes 40 ms more."""
    from garbage_cli.server import ServeOptions, _bind

    with _bind(ServeOptions(colour_bundle, port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_the_engine_that_was_decided_counts_for_the_model_it_was_decided_for(
    colour_bundle: Path, tmp_path: Path
) -> None:
    from garbage_cli.bundle import ModelBundle
    from garbage_cli.engines import Choice, Options
    from garbage_cli.engines.choosing import Wish
    from garbage_cli.server import ServeOptions

    bundle = ModelBundle.load(colour_bundle)
    settings = Options(cpu_num_threads=2)
    asked = ServeOptions(colour_bundle, precision="f32", options=settings)
    assert asked.wish_for(bundle) == asked.wish == Wish("auto", "f32", settings)
    decided = replace(asked, decided=Choice("onnxruntime", "f32"), decided_for=bundle.digest)
    assert decided.wish_for(bundle) == Wish("onnxruntime", "f32", settings)
    copy = Path(shutil.copytree(colour_bundle, tmp_path / "copy"))
    assert decided.wish_for(ModelBundle.load(copy)) == Wish("onnxruntime", "f32", settings)  # the same content
    other = ModelBundle.load(make_colour_bundle(tmp_path / "other", crop=33))
    assert decided.wish_for(other) == asked.wish


def test_what_paddlehub_does_not_know_has_a_status_of_http_and_its_keys_beside(
    colour_bundle: Path, red: bytes, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("bin at the door: 0123456789abcdef0123\n")
    body = {"images": [b64(red)]}
    with serving(colour_bundle, "--api-key-file", keys, "--max-body", "2K") as guarded:
        url = f"{guarded.url}/predict/clas_system"
        unknown = httpx.post(url, json=body)
        known = {"authorization": "Bearer 0123456789abcdef0123"}
        large = httpx.post(url, json={"images": [b64(red) * 100]}, headers=known)
        good = httpx.post(url, json=body, headers=known)
    assert (unknown.status_code, large.status_code, good.status_code) == (401, 413, 200)
    for refused in (unknown, large):
        value = refused.json()
        assert list(value) == ["error", "msg", "results", "status"]
        assert (value["status"], value["results"], value["msg"]) == ("101", "", value["error"])
    assert good.json()["status"] == "000"


def test_a_form_may_say_how_many_kinds_to_name(server: Server, red: bytes) -> None:
    url = f"{server.url}/v1/predict?top_k=3"
    sent = [("images", ("a.png", red)), ("top_k", (None, "2"))]
    assert len(httpx.post(url, files=sent).json()["results"][0]["predictions"]) == 2
    wrong = httpx.post(url, files=[("images", ("a.png", red)), ("top_k", (None, "two"))])
    assert (wrong.status_code, "top_k must be a whole number" in wrong.json()["error"]) == (400, True)


def test_keys_are_read_anew_at_sighup(colour_bundle: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("old: 0123456789abcdef\n")
    old, new = {"x-api-key": "0123456789abcdef"}, {"x-api-key": "fedcba9876543210"}
    with serving(colour_bundle, "--api-key-file", keys) as guarded:
        url = f"{guarded.url}/v1/model"
        assert [httpx.get(url, headers=each).status_code for each in (old, new)] == [200, 401]
        keys.write_text("new: fedcba9876543210\n")
        guarded.process.send_signal(signal.SIGHUP)
        for _ in range(300):
            if httpx.get(url, headers=new).status_code == 200:
                break
            time.sleep(0.1)
        assert [httpx.get(url, headers=each).status_code for each in (old, new)] == [401, 200]
        keys.write_text("nothing\n")
        guarded.process.send_signal(signal.SIGHUP)  # what can't be read changes nothing
        time.sleep(1)
        assert httpx.get(url, headers=new).status_code == 200


def test_what_is_no_request_is_counted_too(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    before = refused(server, "bad request")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"this is no HTTP\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert refused(server, "bad request") == before + 1


def refused(server: Server, reason: str) -> float:
    text = httpx.get(f"{server.url}/metrics").text
    name = f'garbage_rejected_total{{reason="{reason}"}} '
    return next((float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name)), 0.0)
