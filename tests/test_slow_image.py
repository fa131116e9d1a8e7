"""What the container files promise, tried without a container runtime: the wheel, the user, arguments and mounts.

The server runs as process 1 of namespaces of its own, whose file system is read-only but for what the pod's manifest
mounts. User, arguments and mounts are read out of deploy/, so that wrong ones fail here.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The base install in an environment of its own, as the image has it."""
    folder = Path(tempfile.mkdtemp(prefix="garbage-image-", dir="/var/tmp"))  # /tmp is another one for the server
    try:
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
        pip = [folder / "venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, test_deploy.DEPLOY.parent], check=True, timeout=600)
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Pod:
    url: str
    first: int
    """The number, out here, of what is process 1 in there."""
    process: subprocess.Popen[bytes]
    said: Path


@contextmanager
def pod(installed: Path, **mounted: Path) -> Iterator[Pod]:
    """Run the server as the pod's manifest says; of it, only the port is another."""
    container, context = test_deploy.CONTAINER, test_deploy.POD["spec"]["securityContext"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    args = list(container["args"])
    args[args.index("--port") + 1] = str(port)
    mounts: list[str] = []
    for each in container["volumeMounts"]:
        if each["name"] in mounted:
            mounts += ["--ro-bind" if each.get("readOnly") else "--bind", str(mounted[each["name"]]), each["mountPath"]]
        else:
            assert not each.get("readOnly")
            mounts += ["--tmpfs", each["mountPath"]]
    system = [word for path in ("/usr", "/lib", "/lib64", "/bin", "/etc") if Path(path).exists()
              for word in ("--ro-bind", path, path)]  # fmt: skip
    base = str(Path(sys.base_prefix).resolve())
    told, telling = os.pipe()
    command = [
        str(BWRAP), *system, "--ro-bind", base, base, "--ro-bind", str(installed), str(installed),
        "--proc", "/proc", "--dev", "/dev", *mounts, "--remount-ro", "/",
        "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--cap-drop", "ALL",
        "--uid", str(context["runAsUser"]), "--gid", str(context["runAsGroup"]), "--die-with-parent",
        "--clearenv", "--setenv", "PATH", f"{installed}/venv/bin:/usr/bin:/bin", "--setenv", "HOME", "/tmp",
        "--setenv", "XDG_CACHE_HOME", "/tmp/cache", "--setenv", "PYTHONDONTWRITEBYTECODE", "1",
        "--info-fd", str(telling), "--chdir", "/", "garbage", *args,
    ]  # fmt: skip
    said = installed / f"said-{port}"
    with said.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, pass_fds=[telling]) as process:
        os.close(telling)
        try:
            with os.fdopen(told) as info:
                first = json.loads(info.read())["child-pid"]
            url = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 120
            while not answers(f"{url}{container['startupProbe']['httpGet']['path']}"):
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < until, said.read_text()
                time.sleep(0.2)
            yield Pod(url, first, process, said)
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_the_server_runs_shut_in_as_the_manifest_says(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "keys.txt").write_text(f"tests: {KEY}\n")
    (tmp_path / "keys" / "keys.txt").chmod(0o440)
    model = make_colour_bundle(tmp_path / "model")
    for path in (tmp_path, *tmp_path.rglob("*")):  # as fsGroup would have it: readable by the pod's user
        path.chmod(path.stat().st_mode | 0o555 if path.is_dir() else 0o444)
    red = save_photo(tmp_path / "red.png", COLOURS["red"]).read_bytes()
    with pod(installed, model=model, keys=tmp_path / "keys") as running:
        status = Path(f"/proc/{running.first}/status").read_text()
        assert [line.split()[-1] for line in status.splitlines() if line.startswith("NSpid")] == ["1"]
        assert [line.split()[-1] for line in status.splitlines() if line.startswith("CapEff")] == ["0" * 16]
        for probe in ("readinessProbe", "livenessProbe"):
            assert answers(running.url + test_deploy.CONTAINER[probe]["httpGet"]["path"])
        assert httpx.post(f"{running.url}/v1/predict", content=red).status_code == 401
        headers = {"x-api-key": KEY}
        reply = httpx.post(f"{running.url}/v1/predict", content=red, headers=headers)
        assert reply.json()["results"][0]["bin"] == "有害垃圾"
        metric = test_deploy.one("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
        assert f"\n{metric} " in httpx.get(f"{running.url}/metrics", headers=headers).text
        for path in ("/", "/model", "/keys", str(installed), "/etc"):  # seen from in there
            assert not os.access(f"/proc/{running.first}/root{path}/x", os.F_OK)
            with pytest.raises(OSError, match="Read-only file system"):
                Path(f"/proc/{running.first}/root{path}/x").write_text("")

        got: list[int] = []
        large = save_photo(tmp_path / "large.png", COLOURS["red"], (2000, 1500)).read_bytes()
        several = [("images", (f"{i}.png", large)) for i in range(60)]
        asking = threading.Thread(
            target=lambda: got.append(
                httpx.post(f"{running.url}/v1/predict", files=several, headers=headers, timeout=60).status_code
            )
        )
        asking.start()
        time.sleep(0.5)
        assert not got
        os.kill(running.first, signal.SIGTERM)
        asking.join(60)
        assert running.process.wait(60) == 0
        assert got == [200]
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
