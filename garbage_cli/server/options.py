"""What a server is started with."""

from dataclasses import dataclass, field
from pathlib import Path

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import Choice, Options
from garbage_cli.engines.choosing import Wish
from garbage_cli.images import DEFAULT_LIMITS
from garbage_cli.server.keys import Keys


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Settings of one server, sent to each of its workers. What is per worker says so."""

    model: Path
    host: str = "127.0.0.1"
    port: int = 8866
    """0 lets the system choose one."""
    workers: int = 1
    """Processes, each with the model loaded."""
    engine: str = "auto"
    precision: str = "auto"
    options: Options = field(default_factory=Options)
    """What the engine is asked for beyond its name."""
    top_k: int | None = None
    threshold: float | None = None
    """The score under which the answer is "not sure"; None means the bundle's own."""
    batch: int = 0
    """Photos inferred together at most; 0 means as many as the engine gains from: one, but on a GPU."""

    keys: Keys | None = None
    """API keys; None lets everybody in."""
    key_file: Path | None = None
    """Where they came from, for a reload."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may read replies; none by default."""
    certificate: Path | None = None
    """A PEM file, the server's own certificate first; None means HTTP without TLS."""
    private_key: Path | None = None
    """The certificate's; None if it is in the same file."""
    access_log: str | None = None
    """A file, or "-" for stdout."""
    collect: Path | None = None
    """The folder where photos are kept whose senders ask for it; None keeps none."""
    collect_limit: int = 10 * 1024**3
    """Bytes that this folder may hold."""

    max_body: int = 64 * 1024 * 1024
    """Bytes of one request."""
    max_pixels: int = DEFAULT_LIMITS.max_pixels
    """Of one photo, before decoding."""
    queue: int = 64
    """Requests that a worker holds at once; one more is answered 503."""
    per_client: int = 0
    """Requests that a worker holds at once of one API key, or address without keys; one more is answered 429.
    0: no limit."""
    timeout: float = 30.0
    """Seconds within which a request is answered once it is here; after that it is given up with 503."""
    read_seconds: float = 60.0
    """How long a request's body may take to come."""
    drain_seconds: int = 30
    """How long a stopping worker may take to finish what it has accepted."""

    decided: Choice | None = None
    """The engine that all workers take, for the model of this digest; another model is chosen for anew."""
    decided_for: str = ""

    def wish_for(self, bundle: ModelBundle) -> Wish:
        """Which engine a worker takes for a model."""
        if self.decided is None or bundle.digest != self.decided_for:
            return self.wish
        return Wish(self.decided.engine, self.decided.precision, self.options)

    @property
    def wish(self) -> Wish:
        """Which engine is asked for."""
        return Wish(self.engine, self.precision, self.options)
