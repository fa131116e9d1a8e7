"""A Ray cluster of several nodes on this machine, any of which can be killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from conftest import free_port

RAY = Path(sys.executable).with_name("ray")


@dataclass
class Cluster:
    """Its address, and the process ids of each node, the head first."""

    address: str
    folder: Path
    nodes: list[set[int]] = field(default_factory=list)

    def add(self, *, cores: int) -> None:
        """Start one more node."""
        before = set(processes(self.folder))
        head = not self.nodes
        port = self.address.rpartition(":")[2]
        where = ["--head", "--port", port, "--temp-dir", self.folder] if head else ["--address", self.address]
        command = [RAY, "start", *where, "--num-cpus", cores, "--disable-usage-stats"]
        command += ["--include-dashboard", "false"] if head else []
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
        for _ in range(2):  # Ray gives a node 30 seconds, which is little where all cores are busy
            done = subprocess.run(
                list(map(str, command)), capture_output=True, text=True, check=False, timeout=120, env=environment
            )
            if done.returncode == 0:
                break
            for pid in set(processes(self.folder)) - before:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert done.returncode == 0, done.stdout + done.stderr
        self.nodes.append(set(processes(self.folder)) - before)

    def node_of(self, pid: int) -> int | None:
        """The number of the node that a process runs on."""
        return next((number for number in range(len(self.nodes)) if pid in self._all_of(number)), None)

    def named(self, title: str) -> set[int]:
        """The processes of its nodes that have given themselves a title with these words in it."""
        found = set()
        for pid in everybody():
            with suppress(OSError):
                if title.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.add(pid)
        return {pid for pid in found if self.node_of(pid) is not None}

    def _all_of(self, number: int) -> set[int]:
        found = set(self.nodes[number])
        above = {pid: parent(pid) for pid in everybody()}
        while more := {pid for pid, from_ in above.items() if from_ in found} - found:
            found |= more
        return found

    def kill(self, number: int) -> None:
        """Kill a node with all that runs on it, at once, as if somebody pulled its plug."""
        for pid in self._all_of(number):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def cluster(*cores: int) -> Iterator[Cluster]:
    """Start a node for each number of cores; whatever is left of them at the end is killed."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets' names must be short
    made = Cluster(f"127.0.0.1:{free_port()}", folder)
    try:
        for each in cores:
            made.add(cores=each)
        yield made
    finally:
        until = time.monotonic() + 20
        while (left := processes(folder)) and time.monotonic() < until:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
        shutil.rmtree(folder, ignore_errors=True)


def processes(folder: Path) -> list[int]:
    """The processes that work in a cluster's folder. Ray's workers, which rename themselves, are not among them."""
    found = []
    for pid in everybody():
        with suppress(OSError):
            process = Path("/proc") / str(pid)
            if pid != os.getpid() and not is_dead(process):
                words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                if str(folder).encode() in words:
                    found.append(pid)
    return found


def everybody() -> list[int]:
    """All processes of the machine."""
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def is_dead(process: Path) -> bool:
    """Whether it only waits for its parent to take notice."""
    return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


def parent(pid: int) -> int:
    with suppress(OSError):
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return 0
