"""Weight files: what is read, what is refused, and what a hostile one can do (nothing)."""

import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from garbage_cli import zoo
from garbage_cli.errors import CheckpointError
from garbage_cli.zoo import standins

NETWORK = "MobileNetV3_small_x0_35"


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a network of eight classes, as Paddle saves them."""
    import paddle

    network, _ = zoo.build(NETWORK, class_count=8)
    path = tmp_path_factory.mktemp("saved") / "net.pdparams"
    paddle.save(network.state_dict(), str(path))
    return path


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def arrays_of(network: Any) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def refused(path: Path, content: bytes, match: str | None = None) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=match):
        zoo.read_weights(path)


# ---- what is read


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("naming_tables", [True, False], ids=["with-name-table", "without"])
def test_what_paddle_saves_is_read_in_each_protocol(tmp_path: Path, protocol: int, naming_tables: bool) -> None:
    import paddle

    layer = paddle.nn.Linear(3, 4)
    state = layer.state_dict() if naming_tables else {name: t.numpy() for name, t in layer.state_dict().items()}
    paddle.save(state, str(tmp_path / "w.pdparams"), protocol=protocol)
    assert_same(zoo.read_weights(tmp_path / "w.pdparams"), arrays_of(layer))


def test_tensors_that_were_saved_with_their_names_are_read(tmp_path: Path) -> None:
    import paddle

    layer = paddle.nn.Linear(3, 4)
    tensors = {"weight": layer.weight, "bias": layer.bias}
    paddle.save({**tensors, "step": 3}, str(tmp_path / "w.pdparams"))
    state = zoo.read_state(tmp_path / "w.pdparams")
    assert state["step"] == 3
    paddle.save({"all": [tensors]}, str(tmp_path / "nested"))
    assert zoo.read_state(tmp_path / "nested")["all"][0].keys() == tensors.keys()
    (tmp_path / "pairs").write_bytes(pickle.dumps({n: (n, t.numpy()) for n, t in tensors.items()}, protocol=4))
    assert_same(zoo.read_weights(tmp_path / "pairs"), arrays_of(layer))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i8", "u1", "?"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_arrays_of_plain_numbers_are_read_as_they_were_written(tmp_path: Path, dtype: str, protocol: int) -> None:
    value = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    for order in ("C", "F"):
        content = {"w": np.asarray(value, order=order)}  # type: ignore[call-overload]
        (tmp_path / "w.pdparams").write_bytes(pickle.dumps(content, protocol=protocol))
        read = zoo.read_weights(tmp_path / "w.pdparams")["w"]
        np.testing.assert_array_equal(read, value)
        assert read.flags.writeable
        assert read.dtype == value.dtype.newbyteorder("=")


def test_bfloat16_which_paddle_writes_as_uint16_is_read(tmp_path: Path) -> None:
    import paddle

    paddle.save({"w": paddle.to_tensor([1.5, -2.0]).astype("bfloat16").numpy()}, str(tmp_path / "w"))
    np.testing.assert_array_equal(zoo.read_weights(tmp_path / "w")["w"], np.array([1.5, -2.0], np.float32))


def test_weights_that_python_2_wrote_are_read(tmp_path: Path) -> None:
    """Its bytes are what Python 3 takes for text."""
    raw = np.array([1.0, 2.0], "f4").tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\nU\x02f4K\0K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    state = b"(K\x01K\x02\x85" + dtype + b"\x89U" + bytes([len(raw)]) + raw + b"tb"
    for pickled in (b"}U\x01w%ss.", b"ccollections\nOrderedDict\n]](U\x01w%sea\x85R."):
        (tmp_path / "w").write_bytes(b"\x80\x02" + pickled % (array + state))
        np.testing.assert_array_equal(zoo.read_weights(tmp_path / "w")["w"], np.array([1.0, 2.0], "f4"))


def test_an_optimisers_state_is_read(tmp_path: Path) -> None:
    state = OrderedDict({"w_0_moment": np.ones(3, "f4"), "LR_Scheduler": {"last_epoch": 3, "last_lr": 0.5}})
    (tmp_path / "state.pdopt").write_bytes(pickle.dumps(state, protocol=4))
    assert zoo.read_state(tmp_path / "state.pdopt")["LR_Scheduler"] == {"last_epoch": 3, "last_lr": 0.5}
    (tmp_path / "scalar").write_bytes(pickle.dumps({"lr": np.float64(0.5), "big": 2**70}, protocol=4))
    assert zoo.read_state(tmp_path / "scalar") == {"lr": 0.5, "big": 2**70}


def test_a_path_without_its_suffix_and_a_folder_of_one_file_are_found(saved: Path, tmp_path: Path) -> None:
    assert zoo.weights_file(saved) == saved
    assert zoo.weights_file(saved.with_suffix("")) == saved
    assert zoo.weights_file(saved.parent) == saved
    dotted = tmp_path / "v1.5"
    (tmp_path / "v1.5.pdparams").write_bytes(saved.read_bytes())
    assert zoo.weights_file(dotted) == tmp_path / "v1.5.pdparams"
    (tmp_path / "b.pdparams").touch()
    with pytest.raises(CheckpointError, match=r"is a folder and holds b\.pdparams, v1\.5\.pdparams; name one"):
        zoo.weights_file(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"holds no \.pdparams file"):
        zoo.weights_file(tmp_path / "empty")
    with pytest.raises(CheckpointError, match=r"nothing: no such file, nor nothing\.pdparams"):
        zoo.weights_file(tmp_path / "nothing")


# ---- what is refused


@pytest.mark.parametrize("data", [b"", b"junk", pickle.dumps([1]), pickle.dumps({}), pickle.dumps({"a": "text"})])
def test_what_is_no_weight_file_is_said(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "w.pdparams"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"w\.pdparams"):
        zoo.read_weights(path)


def test_spoilt_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps({"w": np.array([1.0, np.nan])}))
    with pytest.raises(CheckpointError, match="w holds values that are no numbers"):
        zoo.read_weights(tmp_path / "w.pdparams")


def test_a_file_of_20_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "w.pdparams").open("wb") as file:
        file.truncate(20 * 10**9)  # takes no room on the disk
    with pytest.raises(CheckpointError, match=r"has 20\.0 GB; weight files of over 8 GiB are not read"):
        zoo.read_weights(tmp_path / "w.pdparams")


def test_folders_and_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Is a directory"):
        zoo.read_weights(tmp_path)
    with pytest.raises(CheckpointError, match="No such file"):
        zoo.read_weights(tmp_path / "no")


# ---- what a hostile file can do


class Raw:
    """Pickles as whatever it is told to."""

    def __init__(self, function: Any, arguments: tuple[Any, ...], state: Any = None) -> None:
        self.reduced = (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def test_a_malicious_weight_file_runs_nothing(tmp_path: Path) -> None:
    evil = Raw(os.system, (f"touch {tmp_path / 'owned'}",))
    for payload in (evil, {"fc.weight": evil}, {"x": np.array([evil], dtype=object)}, {"x": [evil]}):
        for protocol in range(2, 6):
            refused(tmp_path / "evil.pdparams", pickle.dumps(payload, protocol=protocol), "not safe to load")
    assert not (tmp_path / "owned").exists()


def test_a_malicious_optimiser_state_runs_nothing(tmp_path: Path) -> None:
    evil = Raw(os.system, (f"touch {tmp_path / 'owned'}",))
    for payload in ({"LR_Scheduler": {"last_epoch": evil}}, {"w_0_moment": evil}, {evil: 1}, [evil]):
        (tmp_path / "momentum.pdopt").write_bytes(pickle.dumps(payload, protocol=4))
        with pytest.raises(CheckpointError, match="not safe to load"):
            zoo.read_state(tmp_path / "momentum.pdopt")
    assert not (tmp_path / "owned").exists()


def test_a_weight_file_cannot_lie_about_memory(tmp_path: Path) -> None:
    """numpy.dtype takes a pickled state in which raw bytes pass for object pointers: reading those would crash."""
    fields = {"a": (np.dtype("O"), 0)}
    lie = Raw(np.dtype, ("V8", False, True), (3, "|", None, ("a",), fields, 8, 1, 0))
    rebuild = np.core.multiarray._reconstruct  # type: ignore[attr-defined]
    pointers = Raw(rebuild, (np.ndarray, (0,), b"b"), (1, (1,), lie, False, b"\x41" * 8))
    too_short = Raw(rebuild, (np.ndarray, (0,), b"b"), (1, (1000,), np.dtype("f4"), False, b"\0" * 8))
    scalar = Raw(np.core.multiarray.scalar, (lie, b"\x41" * 8))
    for content in (pointers, too_short, scalar, Raw(np.dtype, ("O", False, True))):
        refused(tmp_path / "w.pdparams", pickle.dumps({"w": content}, protocol=4))


F4 = b"cnumpy\ndtype\nX\x02\0\0\0f4\x85R"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(tR"

TRICKS = {
    "calls ndarray": b"cnumpy\nndarray\n)R",
    "calls with no tuple": b"cnumpy\ndtype\n]R",
    "sets the state of a name": b"cnumpy\ndtype\n}X\1\0\0\0aK\1sb",
    "sets the slots of a name": b"c_codecs\nencode\nN}X\x0c\0\0\0__defaults__K\1s\x86b",
    "sets the state of a dict": b"}}X\1\0\0\0aK\1sb",
    "sets an item of an array": ARRAY + b"K\0K\1s",
    "sets an item of a name": b"cnumpy\ndtype\nX\1\0\0\0aK\1s",
    "appends to a dict": b"}K\1a",
    "an item without a key": b"}(K\1u",
    "keys that are arrays": b"}" + ARRAY + b"K\1s",
    "names below numpy": b"cnumpy.core\nmultiarray\n",
    "a name with dots (protocol 4)": b"\x8c\x05numpy\x8c\x0adtype.type\x93",
    "a name that is made of a name": b"cnumpy\ndtype\ncnumpy\ndtype\n\x93",
    "an instance, old": b"(ios\nsystem\n",
    "an object, old": b"(cnumpy\ndtype\nX\x02\0\0\0f4o",
    "an object, new": b"cnumpy\ndtype\nX\x02\0\0\0f4\x85\x81",
    "a persistent id": b"Pwho\n",
    "a persistent id from the stack": b"X\3\0\0\0whoQ",
    "an extension": b"\x82\1",
    "a large extension": b"\x84\xff\xff\xff\x7f",
    "an external buffer": b"\x97",
    "a frozen set": b"(\x91",
    "a memo of four thousand million entries": b"}r\xff\xff\xff\xffh\1",
    "gets what was not put": b"j\xff\xff\xff\x7f",
    "bytes that are not there": b"\x8e" + struct.pack("<Q", 1 << 40),
    "text that is not there": b"\x8d" + struct.pack("<Q", 1 << 62),
    "a number of a gigabyte": b"\x8b\0\0\0\x40",
    "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "an empty stack": b"0",
    "a mark": b"(",
    "two values": b"}}",
    "a shape that overflows": ARRAY + b"(K\1(\x8a\x08" + b"\xff" * 7 + b"\x3fK\4t" + F4 + b"\x89C\4aaaatb",
    "a negative shape": ARRAY + b"(K\1J\xff\xff\xff\xff\x85" + F4 + b"\x89C\4aaaatb\x85",
    "an array of dicts": ARRAY + b"(K\1K\1\x85}\x89C\4aaaatb",
    "an array of no bytes": ARRAY + b"(K\1K\1\x85" + F4 + b"\x89]tb",
    "a dtype with fields": b"cnumpy\ndtype\nX\x05\0\0\0f4,f4\x85R",
    "a dtype of objects": b"cnumpy\ndtype\nX\x01\0\0\0O\x85R",
    "a dtype of a list": b"cnumpy\ndtype\n]\x85R",
    "a dict of pairs": b"ccollections\nOrderedDict\n]K\1a\x85R",
    "a dtype": F4,
    "a list that holds itself": b"]q\0h\0a",
}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda name: name.replace(" ", "-"))
def test_a_trick_with_the_format_is_refused(tmp_path: Path, trick: str) -> None:
    names = {name: dict(vars(getattr(standins, name))) for name in ("_make_bytes", "_make_dtype", "Array", "Dtype")}
    refused(tmp_path / "w.pdparams", b"\x80\4" + TRICKS[trick] + b".")
    refused(tmp_path / "w.pdparams", b"\x80\4}X\1\0\0\0w" + TRICKS[trick] + b"s.")
    assert {name: dict(vars(getattr(standins, name))) for name in names} == names


BOMBS: dict[str, Callable[[], bytes]] = {
    # each list holds the one before twice: 2 ** 200 items, if they were counted
    "laughs": lambda: b"]q\0" + b"".join(b"]q" + bytes([i]) + b"(" + (b"h" + bytes([i - 1])) * 2 + b"e"
                                         for i in range(1, 200)),
    "depth": lambda: b"]" * 100_000 + b"a" * 99_999,
    "tuples": lambda: b")" + b"\x85" * 900_000,
    "steps": lambda: b"(" + b"}" * 30_000_000 + b"l",
    # 20 MB of bytes, made into an array of the other byte order a thousand times
    "copies": lambda: _copies(),
    "names": lambda: _names(),
    "dicts": lambda: b"](" + b"".join(b"](J" + struct.pack("<i", i) + b"K\1e" for i in range(100_000)) + b"eq\0"
                     + b"ccollections\nOrderedDict\nh\0\x85R" * 10_000,
    "texts": lambda: b"X" + struct.pack("<I", 20_000_000) + b"a" * 20_000_000 + b"q\0"
                     + b"c_codecs\nencode\nh\0X\6\0\0\0latin1\x86R" * 1000,
}  # fmt: skip


def _copies() -> bytes:
    raw = b"B" + struct.pack("<I", 20_000_000) + b"a" * 20_000_000 + b"q\0"
    dtype = F4 + b"(K\3X\1\0\0\0>tbq\1"
    array = ARRAY + b"(K\1J" + struct.pack("<i", 5_000_000) + b"\x85h\1\x89h\0tb"
    return raw + dtype + array * 1000


def _names() -> bytes:
    """One array of bfloat16 under 100,000 names, each with a list of its own."""
    raw = b"B" + struct.pack("<I", 20_000_000) + b"\xff" * 20_000_000
    dtype = b"cnumpy\ndtype\nX\x02\0\0\0u2\x85R"
    array = ARRAY + b"(K\1J" + struct.pack("<i", 10_000_000) + b"\x85" + dtype + b"\x89" + raw + b"tbq\0"
    named = b"".join(b"X" + struct.pack("<I", 6) + b"%06d" % i + b"](X\1\0\0\0nh\0e" for i in range(100_000))
    return b"}(X\5\0\0\0first" + array + named + b"u"


LIMITED = """
import resource, sys
from pathlib import Path
from garbage_cli import zoo
from garbage_cli.errors import CheckpointError
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]),) * 2)
try:
    zoo.read_weights(Path(sys.argv[1]))
