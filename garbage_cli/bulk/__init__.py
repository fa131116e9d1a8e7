"""Millions of photos answered by many machines: in partitions, one predictor per worker, over Ray Data.

Knows the order of things. Does not know the terminal.
"""

import json
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import groupby, islice
from pathlib import Path

from garbage_cli import cluster
from garbage_cli.bulk import fleet, partitions, places
from garbage_cli.bulk.partitions import DONE_FILE, PLAN_FILE, Form, Plan
from garbage_cli.bulk.places import Place
from garbage_cli.bulk.worker import TRY, Done
from garbage_cli.bundle import MANIFEST_FILE
from garbage_cli.engines import Options
from garbage_cli.errors import ClusterError, ConfigError, ImageError
from garbage_cli.images import mute_warnings
from garbage_cli.predictor import NO_OPTIONS, Predictor
from garbage_cli.sources import Sources, is_pattern

__all__ = ["Asked", "Begun", "Done", "Finished", "Machines", "Report", "predict", "written"]

WHAT = "predict --ray"
SIZE = 500
"""Photos of a partition, where nobody says how many."""
_HALF = re.compile(rf"\.(part-\d+\.\w+|{TRY}\d+|{PLAN_FILE}|{DONE_FILE})\.\d+\.part")
"""The name of a file that is being written on a disk."""
_ENDS = 100
"""Photos that are looked at, at either end, for one that is there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be answered, by what, and where the answers go."""

    names: tuple[str, ...]
    out: str
    form: Form
    model: Path
    listed: str | None = None
    size: int | None = None
    """Photos of a partition; None: as before where that is gone on with, else SIZE."""
    resume: bool = False
    engine: str = "auto"
    precision: str = "auto"
    options: Options = NO_OPTIONS
    """Their number of threads is that of a worker's cores."""
    threshold: float | None = None
    address: str = ""
    """Of the cluster, as `cluster.joined` takes it."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The photos are counted and the cluster is joined."""

    photos: int
    before: int
    """Photos that were answered already."""
    machines: int
    workers: int
    why: str
    """Which engine, and why."""
    waits: bool = False
    """Whether all cores are taken by others, so that nothing is done until some are given back."""


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines came or went."""

    before: int
    now: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Every partition's file is there."""

    photos: int
    failed: int
    """Of those that were answered now."""
    seconds: float


Report = Begun | Done | Machines | Finished


def predict(asked: Asked, *, tell: Callable[[str], object] = lambda text: None) -> Generator[Report, None, None]:
    """Answer photos; yield Begun, Done for each partition as it is written, in any order, and Finished.

    Machines come between them where some came or went.

    Raises ImageError if there is no photo, ConfigError if the output can't be what is meant or can't be written,
    ClusterError if there is no cluster or a machine can't work; what is written by then stays, for `resume`.
    """
    mute_warnings()
    out = Place(asked.out)
    before = _before(out, resume=asked.resume)
    names = list(_found(asked))
    size = asked.size or (SIZE if before is None else before.size)
    plan, model, why = _planned(asked, names, size, tell)
    if before is not None:
        plan = replace(plan.goes_on_with(before, out, asked.engine, asked.precision), run=plan.run)
    began, failed = time.monotonic(), 0
    with (
        _begun(out, plan, new=before is None) as left,
        closing(_work(asked, plan, out, model, names, left, why)) as work,
    ):
        todo = sum(map(plan.length, left))
        for report in work:
            if isinstance(report, Done):
                failed += report.failed
            elif isinstance(report, Begun):
                began = time.monotonic()
            yield report
    there = out.names()
    if missing := plan.left(there):
        raise ClusterError(
            f"{len(missing)} of {plan.partitions} files are not in {out}, the first is {plan.file(missing[0])}; do all "
            "machines write to the same folder? go on with --resume"
        )
    _tidy(out, there)
    finished = Finished(len(names), failed, time.monotonic() - began)
    if todo or DONE_FILE not in there:
        ended = {"photos": len(names), "failed": failed if todo == len(names) else None, "partitions": plan.partitions}
        out.write(DONE_FILE, (json.dumps(ended, indent=2) + "\n").encode())
    yield finished


def _work(
    asked: Asked, plan: Plan, out: Place, model: dict[str, bytes], names: Sequence[str], left: Sequence[int], why: str
) -> Generator[Begun | Done | Machines, None, None]:
    """Join the cluster for the partitions that are left, if any are."""
    todo = sum(map(plan.length, left))
    if not left:
        yield Begun(len(names), len(names), 0, 0, why)
        return
    cores = asked.options.cpu_num_threads or 1
    settings = {
        "start": str(Path.cwd()), "roots": _roots(asked, names), "cores": cores, "options": asdict(asked.options),
    }  # fmt: skip
    with cluster.joined(asked.address, what=WHAT) as ray:
        workers = min(fleet.workers_of(ray, cores), len(left))
        machines = len(cluster.machines(ray))
        yield Begun(len(names), len(names) - todo, machines, workers, why, fleet.is_full(ray, cores))
        with closing(fleet.answered(ray, plan, out, model, names, left, workers, settings)) as answered:
            for done in answered:
                yield done
                if machines != (now := len(cluster.machines(ray))):
                    yield Machines(machines, now)
                    machines = now


