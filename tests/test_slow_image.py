"""What the container files promise, tried without a container runtime: the wheel, the user, arguments and mounts.

The server runs as process 1 of namespaces of its own, whose file system is read-only but for what the pod's manifest
mounts. User, arguments and mounts are read out of deploy/, so that wrong ones fail here. Root takes the manifest's user
truly; anybody else only its name, and then who owns a file is not tried.
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
from conftest import COLOURS, free_port, make_colour_bundle, save_photo

BWRAP, SETPRIV, IS_ROOT = shutil.which("bwrap"), shutil.which("setpriv"), os.geteuid() == 0
SPACES = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", *([] if IS_ROOT else ["--unshare-user"])]


def hindrance() -> str | None:
    """Say why nothing can be shut in here, if so."""
    if BWRAP is None or SETPRIV is None:
        return "bubblewrap (bwrap) or setpriv is not installed"
    command = [BWRAP, *SPACES, "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return f"namespaces are not allowed here: {done.stderr.strip()}" if done.returncode else None


HINDRANCE = hindrance()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(HINDRANCE is not None, reason=str(HINDRANCE))]

KEY = "a-key-of-the-tests-0001"
VENV = "/opt/garbage"
"""Where the image has what is here in a folder of its own."""


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The base install in an environment of its own, as the image has it."""
    folder = Path(tempfile.mkdtemp(prefix="garbage-image-", dir="/var/tmp"))  # /tmp is another one for the server
    try:
        folder.chmod(0o755)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
        pip = [str(folder / "venv" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, str(test_deploy.DEPLOY.parent)], check=True, timeout=600)
        yield folder
    finally:
        shutil.rmtree(folder)


def status(url: str) -> int | None:
    """What is answered to a probe; None if nobody listens."""
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.HTTPError:
        return None


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
        return status(self.url + path)

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
    above = {folder for path in (base, str(installed)) for folder in Path(path).parents} - {Path("/")}
    for folder in sorted(above):  # what bwrap makes by itself is for root only
        words += ["--perms", "0755", "--dir", str(folder)]
    for path in ("/usr", "/lib", "/lib64", "/bin", "/etc", base, str(installed)):
        words += ["--ro-bind-try", path, path]
    words += ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]
    for each in container["volumeMounts"]:
        if each["name"] in mounted:
            kind = "--ro-bind" if each.get("readOnly") else "--bind"
            words += [kind, str(mounted[each["name"]]), each["mountPath"]]
        else:
            words += ["--perms", "0777", "--tmpfs", each["mountPath"]]  # as an emptyDir is
    words += ["--remount-ro", "/", "--chdir", "/", "--clearenv"]
    for name, value in environment(installed / "venv").items():
        words += ["--setenv", name, value]
    user, group = str(context["runAsUser"]), str(context["runAsGroup"])
    words += [*SPACES, "--as-pid-1", "--die-with-parent", "--cap-drop", "ALL"]
    if not IS_ROOT:
        return [*words, "--uid", user, "--gid", group]
    for each in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
        words += ["--cap-add", each]
    groups = ["--groups", str(context["fsGroup"])] if "fsGroup" in context else ["--clear-groups"]
    return [  # another user's process does not die with bwrap, but with the first process of a namespace around both
        "unshare", "--pid", "--fork", "--kill-child", *words,
        str(SETPRIV), "--reuid", user, "--regid", group, *groups, "--no-new-privs",
        "--inh-caps=-all", "--bounding-set=-all",
    ]  # fmt: skip


def process_1(number: int) -> int:
    """Give the number, out here, of what is process 1 in there, from the number of what was started."""
    while Path(f"/proc/{number}/comm").read_text() in {"unshare\n", "bwrap\n"}:
        number = int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])
    return number


@contextmanager
def pod(installed: Path, **mounted: Path) -> Iterator[Pod]:
    """Run the server as the pod's manifest says; of it, only the port is another."""
    container = test_deploy.CONTAINER
    port = free_port()
    args = list(container["args"])
    args[args.index("--port") + 1] = str(port)
    command = [*shut_in(installed, container, mounted), "garbage", *args]
    said, url = installed / f"said-{port}", f"http://127.0.0.1:{port}"
    with said.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            until = time.monotonic() + 240
            while status(url + container["startupProbe"]["httpGet"]["path"]) != 200:
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < until, said.read_text()
                time.sleep(0.2)
            yield Pod(port, process_1(process.pid), process, said)
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
    (secret,) = (each["secret"] for each in test_deploy.POD["spec"]["volumes"] if "secret" in each)
    (folder / "..2026" / "keys.txt").chmod(secret["defaultMode"])
    if IS_ROOT:
        os.chown(folder / "..2026" / "keys.txt", 0, test_deploy.POD["spec"]["securityContext"].get("fsGroup", 0))
    (folder / "..data").symlink_to("..2026")
    (folder / "keys.txt").symlink_to("..data/keys.txt")
    return folder


@pytest.fixture
def model(installed: Path, tmp_path: Path) -> Path:
    """The folder into which the manifest's first container has copied the model out of its image."""
    image, copied = make_colour_bundle(tmp_path / "image"), tmp_path / "copied"
    copied.mkdir()
    copied.chmod(0o777)  # as an emptyDir is
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
        lines = Path(f"/proc/{running.first}/status").read_text().splitlines()
        state = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
        assert state["NSpid"][-1] == "1"
        assert [state[each] for each in ("CapEff", "CapPrm", "CapBnd")] == [["0" * 16]] * 3
        assert state["NoNewPrivs"] == ["1"]
        if IS_ROOT:
            context = test_deploy.POD["spec"]["securityContext"]
            assert set(state["Uid"]) == {str(context["runAsUser"])} != {"0"}
            assert set(state["Gid"]) == {str(context["runAsGroup"])} != {"0"}
        for probe in ("readinessProbe", "livenessProbe"):
            assert running.status(test_deploy.CONTAINER[probe]["httpGet"]["path"]) == 200
        assert health(running, installed) == 0
        assert httpx.post(f"{running.url}/v1/predict", content=red).status_code == 401
        assert running.status("/metrics") == 401
        prometheus = httpx.get(f"{running.url}/metrics", headers={"authorization": f"Bearer {KEY}"})
        assert prometheus.status_code == 200
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


def test_a_key_file_that_the_user_cant_read_is_said(installed: Path, model: Path, keys: Path) -> None:
    (keys / "keys.txt").chmod(0)  # root's program would read it all the same
    with pytest.raises(AssertionError, match=r"keys\.txt' is not readable"), pod(installed, model=model, keys=keys):
        pytest.fail("it started")


def test_the_base_install_holds_no_heavy_package(installed: Path) -> None:
    packages = next((installed / "venv" / "lib").glob("python*")) / "site-packages"
    names = {path.name.partition("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert "openvino" in names
    assert not names & {"paddlepaddle", "paddleclas", "paddlehub", "ray", "torch", "matplotlib", "scipy", "onnx"}
    assert len(names) < 50
    size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 500_000_000, f"{size:,} bytes"
