"""The view of `export --format hub`."""

import shlex
from pathlib import Path

from garbage_cli.bundle import ModelBundle
from garbage_cli.console.terminal import out, plain, print_json
from garbage_cli.hubmodule import INFERENCE, MODULE

PORT = 8866
"""PaddleHub Serving's own default."""


def show(folder: Path, *, json: bool) -> None:
    """Print what is in a written module, and the commands that install and serve it."""
    bundle = ModelBundle.load(folder / INFERENCE)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
    following = [f"hub install {shlex.quote(str(folder))}", f"hub serving start -m {MODULE} -p {PORT}"]
    if json:
        print_json({"root": str(folder), "module": MODULE, "model": bundle.name, "files": files, "next": following})
        return
    what = f"{bundle.name}, {len(bundle.labels)} classes, {sum(files.values()) / 1e6:.1f} MB"
    out.print(plain(f"PaddleHub module {MODULE} in {folder}: {what}"), markup=False, soft_wrap=True)
    out.print("Next, where paddlehub and garbage-cli are installed:")
    for command in following:
        out.print(plain(f"  {command}"), markup=False, soft_wrap=True)
