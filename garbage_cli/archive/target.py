"""The folder that an archive is to become: whether it may be made, or replaced.

Knows folders. Does not know archives.
"""

from pathlib import Path

from garbage_cli.errors import ArchiveError


def check_target(path: Path, out: Path, *, force: bool) -> None:
    """Raise ArchiveError if `out` may not be made from the archive `path`."""
    if out.is_symlink():
        raise ArchiveError(f"{out} is a link; name the folder itself with --out")
    if out.resolve() == Path.cwd().resolve():
        raise ArchiveError(f"{out} is the folder you are in; name another one with --out, data say")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise ArchiveError(f"{out} is a file; choose another folder with --out")
    if not force:
        raise ArchiveError(f"{out} exists; replace it with --force, or choose another folder with --out")
    resolved = out.resolve()
    for kept in (Path.cwd().resolve(), path.resolve(), Path.home().resolve()):
        if kept == resolved or resolved in kept.parents:
            raise ArchiveError(f"--force would delete {out}, which holds {kept}; choose another folder with --out")
