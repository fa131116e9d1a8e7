"""PaddleHub Serving behind `serve`, with a program that stands in for `hub`: processes, signals, folders, errors."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from garbage_cli.bundle import ModelBundle
from garbage_cli.errors import BundleError, ConfigError, MissingExtraError, ServerError
from garbage_cli.hubmodule import serve_with_hub, serving

STAND_IN = """#!{python}
import json, os, pathlib, shutil, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

does, notes = os.environ["STAND_IN"], pathlib.Path(os.environ["STAND_IN_NOTES"])
home = pathlib.Path(os.environ["HUB_HOME"])

def note(**facts):
    with notes.open("a") as file:
        print(json.dumps(facts), file=file)

note(argv=sys.argv[1:], cwd=os.getcwd(), group=os.getpgrp(), environment=dict(os.environ),
     settings=(home / "conf" / "config.yaml").read_text())
if sys.argv[1] == "install":
    if does == "cannot install":
        print("\\x1b[31mRuntimeError: no room\\x1b[0m", file=sys.stderr)
        sys.exit(1)
    if does == "installs slowly":
        time.sleep(600)
    shutil.copytree(sys.argv[2], home / "modules" / "garbage_classification")
    sys.exit(0)

config = json.loads(pathlib.Path(sys.argv[4]).read_text())
note(config=config, module=sorted(each.name for each in (home / "modules" / "garbage_classification").iterdir()))
if does == "dies at the start":
    print("Traceback (most recent call last):", "RuntimeError: no such engine", sep="\\n", file=sys.stderr)
    sys.exit(1)
if does == "is deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if does == "leaves a worker":
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code])

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        note(path=self.path, images=len(body["images"]))
        if body.get("die"):
            os._exit(3)
        reply = {"msg": "", "results": [], "status": "000"}
        if does == "answers no photo":
            reply = {"msg": "no network", "results": "", "status": "101"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *arguments):
        pass

server = HTTPServer(("127.0.0.1", config["port"]), Handler)
signal.signal(signal.SIGINT, lambda number, frame: note(heard=number) or sys.exit(0))
if does != "is deaf":
    signal.signal(signal.SIGTERM, lambda number, frame: note(heard=number) or sys.exit(0))
server.serve_forever()
"""


@dataclass
class Started:
    """A server that a stand-in makes, and what was noted of it."""

    bundle: ModelBundle
    notes: Path
    temporary: Path
    told: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def serve(self, on_ready: Callable[[str], object], *, port: int = 0, workers: int = 1, **settings: Any) -> None:
        def ready(url: str) -> None:
            self.urls.append(url)
            on_ready(url)

        serve_with_hub(self.bundle, port=port, workers=workers, on_ready=ready, tell=self.told.append, **settings)

    def facts(self, key: str) -> list[Any]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [each[key] for each in map(json.loads, lines) if key in each]

    @property
    def left(self) -> list[object]:
        """What is in the folder of temporary files, and the processes of its groups that live."""
        return [*self.temporary.iterdir(), *members(set(self.facts("group")))]


def members(groups: set[int]) -> list[int]:
    """The living processes of these groups."""
    found = []
    for stat_file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat_file.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # gone meanwhile
            continue
        if int(group) in groups and state != "Z":
            found.append(int(stat_file.parent.name))
    return found


def stop(number: int = signal.SIGTERM) -> Callable[[str], None]:
    """Send this process a signal, as a shell or a system's supervisor does."""
    return lambda url: os.kill(os.getpid(), number)


