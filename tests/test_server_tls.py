"""HTTPS: certificates that are wrong, the real server over TLS, and what strangers send to its port."""

import json
import signal
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from conftest import COLOURS, Result, save_photo
from test_server import Server, serving

from garbage_cli.client import Client
from garbage_cli.errors import ServerError
from garbage_cli.prediction import Photo
from garbage_cli.server.options import ServeOptions
from garbage_cli.server.tls import check, read

CLOSE = "Connection: close"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates and keys, good ones and others."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60, cwd=folder)

    def new(name: str, kind: str, *options: str) -> None:
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        openssl("req", "-x509", "-newkey", kind, "-nodes", *subject, *files, *options)

    try:
        new("own", "rsa:2048")
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    new("other", "rsa:2048")
    new("curve", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    new("weak", "rsa:512")
    openssl("x509", "-in", "own.pem", "-signkey", "own.key", "-days", "-1", "-out", "expired.pem")
    openssl("req", "-new", "-key", "own.key", "-subj", "/CN=own", "-out", "wish.pem")
    openssl("pkey", "-in", "own.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    openssl("pkey", "-in", "own.key", "-traditional", "-aes256", "-passout", "pass:secret", "-out", "locked-old.key")
    openssl("x509", "-in", "own.pem", "-outform", "der", "-out", "own.der")
    openssl("pkey", "-in", "own.key", "-outform", "der", "-out", "own-key.der")
    own, key = ((folder / name).read_text() for name in ("own.pem", "own.key"))
    lines = {name: text.splitlines(keepends=True) for name, text in (("damaged.pem", own), ("damaged.key", key))}
    for name, each in lines.items():
        (folder / name).write_text("".join([*each[:4], *each[5:]]))
    (folder / "both.pem").write_text(key + own)
    (folder / "chain.pem").write_text(own + (folder / "other.pem").read_text())
    (folder / "wrong-order.pem").write_text((folder / "other.pem").read_text() + own)
    (folder / "empty.pem").write_bytes(b"")
    (folder / "large.pem").write_text(own + "\n" * 1024 * 1024)
    (folder / "open.key").write_text(key)
    (folder / "open.key").chmod(0o644)
    return folder


def options(certificate: Path, key: Path | None) -> ServeOptions:
    return ServeOptions(Path("inference"), certificate=certificate, private_key=key)


# ---- the files


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        ("own.pem", "own.key"),
        ("both.pem", None),
        ("both.pem", "both.pem"),
        ("chain.pem", "own.key"),
        ("curve.pem", "curve.key"),
    ],
)
def test_what_fits_is_taken_and_nothing_is_said(made: Path, certificate: str, key: str | None) -> None:
    told: list[str] = []
    check(options(made / certificate, made / key if key else None), told.append)
    assert [line for line in told if "can read the private key" not in line] == []


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("gone.pem", "own.key", "gone.pem can't be read: No such file.*the PEM file of the certificate with --cert"),
        ("own.pem", "gone.key", "gone.key can't be read: No such file.*of the private key with --private-key"),
        (".", "own.key", "is no regular file.*--certificate"),
        ("own.pem", "/dev/zero", "/dev/zero is no regular file.*--private-key"),
        ("large.pem", "own.key", "large.pem is larger than 1048576 bytes"),
        ("empty.pem", "own.key", "empty.pem is no PEM, which is text"),
        ("own.der", "own.key", r"own.der is no PEM.*openssl x509 -inform der -in \S*own.der -out new.pem"),
        ("own.pem", "own-key.der", "own-key.der is no PEM.*openssl pkey -inform der"),
        ("own.key", "own.key", "own.key holds no certificate; name the PEM file that does with --certificate"),
        ("wish.pem", "own.key", "wish.pem holds no certificate"),
        ("own.pem", None, "own.pem holds no private key; name the PEM file that does with --private-key"),
        ("own.pem", "other.pem", "other.pem holds no private key"),
        ("own.pem", "other.key", "other.key does not fit the certificate in .*own.pem; name the two that were made"),
        ("own.pem", "curve.key", "curve.key does not fit the certificate in .*own.pem"),
        ("wrong-order.pem", "own.key", "own.key does not fit .*; of a chain, the server's own certificate comes first"),
        ("own.pem", "locked.key", "locked.key is encrypted, and nobody is asked its password; .*openssl pkey -in"),
        ("own.pem", "locked-old.key", "locked-old.key is encrypted"),
        ("damaged.pem", "own.key", "the certificate in .*damaged.pem is damaged"),
        ("own.pem", "damaged.key", "the private key in .*damaged.key is damaged"),
        ("weak.pem", "weak.key", r"weak.pem can't be used \(.*too small\); have it made anew, with a key of RSA 2048"),
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_named_with_the_remedy(
    made: Path, certificate: str, key: str | None, words: str
) -> None:
    with pytest.raises(ServerError, match=words) as error:
        check(options(made / certificate, made / key if key else None), lambda text: None)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_an_expired_certificate_and_a_key_that_all_can_read_are_told(made: Path) -> None:
    told: list[str] = []
    check(options(made / "expired.pem", made / "open.key"), told.append)
    assert told == [
        f"every user of this machine can read the private key in {made / 'open.key'}; close it with: "
        f"chmod o-r {made / 'open.key'}",
        f"browsers will not trust {made / 'expired.pem'}: certificate has expired; "
        "renew it, then send this process SIGHUP",
    ]


