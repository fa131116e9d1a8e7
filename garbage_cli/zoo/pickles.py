"""Pickles from strangers, read by a machine that knows arrays and plain containers and can do nothing else.

Knows the pickle format as `paddle.save` and numpy write it (protocols 2 to 5). Does not know networks. Python's own
unpickler calls what a file names; this one has no calls: a name in a file selects one of a dozen constructions of
`standins`, or is refused. What it builds is bounded by the size of the file: no index or length in it is believed
before the bytes are there, what is made of bytes is counted, and so are the steps. `pickletools` takes opcodes apart.
"""

import mmap
import pickletools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from garbage_cli.errors import CheckpointError
from garbage_cli.zoo.standins import NAMES, Array, Damaged, Dtype, Name, Unsafe

MAX_BYTES = 8 << 30
"""The largest file that is read; PaddleClas's largest network takes 4 GB."""

MAX_STEPS = 1_000_000
"""Opcodes in one file; a network of 2,000 tensors takes 60,000."""

MAX_DEPTH = 16
"""Containers in one another; a state dict takes two or three."""


_MARK = object()


class _Machine:
    """The stack and the memo of a pickle, and the two dozen steps that arrays need."""

    def __init__(self, budget: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.budget = budget

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _CARRIES:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode]())
        elif opcode not in _STEPS:
            raise Unsafe(f"it holds {opcode}, which no weight file needs")
        else:
            _STEPS[opcode](self, argument)

    def name(self, argument: Any) -> None:
        if argument is None:  # STACK_GLOBAL
            name, module = self.stack.pop(), self.stack.pop()
            argument = f"{module} {name}"
        if argument not in NAMES:
            raise Unsafe(f"it asks for {str(argument).replace(' ', '.')!r:.80}, which no weight file needs")
        self.stack.append(Name(NAMES[argument]))

    def reduce(self, _: Any) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or name.make is None or not isinstance(arguments, tuple):
            raise Unsafe("it calls something that no weight file calls")
        self.stack.append(self.afford(name.make(*arguments)))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Array | Dtype) or not isinstance(state, tuple):
            raise Unsafe("it sets the state of something that has none")
        self.stack[-1].complete(state)
        self.afford(self.stack[-1])

    def afford(self, made: object) -> object:
        """Count the bytes that were made: the same text could be turned into bytes again and again."""
        match made:
            case Array():
                self.budget -= made.value.nbytes
            case bytes():
                self.budget -= len(made)
            case dict():
                self.budget -= 100 * len(made)
        if self.budget < 0:
            raise Unsafe("it unfolds into more than it holds")
        return made

    def remember(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def since_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def tuple_of(self, count: int) -> None:
        items = [self.stack.pop() for _ in range(count)]
        self.stack.append(tuple(items[::-1]))

    def tuple_since_mark(self, _: Any) -> None:
        self.stack.append(tuple(self.since_mark()))

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Damaged
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise Damaged
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise Damaged
            self.stack[-1][key] = value


_CARRIES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip
_CONSTANTS: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, argument: None,
    "FRAME": lambda machine, argument: None,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "MARK": _Machine.mark,
    "MEMOIZE": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "TUPLE": _Machine.tuple_since_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items([machine.stack.pop() for _ in range(2)][::-1]),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
}


def _run(data: mmap.mmap) -> Any:
    machine = _Machine(budget=2 * len(data) + (1 << 20))  # an array, and the bytes it is made of
    for number, (opcode, argument, _) in enumerate(pickletools.genops(cast(BinaryIO, data))):
        if number > MAX_STEPS:
            raise Unsafe(f"it takes more than {MAX_STEPS:,} steps to read")
        if opcode.name == "STOP":
            break
        machine.step(opcode.name, argument)
    (result,) = machine.stack
    return _plain(result, {}, MAX_DEPTH)


def _plain(value: Any, done: dict[int, Any], depth: int) -> Any:
    """Replace what was on its way by what it became; what is referred to twice is converted once."""
    if isinstance(value, Array):
        return value.value
    if not isinstance(value, dict | list | tuple):
        if isinstance(value, Name | Dtype) or value is _MARK:
            raise Damaged
        return value
    if depth == 0:
        raise Unsafe(f"its containers lie more than {MAX_DEPTH} deep in one another")
    if id(value) not in done:
        if isinstance(value, dict):
            done[id(value)] = {key: _plain(item, done, depth - 1) for key, item in value.items()}
        else:
            done[id(value)] = [_plain(item, done, depth - 1) for item in value]
    return done[id(value)]


def read_pickle(path: Path) -> Any:
    """Read a file that `paddle.save` wrote: arrays and plain containers.

    Raises CheckpointError if it can't be read, is damaged or too large, or asks for anything but arrays.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise CheckpointError(f"{path} has {size / 1e9:.1f} GB; weight files of over 8 GiB are not read")
            if not size:
                raise CheckpointError(f"{path} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _run(data)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except Unsafe as error:
        raise CheckpointError(f"{path} is not safe to load: {error}") from None
    except MemoryError:
        raise CheckpointError(f"{path} does not fit into memory") from None
    except CheckpointError:
        raise
    except Exception:  # noqa: BLE001 - damaged pickles raise almost anything, and nothing that helps
        raise CheckpointError(f"{path} is not a Paddle weight file, or is damaged") from None
