"""The real PaddleHub Serving over a bundle: `hub install`, `hub serving start -c config.json`, in a home of their own.

Knows PaddleHub's two commands, their folders and their processes. Does not import PaddleHub, and does not know what the
module answers. All that PaddleHub writes goes into a temporary folder. Nothing goes over the network: PaddleHub reports
each command to the server of its configuration, and here that server has no address, which it passes over in silence.
"""

import base64
import io
import json
import os
import re
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines.choosing import choose, hub_wish
from garbage_cli.errors import ConfigError, MissingExtraError, ServerError
from garbage_cli.hubmodule.writing import MODULE, write_hub_module
from garbage_cli.predictor import check_top_k
from garbage_cli.vendor import require

Tell = Callable[[str], object]

KEEPER = Path(__file__).with_name("keeper.py")
GRACE = 20.0
"""Seconds that PaddleHub has to end after it was told to."""
PAUSE = 0.05
LAST_WORDS = 15
"""Lines of PaddleHub's log that are shown if it fails."""


def serve_with_hub(
    bundle: ModelBundle,
    *,
    port: int,
    workers: int,
    use_gpu: bool = False,
    enable_mkldnn: bool = False,
    top_k: int | None = None,
    on_ready: Callable[[str], object] = lambda url: None,
    tell: Tell = lambda text: None,
) -> None:
    """Have PaddleHub Serving answer for the model until SIGTERM or Ctrl-C; `on_ready` gets the URL once it answers.

    It is asked for one drawn photo before, so that the network is loaded. Its processes end with this one, however that
    ends. Port 0 takes a free one. To be called in the main thread: signals are passed on to PaddleHub meanwhile.

    Raises MissingExtraError without PaddleHub, ServerError if the port can't be had or PaddleHub fails or ends by
    itself, BundleError or ConfigError if the model can't be served so, KeyboardInterrupt after Ctrl-C.
    """
    program = _program()
    _check(bundle, workers=workers, use_gpu=use_gpu, enable_mkldnn=enable_mkldnn, top_k=top_k, tell=tell)
    port = _free(port)
    tell("PaddleHub Serving listens on every address of this machine (0.0.0.0), and has no option for another")
    arguments = {"use_gpu": use_gpu, "enable_mkldnn": enable_mkldnn}
    with _heard() as heard, _home(program) as home:
        home.configure(port=port, workers=workers, init_args=arguments, top_k=top_k)
        module = write_hub_module(bundle, home.root)
        tell("installing the module into a PaddleHub of its own, and starting that: half a minute or so")
        if _install(home, module, heard, tell):
            _serve(home, f"http://127.0.0.1:{port}", heard, on_ready, tell)
    if signal.SIGINT in heard.signals:
        raise KeyboardInterrupt


def _program() -> Path:
    """Return PaddleHub's program, that of this environment; raise MissingExtraError if there is none."""
    if os.name != "posix":
        raise ServerError("PaddleHub behind `serve` needs Linux or macOS; use `garbage export --format hub` and `hub`")
    require("serving with PaddleHub", module="paddlehub", package="paddlehub", extra="hub")
    program = Path(sys.executable).with_name("hub")
    if not program.is_file():
        raise MissingExtraError("serving with PaddleHub", package=f"its program {program}", extra="hub")
    return program


def _check(
    bundle: ModelBundle, *, workers: int, use_gpu: bool, enable_mkldnn: bool, top_k: int | None, tell: Tell
) -> None:
    """Find what would stop PaddleHub after it has taken its time."""
    if workers < 1:
        raise ConfigError(f"workers is {workers}; at least one is needed")
    if use_gpu and workers > 1:
        raise ConfigError(f"workers is {workers}, and with a GPU PaddleHub has one; leave one of the two out")
    choose(hub_wish(use_gpu=use_gpu, enable_mkldnn=enable_mkldnn), bundle, photos=None, tell=tell)
    check_top_k(top_k, bundle.labels)


