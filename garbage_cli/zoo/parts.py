"""A file that is not all there yet, what it is a part of, and a lock on it.

Knows files. Does not know HTTP beyond the names of two headers.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from garbage_cli.storage import write_json


@dataclass(frozen=True, slots=True)
class Validator:
    """How a server tells one state of a file from another."""

    etag: str = ""
    last_modified: str = ""
    md5: str = ""
    """Of the whole file, in hexadecimal, where the server is one that names it."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Validator":
        """Take it from a reply's headers."""
        return cls(headers.get("etag", ""), headers.get("last-modified", ""), _md5(headers))

    def agrees(self, other: "Validator") -> bool:
        """Whether another reply may be of the same file."""
        return not (self.etag and other.etag) or self.etag == other.etag

    @property
    def if_range(self) -> str:
        """The value for If-Range, which takes no weak ETag (RFC 9110, 13.1.5); empty if there is none."""
        return self.last_modified if self.etag.startswith("W/") or not self.etag else self.etag


def _md5(headers: Mapping[str, str]) -> str:
    """The ETag of Amazon's S3 and of Baidu's BOS, where PaddleClas keeps its weights, is the file's MD5.

    Not if the file was sent in several pieces (then it has a dash) or is encrypted with a key of one's own:
    docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html. Other servers' ETags of that length may be anything.
    """
    of_store = any(name.lower().startswith(("x-amz-request-id", "x-bce-")) for name in headers)
    encrypted = any("server-side-encryption" in name.lower() for name in headers)
    plain = re.fullmatch(r'"([0-9a-fA-F]{32})"', headers.get("etag", ""))
    return plain[1].lower() if plain and of_store and not encrypted else ""


class Part:
    """The beginning of a file. While the object lives, no other process writes to it."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.note = path.with_name(path.name + ".json")
        self._file = file
        self.url, self.validator = self._read_note()
        self.size = file.seek(0, os.SEEK_END)

    @classmethod
    @contextmanager
    def at(cls, target: Path) -> Iterator["Part"]:
        """Open the part beside `target`; wait if another process has it. Where files have no locks (Windows, some
        network drives) it gets a name of this process, and is not kept."""
        shared = target.with_name(f".{target.name}.part")
        with _locked(shared) as file:
            if file is not None:
                yield cls(shared, file)
                return
        own = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with own.open("a+b") as file:
                yield cls(own, file)
        finally:
            own.unlink(missing_ok=True)
            own.with_name(own.name + ".json").unlink(missing_ok=True)

    def _read_note(self) -> tuple[str, Validator]:
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return str(note["url"]), Validator(*(str(note[name]) for name in ("etag", "last_modified", "md5")))
        except (OSError, ValueError, KeyError, TypeError):
            return "", Validator()

    def range_headers(self, url: str) -> dict[str, str]:
        """Ask for what is missing, if the server can tell whether what is here belongs to its file."""
        if not self.size or self.url != url or not self.validator.if_range:
            return {}
        return {"range": f"bytes={self.size}-", "if-range": self.validator.if_range}

    def begin(self, url: str, validator: Validator) -> None:
        """Throw away what is here; what comes now is of this URL, in this state."""
        self._file.truncate(0)
        self.size, self.url, self.validator = 0, url, validator
        write_json(self.note, {"url": url, **asdict(validator)})

    def write(self, chunk: bytes) -> None:
        """Append bytes."""
        self._file.write(chunk)
        self._file.flush()
        self.size += len(chunk)

    def forget(self) -> None:
        """Throw away what is here."""
        self._file.truncate(0)
        self.size, self.url, self.validator = 0, "", Validator()
        self.note.unlink(missing_ok=True)

    def digest(self, algorithm: Any) -> str:
        """Return the hash of what is here, in hexadecimal."""
        self._file.seek(0)
        while data := self._file.read(1 << 20):
            algorithm.update(data)
        return str(algorithm.hexdigest())

    def finish(self, target: Path) -> None:
        """Give the file its name, now that it is whole."""
        os.fsync(self._file.fileno())
        if os.name == "nt":  # which renames no open file; elsewhere the lock is kept until it is done
            self._file.close()
        self.path.replace(target)
        self.note.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO | None]:
    """Open a file for appending and lock it, which goes with the process however that ends; None without locks.

    An empty file is removed in the end: nothing came.
    """
    try:
        import fcntl
    except ImportError:
        yield None
        return
    while True:
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file.close()
            yield None
            return
        if _is_still(path, file):
            break
        file.close()  # it was renamed or removed while we waited
    with file:
        try:
            yield file
        finally:
            if _is_still(path, file) and not file.seek(0, os.SEEK_END):
                with suppress(OSError):
                    path.unlink()
                path.with_name(path.name + ".json").unlink(missing_ok=True)


def _is_still(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False
