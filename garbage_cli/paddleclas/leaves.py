"""The leaves of a nested tree of settings under dotted names, whatever the tree holds.

Knows mappings, lists and names. Does not know what a setting means.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from garbage_cli.errors import ConfigError

DEEPEST = 40
MOST = 20_000
"""Leaves; aliases in YAML can make more out of a short file than memory holds."""


def leaves(tree: Mapping[str, object], *, where: str) -> dict[str, object]:
    """Return every leaf by its dotted name, in order: `TRAIN.transforms.RandomErasing.sl`.

    A list without mappings in it is one leaf; so is an empty mapping. In other lists an item that is a mapping with one
    key goes by that key, and by `KEY[2]` if it is the second such; the rest go by their number from 0. Raises
    ConfigError for a tree that holds itself, or that has no end.
    """
    found: dict[str, object] = {}
    for name, value in _walk("", tree, 0, where):
        found[_free(name, found)] = value
        if len(found) > MOST:
            raise ConfigError(f"{where} holds more than {MOST:,} settings; do not trust it")
    return found


def part(key: object) -> str:
    """A key as a part of a dotted name; one that could be taken for several, or for none, stands in quotes."""
    text = str(key)
    return repr(text) if not text.isprintable() or not text or set(text) & set(".[]'\"") else text


def _walk(name: str, value: object, depth: int, where: str) -> Iterator[tuple[str, object]]:
    if depth > DEEPEST:
        raise ConfigError(f"{where}: {name.partition('.')[0]} nests too deep, or holds itself")
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _walk(f"{name}.{part(key)}" if name else part(key), below, depth + 1, where)
    elif isinstance(value, list) and _holds_mapping(value, set()):
        yield from _walk_list(name, value, depth, where)
    else:
        yield name, value


def _walk_list(name: str, items: list[object], depth: int, where: str) -> Iterator[tuple[str, object]]:
    times: Counter[str] = Counter()
    for number, item in enumerate(items):
        if isinstance(item, Mapping) and len(item) == 1:
            key, below = next(iter(item.items()))
            times[part(key)] += 1
            again = f"[{times[part(key)]}]" if times[part(key)] > 1 else ""
            yield from _walk(f"{name}.{part(key)}{again}", below, depth + 1, where)
        else:
            yield from _walk(f"{name}[{number}]", item, depth + 1, where)


def _holds_mapping(items: list[object], seen: set[int]) -> bool:
    """Whether a mapping is in a list, at any depth. Each list is looked at once, however often it is referred to."""
    seen.add(id(items))
    return any(
        isinstance(item, Mapping) or (isinstance(item, list) and id(item) not in seen and _holds_mapping(item, seen))
        for item in items
    )


def _free(name: str, taken: Mapping[str, object]) -> str:
    """The name, or the first `NAME[2]`, `NAME[3]`… that is free."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}[{number}]"
    return free
