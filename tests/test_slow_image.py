"""What the container files promise, tried without a container runtime: the wheel, the user, arguments and mounts.

The server runs as process 1 of namespaces of its own, whose file system is read-only but for what the pod's manifest
mounts. User, arguments and mounts are read out of deploy/, so that wrong ones fail here.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import test_deploy
from conftest import COLOURS, make_colour_bundle, save_photo

BWRAP = shutil.which("bwrap")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BWRAP is None, reason="bubblewrap (bwrap) is not installed"),
]

KEY = "a-key-of-the-tests-0001"
VENV = "/opt/garbage"
"""Where the image has what is here in a folder of its own."""


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The base install in an environment of its own, as the image has it."""
    folder = Path(tempfile.mkdtemp(prefix="garbage-image-", dir="/var/tmp"))  # /tmp is another one for the server
    try:
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
        pip = [str(folder / "venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, str(test_deploy.DEPLOY.parent)], check=True, timeout=600)
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Pod:
    port: int
    first: int
    """The number, out here, of what is process 1 in there."""
    process: subprocess.Popen[bytes]
    said: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(self, path: str) -> int | None:
        """What is answered to a probe; None if nobody listens."""
        try:
            return httpx.get(self.url + path, timeout=5).status_code
        except httpx.HTTPError:
            return None

    def files(self, folder: str) -> set[str]:
        """What has been written to a folder in there."""
        root = Path(f"/proc/{self.first}/root{folder}")
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def environment(venv: Path) -> dict[str, str]:
    """The variables of the image."""
    (lines,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", test_deploy.DOCKERFILE, re.MULTILINE)
    found = dict(re.findall(r"(\w+)=(\S+)", lines))
    return {name: value.replace(VENV, str(venv)).replace("$PATH", "/usr/bin:/bin") for name, value in found.items()}


def shut_in(installed: Path, container: dict[str, Any], mounted: dict[str, Path]) -> list[str]:
    """The beginning of a command that runs as the pod's manifest says; folders stand for its volumes, or memory."""
    context, base = test_deploy.POD["spec"]["securityContext"], str(Path(sys.base_prefix).resolve())
    words = [str(BWRAP)]
    for path in ("/usr", "/lib", "/lib64", "/bin", "/etc", base, str(installed)):
        words += ["--ro-bind-try", path, path]
    words += ["--proc", "/proc", "--dev", "/dev"]
    for each in container["volumeMounts"]:
        if each["name"] in mounted:
            kind = "--ro-bind" if each.get("readOnly") else "--bind"
            words += [kind, str(mounted[each["name"]]), each["mountPath"]]
        else:
            words += ["--tmpfs", each["mountPath"]]
    words += ["--remount-ro", "/", "--chdir", "/", "--clearenv"]
    for name, value in environment(installed / "venv").items():
        words += ["--setenv", name, value]
    return [
        *words, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--cap-drop", "ALL",
        "--uid", str(context["runAsUser"]), "--gid", str(context["runAsGroup"]), "--die-with-parent",
    ]  # fmt: skip


@contextmanager
def pod(installed: Path, **mounted: Path) -> Iterator[Pod]:
    """Run the server as the pod's manifest says; of it, only the port is another."""
    container = test_deploy.CONTAINER
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    args = list(container["args"])
    args[args.index("--port") + 1] = str(port)
    told, telling = os.pipe()
    command = [*shut_in(installed, container, mounted), "--info-fd", str(telling), "garbage", *args]
    said = installed / f"said-{port}"
    with said.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, pass_fds=[telling]) as process:
        os.close(telling)
        try:
            with os.fdopen(told) as info:
                first = json.loads(info.read())["child-pid"]
            running = Pod(port, first, process, said)
            until = time.monotonic() + 240
            while running.status(container["startupProbe"]["httpGet"]["path"]) != 200:
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < until, said.read_text()
                time.sleep(0.2)
            yield running
        finally:
            process.kill()


def health(running: Pod, installed: Path) -> int:
    """Run the image's own health check; return its exit code."""
    (words,) = re.findall(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", test_deploy.DOCKERFILE, re.MULTILINE)
    program, *rest = json.loads(words.replace(":8866/", f":{running.port}/"))
    assert str(running.port) in rest[-1]
    command = [installed / "venv" / "bin" / program, *rest]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The file, and the links to it that Kubernetes makes of a secret."""
    folder = tmp_path / "keys"
    (folder / "..2026").mkdir(parents=True)
    (folder / "..2026" / "keys.txt").write_text(f"tests: {KEY}\n")
    (folder / "..2026" / "keys.txt").chmod(0o440)
    (folder / "..data").symlink_to("..2026")
    (folder / "keys.txt").symlink_to("..data/keys.txt")
    return folder


@pytest.fixture
def model(installed: Path, tmp_path: Path) -> Path:
    """The folder into which the manifest's first container has copied the model out of its image."""
    image, copied = make_colour_bundle(tmp_path / "image"), tmp_path / "copied"
    copied.mkdir()
    (first,) = test_deploy.POD["spec"]["initContainers"]
    with_image = {"volumeMounts": [*first["volumeMounts"], {"name": "image", "mountPath": "/model", "readOnly": True}]}
    command = [*shut_in(installed, with_image, {"model": copied, "image": image}), *first["command"]]
    subprocess.run(command, check=True, timeout=60)
    assert {each.name for each in copied.iterdir()} == {each.name for each in image.iterdir()}
    return copied


def test_the_server_runs_shut_in_as_the_manifest_says(installed: Path, model: Path, keys: Path, tmp_path: Path) -> None:
    red = save_photo(tmp_path / "red.png", COLOURS["red"]).read_bytes()
    headers = {"x-api-key": KEY}
    with pod(installed, model=model, keys=keys) as running:
        status = Path(f"/proc/{running.first}/status").read_text()
        assert [line.split()[-1] for line in status.splitlines() if line.startswith("NSpid")] == ["1"]
        assert [line.split()[-1] for line in status.splitlines() if line.startswith("CapEff")] == ["0" * 16]
        for probe in ("readinessProbe", "livenessProbe"):
            assert running.status(test_deploy.CONTAINER[probe]["httpGet"]["path"]) == 200
        assert health(running, installed) == 0
        assert httpx.post(f"{running.url}/v1/predict", content=red).status_code == 401
        reply = httpx.post(f"{running.url}/v1/predict", content=red, headers=headers)
        assert reply.json()["results"][0]["bin"] == "有害垃圾"
        metric = test_deploy.one("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
        assert f"\n{metric} " in httpx.get(f"{running.url}/metrics", headers=headers).text
        for path in ("/", "/model", "/keys", str(installed), "/etc"):  # seen from in there
            with pytest.raises(OSError, match="Read-only file system"):
                Path(f"/proc/{running.first}/root{path}/x").write_text("")
        written = {name.rpartition("/")[0] for name in running.files("/tmp")}
        assert written == {"cache/garbage/compiled"}  # one precision: nothing to time
        assert {name.split("-")[0] for name in running.files("/dev/shm")} == {"garbage"}  # metrics


def test_process_1_finishes_what_it_has_begun_when_it_is_told_to_stop(
    installed: Path, model: Path, keys: Path, tmp_path: Path
) -> None:
    red = save_photo(tmp_path / "red.png", COLOURS["red"]).read_bytes()
    head = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: {len(red)}\r\n\r\n"
    with pod(installed, model=model, keys=keys) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=60) as slow:
            slow.sendall(head.encode() + red[:20])
            assert running.status("/readyz") == 200  # it has taken the first one too, then
            os.kill(running.first, signal.SIGTERM)
            while running.status("/readyz") is not None:  # 503 for a second, then nobody listens any more
                time.sleep(0.1)
            assert health(running, installed) != 0
            assert running.process.poll() is None
            slow.sendall(red[20:])
            assert slow.recv(12) == b"HTTP/1.1 200"
        assert running.process.wait(60) == 0
        assert "rror" not in running.said.read_text()


def test_a_key_file_that_the_user_cant_read_is_said(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    (tmp_path / "model").mkdir()
    with pytest.raises(AssertionError, match=r"keys\.txt"), pod(installed, model=tmp_path, keys=tmp_path / "keys"):
        pytest.fail("it started")


def test_the_base_install_holds_no_heavy_package(installed: Path) -> None:
    packages = next((installed / "venv" / "lib").glob("python*")) / "site-packages"
    names = {path.name.partition("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert "openvino" in names
    assert not names & {"paddlepaddle", "paddleclas", "paddlehub", "ray", "torch", "matplotlib", "scipy", "onnx"}
    assert len(names) < 50
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 500_000_000, f"{size:,} bytes"