def _free(port: int) -> int:
    """Return the port, or a free one for 0; raise ServerError if PaddleHub could not have it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except (OSError, OverflowError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ServerError(f"can't serve on 0.0.0.0 port {port}: {reason}; choose another port") from None
        return int(probe.getsockname()[1])


# ---- the folder


@dataclass(frozen=True, slots=True)
class _Home:
    """The temporary folder, and the program that works in it."""

    root: Path
    program: Path

    @property
    def log(self) -> Path:
        return self.root / "hub.log"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def hub(self) -> Path:
        return self.root / ".paddlehub"

    def configure(self, *, port: int, workers: int, init_args: dict[str, bool], top_k: int | None) -> None:
        """Write the config.json of the server, and PaddleHub's own settings."""
        for folder in (self.work, self.root / "tmp", self.hub / "conf"):
            folder.mkdir(parents=True)
        predict_args = {} if top_k is None else {"top_k": top_k}
        start = {
            "modules_info": {MODULE: {"init_args": init_args, "predict_args": predict_args}},
            "port": port,
            "use_multiprocess": workers > 1,
            "workers": workers,
        }
        (self.work / "config.json").write_text(json.dumps(start, indent=2), encoding="utf-8")
        settings = 'server: ""\nlog:\n  enable: true\n  level: DEBUG\n'  # its only way to report nothing
        (self.hub / "conf" / "config.yaml").write_text(settings, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """Ours, but for where PaddleHub and what it imports write; packages and our own cache stay where they are."""
        own = {"HOME": str(self.root), "HUB_HOME": str(self.hub), "TMPDIR": str(self.root / "tmp")}
        kept = {"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {}
        if home := os.environ.get("HOME"):
            kept["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME") or str(Path(home) / ".cache")
        return {**os.environ, **kept, **own}

    def last_words(self) -> list[str]:
        """The last lines that PaddleHub wrote and that hold something, without colours."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - (1 << 15)))
            text = file.read().decode("utf-8", "replace")
        lines = (re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in text.splitlines())
        return [line[:300] for line in lines if line][-LAST_WORDS:]


@contextmanager
def _home(program: Path) -> Iterator[_Home]:
    root = Path(tempfile.mkdtemp(prefix="garbage-hub-"))
    try:
        yield _Home(root, program)
    finally:
        shutil.rmtree(root, ignore_errors=True)


# ---- the processes


@dataclass(slots=True)
class _Heard:
    """The signals that were heard so far."""

    signals: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.signals)


@contextmanager
def _heard() -> Iterator[_Heard]:
    """Note SIGTERM and Ctrl-C in place of what was to happen; put that back in the end."""
    heard = _Heard()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: heard.signals.append(number)) for number in numbers}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _running(home: _Home, heard: _Heard, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `hub` in a process group of its own; in the end nothing is left of that group."""
    command = [sys.executable, "-I", str(KEEPER), str(home.root), str(home.program), *arguments]
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            command, cwd=home.work, env=home.environment, stdin=subprocess.PIPE, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _end(process, heard)


def _end(process: "subprocess.Popen[bytes]", heard: _Heard) -> None:
    """Pass on what was heard, wait for the whole group, kill what takes too long. A second Ctrl-C kills at once."""
    known = len(heard.signals)
    _signal(process, heard.signals[0] if heard else signal.SIGTERM)
    until = time.monotonic() + GRACE
    while _lives(process) and time.monotonic() < until and len(heard.signals) == known:
        time.sleep(PAUSE)
    _signal(process, signal.SIGKILL)
    until = time.monotonic() + GRACE / 4
    while _lives(process) and time.monotonic() < until:  # dead ones that nobody waits for would stay for ever
        time.sleep(PAUSE)
    if process.stdin:
        process.stdin.close()


def _lives(process: "subprocess.Popen[bytes]") -> bool:
    """Whether any process of the group is there."""
    process.poll()  # a dead leader that nobody has waited for would count
    return _signal(process, 0)


def _signal(process: "subprocess.Popen[bytes]", number: int) -> bool:
    """Send a signal to the group; say whether there was anybody."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of dead ones
        return number == 0 and process.returncode is None
    return True


def _install(home: _Home, module: Path, heard: _Heard, tell: Tell) -> bool:
    """Run `hub install`; say whether to go on."""
    if heard:
        return False
    with _running(home, heard, "install", str(module)) as process:
        while process.poll() is None and not heard:
            time.sleep(PAUSE)
    if process.returncode and not heard:
        raise _failed("hub install ended", process, home, tell)
    return not heard


def _serve(home: _Home, url: str, heard: _Heard, on_ready: Callable[[str], object], tell: Tell) -> None:
    """Run `hub serving start` until a signal."""
    with _running(home, heard, "serving", "start", "-c", "config.json") as process:
        with _Asked(url) as asked:
            while process.poll() is None and not heard and not asked.done.wait(PAUSE):
                pass
        if asked.refused:
            raise ServerError(f"PaddleHub Serving answers no photo: {asked.refused}")
        if process.poll() is None and not heard:
            tell(f"what PaddleHub says is in {home.log} while it runs")
            on_ready(url)
        while process.poll() is None and not heard:
            time.sleep(PAUSE)
        if not heard:
            raise _failed("PaddleHub Serving ended by itself", process, home, tell)


def _failed(what: str, process: "subprocess.Popen[bytes]", home: _Home, tell: Tell) -> ServerError:
    """Tell the last lines of the log; the error holds the very last one."""
    lines = home.last_words()
    for line in lines:
        tell(f"  hub: {line}")
    code = process.returncode
    how = f"by signal {code - 128}" if code > 128 else f"with exit code {code}"
    return ServerError(f"{what}, {how}; its last word: {lines[-1] if lines else 'none'}")


class _Asked:
    """A thread that has a drawn photo answered, as soon as there is somebody who answers, or until it is left."""

    def __init__(self, url: str) -> None:
        self.done = threading.Event()
        self.refused = ""
        """Why there was no answer; empty if there was."""
        self._left = threading.Event()
        threading.Thread(target=self._ask, args=(url,), daemon=True).start()

    def __enter__(self) -> "_Asked":
        return self

    def __exit__(self, *error: object) -> None:
        self._left.set()

    def _ask(self, url: str) -> None:
        import httpx

        body = {"images": [base64.b64encode(_photo()).decode()], "top_k": 1}
        with httpx.Client(trust_env=False, timeout=httpx.Timeout(None, connect=5)) as client:
            while not self._left.wait(0.1):
                with suppress(httpx.TransportError):
                    self.refused = _refusal(client.post(f"{url}/predict/{MODULE}", json=body).content)
                    self.done.set()
                    return


def _refusal(content: bytes) -> str:
    try:
        reply = json.loads(content)
        return "" if reply["status"] == "000" else str(reply["msg"] or reply)
    except (ValueError, LookupError, TypeError):
        return content[:200].decode("utf-8", "replace")


def _photo() -> bytes:
    from PIL import Image

    with io.BytesIO() as buffer:
        Image.new("RGB", (64, 64), (128, 128, 128)).save(buffer, "PNG")
        return buffer.getvalue()
