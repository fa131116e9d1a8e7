"""Runs a command that must not outlive whoever started this: `python keeper.py FOLDER COMMAND …`.

Knows processes; imports nothing of the package. Standard input is a pipe that nobody writes to: it ends with the
process that holds its other end, however that one dies. Then the command's process group ends, and the folder is
deleted.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

GRACE = 5.0
"""Seconds that a command without an owner has to end by itself."""


def keep(folder: str, command: Sequence[str]) -> int:
    """Run the command in this process group; return its exit code, or 128 and the signal's number."""
    early: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the group, so that the command has them as well
        signal.signal(number, lambda number, frame: early.append(number))
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for heard in early:  # before there was a command
        child.send_signal(heard)
    orphaned = threading.Event()
    watch = threading.Thread(target=_end_without_owner, args=(folder, child, orphaned), daemon=True)
    watch.start()
    code = child.wait()
    if orphaned.is_set():
        watch.join()
    return code if code >= 0 else 128 - code


def _end_without_owner(folder: str, child: "subprocess.Popen[bytes]", orphaned: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    orphaned.set()
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + GRACE
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)  # this process too


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1], sys.argv[2:]))
