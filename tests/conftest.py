"""Fixtures: a drawn data set, a bundle that knows colours, a trained run, and the real data where it lies."""

import ctypes
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import onnx
import pytest
from PIL import Image

from garbage_cli.bundle import ONNX_FILE, ModelBundle
from garbage_cli.cli import main
from garbage_cli.config import PreprocessConfig
from garbage_cli.dataset import Dataset
from garbage_cli.engines.openvino import OpenVinoEngine
from garbage_cli.labels import Labels
from garbage_cli.sample import write_archive

hypothesis.settings.register_profile("steady", deadline=None)  # machines are noisy
hypothesis.settings.load_profile("steady")

SHARED = Path(__file__).parents[2] / "shared"

# a shell starts what is in its background deaf to Ctrl-C, and the programs that the tests run would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = SHARED / "data"
    if not (folder / "garbage.rar").is_file():
        pytest.skip("the real photos (../shared/data) are not here")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of its own for every test, which the programs that it runs use too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session", autouse=True)
def networks_stay() -> Iterator[None]:
    """Keep every network of OpenVINO.

    It may crash where one goes after a thread that called it has ended (garbage_cli.parallel), and tests have threads.
    """
    made = OpenVinoEngine.__init__

    def keeping(self: OpenVinoEngine, *arguments: object, **settings: object) -> None:
        made(self, *arguments, **settings)  # type: ignore[arg-type]
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))  # also over the end of the interpreter

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenVinoEngine, "__init__", keeping)
        yield


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def garbage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["garbage", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run


def run_program(*arguments: object, cwd: Path | None = None, timeout: float = 280) -> Result:
    """Run the command line as a program of its own."""
    command = [sys.executable, "-m", "garbage_cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def free_port() -> int:
    """A port that nobody has, for a program that can't be told to find one; below those that connections are given."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(given.read_text().split()[0]) if given.exists() else 0
    for port in [*random.sample(range(20_000, first), 20), 0] if first > 21_000 else [0]:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as found:
            return int(found.getsockname()[1])
    raise OSError("no port is free")


COLOURS = {"red": (230, 20, 20), "green": (20, 200, 30), "blue": (20, 40, 220)}
COLOUR_LABELS = Labels.parse(["有害垃圾/干电池", "厨余垃圾/菜叶菜根", "可回收物/易拉罐"])


def make_colour_bundle(root: Path, *, crop: int = 32, name: str = "Colours") -> Path:
    """A real ONNX network in a real bundle: it averages each channel and names the strongest."""
    root.mkdir(parents=True)
    helper = onnx.helper
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]
    weights = onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32) * 2, "weights")
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, crop, crop])
    answered = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "colours", [given], [answered], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, root / ONNX_FILE)
    spec = PreprocessConfig(resize_short=crop, crop=crop)
    ModelBundle.save(root, name=name, labels=COLOUR_LABELS, preprocess=spec, facts={"parity": {}})
    return root


@pytest.fixture(scope="session")
def colour_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_colour_bundle(tmp_path_factory.mktemp("bundle") / "inference")


def save_photo(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a photo of each colour, one of them under a Chinese and spaced name, and a broken one."""
    folder = tmp_path / "照 片"
    save_photo(folder / "a red.jpg", COLOURS["red"])
    save_photo(folder / "绿 色.png", COLOURS["green"])
    save_photo(folder / "deep" / "blue.webp", COLOURS["blue"])
    (folder / "broken.jpg").write_bytes((folder / "a red.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("not a photo")
    return folder


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Eight kinds, four training and two validation photos each, unpacked."""
    from garbage_cli.archive import extract

    folder = tmp_path_factory.mktemp("drawn")
    for _ in write_archive(folder / "garbage.zip", train=4, val=2):
        pass
    for _ in extract(folder / "garbage.zip", folder / "data"):
        pass
    return Dataset.load(folder / "data")