def test_what_is_wrong_ends_the_start_in_one_line(
    garbage: Callable[..., Result], colour_bundle: Path, made: Path
) -> None:
    words = ("--certificate", made / "own.pem", "--private-key", made / "locked.key")
    done = garbage("serve", "--model", colour_bundle, "--port", 0, *words)
    assert (done.code, done.out) == (1, "")
    assert len(done.err.strip().splitlines()) == 1
    assert "is encrypted, and nobody is asked its password" in done.err


def test_versions_before_1_2_are_refused(made: Path) -> None:
    server = read(options(made / "own.pem", made / "own.key"))
    for version, is_taken in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            client.minimum_version = client.maximum_version = version
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
        found = ""
        for end in ends * 3:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                found = error.reason
                break
        assert found == ("" if is_taken else "UNSUPPORTED_PROTOCOL")


# ---- the server


@pytest.fixture(scope="module")
def server(colour_bundle: Path, made: Path) -> Iterator[Server]:
    words = ("--certificate", made / "chain.pem", "--private-key", made / "own.key", "--max-body", "1M")
    with serving(colour_bundle, *words) as running:
        yield running
        running.process.terminate()
        assert running.process.stderr is not None
        assert running.process.stderr.read() == ""  # nothing that a stranger sends is worth a line there


@pytest.fixture(scope="module")
def trust(made: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=made / "own.pem")


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_photo(tmp_path_factory.mktemp("red") / "red.png", COLOURS["red"]).read_bytes()


def plain(server: Server) -> socket.socket:
    """A connection without TLS."""
    return socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=60)


def connected(server: Server, trust: ssl.SSLContext) -> ssl.SSLSocket:
    return trust.wrap_socket(plain(server), server_hostname="127.0.0.1")


