"""What can be wrong with a data set: one kind a line, how bad it is, what it means, what to do.

Knows words. Does not know how anything is found.
"""

from dataclasses import dataclass
from typing import Literal

from garbage_cli.dataset import Split

Severity = Literal["error", "warning", "note"]
"""error: not usable as it is. warning: look at it. note: harmless here, a trap for other tools."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding."""

    name: str
    severity: Severity
    title: str
    advice: str
    unusable: bool = False
    """Whether training leaves the photo out."""
    dropped: bool = False
    """Whether `--fix` leaves it out of the cleaned lists."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, at one photo, list line or class."""

    kind: Kind
    path: str
    """The photo from the data set's folder, the list line as it stands, or "" for a class."""
    detail: str
    split: Split | None = None
    class_id: int | None = None
    where: str = ""
    """The list and line that names it."""
    others: tuple[str, ...] = ()
    """The photos it has to do with."""


def _bad(name: str, title: str, advice: str) -> Kind:
    return Kind(name, "error", title, advice, unusable=True, dropped=True)


_ALL = (
    _bad("bad-line", "list lines that can't be read", "write them as PATH CLASS_NUMBER"),
    _bad("outside", "list lines that lead out of the data set", "use paths inside it"),
    _bad("missing", "list lines that point nowhere", "correct the list, or unpack the archive again"),
    _bad("unnamed-class", "classes without a name", "add the class to the rule or label file, or take it off the list"),
    _bad("unreadable", "files that can't be opened", "correct their rights"),
    _bad("empty", "empty files", "get them again"),
    _bad("not-an-image", "files that are no photo", "get them again, or convert them to JPEG"),
    _bad("truncated", "photos that break off", "get them again"),
    _bad("damaged", "photos that can't be decoded", "get them again"),
    _bad("enormous", "photos beyond the limits", "shrink them"),
    Kind("leak", "error", "the same photo in training and validation", "take it out of one of them", dropped=True),
    Kind("two-labels", "error", "the same photo under two labels", "decide which one is right", dropped=True),
    Kind("no-photos", "error", "a split without photos", "add photos"),
    Kind("near-leak", "warning", "nearly the same photo in training and validation", "look; take it out of training"),
    Kind("near-two-labels", "warning", "nearly the same photo under two labels", "look; decide which one is right"),
    Kind("duplicate", "warning", "the same photo more than once", "keep one", dropped=True),
    Kind("near-duplicate", "warning", "nearly the same photo more than once", "look; keep one"),
    Kind("folder-disagrees", "warning", "another class than the folder's number", "look which one is right"),
    Kind("animated", "warning", "animations: only the first frame counts", "save the frame you mean"),
    Kind("tiny", "warning", "tiny photos", "use larger ones"),
    Kind("empty-class", "warning", "classes without training photos", "add photos, or take the class out"),
    Kind("same-name", "warning", "classes that share a name", "give each its own name, or make them one class"),
    Kind("no-validation", "warning", "classes without validation photos", "move some of their photos there"),
    Kind("unbalanced", "warning", "classes far smaller than the largest", "add photos, or weigh the classes"),
    Kind("large", "note", "large photos, slow to decode", "shrink them to 1,000 pixels or so"),
    Kind("unusual-mode", "note", "CMYK, 16-bit, palette or transparent photos", "nothing; they are converted"),
    Kind("rotated", "note", "photos turned by EXIF", "nothing; they are turned upright"),
    Kind("misnamed", "note", "photos named as another format", "nothing; they are read by their content"),
    Kind("unlisted", "note", "photos in no list and no class folder", "add them, if they belong"),
)
KINDS = {kind.name: kind for kind in _ALL}
"""By name, the gravest first."""
