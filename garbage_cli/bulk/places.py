"""Folders here and in stores of objects (`s3://bucket/path`): what is in them, reading, writing whole files.

Knows paths and pyarrow's file systems. Does not know photos or answers.

Credentials are found by the store's own rules (the environment, a profile, the machine's role) on each machine anew.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from garbage_cli.errors import ClusterError, ConfigError, ImageError
from garbage_cli.images import SUFFIXES
from garbage_cli.storage import write_bytes
from garbage_cli.vendor import pyarrow_fs

SCHEME = "s3://"
_TRIES = 5
"""Times that a request is made to a store that does not answer."""


def is_remote(name: str) -> bool:
    """Say whether a name is in a store of objects."""
    return name.startswith(SCHEME)


def check_name(name: str) -> None:
    """Raise ConfigError for a name in a store that has no bucket, or that holds what should stay secret."""
    bucket = name.removeprefix(SCHEME).partition("/")[0]
    if not bucket or "@" in bucket:
        raise ConfigError(
            f"{SCHEME}… names no bucket; write {SCHEME}BUCKET/PATH, with credentials in the environment only"
        )


def found(name: str) -> Iterator[str]:
    """Yield the photos of a store below a name, or the one of this name, sorted; ConfigError if nothing is there."""
    check_name(name)
    path = name.removeprefix(SCHEME).rstrip("/")
    try:
        fs = _store()
        info = fs.get_file_info(path)
        if info.is_file:
            yield name
            return
        wanted = pyarrow_fs("stores of objects").FileSelector(path, recursive=True, allow_not_found=False)
        names = sorted(each.path for each in fs.get_file_info(wanted) if each.is_file)
    except OSError as error:
        raise ConfigError(f"{name}: {_reason(error)}") from None
    if not names:
        raise ConfigError(f"{name}: nothing is there")
    for each in names:
        below = PurePosixPath(each.removeprefix(path))
        if below.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in below.parts):
            yield SCHEME + each


def read(name: str, max_bytes: int) -> bytes:
    """Return the bytes of an object.

    Raises ImageError if it is not there, refused or too large; ClusterError if the store does not answer.
    """
    path = name.removeprefix(SCHEME)
    try:
        with _store().open_input_file(path) as file:
            if file.size() > max_bytes:
                raise ImageError(f"{file.size():,} bytes; the limit is {max_bytes:,}", fault="enormous")
            return bytes(file.read())
    except (FileNotFoundError, PermissionError) as error:
        raise ImageError(error.strerror or "not there", fault="unreadable") from None
    except OSError as error:
        if "ACCESS_DENIED" in str(error):
            raise ImageError("access denied", fault="unreadable") from None
        raise ClusterError(f"{name}: {_reason(error)}") from None


class Place:
    """A folder that answers go into, on a disk that all machines share or in a store of objects."""

    def __init__(self, name: str) -> None:
        if is_remote(name):
            check_name(name)
        self.name = name.rstrip("/") if is_remote(name) else name
        self.remote = is_remote(name)

    def __str__(self) -> str:
        return self.name

    def absolute(self) -> str:
        """The name that means this place also where another folder is the current one."""
        return self.name if self.remote else str(Path(self.name).absolute())

    def names(self) -> set[str]:
        """The names of the files in it; none if it is not there."""
        if not self.remote:
            with suppress(FileNotFoundError):
                return set(os.listdir(self.name))  # noqa: PTH208 - names, not paths
            return set()
        try:
            wanted = pyarrow_fs("stores of objects").FileSelector(self._path(""), allow_not_found=True)
            return {each.base_name for each in _store().get_file_info(wanted) if each.is_file}
        except OSError as error:
            raise ConfigError(f"{self.name}: {_reason(error)}") from None

    def read(self, name: str) -> bytes | None:
        """The content of a file in it; None if there is none."""
        try:
            if not self.remote:
                return Path(self.name, name).read_bytes()
            with _store().open_input_file(self._path(name)) as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{self.name}/{name}: {_reason(error)}") from None

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is there whole or not at all; raise ConfigError if it can't be."""
        try:
            if not self.remote:
                Path(self.name).mkdir(parents=True, exist_ok=True)
                write_bytes(Path(self.name, name), data)
                return
            with _store().open_output_stream(self._path(name)) as file:
                file.write(data)
        except OSError as error:
            raise ConfigError(f"{self.name}/{name} can't be written: {_reason(error)}") from None

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            if self.remote:
                _store().delete_file(self._path(name))
            else:
                Path(self.name, name).unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self.name}/{name} can't be removed: {_reason(error)}") from None

    def forget(self, name: str) -> None:
        """Remove a file, and the folder if it is then empty; what can't be removed stays."""
        with suppress(ConfigError, OSError):
            self.remove(name)
            if not self.remote:
                Path(self.name).rmdir()

    def _path(self, name: str) -> str:
        return f"{self.name.removeprefix(SCHEME)}/{name}".rstrip("/")


@cache
def _store() -> Any:
    """The store, found by the environment: AWS_ENDPOINT_URL for one that is not Amazon's, AWS_REGION, credentials."""
    fs = pyarrow_fs("stores of objects")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    settings: dict[str, Any] = {"retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES)}
    if endpoint:
        scheme, _, host = endpoint.rstrip("/").rpartition("://")
        settings |= {"endpoint_override": host, "scheme": scheme or "https"}
    if region:
        settings["region"] = region
    return fs.S3FileSystem(connect_timeout=5, request_timeout=30, **settings)


def _reason(error: OSError) -> str:
    """What a store says, in one line; for the commonest, what to do."""
    text = " ".join((error.strerror or str(error)).split())
    low = text.lower()
    if "no_such_bucket" in low or "bucket does not exist" in low or "path does not exist" in low:
        return "not there; is the bucket's name right, and AWS_ENDPOINT_URL?"
    if "access_denied" in low or "signaturedoesnotmatch" in low or "invalidaccesskeyid" in low or "403" in low:
        return "access denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if "network_connection" in low or "curlcode" in low:
        return "the store does not answer; AWS_ENDPOINT_URL names one that is not Amazon's"
    return text[:300]
