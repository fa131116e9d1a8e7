"""The errors that `garbage` raises on purpose, and nothing else.

    GarbageError
    ├── ArchiveError       an archive that can't be read, or that would write where it may not
    ├── DatasetError       a folder of photos whose lists, labels or files don't hold together
    ├── ConfigError        a setting that is unknown, of the wrong kind, or out of range
    ├── CheckpointError    training weights that are damaged, unsafe, or of another network
    ├── BundleError        an inference folder that is incomplete, altered, or disagrees with its source
    ├── ImageError         bytes that are not a photo we can use
    ├── ServerError        no server, a server that refused, or one that can't start
    ├── ClusterError       no cluster of machines, or one whose machines can't do what is asked
    └── MissingExtraError  a command whose optional packages are not installed

A message says what is wrong, the value, and what to do next. `cli.main` is the one place that shows it.
"""

from typing import Literal

ImageFault = Literal["unreadable", "empty", "not-an-image", "truncated", "damaged", "enormous"]
"""What can be wrong with a photo's bytes: no access; none; another format; cut off; undecodable; beyond a limit."""


class GarbageError(Exception):
    """Something the person at the keyboard can put right."""


class ArchiveError(GarbageError):
    """An archive that can't be read, or that would write where it may not."""


class DatasetError(GarbageError):
    """A folder of photos whose lists, labels or files don't hold together."""


class ConfigError(GarbageError):
    """A setting that is unknown, of the wrong kind, or out of range."""


class CheckpointError(GarbageError):
    """Training weights that are damaged, unsafe, or of another network."""


class BundleError(GarbageError):
    """An inference folder that is incomplete, altered, or disagrees with its source."""


class ImageError(GarbageError):
    """Bytes that are not a photo we can use."""

    def __init__(self, message: str, *, fault: ImageFault = "damaged") -> None:
        super().__init__(message)
        self.fault: ImageFault = fault


class ServerError(GarbageError):
    """No server, a server that refused, or one that can't start."""


class ClusterError(GarbageError):
    """No cluster of machines, or one whose machines can't do what is asked."""


class MissingExtraError(GarbageError):
    """A command whose optional packages are not installed."""

    def __init__(self, what: str, *, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}, which is not installed; "
            f"install the extra with: pip install 'garbage-cli[{extra}]'"
        )
        self.extra = extra
