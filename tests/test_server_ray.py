"""`serve --ray` without a cluster: what is refused, how a model's files travel, and what a replica does with orders."""

import asyncio
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from conftest import COLOURS, Result, make_colour_bundle, save_photo

from garbage_cli.bundle import ModelBundle
from garbage_cli.console.serving import show_ready
from garbage_cli.errors import BundleError, ClusterError
from garbage_cli.server import ServeOptions, serve_on_ray
from garbage_cli.server.keys import Keys
from garbage_cli.server.metrics import side_by_side
from garbage_cli.server.onray import Application, Wish, replica
from garbage_cli.server.onray.doorway import IMPORT_PATH, VARIABLE, Doorway, doorway
from garbage_cli.server.onray.files import KEPT, Files, digest_of, folder_for, read
from garbage_cli.server.onray.keeper import reason
from garbage_cli.server.onray.probe import answers
from garbage_cli.server.onray.replica import Replica, cores_of, order

# ---- what is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-workers", 4], "--ray too"),
        (["--ray", "local", "--collect", "kept"], "a folder of its own"),
        (["--ray", "local", "--access-log", "-"], "workers have no stdout"),
        (["--ray", "local", "--backend", "hub"], "leave --backend hub out"),
    ],
)
def test_what_a_cluster_does_not_have_is_refused(
    garbage: Callable[..., Result], options: list[object], words: str, tmp_path: Path
) -> None:
    result = garbage("serve", "--model", tmp_path, *options)
    assert result.code == 2
    assert words in " ".join(result.err.replace("│", " ").split())


def test_a_config_of_paddlehub_is_refused(garbage: Callable[..., Result], tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"modules_info": {"clas_system": {}}, "port": 8866}))
    result = garbage("serve", "--config", config, "--ray", "local")
    assert (result.code, "a config.json knows no cluster" in " ".join(result.err.split())) == (2, True)


def test_what_is_wrong_with_the_model_is_said_before_a_cluster_is_joined(
    tmp_path: Path, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BundleError, match="no folder"):
        serve_on_ray(ServeOptions(tmp_path / "none"), "local")
    with pytest.raises(Exception, match="--max-workers is 1, less than --workers 2"):
        serve_on_ray(ServeOptions(colour_bundle, workers=2), "local", most=1)


def test_where_no_cluster_listens_is_said(colour_bundle: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ClusterError, match=r"no Ray cluster at 127\.0\.0\.1:1: .*ray start --head"):
        serve_on_ray(ServeOptions(colour_bundle, port=0), "127.0.0.1:1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Traceback …\ngarbage_cli.errors.BundleError: no room\n  at …\nRuntimeError: x", "no room"),
        ("ModuleNotFoundError: No module named 'garbage_cli.server'", "a machine of the cluster has no garbage"),
        ("one\n  the last line \n\n", "the last line"),
        ("", "nobody says why"),
    ],
)
def test_of_a_page_of_traceback_only_the_reason_is_said(text: str, words: str) -> None:
    assert reason(text).startswith(words)


def test_the_ready_line_names_how_many_there_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    show_ready("http://127.0.0.1:1", 2, most=8, json=False)
    show_ready("http://127.0.0.1:1", 2, most=8, json=True)
    out, err = capsys.readouterr()
    assert "with 2 to 8 workers; Ctrl-C stops it" in err
    assert json.loads(out) == {"url": "http://127.0.0.1:1", "workers": 2, "max_workers": 8}


def test_a_replica_asks_for_as_many_cpus_as_its_engine_takes() -> None:
    options = ServeOptions(Path("x"))
    assert cores_of(options) == 1
    assert cores_of(replace(options, options=replace(options.options, cpu_num_threads=3))) == 3


def test_nobody_answers_where_nobody_listens() -> None:
    assert not answers("127.0.0.1", 1, tls=False)
    assert not answers("127.0.0.1", 1, tls=True)


# ---- what a cluster says


