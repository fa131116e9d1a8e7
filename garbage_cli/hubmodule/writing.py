"""The module's folder: PaddleHub's two files, and the whole bundle below them.

Knows which files those are. Does not know what they do.
"""

import shutil
from pathlib import Path

from garbage_cli.bundle import MANIFEST_FILE, ModelBundle, read_json
from garbage_cli.errors import BundleError
from garbage_cli.storage import staged_folder, write_text

MODULE = "garbage_classification"
"""The module's name, in PaddleHub and on the route /predict/garbage_classification."""
INFERENCE = "inference"
"""The bundle's folder in the module's."""
MODULE_FILE = "module.py"
PACKAGE_FILE = "__init__.py"
TEMPLATE = Path(__file__).with_name("module.py.txt")


def write_hub_module(bundle: ModelBundle, out: Path) -> Path:
    """Write the folder `garbage_classification` into `out`, or as `out` if that is its name; return that folder.

    It replaces one that was written before, whole or not at all. Raises BundleError where something else is in the
    way, or where a file of the bundle is not what was exported.
    """
    folder = out if out.name == MODULE else out / MODULE
    _refuse_bundle(folder.parent)
    _refuse_foreign_folder(folder)
    with staged_folder(folder) as staging:
        _copy(bundle, staging / INFERENCE)
        write_text(staging / PACKAGE_FILE, "")
        write_text(staging / MODULE_FILE, TEMPLATE.read_text(encoding="utf-8"))
    return folder


def _copy(bundle: ModelBundle, target: Path) -> None:
    """Copy the bundle with its manifest; every file is verified before and after."""
    target.mkdir()
    for name in bundle.files:
        if Path(name).name != name:  # a manifest may come from a stranger
            raise BundleError(f"{bundle.root / MANIFEST_FILE} names {name!r}, which is outside; export the model again")
        shutil.copyfile(bundle.file(name), target / name)
    shutil.copyfile(bundle.root / MANIFEST_FILE, target / MANIFEST_FILE)
    copied = ModelBundle.load(target)
    for name in copied.files:
        copied.file(name)


def _refuse_bundle(parent: Path) -> None:
    """A module inside an inference folder would keep the next export from replacing that."""
    if (parent / MANIFEST_FILE).exists():
        raise BundleError(f"{parent} is an inference folder; choose another --out for the PaddleHub module")


def _refuse_foreign_folder(folder: Path) -> None:
    """Replace only such a module: a folder of something else under that name is not ours to delete."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BundleError(f"{folder} is a file; choose another --out")
    if strange := next(iter(sorted(_strange_names(folder))), None):
        raise BundleError(f"{folder} holds something that no export wrote ({strange}); choose another --out")


def _strange_names(folder: Path) -> set[str]:
    names = {path.name for path in folder.iterdir()}
    ours = {PACKAGE_FILE, MODULE_FILE, INFERENCE, "__pycache__"} if _is_ours(folder / MODULE_FILE) else set()
    inside = {path.name for path in (folder / INFERENCE).iterdir()} if (folder / INFERENCE).is_dir() else set()
    return (names - ours) | {f"{INFERENCE}/{name}" for name in inside - _bundle_names(folder / INFERENCE)}


def _is_ours(module: Path) -> bool:
    """Whether a module.py begins as ours does: its first line has been the same in all versions."""
    mark = TEMPLATE.read_text(encoding="utf-8").splitlines()[0]
    return module.is_file() and module.read_text(encoding="utf-8", errors="replace").startswith(mark)


def _bundle_names(folder: Path) -> set[str]:
    try:
        return {MANIFEST_FILE, *read_json(folder / MANIFEST_FILE, BundleError, hint="")["files"]}
    except (BundleError, KeyError, TypeError):
        return set()
