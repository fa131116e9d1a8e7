"""What all processes of a run must have alike, and which of them has not.

Knows settings, data sets and versions. Does not know what they are for.
"""

import hashlib
import json
from typing import Any

from garbage_cli import __version__
from garbage_cli.config import TrainConfig, to_tree
from garbage_cli.dataset import Dataset
from garbage_cli.errors import ClusterError
from garbage_cli.trainer.processes import Processes
from garbage_cli.vendor import paddle

OWN = ("device", "workers", "time_limit", "visualdl")
"""Settings that each may have for itself: they change the speed and what is told."""


def check_agreement(processes: Processes, config: TrainConfig, dataset: Dataset, *, resume: bool) -> None:
    """Raise ClusterError, in all processes, where one has another version, other settings or other photos."""
    if processes.world == 1:
        return
    own = json.dumps(_facts(config, dataset, resume=resume)).encode()
    digests = processes.rows(hashlib.sha256(own).digest())
    other = next((rank for rank, digest in enumerate(digests) if digest != digests[0]), None)
    if other is None:
        return
    first, theirs = (json.loads(processes.share(own, source=source)) for source in (0, other))
    key, before, now = _difference(first, theirs)
    raise ClusterError(
        f"{processes.names[other]} has {key} {_short(now)}, but {processes.names[0]} has {_short(before)}; "
        f"{_remedy(key)}"
    )


def _facts(config: TrainConfig, dataset: Dataset, *, resume: bool) -> dict[str, Any]:
    return {
        "garbage": __version__,
        "Paddle": paddle("training").__version__,
        "--resume": resume,
        "photos": {"of training": len(dataset.train), "of validation": len(dataset.val)},
        "labels": list(dataset.labels.texts),
        "lists of photos": dataset.fingerprint()[:16],
        "settings": {key: value for key, value in to_tree(config).items() if key not in OWN},
    }


def _difference(before: Any, now: Any, key: str = "") -> tuple[str, Any, Any]:
    """The first key whose values differ, and both; the two do differ."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return key, before, now
    name = next(name for name in before | now if before.get(name) != now.get(name))
    inner = name if key in ("", "settings") else f"{key} {name}" if key == "photos" else f"{key}.{name}"
    return _difference(before.get(name), now.get(name), inner)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _remedy(key: str) -> str:
    if key in ("garbage", "Paddle"):
        return "install the same versions on all machines"
    if key.startswith(("photos", "labels", "lists")):
        return "all need the same data set; what can't be read there is named by: garbage check"
    return "start all with the same command"
