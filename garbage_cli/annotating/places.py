"""Where the picture of a photo goes: inside the folder, under the photo's own name, over nothing that is not ours.

Knows names and files. Does not know what is drawn.
"""

import hashlib
import os
import re
from pathlib import Path, PurePath

from garbage_cli.errors import ConfigError
from garbage_cli.images import SUFFIXES
from garbage_cli.prediction import Photo

MARK = b"annotated by garbage"
"""A comment in each picture, near its beginning, by which it is known that it may be replaced."""

_JPEG = (".jpg", ".jpeg", ".jpe")
_LONGEST = 200
"""Bytes of a name: leaves room for what is added, of the 255 that file systems take."""
_UP = "__up__"
"""What stands for `..`."""


def place(name: str) -> PurePath:
    """Return the relative path of a photo's picture: its own, `..` and the root taken out, `.jpg` at its end.

    `a.png` becomes `a.png.jpg`, so that it does not meet `a.jpg`; what is in the way of that gets a mark of its own.
    """
    path = PurePath(name)
    folders = [_short(_UP if part == ".." else part) for part in path.parts[:-1] if part != path.anchor]
    return PurePath(*folders, _file_name(path.name if path.name != ".." else _UP))


def _file_name(name: str) -> str:
    if name in ("", "-"):
        return "stdin.jpg"
    bare = re.sub(r"(?<=.)(\.jpg)+$", "", name)
    if PurePath(bare).suffix.lower() in SUFFIXES.difference(_JPEG):
        return _short(f"{name}.jpg")
    if PurePath(name).suffix.lower() in _JPEG:  # which a file that is only called .jpg has not
        return _short(name)
    return _short(f"{name}.{_digest(name)}.jpg")


def _short(part: str) -> str:
    """A name that file systems take, whatever its length."""
    if len(part.encode(errors="surrogatepass")) <= _LONGEST:
        return part
    suffix = PurePath(part).suffix
    start = part.encode(errors="surrogatepass")[: _LONGEST - 40].decode(errors="ignore")
    return f"{start}.{_digest(part)}{suffix if suffix.lower() in _JPEG else ''}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def claim(target: Path, photo: Photo, folder: Path) -> None:
    """Raise ConfigError unless a picture may be written here."""
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{target} leads out of {folder}; name another folder for the pictures")
    if not os.path.lexists(target):
        return
    if isinstance(photo.source, Path) and photo.source.exists() and target.samefile(photo.source):
        raise ConfigError(f"the picture would replace the photo {target} itself; name another folder for the pictures")
    if not _is_ours(target):
        raise ConfigError(f"{target} is there and no picture of ours; name another folder for the pictures")


def _is_ours(path: Path) -> bool:
    if not path.is_file():  # a pipe would be waited for
        return False
    with path.open("rb") as file:
        return MARK in file.read(1024)
