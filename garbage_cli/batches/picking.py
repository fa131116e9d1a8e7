"""Which photos make up the batches of an epoch, and which part of each belongs to which process.

Knows classes and numbers. Does not know photos.

Processes that train together (`world` of them, each with a `rank` from 0) share the batches of one: each takes every
`world`-th photo of every batch. All take the same number of steps, and each gets at least two photos at every step.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import ConfigError

Pick = tuple[int, int]
"""A sample's number, and how often it came up in the epoch before: 0 the first time."""
Item = TypeVar("Item")


def steps_per_epoch(photos: int, batch_size: int, *, world: int = 1) -> int:
    """Return the number of training batches, the same in every process.

    A last batch that has fewer than two photos for each process is dropped: batch norm needs two. Raises ConfigError
    where no batch has them.
    """
    if world > 1 and batch_size < 2 * world:
        raise ConfigError(f"batch_size is {batch_size}; {world} processes need at least {2 * world}: two photos each")
    full, rest = divmod(photos, batch_size)
    return full + (rest >= 2 * world)


def parts(items: Sequence[Item], batch_size: int, *, rank: int, world: int) -> list[Sequence[Item]]:
    """Cut items into batches of `batch_size` and return this process's part of each; an empty part is left out."""
    batches = (items[start : start + batch_size] for start in range(0, len(items), batch_size))
    return [part for batch in batches if len(part := batch[rank::world])]


def picks(
    class_ids: Sequence[int], sampling: Literal["shuffle", "balanced"], random: np.random.Generator
) -> list[Pick]:
    """Return the photos of one epoch in their order: as many picks as `class_ids` has entries.

    shuffle: each once. balanced: each class equally often, give or take one photo; a class with too few is gone
    through again and again, of one with too many a part is drawn. A class without photos is not missed.
    """
    if sampling == "balanced" and len(class_ids):
        return _numbered(_balanced(np.asarray(class_ids), random).tolist())
    return _numbered(random.permutation(len(class_ids)).tolist())


def _balanced(class_ids: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    _, counts = np.unique(class_ids, return_counts=True)
    each, rest = divmod(len(class_ids), len(counts))
    quotas = np.full(len(counts), each)
    quotas[random.permutation(len(counts))[:rest]] += 1
    classes = np.split(np.argsort(class_ids, kind="stable"), np.cumsum(counts)[:-1])
    drawn = [_draw(photos, int(quota), random) for photos, quota in zip(classes, quotas, strict=True)]
    return random.permutation(np.concatenate(drawn))


def _draw(photos: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Every photo the same number of times, but for a part that is drawn and comes once more."""
    whole, rest = divmod(count, len(photos))
    return np.concatenate([np.tile(photos, whole), random.permutation(photos)[:rest]])


def _numbered(order: list[int]) -> list[Pick]:
    seen: dict[int, int] = {}
    numbered = []
    for index in order:
        seen[index] = seen.get(index, -1) + 1
        numbered.append((index, seen[index]))
    return numbered
