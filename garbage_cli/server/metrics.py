"""What a server counts, for Prometheus, summed over its workers. Does not know requests or photos.

Each worker counts in files of its own, in one folder that the supervisor makes; whichever worker is asked adds them up.
The files are mapped into memory, and a write to a mapped page that the disk has no room for kills the process. So
every file gets its room before it is mapped, for all the series that can ever be; labels come from fixed lists. Where
there is no room, a worker counts in its own memory.
"""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from garbage_cli.server.metricsfolder import BROKEN, VARIABLE, entry_bytes, guarded, library, reserve

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily


Stage = Literal["read", "wait", "decode", "infer", "total"]
Reason = Literal["busy", "too large", "slow", "timeout", "rate", "key", "bad request"]
Kept = Literal["photo", "confirmed", "corrected", "none", "lost"]
"""A photo that was stored; that a person said was answered rightly, wrongly, or is no kind at all; that has no room."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
"""The label of whatever is not in its list."""

STATUSES = tuple(
    map(str, (200, 204, 304, 307, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 422, 429, 431, 499))
) + tuple(map(str, (500, 501, 502, 503, 504, 505)))
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """What one worker counts.

    With the variable of a MetricsFolder set it counts for all workers together, and without it for itself alone.
    """

    def __init__(
        self, *, routes: Iterable[str], bins: Iterable[str], tell: Callable[[str], object] = lambda text: None
    ) -> None:
        from prometheus_client import CollectorRegistry

        library("metrics").disable_created_metrics()
        self._routes = frozenset(routes)
        families = _families((*sorted(self._routes), OTHER), tuple(dict.fromkeys((*bins, "not sure", "failed", OTHER))))
        self._folder = _folder_with_room(families.values(), tell)
        self._value_class = _value_class(self._folder)
        self._own = CollectorRegistry()
        self._models = _Models(self._folder)
        self._own.register(self._models)
        self._made: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._making = threading.Lock()
        self._metrics = {name: self._register(family) for name, family in families.items()}
        # those that are few stand at 0 from the beginning, so that their first event is seen as one
        for name in ("stage", "photos", "rejected", "hangups", "lost", "collected", "waiting", "inside"):
            for values in families[name].combinations():
                self._child(name, *values)
        self._request_children: dict[tuple[str, int], tuple[Any, Any]] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        children = self._request_children.get((route, status))
        if children is None:
            known, code = route if route in self._routes else OTHER, str(status)
            code = code if code in STATUSES else OTHER
            children = self._child("requests", known, code), self._child("seconds", known)
            if known == route and code != OTHER:  # what strangers send does not grow the table
                self._request_children[route, status] = children
        counter, histogram = children
        counter.inc()
        histogram.observe(seconds)

    def stage(self, name: Stage, seconds: float) -> None:
        """Count the time that a photo or a request spent in a stage."""
        self._made["stage", (name,)].observe(seconds)

    def photo(self, outcome: str) -> None:
        """Count a photo by its bin, or as "not sure" or "failed"."""
        (self._made.get(("photos", (outcome,))) or self._made["photos", (OTHER,)]).inc()

    def rejected(self, reason: Reason) -> None:
        """Count a request that was turned away."""
        self._made["rejected", (reason,)].inc()

    def hung_up(self) -> None:
        """Count a client that went away before its answer."""
        self._made["hangups", ()].inc()

    def log_lost(self, lines: int) -> None:
        """Count lines of the access log that could not be written."""
        self._made["lost", ()].inc(lines)

    def collected(self, what: Kept) -> None:
        """Count a photo that was stored for a data set, or should have been, or was said a word to."""
        self._made["collected", (what,)].inc()

    def set_depth(self, *, inside: int, waiting: int) -> None:
        """Say how many requests are under way, and how many photos wait for the engine."""
        self._made["inside", ()].set(inside)
        self._made["waiting", ()].set(waiting)

    def observe_memory(self) -> None:
        """Say how much memory this worker holds now."""
        labels = () if self._folder else (str(os.getpid()),)  # in files, the library adds the process itself
        self._child("memory", *labels).set(_resident_bytes())

    def model(self, *, name: str, engine: str, precision: str, digest: str) -> None:
        """Say which model this worker serves, in place of the one before."""
        self._models.set({"name": name, "engine": engine, "precision": precision, "digest": digest})

    def render(self) -> tuple[bytes, str]:
        """Give the text of all workers' metrics, and its content type. Reads files: call it in a thread."""
        from prometheus_client import CollectorRegistry, generate_latest

        if self._folder:
            registry = CollectorRegistry()
            registry.register(self._models)
            with suppress(*BROKEN), guarded(self._folder, exclusive=False):
                library("multiprocess").MultiProcessCollector(registry, str(self._folder))
                return generate_latest(registry), CONTENT_TYPE
        return generate_latest(self._own), CONTENT_TYPE

    def _register(self, family: "_Family") -> Any:
        from prometheus_client import Counter, Gauge, Histogram, values

        values.ValueClass = self._value_class
        if family.kind == "counter":
            return Counter(family.name, family.help, family.labels, registry=self._own)
        if family.kind == "histogram":
            return Histogram(family.name, family.help, family.labels, registry=self._own, buckets=BUCKETS)
        labels = family.labels if self._folder else family.own_labels
        mode: Any = family.kind.removeprefix("gauge_")
        return Gauge(family.name, family.help, labels, registry=self._own, multiprocess_mode=mode)

    def _child(self, name: str, *labels: str) -> Any:
        """Give the one series with these labels, made the first time."""
        from prometheus_client import values

        made = self._made.get((name, labels))
        if made is None:
            with self._making:
                values.ValueClass = self._value_class
                made = self._metrics[name].labels(*labels) if labels else self._metrics[name]
                self._made[name, labels] = made
        return made