def to_the_end(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def post(body: bytes, *headers: str) -> bytes:
    lines = ["POST /v1/predict HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answers(server: Server, trust: ssl.SSLContext) -> bool:
    return httpx.get(f"{server.url}/healthz", verify=trust, timeout=30).json() == {"status": "ok"}


def test_over_tls_there_is_all_that_there_is_without(server: Server, trust: ssl.SSLContext, red: bytes) -> None:
    assert server.url.startswith("https://127.0.0.1:")
    with httpx.Client(base_url=server.url, verify=trust) as client:
        assert client.get("/").text.startswith("<!doctype html>")
        assert client.get("/page/app.js").status_code == 200
        assert client.post("/v1/predict", content=red).json()["results"][0]["bin"] == "有害垃圾"
        assert f"{server.url}/v1/predict" in client.get("/docs").text
    with connected(server, trust) as connection:
        assert connection.version() == "TLSv1.3"


def test_the_whole_chain_is_sent(server: Server, made: Path) -> None:
    port = server.url.rpartition(":")[2]
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-showcerts"]
    shown = subprocess.run(command, input=b"", capture_output=True, timeout=60).stdout
    for name in ("own.pem", "other.pem"):
        assert (made / name).read_bytes() in shown


def test_request_answers_over_https_once_the_certificate_is_named(
    server: Server, made: Path, garbage: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = save_photo(tmp_path / "red.png", COLOURS["red"])
    refused = garbage("request", photo, "--url", server.url)
    assert refused.code == 1
    assert "SSL_CERT_FILE" in refused.err
    monkeypatch.setenv("SSL_CERT_FILE", str(made / "own.pem"))
    done = garbage("request", photo, "--url", server.url)
    assert done.code == 0
    assert "有害垃圾" in done.out
    with Client(server.url) as client:
        found = list(client.predict(Photo(str(i), photo.read_bytes()) for i in range(60)))
    assert {each.bin_name for each in found} == {"有害垃圾"}


# ---- what strangers do


HELLO = bytes.fromhex("16030100a1010000a10303") + bytes(range(158))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\1\2junk\r\n\r\n", b"\r\n" * 100_000, HELLO,
        b"\x16\x03\x01\xff\xff" + b"\xff" * 100_000, b"\x15\x03\x03\x00\x02\x02\x28",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["plain HTTP", "junk", "empty lines", "a hello that is none", "a long record", "an alert", "HTTP/2"],
)  # fmt: skip
def test_what_is_no_handshake_ends_that_connection_alone(server: Server, trust: ssl.SSLContext, data: bytes) -> None:
    with plain(server) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            reply = to_the_end(connection)
        except OSError:
            reply = b""  # it was closed before it had all of that
    assert b"HTTP" not in reply
    assert answers(server, trust)


def test_who_hangs_up_in_the_handshake_costs_the_others_nothing(server: Server, trust: ssl.SSLContext) -> None:
    there = ssl.MemoryBIO()
    half = trust.wrap_bio(ssl.MemoryBIO(), there, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    hello = there.read()
    waiting = [plain(server) for _ in range(100)]
    for end in (0, 1, 5, len(hello) // 2, len(hello) - 1, len(hello)):
        for _ in range(20):
            with plain(server) as connection:
                connection.sendall(hello[:end])
        for connection in waiting[end % 7 :: 7]:
            connection.sendall(hello[:end])
        assert answers(server, trust)
    for connection in waiting:
        connection.close()
    assert answers(server, trust)


@pytest.mark.slow
def test_a_handshake_that_does_not_come_is_not_waited_for_a_minute(server: Server) -> None:
    with plain(server) as silent, plain(server) as begun:
        silent.settimeout(30)
        begun.settimeout(30)
        begun.sendall(HELLO[:20])
        assert (silent.recv(1), begun.recv(1)) == (b"", b"")


def test_junk_after_a_good_request_gets_no_answer_and_costs_it_nothing(
    server: Server, trust: ssl.SSLContext, red: bytes
) -> None:
    for junk in (HELLO, b"GET / HTTP/9.9\r\n\r\n"):
        with connected(server, trust) as connection:
            connection.sendall(post(red) + junk)
            answer = to_the_end(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer
        assert answer.count(b"HTTP/1.1") == 1


def test_junk_alone_gets_400_and_long_headers_431(server: Server, trust: ssl.SSLContext) -> None:
    for data, status in (
        (b"\0\1\2junk\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nA: %s\r\n\r\n" % (b"a" * 500_000), b"431"),
    ):
        with connected(server, trust) as connection:
            connection.sendall(data)
            head, _, body = to_the_end(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status)
        assert json.loads(body)["error"]


def test_pipelined_requests_are_answered_in_their_order(server: Server, trust: ssl.SSLContext, red: bytes) -> None:
    ids = [f"number-{i}" for i in range(12)]
    with connected(server, trust) as connection:
        connection.sendall(b"".join(post(red, f"X-Request-Id: {id_}") for id_ in ids) + post(red, CLOSE))
        found = to_the_end(connection)
    lines = [line.split()[1].decode() for line in found.split(b"\r\n") if line.startswith(b"x-request-id: number")]
    assert lines == ids
    assert found.count(b"HTTP/1.1 200 OK") == 13


def test_a_body_over_the_limit_can_be_sent_to_its_end_and_the_413_be_read(
    server: Server, trust: ssl.SSLContext
) -> None:
    body = bytes(5_000_000)
    with connected(server, trust) as connection:
        connection.sendall(post(body))
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413 ")
    chunked = (
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(body) + body
    )
    with connected(server, trust) as connection:
        connection.sendall(chunked)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_hang_ups_are_counted_and_leave_nothing(server: Server, trust: ssl.SSLContext, red: bytes) -> None:
    def count(name: str) -> float:
        lines = httpx.get(f"{server.url}/metrics", verify=trust).text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))

    before = count("garbage_hangups_total")
    for _ in range(10):
        connection = connected(server, trust)
        connection.sendall(post(red)[:-20])
        connection.close()
    while count("garbage_hangups_total") < before + 10:
        time.sleep(0.02)
    with connected(server, trust) as polite:
        polite.sendall(post(red)[:-20])
        polite.unwrap()  # says goodbye as TLS has it
    while count("garbage_hangups_total") < before + 11:
        time.sleep(0.02)


def test_a_client_that_reads_slowly_gets_all_of_a_long_answer(server: Server, trust: ssl.SSLContext) -> None:
    with connected(server, trust) as connection:
        connection.sendall(
            b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 15
            + b"GET /docs HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % CLOSE.encode()
        )
        time.sleep(0.3)
        found = to_the_end(connection)
    assert found.count(b"HTTP/1.1 200 OK") == 16
    assert found.count(b"</html>") == 16


# ---- stopping, and another certificate


def test_sigterm_finishes_what_was_accepted_over_tls(
    colour_bundle: Path, made: Path, trust: ssl.SSLContext, red: bytes
) -> None:
    with serving(colour_bundle, "--certificate", made / "both.pem") as own:
        idle, fresh = connected(own, trust), connected(own, trust)
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
        with connected(own, trust) as busy:
            data = post(red)
            busy.sendall(data[:-9])
            assert answers(own, trust)  # that came later, so the other was taken
            own.process.terminate()
            with suppress(ConnectionRefusedError):
                while True:
                    plain(own).close()
                    time.sleep(0.02)
            busy.sendall(data[-9:])
            assert to_the_end(busy).startswith(b"HTTP/1.1 200 ")
        assert own.process.wait(20) == 0  # who is idle and says no goodbye is not waited for
        for each in (idle, fresh):
            each.close()


def test_a_renewed_certificate_counts_from_the_next_connection_on(
    colour_bundle: Path, made: Path, tmp_path: Path, red: bytes
) -> None:
    file = tmp_path / "live.pem"

    def put(name: str, key: str = "") -> None:
        file.with_suffix(".new").write_bytes((made / name).read_bytes() + (made / key).read_bytes())
        file.with_suffix(".new").chmod(0o600)
        file.with_suffix(".new").rename(file)

    def shown(server: Server, name: str | None) -> str:
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
        with plain(server) as bare, anyone.wrap_socket(bare, server_hostname=name) as connection:
            return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b"")

    own, other, curve = ((made / f"{name}.pem").read_text() for name in ("own", "other", "curve"))
    put("own.pem", "own.key")
    with serving(colour_bundle, "--certificate", file, "--workers", 2) as server:
        assert server.process.stderr is not None
        assert shown(server, "localhost") == shown(server, None) == own
        with connected(server, ssl.create_default_context(cafile=made / "own.pem")) as before:
            for name, pem in (("other", other), ("curve", curve)):
                put(f"{name}.pem", f"{name}.key")
                server.process.send_signal(signal.SIGHUP)
                assert server.process.stderr.readline().endswith("in 2 workers\n")
                for _ in range(8):  # of the workers, each has a turn
                    assert shown(server, "localhost") == shown(server, None) == shown(server, "bin.example") == pem
            put("own.pem", "curve.key")
            server.process.send_signal(signal.SIGHUP)
            said = server.process.stderr.readline()
            assert said.startswith("not reloaded, the model before goes on: the private key in ")
            assert {shown(server, "localhost") for _ in range(8)} == {curve}
            before.sendall(post(red, CLOSE))  # who was there before stays
            assert to_the_end(before).startswith(b"HTTP/1.1 200 ")