def written(folder: str) -> int:
    """Return how many photos have their answers in a folder; ConfigError if it can't be read."""
    out = Place(folder)
    plan = _plan_in(out, there := out.names())
    return 0 if plan is None else plan.photos - sum(map(plan.length, plan.left(there)))


def _tidy(out: Place, there: Iterable[str]) -> None:
    """Remove what workers that were lost have left."""
    for name in there:
        if name.startswith(TRY) or _HALF.fullmatch(name):
            out.remove(name)


def _before(out: Place, *, resume: bool) -> Plan | None:
    """The plan of a folder that is gone on with; raise ConfigError if it has answers and is not to be."""
    plan = _plan_in(out, there := out.names())
    if plan is None and (others := sorted(name for name in there if not name.startswith((".", "_")))):
        raise ConfigError(f"{out} holds other files ({others[0]}, say); name a new folder for the answers")
    if plan is not None and not resume:
        raise ConfigError(f"{out} has answers in it; go on with --resume, name another folder, or delete it")
    return plan


def _plan_in(out: Place, there: set[str]) -> Plan | None:
    data = out.read(PLAN_FILE) if PLAN_FILE in there else None
    return None if data is None else Plan.from_json(data, f"{out}/{PLAN_FILE}")


@contextmanager
def _begun(out: Place, plan: Plan, *, new: bool) -> Iterator[list[int]]:
    """Write the plan, and give the partitions that are left; if none gets done of a new one, it goes again."""
    out.write(PLAN_FILE, plan.to_json())
    there = out.names()
    _tidy(out, there)
    left = plan.left(there)
    if left:
        out.remove(DONE_FILE)
    try:
        yield left
    except BaseException:
        if new and len(plan.left(there := out.names())) == plan.partitions:
            with suppress(ConfigError):
                _tidy(out, there)
            out.forget(PLAN_FILE)
        raise


def _found(asked: Asked) -> Iterator[str]:
    """The names of all photos, in the order in which they were asked for, sorted within each folder."""
    number = 0
    for name in _found_by_name(asked):
        number += 1
        yield name
    if not number:
        raise ImageError(f"no photo in {', '.join(asked.names) or asked.listed}")


def _found_by_name(asked: Asked) -> Iterator[str]:
    for name in asked.names:  # a mistyped address would be a photo that is not there, and its row the only answer
        if not (places.is_remote(name) or is_pattern(name) or Path(name).exists()):
            raise ImageError(f"{name}: no such file or folder")
    for remote, some in groupby(asked.names, places.is_remote):
        if remote:
            for name in some:
                yield from places.found(name)
        else:
            yield from (photo.name for photo in Sources(tuple(some)).photos())
    if asked.listed is not None:
        for photo in Sources((), asked.listed).photos():  # paths lose a slash where two follow each other
            remote = photo.name.startswith("s3:/") and not places.is_remote(photo.name)
            yield places.SCHEME + photo.name.removeprefix("s3:/") if remote else photo.name


def _roots(asked: Asked, names: Sequence[str]) -> list[str]:
    """What was named and lies on a disk, and a photo from either end: of a disk that is not mounted, the folder is
    there all the same, and lists name no folder.
    """
    roots = [name for name in asked.names if not places.is_remote(name) and Path(name).exists()]
    for some in (names[:_ENDS], reversed(names[-_ENDS:])):
        roots += islice((name for name in some if not places.is_remote(name) and Path(name).exists()), 1)
    return list(dict.fromkeys(roots))


def _planned(
    asked: Asked, names: Sequence[str], size: int, tell: Callable[[str], object]
) -> tuple[Plan, dict[str, bytes], str]:
    """The plan, the files of the model, and why this engine. It is chosen here, so that all machines answer alike."""
    predictor = Predictor.load(
        asked.model, engine=asked.engine, precision=asked.precision, options=asked.options,
        threshold=asked.threshold, photos=len(names), tell=tell,
    )  # fmt: skip
    bundle = predictor.bundle
    plan = Plan(
        asked.form, len(names), size, partitions.digest(names), bundle.digest, predictor.engine,
        predictor.precision, predictor.threshold,
    )  # fmt: skip
    return plan, {name: (bundle.root / name).read_bytes() for name in (*bundle.files, MANIFEST_FILE)}, predictor.why