@dataclass(frozen=True, slots=True)
class _Family:
    """A metric with all the labels it can have."""

    kind: Literal["counter", "histogram", "gauge_livesum", "gauge_liveall"]
    """The beginning of the name of the file that its values are in."""
    name: str
    help: str
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    own_labels: tuple[str, ...] = ()
    """Labels where a worker counts for itself alone."""

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label for label, _ in self.values)

    def combinations(self) -> list[tuple[str, ...]]:
        """All the label values that can be."""
        return list(product(*(known for _, known in self.values)))

    def bytes(self) -> int:
        """How much of its file it takes if every series is there."""
        from prometheus_client.mmap_dict import mmap_key

        labels, suffixes = list(self.labels), [("_total" if self.kind == "counter" else "", "")]
        if self.kind == "histogram":
            suffixes = [("_sum", ""), *[("_bucket", f"{bound:.4f}") for bound in (*BUCKETS, 0.0)]]
        keys = (
            mmap_key(self.name, self.name + suffix, [*labels, "le"] if le else labels, [*values, le], self.help)
            for values in self.combinations()
            for suffix, le in suffixes
        )
        return sum(map(entry_bytes, keys))


def _families(routes: tuple[str, ...], bins: tuple[str, ...]) -> dict[str, _Family]:
    route = ("route", routes)
    return {
        "requests": _Family(
            "counter", "garbage_requests", "Requests that were answered", (route, ("status", (*STATUSES, OTHER)))
        ),
        "seconds": _Family("histogram", "garbage_request_seconds", "From a request's head to its answer", (route,)),
        "stage": _Family("histogram", "garbage_stage_seconds", "Time spent in a stage", (("stage", get_args(Stage)),)),
        "photos": _Family("counter", "garbage_photos", "Photos that were answered, by bin", (("bin", bins),)),
        "rejected": _Family(
            "counter", "garbage_rejected", "Requests that were turned away", (("reason", get_args(Reason)),)
        ),
        "hangups": _Family("counter", "garbage_hangups", "Clients that went away before their answer"),
        "lost": _Family("counter", "garbage_log_lines_lost", "Lines of the access log that were not written"),
        "collected": _Family(
            "counter", "garbage_collected", "Photos collected for a data set", (("what", get_args(Kept)),)
        ),
        "waiting": _Family("gauge_livesum", "garbage_waiting_photos", "Photos that wait for the engine"),
        "inside": _Family("gauge_livesum", "garbage_inside_requests", "Requests under way"),
        "memory": _Family(
            "gauge_liveall", "garbage_worker_resident_bytes", "Memory that a worker holds", own_labels=("pid",)
        ),
    }


class _Models:
    """A collector of which model each worker serves: a small file for each, for the library can't drop a label."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._labels: dict[str, str] | None = None

    def set(self, labels: dict[str, str]) -> None:
        self._labels = labels
        if self._folder:
            place = self._folder / f"model_{os.getpid()}.json"
            with suppress(OSError):
                place.with_suffix(".new").write_text(json.dumps(labels), encoding="utf-8")
                place.with_suffix(".new").replace(place)

    def collect(self) -> Iterator["GaugeMetricFamily"]:
        from prometheus_client.core import GaugeMetricFamily

        names = ("name", "engine", "precision", "digest")
        family = GaugeMetricFamily("garbage_model_info", "The model that is served", labels=names)
        for labels in {tuple(each[name] for name in names) for each in self._served()}:
            family.add_metric(labels, 1)
        yield family

    def _served(self) -> Iterator[dict[str, str]]:
        if self._labels:
            yield self._labels
        for place in sorted(self._folder.glob("model_*.json")) if self._folder else ():
            with suppress(OSError, ValueError):
                yield json.loads(place.read_text(encoding="utf-8"))


def side_by_side(texts: Mapping[str, bytes], *, label: str) -> bytes:
    """Put several servers' metrics into one text; each series says by a label whose it is."""
    from prometheus_client import generate_latest
    from prometheus_client.core import Metric
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, Metric] = {}
    for name, text in texts.items():
        for family in text_string_to_metric_families(text.decode("utf-8")):
            whole = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            whole.samples += [each._replace(labels={label: name, **each.labels}) for each in family.samples]
    return generate_latest(_Given(found.values()))


class _Given:
    """Stands where the library wants a registry."""

    def __init__(self, families: Iterable[Any]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        return self._families


_value_classes: dict[Path, Any] = {}


def _value_class(folder: Path | None) -> Any:
    """Give the library's class of values: in files of this folder, or in memory.

    The library takes one when it is imported; but that is too early to know whether the files have room.
    """
    values = library("values")
    if folder is None:
        return values.MutexValue
    if folder not in _value_classes:
        _value_classes[folder] = values.MultiProcessValue()
    return _value_classes[folder]


def _folder_with_room(families: Iterable[_Family], tell: Callable[[str], object]) -> Path | None:
    """Give the folder that the variable names, with this process's files in it, or None if there is none or no room."""
    if not os.environ.get(VARIABLE):
        return None
    folder, sizes = Path(os.environ[VARIABLE]), dict[str, int]()
    for family in families:
        sizes[family.kind] = sizes.get(family.kind, 8) + family.bytes()
    try:
        for kind, size in sizes.items():
            reserve(folder / f"{kind}_{os.getpid()}.db", size)
    except OSError as error:
        for kind in sizes:
            with suppress(OSError):
                (folder / f"{kind}_{os.getpid()}.db").unlink()
        tell(f"metrics: no room in {folder} ({error.strerror}); worker {os.getpid()} counts for itself alone")
        return None
    return folder


def _resident_bytes() -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