except CheckpointError as error:
    print(error)
"""


on_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory as Linux shows it")


@on_linux
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_bounded_memory_and_time(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "bomb.pdparams"
    path.write_bytes(b"\x80\2" + BOMBS[bomb]() + b".")
    memory = 400 * 2**20 + 4 * path.stat().st_size
    command = [sys.executable, "-c", LIMITED, str(path), str(memory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(str(path)), done.stderr
    assert "does not fit into memory" not in done.stdout


VALID = [
    pickle.dumps(content, protocol=protocol)
    for protocol in (2, 4, 5)
    for content in (
        {"a.weight": np.ones((3, 2), "f4"), "b": np.arange(3, dtype=">i8"), "t": {"a": "x"}},
        OrderedDict({"lr": np.float64(0.5), "s": [1, (2.5, None), True, "é", b"bytes", 2**70]}),
    )
]


@given(st.data())
@settings(max_examples=600)
def test_a_mutated_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(VALID)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["set", "delete", "insert", "repeat"])):
            case "set":
                content[place] = data.draw(st.integers(0, 255))
            case "delete":
                del content[place : place + data.draw(st.integers(1, 8))]
            case "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                content[place:place] = content[place : place + data.draw(st.integers(1, 40))]
        content = content or bytearray(b".")
    read_or_refused(bytes(content))


OPCODES = st.sampled_from([*(bytes([each]) for each in b"()]}NIJKMGXCcRbus.etqhr0123aQPi\x80\x85\x86\x87\x88\x8a\x8c")])
PIECES = st.one_of(
    OPCODES,
    st.sampled_from([*TRICKS.values(), F4, ARRAY, b"cos\nsystem\n", b"cbuiltins\neval\n", b"X\1\0\0\0a", b"K\1"]),
    st.binary(max_size=4),
)


@given(st.lists(PIECES, max_size=30))
@settings(max_examples=600)
def test_any_row_of_opcodes_is_read_or_refused_and_nothing_else(pieces: list[bytes]) -> None:
    read_or_refused(b"\x80\2" + b"".join(pieces) + b".")


def read_or_refused(content: bytes) -> None:
    """No import, no call, no file: Python tells of those by audit events."""
    global _watching
    path = _scratch()
    path.write_bytes(content)
    _seen.clear()
    _watching = True
    try:
        zoo.read_weights(path)
    except CheckpointError:
        pass
    finally:
        _watching = False
    assert {event for event, _ in _seen} <= {"open", "mmap.__new__", "object.__getattr__", "builtins.id"}, _seen
    assert [arguments[0] for event, arguments in _seen if event == "open"] in ([str(path)], [path])


_watching = False
_seen: list[tuple[str, tuple[Any, ...]]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching:
        _seen.append((event, arguments))


sys.addaudithook(_audit)


def _scratch() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "fuzzed.pdparams"


FUZZ = """
import random
from test_weights import F4, ARRAY, TRICKS, VALID
pieces = [*TRICKS.values(), F4, ARRAY, *(bytes([each]) for each in range(256))]
for seed in range(4000):
    dice = random.Random(seed)
    content = bytearray(dice.choice([*VALID, b"".join(dice.choices(pieces, k=20))]))
    for _ in range(dice.randint(0, 6)):
        content[dice.randrange(len(content))] = dice.randrange(256)
    path.write_bytes(bytes(content))
    try:
        zoo.read_weights(path)
    except CheckpointError as error:
        assert "memory" not in str(error), (seed, error)
