"""The model's files on the cluster, from the command's side: put there, looked after, and taken away.

Knows the actor that holds them. Does not know who loads them.
"""

import re
import time
from contextlib import suppress
from typing import Any

from garbage_cli import __version__
from garbage_cli.bundle import ModelBundle
from garbage_cli.errors import ClusterError
from garbage_cli.server.onray.files import Files, read
from garbage_cli.server.onray.replica import FILES, NAMESPACE

_LOOKING = 5.0
"""Seconds between two looks after them."""
_LOST = 60.0
"""Seconds without a word from the cluster after which it is given up."""
_OURS = re.compile(r"garbage_cli\.errors\.\w+: (.+)")

Held = tuple[str, dict[str, bytes]]
"""A model's files, and the digest by which replicas ask for them."""


class Keeper:
    """Keeps one model's files where the replicas of all machines find them."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._actor: Any = None
        self.held: Held = ("", {})
        self._heard = self._looked = time.monotonic()

    @property
    def digest(self) -> str:
        """Of the files that are held."""
        return self.held[0]

    def seconds_alone(self) -> float | None:
        """How long ago a command last looked after files on this cluster; None if there are none."""
        with suppress(ValueError):
            actor = self._ray.get_actor(FILES, namespace=NAMESPACE)
            return float(self._ask(actor.seconds_alone.remote()))
        return None

    def hold(self, bundle: ModelBundle) -> None:
        """Hold a model's files; raise ClusterError if the cluster does not take them."""
        self.hold_again(read(bundle))

    def hold_again(self, held: Held) -> None:
        """Hold files that were held before."""
        self.held = held
        self._give()

    def _give(self) -> None:
        make = self._ray.remote(Files).options(
            name=FILES, namespace=NAMESPACE, lifetime="detached", num_cpus=0, get_if_exists=True
        )
        self._actor = make.remote()
        self._ask(self._actor.put.remote(*self.held))
        self._ask(self._actor.look_after.remote(self.digest))

    def _ask(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference, timeout=60)
        except self._ray.exceptions.RayError as error:
            raise ClusterError(f"the cluster does not hold the model's files: {said(error)}") from None

    def look_after(self) -> None:
        """From time to time: whoever holds the files may be lost with its machine. ClusterError if all is lost."""
        if time.monotonic() - self._looked < _LOOKING:
            return
        self._looked = time.monotonic()
        try:
            known = self._ray.get(self._actor.look_after.remote(self.digest), timeout=10)
            if not known:
                self._give()
            self._heard = time.monotonic()
        except (ClusterError, ConnectionError, self._ray.exceptions.RayError) as error:
            if time.monotonic() - self._heard > _LOST:
                raise ClusterError(f"the cluster has not answered for {_LOST:g} seconds: {said(error)}") from None
            with suppress(ClusterError, ConnectionError, ValueError, self._ray.exceptions.RayError):
                self._give()
                self._heard = time.monotonic()

    def end(self) -> None:
        """Take the files away."""
        if self._actor is not None:
            self._ray.kill(self._actor)


def said(error: BaseException) -> str:
    """The gist of an error of Ray's, whose text may be a page."""
    return reason(str(error) or type(error).__name__)


def reason(text: str) -> str:
    """Why something failed, of a text with tracebacks in it: what an error of ours says, or else the last line."""
    if found := _OURS.findall(text):
        return str(found[-1])
    if "No module named 'garbage_cli" in text:
        return f"a machine of the cluster has no garbage; install garbage-cli[scale]=={__version__} on all of them"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "nobody says why")[:300]
