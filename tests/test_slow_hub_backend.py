"""The real PaddleHub Serving, as `serve_with_hub` runs it: its answers, its end, what it leaves, whom it speaks to."""

import base64
import importlib.util
import json
import os
import signal
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, save_photo
from test_hubmodule_serving import members

from garbage_cli.bundle import ModelBundle
from garbage_cli.errors import ServerError
from garbage_cli.hubmodule import serve_with_hub, serving
from garbage_cli.prediction import Photo
from garbage_cli.predictor import Predictor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("paddlehub") is None, reason="needs the extra hub"),
]

LISTENS_IN = """
import json, os, sys

def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"):
        kind = "" if event == "socket.getaddrinfo" else arguments[0].type.name
        address = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = address[0] if isinstance(address, tuple) else str(address)
        line = json.dumps([event, kind, host]) + "\\n"
        file = os.open(os.environ["LISTENS_IN"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, line.encode())
        os.close(file)

sys.addaudithook(hook)
"""
"""Loaded by every Python that PaddleHub starts: writes down whom a socket is to reach, as Python sees it."""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders in which nothing may be left: the working one, that of temporary files, and the home."""
    found = [tmp_path / name for name in ("cwd", "tmp", "home")]
    for folder in found:
        folder.mkdir()
    monkeypatch.chdir(found[0])
    monkeypatch.setattr(serving.tempfile, "tempdir", str(found[1]))
    monkeypatch.setenv("HOME", str(found[2]))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(LISTENS_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("LISTENS_IN", str(tmp_path / "heard.jsonl"))
    return found


def groups() -> set[int]:
    """The process groups that this process has started and that PaddleHub is in."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(serving.KEEPER).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.add(int(folder.name))
        except OSError:  # gone meanwhile
            continue
    return {group for group in found if os.getpgid(group) == group}


def reached(heard: Path) -> list[list[str]]:
    """To whom sockets were to go, other than to this machine.

    A UDP socket that is connected and never written to sends nothing: Werkzeug asks the system so for its own address.
    """
    lines = [json.loads(line) for line in heard.read_text().splitlines()]
    assert lines  # PaddleHub itself looks whether somebody is on the port
    return [each for each in lines if not is_here(each[2]) and each[:2] != ["socket.connect", "SOCK_DGRAM"]]


def is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return host in ("localhost", "") or host.startswith("/")


@pytest.mark.parametrize("workers", [1, 2])
def test_it_answers_ends_and_leaves_nothing(
    colour_bundle: Path, places: list[Path], tmp_path: Path, workers: int
) -> None:
    bundle, alive, answers = ModelBundle.load(colour_bundle), [], []
    sent = [save_photo(tmp_path / f"{name}.png", colour).read_bytes() for name, colour in COLOURS.items()]

    def ready(url: str) -> None:
        body = {"images": [base64.b64encode(data).decode() for data in sent]}
        for _ in range(4):  # of the workers, each has a turn
            answers.append(httpx.post(f"{url}/predict/garbage_classification", json=body, timeout=60).json())
        alive.extend(members(groups()))
        os.kill(os.getpid(), signal.SIGTERM)

    serve_with_hub(bundle, port=0, workers=workers, top_k=2, on_ready=ready)
    predicted = list(Predictor.load(colour_bundle, top_k=2).predict(Photo("", data) for data in sent))
    assert len(answers) == 4
    for reply in answers:
        assert (reply["status"], reply["msg"]) == ("000", "")
        for (ids, scores, seconds), expected in zip(reply["results"], predicted, strict=True):
            assert ids == [each.label.class_id for each in expected.scores]
            assert scores == pytest.approx([each.score for each in expected.scores], abs=1e-5)
            assert seconds > 0
    assert len(alive) >= 1 + workers  # who watches, and at least the server, or its workers
    assert members(set(alive)) == []
    assert [list(folder.iterdir()) for folder in places] == [[], [], []]
    assert reached(tmp_path / "heard.jsonl") == []


def test_what_stops_the_real_one_is_shown(
    colour_bundle: Path, places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found before is left out, so that PaddleHub finds it."""
    monkeypatch.setattr(serving, "choose", lambda *wish, **how: None)
    told: list[str] = []
    bundle = ModelBundle.load(colour_bundle)
    with pytest.raises(ServerError, match=r"ended by itself, with exit code 1; .*holds no network for paddle"):
        serve_with_hub(bundle, port=0, workers=1, enable_mkldnn=True, on_ready=told.append, tell=told.append)
    assert told[-1].startswith("  hub: ")
    assert "BundleError" in told[-1]
    assert [list(folder.iterdir()) for folder in places] == [[], [], []]
