"""Joining a Ray cluster, or starting one on this machine alone, for as long as something is done there.

Knows addresses, and how Ray is started quietly. Does not know what is run.

Whoever reaches a cluster's ports can run programs on it, unless it asks for a token. One that is started here does:
Ray makes a token in the user's home folder.
"""

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from garbage_cli import vendor
from garbage_cli.errors import ClusterError

LOCAL = "local"
AUTO = "auto"
_ADDRESS = re.compile(r"local|auto|\[[0-9a-fA-F:]+\]:\d+|[\w.-]+:\d+|ray://.*")
_PATIENCE = 5.0
"""Seconds for a cluster's port to take a connection."""
_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
_REMEDY = (
    "start one with `ray start --head` and name its address, or leave the address out for one of this machine alone"
)


def is_address(text: str) -> bool:
    """Say whether a word is an address of a cluster: `local`, `auto`, HOST:PORT, or a client's, which is refused."""
    return _ADDRESS.fullmatch(text) is not None


@contextmanager
def joined(address: str = "", *, what: str, cores: int | None = None) -> Iterator[Any]:
    """Join the cluster at an address for the sake of `what`; give the module `ray`, and leave at the end.

    "" is the cluster that RAY_ADDRESS names or that runs on this machine, and if there is none, one that is started
    for the time being with `cores` (None: all); "auto" takes only one that runs, "local" only one of its own.

    Raises ClusterError if there is none, MissingExtraError without Ray.
    """
    _show_token()
    ray = vendor.ray(what)
    where = address or os.environ.get("RAY_ADDRESS", "")
    if where in ("", AUTO):
        where = _running(where) or where
    _check_address(where)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with vendor.native_muted():
            _start(ray, where or LOCAL, cores)
            with suppress(ValueError):  # only the main thread may
                signal.signal(signal.SIGTERM, _end)  # Ray's own leaves a node running
            yield ray
    finally:
        ray.shutdown()
        with suppress(ValueError):
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _show_token() -> None:
    """Where there is a token, show it: a cluster that wants none takes no offence. Ray reads this as it is imported."""
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if named or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _running(where: str) -> str:
    """The address of the cluster that was started last on this machine, for "auto" of any; "" if none answers."""
    from ray._private.services import find_gcs_addresses
    from ray._private.utils import read_ray_address

    addresses = [read_ray_address(os.environ.get("RAY_TMPDIR")), *(find_gcs_addresses() if where == AUTO else ())]
    return next((each for each in addresses if each and not _deaf(each)), "")


def _start(ray: Any, where: str, cores: int | None) -> None:
    _keep_stdout(ray)
    try:
        if where == LOCAL:
            cores = vendor.available_cores() if cores is None else cores
            ray.init(address=LOCAL, num_cpus=cores, include_dashboard=False, **_QUIET)
        else:
            ray.init(address=where, **_QUIET)
    except Exception as error:  # noqa: BLE001 - Ray raises bare ones too, as where a node takes 30 s to start
        reason = str(error).partition("\n")[0][:300]
        if where != LOCAL and isinstance(error, ConnectionError):
            raise ClusterError(
                f"the Ray cluster at {where} does not let this machine in: {reason}; do both have the same version of "
                f"Ray (here {getattr(ray, '__version__', 'unknown')}), and is ~/.ray/auth_token of the cluster's head "
                "here too?"
            ) from None
        raise ClusterError(f"no Ray cluster at {where}: {reason}; {_REMEDY}") from None


def _keep_stdout(ray: Any) -> None:
    """Ray prints what goes wrong in a cluster on stdout, where our data goes, also where it is asked not to."""
    with suppress(AttributeError):
        ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: None


def _check_address(where: str) -> None:
    """Raise ClusterError where nobody listens, before Ray spends minutes on it and then ends the process."""
    if where in ("", LOCAL):
        return
    if where == AUTO:
        raise ClusterError(f"no Ray cluster runs on this machine; {_REMEDY}")
    if where.startswith("ray://"):
        raise ClusterError(
            f"{where} is the address of Ray's client, over which this would be slow and break; run the command on a "
            "machine of the cluster (or through `ray job submit`) with HOST:PORT, usually port 6379"
        )
    if not is_address(where):
        raise ClusterError(f"{where!r} is no address of a Ray cluster; it is auto, local or HOST:PORT")
    if reason := _deaf(where):
        raise ClusterError(f"no Ray cluster at {where}: {reason}; {_REMEDY}")


def _deaf(address: str) -> str:
    """Why nobody takes a connection at HOST:PORT; "" if somebody does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or "no answer"
    return ""


def machines(ray: Any) -> list[dict[str, Any]]:
    """Return the machines of a cluster that are alive, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]