class Cluster:
    """Stands in for Ray and Ray Serve: what is said of the application, and what is asked of it."""

    def __init__(self, status: str = "", message: str = "", alone: float = 1e9) -> None:
        said = SimpleNamespace(status=status, message=message, deployments={})
        self.applications = {"garbage": said} if status else {}
        self.proxies: dict[str, str] = {}
        self.files = SimpleNamespace(seconds_alone=SimpleNamespace(remote=lambda: alone))

    def status(self) -> "Cluster":
        return self

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def get_actor(self, name: str, namespace: str) -> Any:
        return self.files

    def get(self, reference: Any, timeout: float) -> Any:
        return reference


def application(
    bundle: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> tuple[Application, list[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray Serve's own, when it is imported
        pytest.importorskip("ray.serve")
    said: list[str] = []
    wish = Wish(ServeOptions(bundle, workers=3), ModelBundle.load(bundle))
    renew = more.get("renew", lambda options: (options, wish.bundle))
    made = Application(cluster, wish, bind=lambda options: options.port, renew=renew, tell=said.append)
    monkeypatch.setattr(made, "_serve", cluster)
    return made, said


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        ("DEPLOY_FAILED", "garbage_cli.errors.ConfigError: no engine", "no replica can start: no engine"),
        ("UNHEALTHY", "it is ill", "no replica can start: it is ill"),
        (
            "DEPLOYING",
            "has 2 replicas that have taken more than 30s to be scheduled. …",
            r"no room for 3 × 1 CPU: of its 2 CPUs 0 were free; use fewer --workers, or add machines",
        ),
    ],
)
def test_why_there_are_no_replicas_is_said(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, status: str, message: str, words: str
) -> None:
    made, _ = application(colour_bundle, Cluster(status, message), monkeypatch)
    with pytest.raises(ClusterError, match=words):
        made._await_replicas()


def test_the_files_of_a_model_are_given_again_where_their_holder_was_lost(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = application(colour_bundle, Cluster("RUNNING"), monkeypatch)
    given: list[int] = []
    monkeypatch.setattr(made._files, "_give", lambda: given.append(1))
    for held, times in ((True, 0), (False, 1)):
        made._files._actor = SimpleNamespace(look_after=SimpleNamespace(remote=lambda digest, held=held: held))
        monkeypatch.setattr(made._files, "_looked", -1e9)
        made._look_after()
        made._look_after()  # it was just done
        assert len(given) == times


def test_an_application_that_somebody_looks_after_is_left_alone(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClusterError, match="another `garbage serve` runs on this cluster; stop it first"):
        application(colour_bundle, Cluster("RUNNING", alone=3.0), monkeypatch)[0]._left_behind()
    assert application(colour_bundle, Cluster("RUNNING", alone=100.0), monkeypatch)[0]._left_behind()
    assert not application(colour_bundle, Cluster(), monkeypatch)[0]._left_behind()
    assert not application(colour_bundle, Cluster("DELETING", alone=3.0), monkeypatch)[0]._left_behind()


def test_where_ray_serve_listens_already_it_must_be_where_it_is_wanted(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = application(colour_bundle, Cluster(), monkeypatch)
    from ray.serve import context

    client = SimpleNamespace(http_config=SimpleNamespace(host="0.0.0.0", port=8000))
    monkeypatch.setattr(context, "_get_global_client", lambda **_: client)
    with pytest.raises(ClusterError, match=r"listens on 0\.0\.0\.0 port 8000 .*use --host 0\.0\.0\.0 --port 8000"):
        made._open_port()
    client.http_config.host = "127.0.0.1"
    monkeypatch.setattr(made, "_wish", replace(made._wish, options=replace(made._wish.options, port=0)))
    made._open_port()
    assert made._wish.options.port == 8000


def test_what_a_replica_can_not_load_is_taken_back_from_all(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, said = application(colour_bundle, Cluster("RUNNING"), monkeypatch)
    files, orders, given = made._files, [], []
    monkeypatch.setattr(files, "_give", lambda: given.append(files.held))
    monkeypatch.setattr(made, "_deploy", lambda: orders.append(files.held))
    files.hold(made._wish.bundle)
    before = files.held
    monkeypatch.setattr(made, "_await_order", lambda: ("no memory", 0))
    made._reload_all()
    assert said == ["not reloaded, the model before goes on: no memory"]
    assert (len(orders), orders[-1], given[-1], files.held) == (2, before, before, before)


def test_a_folder_that_can_not_be_served_never_reaches_the_cluster(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renew(options: ServeOptions) -> Any:
        raise BundleError("it is broken")

    made, said = application(colour_bundle, Cluster("RUNNING"), monkeypatch, renew=renew)
    monkeypatch.setattr(made, "_deploy", lambda: pytest.fail("it was deployed"))
    made._reload_all()
    assert said == ["not reloaded, the model before goes on: it is broken"]


# ---- the model's files


def test_a_model_comes_whole_into_a_folder_of_its_own(colour_bundle: Path, tmp_path: Path) -> None:
    digest, files = read(ModelBundle.load(colour_bundle))
    asked: list[str] = []

    def fetch(wanted: str) -> dict[str, bytes]:
        asked.append(wanted)
        return files

    place = folder_for(digest, fetch, root=tmp_path / "models")
    assert ModelBundle.load(place).digest == ModelBundle.load(colour_bundle).digest
    assert folder_for(digest, fetch, root=tmp_path / "models") == place
    assert asked == [digest]  # the second time it was there
    (place / "model.onnx").write_bytes(b"other")
    assert folder_for(digest, fetch, root=tmp_path / "models") == place
    assert (asked, (place / "model.onnx").read_bytes()) == ([digest] * 2, files["model.onnx"])
    assert [each.name for each in place.parent.iterdir()] == [digest]


def test_models_that_nobody_has_used_for_a_week_are_removed(colour_bundle: Path, tmp_path: Path) -> None:
    digest, files = read(ModelBundle.load(colour_bundle))
    root = tmp_path / "models"
    root.mkdir(mode=0o700)
    for name, days in (("old", 8), ("new", 6), (f"{digest[:12]}-half", 8)):  # a replica was killed while it wrote
        (root / name).mkdir()
        (root / name / "model.onnx").write_bytes(b"")
        os.utime(root / name, (time.time() - days * 86400,) * 2)
    place = folder_for(digest, lambda _: files, root=root)
    assert {each.name for each in root.iterdir()} == {"new", digest}
    os.utime(place, (0, 0))
    folder_for(digest, lambda _: None, root=root)
    assert time.time() - place.stat().st_mtime < 3600
    assert {each.name for each in root.iterdir()} == {"new", digest}


def test_what_is_missing_damaged_or_outside_of_the_folder_is_not_taken(tmp_path: Path) -> None:
    good = {"garbage.json": b"{}"}
    outside = {"../outside": b"x"}
    for digest, files, words in (
        (digest_of(good), None, "does not hold the model"),
        (digest_of(good), {"garbage.json": b"[]"}, "came damaged"),
        (digest_of(outside), outside, "came damaged"),
    ):
        with pytest.raises(ClusterError, match=words):
            folder_for(digest, lambda _, files=files: files, root=tmp_path / "models")  # type: ignore[misc]
    assert list((tmp_path / "models").iterdir()) == []


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir(mode=0o777)
    (tmp_path / "models").chmod(0o777)
    with pytest.raises(ClusterError, match="is open to others"):
        folder_for("a" * 64, lambda _: {}, root=tmp_path / "models")


def test_the_last_models_are_held_and_who_looks_after_them_is_known() -> None:
    held = Files()
    assert held.seconds_alone() == float("inf")
    for number in range(KEPT + 1):
        held.put(str(number), {"x": b"%d" % number})
    assert held.get("0") is None
    assert held.get(str(KEPT)) == {"x": b"%d" % KEPT}
    assert (held.look_after("1"), held.look_after("0")) == (True, False)
    assert held.seconds_alone() < 10


# ---- a replica


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, dict[str, bytes]]:
    """What the cluster holds; models come into a folder of the test's."""
    held: dict[str, dict[str, bytes]] = {}
    monkeypatch.setattr(replica, "_fetch", held.get)
    monkeypatch.setattr(replica, "_name", lambda: "one")
    monkeypatch.setattr(replica, "folder_for", lambda digest, fetch: folder_for(digest, fetch, root=tmp_path / "m"))
    return held


def held(fetched: dict[str, dict[str, bytes]], root: Path) -> str:
    digest, files = read(ModelBundle.load(root))
    fetched[digest] = files
    return digest


def running(test: Callable[[Replica, httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        one = Replica()
        application = one.__serve_build_asgi_app__()
        transport = httpx.ASGITransport(app=application)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            try:
                await test(one, client)
            finally:
                said = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
                heard: list[Any] = []

                async def receive() -> Any:
                    return next(said)

                async def send(message: Any) -> None:
                    heard.append(message["type"])

                await application({"type": "lifespan"}, receive, send)
                assert heard == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(run())


@pytest.mark.parametrize("alone", [False, True])
def test_a_replica_answers_by_its_last_order_and_a_bad_one_changes_nothing(
    fetched: dict[str, dict[str, bytes]], colour_bundle: Path, tmp_path: Path, alone: bool
) -> None:
    first = held(fetched, colour_bundle)
    second = held(fetched, make_colour_bundle(tmp_path / "other", name="Other", crop=33))
    photo = save_photo(tmp_path / "red.png", COLOURS["red"]).read_bytes()
    options = ServeOptions(colour_bundle)

    async def test(one: Replica, client: httpx.AsyncClient) -> None:
        async def model() -> str:
            return str((await client.post("/v1/predict", content=photo)).json()["model"])

        async def told(digest: str, number: str) -> None:
            await one.reconfigure(order(options, digest, number, alone=alone))
            for _ in range(500):
                if (await one.state()).order == number:
                    return
                await asyncio.sleep(0.02)

        await told(first, "1")
        assert await model() == "Colours"
        await told(second, "2")
        assert (await model(), (await one.state()).digest) == ("Other", second)
        await told("0" * 64, "3")
        state = await one.state()
        assert (await model(), state.digest, state.order) == ("Other", second, "3")
        assert "does not hold the model" in state.failed
        await one.check_health()
        await one.drain()
        assert (await client.get("/readyz")).status_code == 503

    running(test)


def test_keys_come_with_an_order_and_the_model_is_not_loaded_again(
    fetched: dict[str, dict[str, bytes]], colour_bundle: Path, tmp_path: Path
) -> None:
    digest, file = held(fetched, colour_bundle), tmp_path / "keys.txt"
    file.write_text("0123456789abcdef\n")
    options = ServeOptions(colour_bundle)

    async def test(one: Replica, client: httpx.AsyncClient) -> None:
        await one.reconfigure(order(options, digest, "1"))
        reply = await client.get("/v1/model")
        assert (reply.status_code, "x-request-id" in reply.headers) == (200, False)  # the proxy adds one
        fetched.clear()
        await one.reconfigure(json.loads(json.dumps(order(replace(options, keys=Keys.load(file)), digest, "2"))))
        assert (await client.get("/v1/model")).status_code == 401
        known = await client.get("/v1/model", headers={"x-api-key": "0123456789abcdef"})
        assert known.status_code == 200

    running(test)


def test_a_replica_of_another_version_does_not_start(fetched: dict[str, dict[str, bytes]], colour_bundle: Path) -> None:
    wish = order(ServeOptions(colour_bundle), held(fetched, colour_bundle), "1") | {"version": "0.0.1"}
    with pytest.raises(ClusterError, match=r"and 0\.0\.1 where the command runs; install the same version"):
        asyncio.run(Replica().reconfigure(wish))


def test_a_replica_that_is_stuck_is_not_healthy(
    fetched: dict[str, dict[str, bytes]], colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = held(fetched, colour_bundle)

    async def test(one: Replica, client: httpx.AsyncClient) -> None:
        await one.reconfigure(order(ServeOptions(colour_bundle), digest, "1"))
        assert one._desk
        monkeypatch.setattr(one._desk.model, "seconds_at_work", lambda: 1e6)
        with pytest.raises(RuntimeError, match="at the engine for too long"):
            await one.check_health()

    running(test)


def test_metrics_of_several_replicas_stand_side_by_side() -> None:
    text = b'# HELP a_total Things\n# TYPE a_total counter\na_total{route="/"} %d.0\n'
    merged = side_by_side({"one": text % 1, "two": text % 2}, label="replica").decode()
    assert 'a_total{replica="one",route="/"} 1.0' in merged
    assert 'a_total{replica="two",route="/"} 2.0' in merged
    assert merged.count("# TYPE a_total counter") == 1


# ---- a proxy's doorway

HEADERS = list[tuple[bytes, bytes]]
OURS: HEADERS = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
THE_PROXYS: HEADERS = [(b"content-type", b"text/plain; charset=utf-8")]


class Proxy:
    """Stands in for Ray Serve's: sends these messages, or raises; keeps the request as it came."""

    def __init__(self, *messages: Any, error: Exception | None = None, root: str = "") -> None:
        self.messages, self.error, self.root = messages, error, root
        self.headers: HEADERS = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = scope["headers"]
        scope["root_path"] = scope.get("root_path", "") + self.root  # as it does for applications that are not at "/"
        for each in self.messages:
            await send(each)
        if self.error:
            raise self.error


def start(status: int, headers: HEADERS) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(text: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": text, "more_body": more}


def through(
    proxy: Proxy, *headers: tuple[bytes, bytes], path: str = "/v1/predict", kind: str = "http", raised: str = ""
) -> list[Any]:
    """Send one request through the doorway; return the messages that reach the client. What is raised is expected."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": kind, "method": "POST", "path": path, "root_path": "", "headers": list(headers)}
    with pytest.raises(ValueError, match=raised) if raised else nullcontext():
        asyncio.run(Doorway(proxy)(scope, receive, send))
    return sent


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_steers_a_proxy_does_not_reach_it(kind: str) -> None:
    proxy = Proxy(start(200, OURS), body(b"{}"))
    steering = [b"x-request-timeout-seconds", b"x-request-disconnect-disabled", b"serve_multiplexed_model_id"]
    steering += [b"serve-multiplexed-model-id", b"X-Session-Id", b"x_session_id"]
    through(proxy, (b"accept", b"*/*"), *((name, b"\xff") for name in steering), (b"x-api-key", b"k"), kind=kind)
    assert [name for name, _ in proxy.headers] == [b"accept", b"x-api-key", b"x-request-id"]


def test_the_header_that_an_operator_names_for_sessions_steers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_SESSION_ID_HEADER_KEY", "X-Seat")
    proxy = Proxy(start(200, OURS), body(b"{}"))
    through(proxy, (b"x-seat", b"1"), (b"x-session-id", b"2"))
    assert [name for name, _ in proxy.headers] == [b"x-session-id", b"x-request-id"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([b"bin-7"], b"bin-7"),
        ([b"bin-7", b"\xff"], b"bin-7"),
        ([b"a b;c"], None),
        ([b"\xff"], None),
        ([b"x" * 129], None),
        ([b""], None),
        ([], None),
    ],
)
def test_each_request_has_one_harmless_id(given: list[bytes], kept: bytes | None) -> None:
    proxy = Proxy(start(200, OURS), body(b"{}"))
    through(proxy, *((b"x-request-id", each) for each in given))
    ((name, value),) = proxy.headers
    assert name == b"x-request-id"
    assert value == kept if kept else len(value) == 32


def test_a_workers_reply_passes_as_it_is() -> None:
    for status in (200, 404, 500, 503):
        messages = [start(status, OURS), body(b"{", more=True), body(b"}")]
        assert through(Proxy(*messages)) == messages


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (
            [start(503, THE_PROXYS), body(b"Deployment is unavailable")],
            "busy: no worker could answer; try again in 1 s",
        ),
        ([start(408, THE_PROXYS), body(b"Request 1 timed out.")], "busy: no worker could answer; try again in 1 s"),
        ([], "busy: the worker that had this is gone; try again in 1 s"),
    ],
)
def test_what_a_proxy_says_itself_is_said_as_the_server_does(messages: list[Any], words: str) -> None:
    for path, value in (
        ("/v1/predict", {"error": words}),
        ("/predict/clas_system", {"error": words, "msg": words, "results": "", "status": "101"}),
    ):
        first, second = through(Proxy(*messages), (b"x-request-id", b"bin-7"), path=path)
        assert (first["status"], json.loads(second["body"])) == (503, value)
        headers = dict(first["headers"])
        assert (headers[b"retry-after"], headers[b"x-request-id"]) == (b"1", b"bin-7")
        assert headers[b"content-type"] == b"application/json"


def test_what_has_begun_is_left_alone() -> None:
    messages = [start(200, OURS), body(b"{", more=True)]
    assert through(Proxy(*messages)) == messages  # the worker was lost meanwhile; the server ends the connection
    assert through(Proxy(*messages, error=ValueError("lost")), raised="lost") == messages


def test_what_goes_wrong_in_a_proxy_is_an_error_in_json_and_raised() -> None:
    first, second = through(Proxy(error=ValueError("odd")), (b"x-request-id", b"bin-7"), raised="odd")
    assert first["status"] == 500
    assert json.loads(second["body"])["error"].endswith("the id of the request is bin-7")


def test_other_applications_and_the_proxys_own_routes_are_left_alone() -> None:
    messages = [start(503, THE_PROXYS), body(b"I am busy")]
    assert through(Proxy(*messages, root="/theirs"), path="/theirs/x") == messages
    assert through(Proxy(root="/theirs"), path="/theirs/x") == []
    assert through(Proxy(*messages), path="/-/healthz") == messages


def test_a_proxy_loads_the_doorway_by_its_path_and_nothing_heavy_with_it() -> None:
    module, _, name = IMPORT_PATH.partition(":")
    code = f"""import importlib, sys
(each,) = getattr(importlib.import_module({module!r}), {name!r})()
heavy = {{"openvino", "onnxruntime", "paddle", "PIL", "ray", "nncf"}}
print(each.cls.__name__, heavy & set(sys.modules) or "alone")"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Doorway alone\n"
    assert doorway()[0].cls is Doorway


@pytest.mark.parametrize(
    ("variable", "failing", "tries"),
    [
        (None, "", [True]),
        ("", "", [False]),
        ("their.own", "", [False]),
        (None, f"The import path {IMPORT_PATH} cannot be imported: …", [True, False]),
    ],
)
def test_ray_serve_starts_with_a_doorway_where_it_can(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, failing: str, tries: list[bool]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    made, said = application(colour_bundle, Cluster(), monkeypatch)
    import ray

    seen: list[bool] = []

    def begin(**options: Any) -> None:
        given = options.get("controller_options", {}).get("runtime_env", {}).get("env_vars", {})
        assert given in ({}, {VARIABLE: IMPORT_PATH})
        seen.append(bool(given))
        if failing and given:
            raise ray.exceptions.RayError(failing)

    ended: list[int] = []
    monkeypatch.setattr(made, "_ray", ray)
    monkeypatch.setattr(made, "_serve", SimpleNamespace(start=begin, shutdown=lambda: ended.append(1)))
    made._begin_serve()
    assert (seen, len(ended), len(said)) == (tries, len(tries) - 1, len(tries) - 1)
