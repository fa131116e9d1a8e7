"""How much memory is free, for this container or machine. Knows Linux."""

from pathlib import Path


def free_memory() -> int | None:
    """Return bytes that could still be taken, the smaller of machine's and control group's; None if nobody says."""
    found = [each for each in (_of_machine(), _of_group()) if each is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _of_group(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Control groups of version 2, seen from inside a container; the cache of files counts as free."""
    try:
        most = (root / "memory.max").read_text(encoding="ascii").strip()
        if most == "max":
            return None
        used = int((root / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (root / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(0, int(most) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None
