"""Weights from the net, against servers that break off, lie, change their mind or are no servers at all."""

import gzip
import hashlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from garbage_cli import zoo
from garbage_cli.errors import CheckpointError
from garbage_cli.zoo import fetching, parts

WEIGHTS = b"\x80\x04" + bytes(range(256)) * 4000 + b"."
OTHER = b"\x80\x04" + bytes(range(255, -1, -1)) * 4000 + b"."

Handler = BaseHTTPRequestHandler


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; nothing waits really."""
    waited: list[float] = []
    monkeypatch.setattr(fetching, "sleep", waited.append)
    return waited


@contextmanager
def web_server(answer: Callable[[Handler], None]) -> Iterator[str]:
    """A web server on this machine for the time of the block."""
    handler = type("Answering", (Handler,), {"do_GET": lambda request: answer(request), "log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Store:
    """A server of one file that can be told to misbehave."""

    content: bytes = WEIGHTS
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    """Bytes after which each of the first replies breaks off."""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str | None] = field(default_factory=list)
    """The range that each request asked for."""
    changes: Callable[["Store"], None] = lambda store: None
    """Called after each reply."""

    def __call__(self, request: Handler) -> None:
        wanted = request.headers.get("range")
        self.asked.append(wanted)
        start = 0
        current = request.headers.get("if-range") in (self.etag, self.modified)
        if wanted and self.ranges and current:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
        self.send(request, start)
        self.changes(self)

    def send(self, request: Handler, start: int) -> None:
        size = len(self.content)
        if start >= size:
            request.send_response(416)
            request.send_header("content-range", f"bytes */{size}")
            request.send_header("content-length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("content-range", f"bytes {start}-{size - 1}/{size}")
        for name, value in {"etag": self.etag, "last-modified": self.modified, **self.headers}.items():
            if value is not None:
                request.send_header(name, value)
        if "content-length" not in self.headers:
            request.send_header("content-length", str(size - start))
        request.end_headers()
        stop = start + self.break_after.pop(0) if self.break_after else size
        request.wfile.write(self.content[start:stop])


def kept(cache: Path) -> dict[str, bytes]:
    """The files in the cache, by name."""
    return {path.name: path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def fetched(url: str) -> list[zoo.Fetched]:
    return list(zoo.fetch(url))


# ---- the happy way


def test_weights_are_fetched_once_and_progress_is_told(cache: Path) -> None:
    store = Store()
    with web_server(store) as url:
        reports = fetched(f"{url}/some/net.pdparams")
        assert fetched(f"{url}/some/net.pdparams") == []
    assert store.asked == [None]
    assert kept(cache) == {"net.pdparams": WEIGHTS}
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert (reports[0].done, reports[-1].done) == (0, len(WEIGHTS))
    assert {r.total for r in reports} == {len(WEIGHTS)}
    assert zoo.cached_weights(f"{url}/some/net.pdparams").read_bytes() == WEIGHTS


def test_what_was_fetched_can_be_read_and_goes_into_a_network(cache: Path, tmp_path: Path) -> None:
    import paddle

    network, _ = zoo.build("PPLCNet_x0_25", class_count=3)
    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    with web_server(Store(content=(tmp_path / "net.pdparams").read_bytes())) as url:
        fetched(f"{url}/net.pdparams")
    weights = zoo.read_weights(zoo.cached_weights(f"{url}/net.pdparams"))
    fit = zoo.load_pretrained(network, weights, class_count=3, source=url)
    assert fit.loaded == fit.total


def test_a_redirect_is_followed(cache: Path) -> None:
    store = Store(break_after=[5000])

    def answer(request: Handler) -> None:
        if request.path.startswith("/real"):
            store(request)
            return
        request.send_response(302)
        request.send_header("location", "/real/thing")
        request.send_header("content-length", "0")
        request.end_headers()

    with web_server(answer) as url:
        fetched(f"{url}/net.pdparams")
    assert kept(cache) == {"net.pdparams": WEIGHTS}
    assert store.asked == [None, "bytes=5000-"]


def test_the_proxy_of_the_environment_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def proxy(request: Handler) -> None:
        asked.append(request.path)
        Store()(request)

    with web_server(proxy) as url:
        monkeypatch.setenv("http_proxy", url)
        fetched("http://weights.example/net.pdparams")
    assert asked == ["http://weights.example/net.pdparams"]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


# ---- broken off


@pytest.mark.parametrize("validator", ["etag", "modified"])
def test_a_download_that_breaks_off_goes_on_where_it_was(cache: Path, waits: list[float], validator: str) -> None:
    store = Store(break_after=[1000, 0, 200_000, 1], etag=None)
    setattr(store, validator, '"one"' if validator == "etag" else formatdate(usegmt=True))
    with web_server(store) as url:
        reports = fetched(f"{url}/net.pdparams")
    assert store.asked == [None, "bytes=1000-", "bytes=1000-", "bytes=201000-", "bytes=201001-"]
    assert kept(cache) == {"net.pdparams": WEIGHTS}
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert {r.total for r in reports} == {len(WEIGHTS)}
    assert waits == [0.5, 1.0, 0.5, 0.5]  # what brings something starts the count anew


def test_a_server_without_ranges_starts_from_the_beginning(cache: Path) -> None:
    store = Store(break_after=[1000], ranges=False)
    with web_server(store) as url:
        fetched(f"{url}/net.pdparams")
    assert store.asked == [None, "bytes=1000-"]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_glued(cache: Path, etag: str | None) -> None:
    store = Store(break_after=[1000], etag=etag)
    with web_server(store) as url:
        fetched(f"{url}/net.pdparams")
    assert store.asked == [None, None]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_a_file_that_changes_meanwhile_is_not_glued_to_what_came_before(cache: Path) -> None:
    def change(store: Store) -> None:
        store.content, store.etag = OTHER, '"two"'

    store = Store(break_after=[1000], changes=change)
    with web_server(store) as url:
        fetched(f"{url}/net.pdparams")
    assert kept(cache) == {"net.pdparams": OTHER}


def test_a_server_that_sends_a_part_of_another_state_is_not_believed(cache: Path) -> None:
    """It does not know If-Range."""

    class Careless(Store):
        def __call__(self, request: Handler) -> None:
            self.asked.append(wanted := request.headers.get("range"))
            self.send(request, int(wanted[6:-1]) if wanted else 0)
            self.content, self.etag = OTHER, '"two"'

    store = Careless(break_after=[1000])
    with web_server(store) as url:
        fetched(f"{url}/net.pdparams")
    assert kept(cache) == {"net.pdparams": OTHER}
    assert store.asked == [None, "bytes=1000-", None]


def test_a_later_call_goes_on_with_what_an_earlier_one_kept(cache: Path) -> None:
    store = Store(break_after=[70_000, 0, 0, 0, 0])
    with web_server(store) as url:
        with pytest.raises(CheckpointError, match=r"\(70,000 bytes are kept, and the next try goes on from there\)"):
            fetched(f"{url}/net.pdparams")
        assert kept(cache)[".net.pdparams.part"] == WEIGHTS[:70_000]
        store.asked.clear()
        assert fetched(f"{url}/net.pdparams")[0] == zoo.Fetched(70_000, len(WEIGHTS))
    assert store.asked == ["bytes=70000-"]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_a_part_that_is_all_there_is_not_fetched_again(cache: Path) -> None:
    store = Store()
    with web_server(store) as url:
        target = zoo.cached_weights(f"{url}/net.pdparams")
        target.parent.mkdir(parents=True)
        with parts.Part.at(target) as part:
            part.begin(f"{url}/net.pdparams", parts.Validator('"one"'))
            part.write(WEIGHTS)
        fetched(f"{url}/net.pdparams")
    assert store.asked == [f"bytes={len(WEIGHTS)}-"]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


@pytest.mark.parametrize("note", [b"", b"junk", b"[]", b'{"url": "http://other/", "etag": "x"}'])
def test_a_part_of_something_else_is_thrown_away(cache: Path, note: bytes) -> None:
    store = Store()
    with web_server(store) as url:
        target = zoo.cached_weights(f"{url}/net.pdparams")
        target.parent.mkdir(parents=True)
        target.with_name(".net.pdparams.part").write_bytes(b"\x80rubbish")
        target.with_name(".net.pdparams.part.json").write_bytes(note)
        fetched(f"{url}/net.pdparams")
    assert store.asked == [None]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_a_reply_without_a_length_is_taken_as_it_ends(cache: Path) -> None:
    def answer(request: Handler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(WEIGHTS)

    with web_server(answer) as url:
        assert fetched(f"{url}/net.pdparams")[-1] == zoo.Fetched(len(WEIGHTS), None)
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_a_compressed_reply_is_unpacked(cache: Path) -> None:
    store = Store(content=gzip.compress(WEIGHTS), headers={"content-encoding": "gzip"})
    with web_server(store) as url:
        assert fetched(f"{url}/net.pdparams")[-1] == zoo.Fetched(len(WEIGHTS), None)
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_ctrl_c_keeps_the_part_for_the_next_time(cache: Path) -> None:
    going_on = threading.Event()

    class Slow(Store):
        def send(self, request: Handler, start: int) -> None:
            if start:
                super().send(request, start)
                return
            request.send_response(200)
            request.send_header("etag", '"one"')
            request.send_header("content-length", str(len(WEIGHTS)))
            request.end_headers()
            request.wfile.write(WEIGHTS[:100_000])
            going_on.wait(60)

    store = Slow()
    with web_server(store) as url:
        script = (
            f"from garbage_cli import zoo\nfor r in zoo.fetch({url + '/net.pdparams'!r}): print(r.done, flush=True)"
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as job:
            assert job.stdout is not None
            while int(job.stdout.readline()) < 100_000:
                pass
            job.send_signal(signal.SIGINT)
            assert job.wait(30) != 0
        going_on.set()
        assert kept(cache)[".net.pdparams.part"] == WEIGHTS[:100_000]
        fetched(f"{url}/net.pdparams")
    assert store.asked == [None, "bytes=100000-"]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_two_that_fetch_the_same_at_once_do_it_once(cache: Path) -> None:
    class Slow(Store):
        def send(self, request: Handler, start: int) -> None:
            time.sleep(0.5)
            super().send(request, start)

    store = Slow()
    with web_server(store) as url:
        script = f"from garbage_cli import zoo\nlist(zoo.fetch({url + '/net.pdparams'!r}))"
        jobs = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
        assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert store.asked == [None]
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_where_there_are_no_locks_each_process_has_a_part_of_its_own(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def without(path: Path) -> Iterator[None]:
        yield None

    monkeypatch.setattr(parts, "_locked", without)
    with web_server(Store(break_after=[1000])) as url:
        fetched(f"{url}/net.pdparams")
        assert kept(cache) == {"net.pdparams": WEIGHTS}
    with web_server(Store(break_after=[1000] + [0] * 5)) as url, pytest.raises(CheckpointError):
        fetched(f"{url}/other.pdparams")
    assert kept(cache) == {"net.pdparams": WEIGHTS}


# ---- servers in trouble


def refusing(*statuses: int, **headers: str) -> tuple[Callable[[Handler], None], list[int]]:
    """A server that answers with each status in turn, then with the file."""
    left = list(statuses)

    def answer(request: Handler) -> None:
        if not left:
            Store()(request)
            return
        request.send_response(left.pop(0))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("content-length", "0")
        request.end_headers()

    return answer, left


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(cache: Path, waits: list[float], status: int) -> None:
    answer, _ = refusing(status, status)
    with web_server(answer) as url:
        fetched(f"{url}/net.pdparams")
    assert kept(cache) == {"net.pdparams": WEIGHTS}
    assert waits == [0.5, 1.0]


def test_retry_after_is_obeyed_within_reason(waits: list[float]) -> None:
    soon = formatdate(time.time() + 20, usegmt=True)
    for number, (value, waited) in enumerate(
        {"7": 7.0, "86400": 60.0, "0": 0.0, "soon": 0.5, soon: 20.0, formatdate(0): 0.0}.items()
    ):
        waits.clear()
        answer, _ = refusing(429, retry_after=value)
        with web_server(answer) as url:
            fetched(f"{url}/{number}.pdparams")
        assert waits == pytest.approx([waited], abs=15 if value == soon else 0)


def test_a_server_that_stays_in_trouble_is_given_up(cache: Path, waits: list[float]) -> None:
    answer, left = refusing(*[503] * 9)
    with (
        web_server(answer) as url,
        pytest.raises(CheckpointError, match=r"answers 503 .*put the file at .*net\.pdparams"),
    ):
        fetched(f"{url}/net.pdparams")
    assert len(left) == 9 - fetching.ATTEMPTS
    assert waits == [0.5, 1.0, 2.0, 4.0]
    assert kept(cache) == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(cache: Path, waits: list[float], status: int) -> None:
    answer, left = refusing(status, status)
    with web_server(answer) as url, pytest.raises(CheckpointError, match=rf"{status} .*put the file at"):
        fetched(f"{url}/net.pdparams")
    assert len(left) == 1
    assert waits == []
    assert kept(cache) == {}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/net.pdparams", "http://no.such.host.invalid/net.pdparams"])
def test_where_nobody_answers_the_message_says_where_to_put_the_file(cache: Path, waits: list[float], url: str) -> None:
    with pytest.raises(CheckpointError) as error:
        fetched(url)
    assert f"put the file at {zoo.cached_weights(url)}" in str(error.value)
    assert len(waits) == fetching.CONNECTING - 1
    assert kept(cache) == {}


@pytest.mark.parametrize(
    "url", ["http://[", "http://a/net#md5=1", "http://a/net#sha256=12", "ftp://a/b", "http://a:b/c"]
)
def test_what_is_no_address_is_said_at_once(waits: list[float], url: str) -> None:
    with pytest.raises(CheckpointError):
        fetched(url)
    assert waits == []


def test_certificates_that_are_not_there_are_not_taken_for_a_full_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    try:
        fetched("https://127.0.0.1:9/net.pdparams")
    except CheckpointError as error:
        assert "XDG_CACHE_HOME" not in str(error)  # noqa: PT017 - whether httpx minds depends on its version


# ---- what came is not what was wanted


@pytest.mark.parametrize("length", [len(WEIGHTS) + 1000, len(WEIGHTS) - 1000])
def test_a_wrong_length_is_not_taken_for_the_whole(cache: Path, length: int) -> None:
    store = Store(headers={"content-length": str(length)}, etag=None)
    with web_server(store) as url:
        if length > len(WEIGHTS):
            with pytest.raises(CheckpointError, match="put the file at"):
                fetched(f"{url}/net.pdparams")
            assert "net.pdparams" not in kept(cache)
        else:  # HTTP ends there: what came is a pickle without its end, which is said when it is read
            fetched(f"{url}/net.pdparams")
            with pytest.raises(CheckpointError, match="damaged"):
                zoo.read_weights(zoo.cached_weights(f"{url}/net.pdparams"))


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"<!DOCTYPE html><title>Hotel Wi-Fi</title>", "text/html", "a web page, perhaps of a login came from 127"),
        (b"\n\n<HTML>", "text/html", "a web page"),
        (b'{"error": "no"}', "application/json", "application/json that begins with 7b 22 65"),
        (b"PK\x03\x04zip", "application/zip", "application/zip that begins with 50 4b 03 04"),
        (b"", "text/plain", "an empty file came"),
    ],
)
def test_what_is_no_weight_file_is_not_kept(cache: Path, content: bytes, kind: str, said: str) -> None:
    with web_server(Store(content=content or b"", headers={"content-type": kind})) as url:
        if not content:
            answer = Store(content=b"x", headers={"content-length": "0"})
            answer.break_after = [0]
            with web_server(answer) as empty, pytest.raises(CheckpointError, match=said):
                fetched(f"{empty}/net.pdparams")
        else:
            with pytest.raises(CheckpointError, match=said):
                fetched(f"{url}/net.pdparams")
    assert kept(cache) == {}


def test_a_login_page_does_not_cost_the_part_that_is_here(cache: Path) -> None:
    store = Store(break_after=[70_000, 0, 0, 0, 0])
    with web_server(store) as url:
        with pytest.raises(CheckpointError, match="70,000 bytes are kept"):
            fetched(f"{url}/net.pdparams")
        store.content, store.etag, right = b"<html>", None, store.content
        with pytest.raises(CheckpointError, match="web page"):
            fetched(f"{url}/net.pdparams")
        store.content, store.etag = right, '"one"'
        assert fetched(f"{url}/net.pdparams")[0].done == 70_000
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_a_file_without_end_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 1 << 18)
    with web_server(Store()) as url, pytest.raises(CheckpointError, match="it has more than 0 GiB"):
        fetched(f"{url}/net.pdparams")
    assert kept(cache) == {}


def test_the_hash_in_the_url_is_compared(cache: Path) -> None:
    right = hashlib.sha256(WEIGHTS).hexdigest()
    store = Store(break_after=[1000])
    with web_server(store) as url:
        fetched(f"{url}/net.pdparams#sha256={right.upper()}")
        assert kept(cache) == {"net.pdparams": WEIGHTS}
        assert fetched(f"{url}/net.pdparams#sha256={right}") == []
        with pytest.raises(CheckpointError, match=rf"has sha256 {right}, not {'0' * 64}; delete it"):
            fetched(f"{url}/net.pdparams#sha256={'0' * 64}")
        with pytest.raises(
            CheckpointError, match=rf"/other#sha256=0+: the file that came has sha256 {right}, not 0+; it"
        ):
            fetched(f"{url}/other#sha256={'0' * 64}")
    assert kept(cache) == {"net.pdparams": WEIGHTS}


def test_the_md5_that_a_store_gives_is_compared(cache: Path) -> None:
    right, wrong = (hashlib.md5(each, usedforsecurity=False).hexdigest() for each in (WEIGHTS, OTHER))
    baidu = {"x-bce-request-id": "1"}
    with web_server(Store(etag=f'"{right}"', headers=baidu, break_after=[1000])) as url:
        fetched(f"{url}/right")
    for name, etag, headers in [
        ("unknown", wrong, {}),  # another server's ETag may be anything
        ("pieces", f"{wrong}-3", baidu),
        ("encrypted", wrong, {"x-amz-request-id": "1", "x-amz-server-side-encryption": "aws:kms"}),
    ]:
        with web_server(Store(etag=f'"{etag}"', headers=headers)) as url:
            fetched(f"{url}/{name}")
    with web_server(Store(etag=f'"{wrong}"', headers=baidu)) as url, pytest.raises(CheckpointError, match="has md5"):
        fetched(f"{url}/wrong")
    assert set(kept(cache)) == {"right", "unknown", "pieces", "encrypted"}


# ---- folders in trouble


def test_a_cache_that_cannot_be_made_names_the_folder_and_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        CheckpointError, match=r"can't keep weights in .*/file/cache/.*: Not a directory; set XDG_CACHE_HOME"
    ):
        fetched("http://127.0.0.1:9/net.pdparams")


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "closed"])
def test_a_read_only_cache_names_the_folder_and_the_variable(monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    """In a process of its own that is nobody's, if we are root, who may write anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        cache.mkdir()
        cache.chmod(mode)
        Path(folder).chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        said = _fetch_as_nobody()
        cache.chmod(0o755)
    assert re.match(r"can't keep weights in .*: Permission denied; set XDG_CACHE_HOME", said), said
    assert said.endswith("[]\n")


def _fetch_as_nobody() -> str:
    script = (
        "import os, sys, httpx, platformdirs\n"
        "from garbage_cli import zoo\n"
        "from garbage_cli.errors import CheckpointError\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: list(zoo.fetch('http://127.0.0.1:9/net.pdparams'))\n"
        "except CheckpointError as error: print(error)\n"
        "print(zoo.find('ResNet50_vd')[0].cached())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_a_full_disk_names_the_folder_and_the_variable_and_keeps_the_part(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = parts.Part.write

    def full(part: parts.Part, chunk: bytes) -> None:
        if part.size > 100_000:
            raise OSError(28, "No space left on device")
        write(part, chunk)

    store = Store()
    with web_server(store) as url:
        monkeypatch.setattr(parts.Part, "write", full)
        with pytest.raises(CheckpointError, match=r"weights in .*: No space left on device; set XDG_CACHE_HOME"):
            fetched(f"{url}/net.pdparams")
        monkeypatch.setattr(parts.Part, "write", write)
        fetched(f"{url}/net.pdparams")
    assert len(store.asked) == 2
    assert store.asked[1] is not None
    assert kept(cache) == {"net.pdparams": WEIGHTS}