print("done")
"""


@on_linux
def test_fuzzed_files_take_little_memory(tmp_path: Path) -> None:
    setting_up, _, _ = LIMITED.partition("try:")
    script = "import test_weights\n" + setting_up + "path = Path(sys.argv[1])\n" + FUZZ
    command = [sys.executable, "-c", script, str(tmp_path / "fuzzed"), str(200 * 2**20)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.stdout == "done\n", done.stderr


# ---- weights put into networks


def test_weights_in_another_number_type_are_converted(saved: Path) -> None:
    network, _ = zoo.build(NETWORK, class_count=8)
    doubled = {name: value.astype(np.float64) for name, value in zoo.read_weights(saved).items()}
    zoo.load_exactly(network, doubled, source=saved)
    assert_same(arrays_of(network), zoo.read_weights(saved))


def test_weights_of_another_class_count_start_the_head_afresh(saved: Path) -> None:
    network, _ = zoo.build(NETWORK, class_count=40)
    fit = zoo.load_pretrained(network, zoo.read_weights(saved), class_count=40, source="saved")
    assert fit.replaced == ("fc.weight", "fc.bias")
    assert fit.loaded == fit.total - 2


def test_weights_of_another_network_are_refused(saved: Path) -> None:
    network, _ = zoo.build("MobileNetV3_small_x0_5", class_count=8)
    with pytest.raises(CheckpointError, match="does not fit"):
        zoo.load_pretrained(network, zoo.read_weights(saved), class_count=8, source="saved")


@pytest.mark.parametrize("prefixes", [["Student."], ["Teacher.", "Student."], ["backbone."], ["_layers.model."]])
def test_a_prefix_that_all_names_have_is_taken_off_and_said(saved: Path, prefixes: list[str]) -> None:
    weights = zoo.read_weights(saved)
    network, _ = zoo.build(NETWORK, class_count=8)
    named = {p + name: value * (p != "Teacher.") for p in prefixes for name, value in weights.items()}
    fit = zoo.load_pretrained(network, named, class_count=8, source="saved")
    assert fit.prefix == prefixes[-1]
    assert fit.loaded == fit.total
    assert_same(arrays_of(network), weights)


def test_weights_that_have_nothing_in_common_with_the_network_are_refused(saved: Path) -> None:
    network, _ = zoo.build(NETWORK, class_count=8)
    for named in ({"x": np.ones(3)}, {f"A.{n}": v for n, v in zoo.read_weights(saved).items() if "fc" not in n}):
        with pytest.raises(CheckpointError, match="0 of 214 tensors match"):
            zoo.load_pretrained(network, named, class_count=8, source="saved")