@pytest.fixture
def hub(colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Started]:
    """Put a stand-in for `hub` into place, which does what it is told."""
    program, temporary = tmp_path / "hub", tmp_path / "tmp"
    program.write_text(STAND_IN.replace("{python}", sys.executable))
    program.chmod(0o755)
    temporary.mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(serving, "_program", lambda: program)
    monkeypatch.setattr(serving.tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("STAND_IN_NOTES", str(tmp_path / "notes.jsonl"))

    def does(what: str = "serves") -> Started:
        monkeypatch.setenv("STAND_IN", what)
        return Started(ModelBundle.load(colour_bundle), tmp_path / "notes.jsonl", temporary)

    return does


# ---- from the start to the end


def test_the_module_is_installed_and_served_by_a_config_json(hub: Callable[..., Started]) -> None:
    started = hub()
    started.serve(stop(), workers=3, enable_mkldnn=False, top_k=2)
    install, start = started.facts("argv")
    assert (install[0], Path(install[1]).name) == ("install", "garbage_classification")
    assert start == ["serving", "start", "-c", "config.json"]
    port = int(started.urls[0].rpartition(":")[2])
    arguments = {"init_args": {"use_gpu": False, "enable_mkldnn": False}, "predict_args": {"top_k": 2}}
    assert started.facts("config") == [
        {"modules_info": {"garbage_classification": arguments}, "port": port, "use_multiprocess": True, "workers": 3}
    ]
    assert started.facts("module") == [["__init__.py", "inference", "module.py"]]


def test_it_is_ready_once_a_photo_was_answered(hub: Callable[..., Started]) -> None:
    started, asked = hub(), []

    def ready(url: str) -> None:
        asked.extend(started.facts("path"))
        os.kill(os.getpid(), signal.SIGTERM)

    started.serve(ready)
    assert asked == ["/predict/garbage_classification"]
    assert len(started.urls) == 1


def test_all_it_writes_goes_into_a_folder_that_goes_with_it(hub: Callable[..., Started], tmp_path: Path) -> None:
    started = hub()
    started.serve(stop())
    root = str(tmp_path / "tmp")
    for environment, cwd in zip(started.facts("environment"), started.facts("cwd"), strict=True):
        assert all(environment[name].startswith(root) for name in ("HOME", "HUB_HOME", "TMPDIR"))
        assert environment["XDG_CACHE_HOME"] == os.environ["XDG_CACHE_HOME"]
        assert cwd.startswith(root)
    assert started.left == []
    assert list(Path().iterdir()) == []


def test_paddlehub_has_no_server_to_report_to(hub: Callable[..., Started]) -> None:
    started = hub()
    started.serve(stop())
    settings = started.facts("settings")
    assert len(settings) == 2
    assert all('server: ""\n' in each for each in settings)


def test_that_it_listens_everywhere_is_said_before_it_does(hub: Callable[..., Started]) -> None:
    started, before = hub(), []
    started.serve(lambda url: before.extend(started.told) or os.kill(os.getpid(), signal.SIGTERM))
    assert any("every address of this machine (0.0.0.0)" in text for text in before)


# ---- signals


def test_sigterm_is_passed_on_and_ends_it_without_an_error(hub: Callable[..., Started]) -> None:
    started = hub()
    started.serve(stop())
    assert started.facts("heard") == [signal.SIGTERM]
    assert started.left == []


def test_ctrl_c_is_passed_on_and_ends_it_as_ctrl_c(hub: Callable[..., Started]) -> None:
    started = hub()
    with pytest.raises(KeyboardInterrupt):
        started.serve(stop(signal.SIGINT))
    assert started.facts("heard") == [signal.SIGINT]
    assert started.left == []


def test_handlers_of_signals_are_put_back(hub: Callable[..., Started]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    hub().serve(stop())
    with pytest.raises(ServerError):
        hub("dies at the start").serve(stop())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_while_it_is_installed_ends_that(hub: Callable[..., Started], monkeypatch: pytest.MonkeyPatch) -> None:
    started = hub("installs slowly")

    def pause(seconds: float) -> None:
        if started.facts("argv"):
            os.kill(os.getpid(), signal.SIGINT)
        really(seconds)

    really = time.sleep
    monkeypatch.setattr(serving.time, "sleep", pause)
    with pytest.raises(KeyboardInterrupt):
        started.serve(stop())
    assert (started.urls, len(started.facts("argv"))) == ([], 1)
    assert started.left == []


@pytest.mark.parametrize("what", ["is deaf", "leaves a worker"])
def test_who_does_not_end_is_killed_after_a_grace(
    hub: Callable[..., Started], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(serving, "GRACE", 1.0)
    started = hub(what)
    started.serve(stop())
    assert started.left == []


def test_a_second_ctrl_c_does_not_wait_for_the_grace(
    hub: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "GRACE", 10_000.0)
    started = hub("is deaf")
    lives, again = serving._lives, []

    def impatient(process: "subprocess.Popen[bytes]") -> bool:
        if started.urls and not again:
            again.append(os.kill(os.getpid(), signal.SIGTERM))
        return lives(process)

    monkeypatch.setattr(serving, "_lives", impatient)
    started.serve(stop())
    assert started.left == []


def test_it_ends_with_a_parent_that_is_killed(hub: Callable[..., Started], colour_bundle: Path) -> None:
    started = hub("leaves a worker")
    code = (
        "import sys, tempfile\n"
        "from pathlib import Path\n"
        "from garbage_cli.bundle import ModelBundle\n"
        "from garbage_cli.hubmodule import serve_with_hub, serving\n"
        "bundle, program, tempfile.tempdir = sys.argv[1:]\n"
        "serving._program = lambda: Path(program)\n"
        "ready = lambda url: print(url, flush=True)\n"
        "serve_with_hub(ModelBundle.load(Path(bundle)), port=0, workers=1, on_ready=ready)\n"
    )
    command = [sys.executable, "-c", code, colour_bundle, serving._program(), started.temporary]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.post(f"{url}/predict/garbage_classification", json={"images": []}).json()["status"] == "000"
        assert len(members(set(started.facts("group")))) == 3  # who watches, the stand-in, and its worker
        process.kill()
    until = time.monotonic() + 60
    while started.left and time.monotonic() < until:
        time.sleep(0.05)
    assert started.left == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


# ---- what goes wrong


def test_a_port_in_use_is_said_before_anything_is_started(hub: Callable[..., Started]) -> None:
    started = hub()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port}: Address already in use; choose another port"):
            started.serve(stop(), port=port)
    assert (started.facts("argv"), started.left) == ([], [])


def test_an_install_that_fails_is_shown_with_its_last_words(hub: Callable[..., Started]) -> None:
    started = hub("cannot install")
    with pytest.raises(
        ServerError, match=r"hub install ended, with exit code 1; its last word: RuntimeError: no room$"
    ):
        started.serve(stop())
    assert len(started.facts("argv")) == 1
    assert started.left == []


def test_a_server_that_dies_at_the_start_is_shown_with_its_last_words(hub: Callable[..., Started]) -> None:
    started = hub("dies at the start")
    with pytest.raises(
        ServerError, match="ended by itself, with exit code 1; its last word: RuntimeError: no such eng"
    ):
        started.serve(stop())
    assert started.told[-2:] == ["  hub: Traceback (most recent call last):", "  hub: RuntimeError: no such engine"]
    assert (started.urls, started.left) == ([], [])


def test_a_server_that_dies_later_is_an_error(hub: Callable[..., Started]) -> None:
    started = hub()

    def ready(url: str) -> None:
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{url}/predict/garbage_classification", json={"images": [], "die": True})

    with pytest.raises(ServerError, match="PaddleHub Serving ended by itself, with exit code 3; its last word: none"):
        started.serve(ready)
    assert started.left == []


def test_a_server_that_is_killed_is_an_error(hub: Callable[..., Started]) -> None:
    started = hub()

    def ready(url: str) -> None:
        (group,) = {started.facts("group")[-1]}
        (victim,) = set(members({group})) - {group}
        os.kill(victim, signal.SIGKILL)

    with pytest.raises(ServerError, match="ended by itself, by signal 9"):
        started.serve(ready)
    assert started.left == []


def test_a_module_that_answers_no_photo_is_not_ready(hub: Callable[..., Started]) -> None:
    started = hub("answers no photo")
    with pytest.raises(ServerError, match="PaddleHub Serving answers no photo: no network"):
        started.serve(stop())
    assert (started.urls, started.left) == ([], [])


def test_an_error_of_who_is_told_it_is_ready_leaves_nothing(hub: Callable[..., Started]) -> None:
    started = hub()
    with pytest.raises(BrokenPipeError):
        started.serve(lambda url: (_ for _ in ()).throw(BrokenPipeError()))
    assert started.left == []


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"workers": 0}, ConfigError, "workers is 0; at least one"),
        ({"workers": 2, "use_gpu": True}, ConfigError, "with a GPU PaddleHub has one"),
        ({"top_k": 4}, ConfigError, "top-k is 4; this model knows 3"),
        ({"enable_mkldnn": True}, BundleError, "holds no network for paddle"),
        ({"port": 70_000}, ServerError, "port 70000"),
    ],
)
def test_what_can_not_be_served_is_said_before_anything_is_started(
    hub: Callable[..., Started], settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    started = hub()
    with pytest.raises(error, match=said):
        started.serve(stop(), **settings)
    assert (started.facts("argv"), started.left) == ([], [])


def test_without_paddlehub_the_extra_is_named(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs paddlehub, .*garbage-cli\[hub\]"):
        serve_with_hub(ModelBundle.load(colour_bundle), port=0, workers=1)


def test_without_its_program_the_extra_is_named(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "require", lambda *what, **names: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(MissingExtraError, match=r"needs its program .*/hub, .*garbage-cli\[hub\]"):
        serve_with_hub(ModelBundle.load(colour_bundle), port=0, workers=1)
