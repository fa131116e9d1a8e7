"""HTTPS: a certificate and its private key from files, looked at before anybody connects, and read anew.

Knows TLS and PEM. Does not know HTTP, nor who connects.
"""

import ssl
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from garbage_cli.errors import ServerError
from garbage_cli.server.options import ServeOptions

_MAX_BYTES = 1024 * 1024
_CERTIFICATE = b"CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_UNFIT = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
_DAMAGED = (None, "PEM_LIB")
"""What OpenSSL calls a key that it can't make sense of."""

Tell = Callable[[str], object]


class _Encrypted(Exception):
    pass


class Tls:
    """What a worker's connections are encrypted with; another certificate counts from the next connection on."""

    def __init__(self, options: ServeOptions) -> None:
        """Read the files; raise ServerError if they can't be used."""
        self.context = self._present = read(options)
        """For the event loop; it stays the same."""
        self.context.sni_callback = self._choose

    def use(self, context: ssl.SSLContext) -> None:
        """Have new connections get the certificate of another context. Those there are keep theirs."""
        self._present = context

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called in every handshake, whatever name the client asks for."""
        connection.context = self._present


def check(options: ServeOptions, tell: Tell) -> None:
    """Raise ServerError if certificate and key can't be used; tell why clients would not trust them."""
    certificate, key = _files(options)
    context = read(options)
    if key.stat().st_mode & stat.S_IROTH:
        tell(f"every user of this machine can read the private key in {key}; close it with: chmod o-r {key}")
    if fault := _distrust(context, certificate):
        tell(f"browsers will not trust {certificate}: {fault}; renew it, then send this process SIGHUP")


def read(options: ServeOptions) -> ssl.SSLContext:
    """Read certificate and key; raise ServerError with the file's name and what to do."""
    certificate, key = _files(options)
    _look(certificate, "--certificate", _CERTIFICATE, "certificate", "openssl x509 -inform der")
    _look(key, "--private-key", _KEY, "private key", "openssl pkey -inform der")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        remedy = f"decrypt it with: openssl pkey -in {key} -out key.pem"
        raise ServerError(
            f"the private key in {key} is encrypted, and nobody is asked its password; {remedy}"
        ) from None
    except ssl.SSLError as error:
        raise ServerError(_explained(error, certificate, key)) from None
    except OSError as error:
        raise ServerError(f"{certificate} or {key} can't be read: {error.strerror}") from None
    return context


def _files(options: ServeOptions) -> tuple[Path, Path]:
    assert options.certificate is not None
    return options.certificate, options.private_key or options.certificate


def _no_password() -> str:
    raise _Encrypted  # else OpenSSL asks at the terminal


def _look(path: Path, option: str, begins: bytes, what: str, convert: str) -> None:
    """See that a file can be read and has in it what it is named for."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ServerError(f"{path} is no regular file; name the PEM file of the {what} with {option}")
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        remedy = f"name the PEM file of the {what} with {option}"
        raise ServerError(f"the {what} in {path} can't be read: {error.strerror}; {remedy}") from None
    if len(data) > _MAX_BYTES:
        raise ServerError(f"{path} is larger than {_MAX_BYTES} bytes; name the PEM file of the {what} with {option}")
    if begins in data:
        return
    if b"-----BEGIN " in data:
        raise ServerError(f"{path} holds no {what}; name the PEM file that does with {option}")
    raise ServerError(f"{path} is no PEM, which is text; convert the {what} with: {convert} -in {path} -out new.pem")


def _explained(error: ssl.SSLError, certificate: Path, key: Path) -> str:
    if error.reason in _UNFIT:
        remedy = "name the two that were made together; of a chain, the server's own certificate comes first"
        return f"the private key in {key} does not fit the certificate in {certificate}; {remedy}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError:
        return f"the certificate in {certificate} is damaged; copy it again, or have it made anew"
    if error.reason in _DAMAGED:
        return f"the private key in {key} is damaged; copy it again, or make a new one with its certificate"
    return f"{certificate} can't be used ({_words(error)}); have it made anew, with a key of RSA 2048 or P-256"


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _distrust(context: ssl.SSLContext, certificate: Path) -> str:
    """Shake hands with oneself: why a client that knows this very certificate would not trust it; "" if it would."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        asking.load_verify_locations(certificate)
        ends = (asking.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True))
        for end in ends * 3:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except ssl.SSLError as error:
        return _words(error)
    return ""
