"""The whole pipeline on drawn photos, each step the command a person would type.

Knows the commands and their order. Does not know what they do: it runs them as programs.
"""

import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from garbage_cli.dataset import Dataset
from garbage_cli.errors import ConfigError, GarbageError
from garbage_cli.sample import Drawn, write_archive

ARCHIVE = "garbage.zip"


@dataclass(frozen=True, slots=True)
class Begun:
    """A command about to run."""

    command: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has done its work."""

    command: str
    made: str
    seconds: float


class StepFailed(GarbageError):
    """A step of the demo went wrong; its own message stands above."""


def run(folder: Path) -> Iterator[Drawn | Begun | Ended]:
    """Draw a data set into `folder` and run the commands on it; yield each step. Needs the extra `train`."""
    _prepare(folder)
    yield from write_archive(folder / ARCHIVE)
    yield from _step(folder, "unpack", ARCHIVE, "--force", made="data/")
    yield from _step(folder, "check", made="check/")
    yield from _step(folder, "train", "--config", "demo", made="output/")
    yield from _step(folder, "export", made="inference/")
    yield from _step(folder, "evaluate", made="report/")
    photos = _some_photos(folder)
    yield from _step(folder, "predict", photos[0], made="an answer")
    yield from _step(folder, "predict", *photos, made="a table")
    begun = time.perf_counter()
    yield Begun("garbage serve --port 0 --json")
    with _server(folder) as url:
        yield Ended("garbage serve --port 0 --json", f"a server at {url}", time.perf_counter() - begun)
        yield from _step(folder, "request", photos[0], "--url", url, made="an answer over HTTP")


def _prepare(folder: Path) -> None:
    """Start from a clean folder, but delete only what an earlier demo made."""
    if folder.exists() and any(folder.iterdir()) and not (folder / ARCHIVE).is_file():
        raise ConfigError(f"{folder} holds something else; name another folder: garbage demo DIR")
    for name in ("data", "check", "output", "inference", "report"):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def _some_photos(folder: Path) -> list[str]:
    """The first validation photo of each kind, as paths from `folder`."""
    data = Dataset.load(folder / "data")
    first = {sample.class_id: sample.path for sample in reversed(data.val)}
    return [str(first[class_id].relative_to(folder)) for class_id in sorted(first)]


def _program() -> list[str]:
    return [sys.executable, "-m", "garbage_cli"]


def _step(folder: Path, *arguments: str, made: str) -> Iterator[Begun | Ended]:
    command = shlex.join(("garbage", *arguments))
    yield Begun(command)
    begun = time.perf_counter()
    code = subprocess.run([*_program(), *arguments], cwd=folder, check=False).returncode
    if code:
        raise StepFailed(f"`{command}` ended with exit code {code}; its message is above")
    yield Ended(command, made, time.perf_counter() - begun)


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Run `garbage serve` on a free port for the time of the block; give its URL."""
    process = subprocess.Popen(
        [*_program(), "serve", "--port", "0", "--json"], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise StepFailed("`garbage serve` did not start; its message is above")
        yield json.loads(line)["url"]
    finally:
        process.terminate()
        process.wait(timeout=30)


def validation_top1(folder: Path) -> float:
    """Return the best validation top-1 of the demo's run, 0…1."""
    from garbage_cli.bundle import Checkpoint, latest_run

    top1 = Checkpoint.load(latest_run(folder / "output")).top1
    assert top1 is not None
    return top1
