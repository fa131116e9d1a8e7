"""Which names of members are safe to write, here and on the systems that the folder may be copied to.

Knows names. Does not know archives, and touches no file.
"""

import os
import re
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from garbage_cli.archive.damage import MemberError, shown

MAX_DEPTH = 64
"""Folders within folders that a member's name may have."""
MAX_PART = 255
"""Bytes of a name between two slashes, on all common file systems."""
MAX_PATH = 4095
"""Bytes of a whole path that Linux takes."""

_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])", re.IGNORECASE)


class Names:
    """The names of one archive: each is checked by itself, then against those before it."""

    def __init__(self, folder: Path, *, windows: bool = os.name == "nt") -> None:
        self._room = MAX_PATH - len(os.fsencode(folder.absolute())) - 1
        self._windows = windows
        self._seen: dict[str, tuple[str, bool]] = {}
        self._folders: set[tuple[str, ...]] = set()

    def claim(self, name: str) -> PurePosixPath:
        """Return a member's path, known to stay inside the folder and to meet no other; raise MemberError if not."""
        path = self.check(name)
        parts = path.parts
        new = [] if parts[:-1] in self._folders else list(range(1, len(parts)))
        spelled = {end: "/".join(parts[:end]) for end in [*new, len(parts)]}
        for end, words in spelled.items():
            self._meet(name, words, folder=end < len(parts))
        for end, words in spelled.items():
            self._seen.setdefault(_folded(words), (words, end < len(parts)))
        self._folders.add(parts[:-1])
        return path

    def check(self, name: str) -> PurePosixPath:
        """Return the path of a name that is safe by itself."""
        path = PurePosixPath(name.replace("\\", "/"))
        parts = path.parts
        if path.is_absolute() or ".." in parts or not parts or _DRIVE.match(name) or "\0" in name:
            raise MemberError(name, "would be written outside the folder")
        if len(parts) > MAX_DEPTH:
            raise MemberError(name, f"lies too deep: in more than {MAX_DEPTH} folders")
        lengths = [_length(part, name) for part in parts]
        if max(lengths) > MAX_PART or sum(lengths) + len(parts) > self._room:
            raise MemberError(name, f"has too long a name (over {MAX_PART} bytes, or {MAX_PATH:,} with its folders)")
        if self._windows and any(_bad_on_windows(part) for part in parts):
            raise MemberError(name, "has a name that Windows does not allow")
        return path

    def _meet(self, name: str, words: str, *, folder: bool) -> None:
        before, was_folder = self._seen.get(_folded(words), (words, folder))
        if before != words:
            raise MemberError(name, f"would meet {shown(before)}: they differ in case or in Unicode's form only")
        if folder != was_folder:
            raise MemberError(name, f"would meet {shown(before)}, which is both a file and a folder")
        if not folder and _folded(words) in self._seen:
            raise MemberError(name, "is there twice")


def _folded(words: str) -> str:
    """One form for all spellings that some file system takes for the same."""
    return words.lower() if words.isascii() else normalize("NFC", normalize("NFC", words).casefold())


def _length(part: str, name: str) -> int:
    try:
        return len(part.encode(errors="surrogateescape"))
    except UnicodeEncodeError:
        raise MemberError(name, "has a name that no file system can hold") from None


def _bad_on_windows(part: str) -> bool:
    stem = part.split(".", 1)[0].rstrip(" ")
    return ":" in part or part[-1] in ". " or _DEVICE.fullmatch(stem) is not None
