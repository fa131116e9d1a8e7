"""A font with Chinese among the system's, found by its file name and proved by its glyphs.

Knows where systems keep fonts. Does not know what is written with them.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from garbage_cli.labels import THE_40

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

KNOWN = (
    r"notosans(mono)?cjk(sc)?-(medium|regular)", r"notosans(mono)?cjk", r"notosanssc", r"notosanscjksc",
    r"sourcehansans(sc|cn)?-(medium|regular)", r"sourcehansans", r"wqy-(microhei|zenhei)", r"pingfang",
    r"hiragino sans gb", r"stheiti", r"msyh", r"deng", r"simhei", r"simsun", r"droidsansfallback",
    r"(uming|ukai)", r"lxgwwenkai", r"notoserifcjk", r"sourcehanserif", r"arial ?unicode", r"unifont",
)  # fmt: skip
"""Beginnings of the names of font files that have Chinese, in lower case; the best to read first."""

FONT_PACKAGES = "fonts-noto-cjk (Debian, Ubuntu) or google-noto-sans-cjk-fonts (Fedora)"
"""What brings such a font where there is none; macOS and Windows have one."""

_FILES = (".ttf", ".ttc", ".otf", ".otc")
_PROOF = "".join(sorted({letter for label in THE_40.items for letter in f"{label.name}{label.bin_name}不确定最可能"}))
_NOWHERE = "\U0010fffe"
"""A character that no font has: what is drawn for it is what stands for all that are missing."""


@dataclass(frozen=True)
class Typeface:
    """Font files to write with; a character is taken from the first that has it."""

    files: tuple[tuple[Path, int], ...] = ()
    """Each with the number of the face in it. Pillow's own font, which has no Chinese, comes after them."""
    _has: dict[tuple[int, str], bool] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_chinese(self) -> bool:
        """Whether Chinese can be written."""
        return bool(self.files)

    def runs(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the text in pieces of one font each, with its number; characters that no font has are left out."""
        number, piece = 0, ""
        for letter in text:
            if (wanted := self._font_of(letter)) is None:
                continue
            if piece and wanted != number:
                yield number, piece
                piece = ""
            number, piece = wanted, piece + letter
        if piece:
            yield number, piece

    def can_write(self, text: str) -> bool:
        """Whether there is a glyph for every character."""
        return all(self._font_of(letter) is not None for letter in text)

    def font(self, number: int, size: int) -> "FreeTypeFont | ImageFont":
        """Return a font, `size` pixels high."""
        return _default(size) if number == len(self.files) else _open(*self.files[number], size)

    def _font_of(self, letter: str) -> int | None:
        return next((number for number in range(len(self.files) + 1) if self._known(number, letter)), None)

    def _known(self, number: int, letter: str) -> bool:
        if (number, letter) not in self._has:
            self._has[number, letter] = letter == " " or has_glyph(self.font(number, 24), letter)
        return self._has[number, letter]


def has_glyph(font: "FreeTypeFont | ImageFont", letter: str) -> bool:
    """Whether a font draws this character, and not the box that stands for those it lacks."""
    if not letter.isprintable():
        return False
    try:
        drawn, missing = (font.getmask(text) for text in (letter, _NOWHERE))  # type: ignore[no-untyped-call]
        return drawn.getbbox() is not None and (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))
    except (OSError, ValueError, UnicodeError):  # a damaged font; one of Pillow's that has Latin only
        return False


@lru_cache(maxsize=1)
def system_typeface() -> Typeface:
    """Return the best font with Chinese that this system has; without any, one that writes English only."""
    candidates = sorted((rank, str(path)) for path in _files() if (rank := _rank(path)) is not None)
    for path in (*(Path(name) for _, name in candidates), *_from_fontconfig()):
        if (face := _face(path)) is not None:
            return Typeface(((path, face),))
    return Typeface()


def _rank(path: Path) -> int | None:
    name = path.name.lower()
    return next((rank for rank, start in enumerate(KNOWN) if re.match(start, name)), None)


def _face(path: Path) -> int | None:
    """The face of a font file that has our Chinese; of several, the one for simplified characters."""
    proved: list[tuple[bool, int]] = []
    for number in range(12):
        try:
            font = _open(path, number, 24)
        except OSError:
            break
        if all(has_glyph(font, letter) for letter in _PROOF):
            proved.append((not re.search(r"\b(SC|CN|GB)\b", str(font.getname()[0])), number))
    return min(proved)[1] if proved else None


@lru_cache(maxsize=64)
def _open(path: Path, face: int, size: int) -> "FreeTypeFont":
    from PIL import ImageFont

    # not ImageFont.truetype: for a damaged file it takes another one of the same name from the system
    return ImageFont.FreeTypeFont(str(path), size, index=face, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=32)
def _default(size: int) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _files() -> Iterator[Path]:
    for folder in font_folders():
        for where, _, names in os.walk(folder):
            yield from (Path(where, name) for name in names if name.lower().endswith(_FILES))


def font_folders() -> tuple[Path, ...]:
    """Where this system keeps its fonts."""
    home = Path(os.environ.get("HOME") or os.environ.get("USERPROFILE") or ".")
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        return Path(os.environ.get("WINDIR") or r"C:\Windows") / "Fonts", local / "Microsoft" / "Windows" / "Fonts"
    if sys.platform == "darwin":
        system = Path("/System/Library")
        assets = tuple((system / "AssetsV2").glob("com_apple_MobileAsset_Font*"))
        return system / "Fonts", Path("/Library/Fonts"), home / "Library" / "Fonts", *assets
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    own = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return (
        *(Path(folder) / "fonts" for folder in shared.split(":") if folder),
        own / "fonts", home / ".fonts",
        Path("/usr/X11R6/lib/X11/fonts"), Path("/run/host/fonts"), Path("/system/fonts"),
    )  # fmt: skip


def _from_fontconfig() -> Iterator[Path]:
    """Fonts with Chinese that fontconfig knows of, wherever they lie."""
    if (program := shutil.which("fc-list")) is None:
        return
    try:
        command = [program, ":lang=zh-cn", "--format=%{file}\\n"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return
    yield from map(Path, sorted(set(done.stdout.splitlines())))
