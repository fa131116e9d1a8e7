"""Which of many photos are the same, or nearly the same.

Knows hashes and their distances. Does not know splits or labels.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from garbage_cli.check.inspection import Record

MAX_BITS = 4
"""Of 64 bits of the perceptual hash that may differ: re-encoding, and shrinking to a half, change up to so many."""
MIN_CORRELATION = 0.97
"""Of the brightness of an 8 × 8 grid: tells a second shot of one scene from another thing in the same place."""
MAX_COLOUR = 40.0
"""Largest difference of a channel's mean, of 255, between photos of much contrast."""
FLAT_COLOUR = 6.0
"""The same between photos of none: there, colour is all there is. Between the two, contrast is added."""

GRID = 64
"""Numbers of a record's grid."""
_BANDS = (13, 13, 13, 13, 12)
"""Bits a band. Two hashes that differ in at most four bits are equal in at least one of five bands."""


def nearly_equal(records: Sequence[Record]) -> list[list[int]]:
    """Group the records of different files that show nearly the same: lists of two or more indices, in order.

    Hashes are compared within bands (a pigeonhole search, so not every pair is looked at); a pair counts if brightness
    and colour agree too. Groups are closed: a photo like two others joins them.
    """
    pairs = list(_pairs(records))
    if not pairs:
        return []
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, columns = np.array(pairs).T
    size = len(records)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    return _groups(component, set(rows) | set(columns))


def _groups(component: NDArray[np.int32], members: set[int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for index in sorted(members):
        groups.setdefault(int(component[index]), []).append(int(index))
    return sorted(groups.values())


def _pairs(records: Sequence[Record]) -> Iterator[tuple[int, int]]:
    hashes = _bytes(record.hash for record in records).view(">u8").astype(np.uint64)
    grids = _bytes(record.grid for record in records).reshape(-1, GRID).astype(np.float32)
    grids -= grids.mean(axis=1, keepdims=True)
    contrast = grids.std(axis=1)
    colours = _bytes(record.colour for record in records).reshape(-1, 3).astype(np.float32)
    for first, second in _candidates(hashes):
        near = _correlation(grids[first], grids[second]) >= MIN_CORRELATION
        allowed = np.minimum(MAX_COLOUR, FLAT_COLOUR + np.minimum(contrast[first], contrast[second]))
        near &= np.abs(colours[first] - colours[second]).max(axis=1) <= allowed
        yield from zip(first[near].tolist(), second[near].tolist(), strict=True)


def _bytes(parts: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(parts), np.uint8)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of rows with mean 0; 1 for two rows that are flat to within about two steps of brightness."""
    flat = np.float32(one.shape[1] * 2**2)
    norms = np.sqrt((one**2).sum(axis=1) + flat) * np.sqrt((other**2).sum(axis=1) + flat)
    product: NDArray[np.float32] = ((one * other).sum(axis=1) + flat) / norms
    return product


def _candidates(hashes: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield pairs of indices whose hashes differ in few bits; a pair may come more than once.

    Sorted by a band, equal bands stand side by side: each is compared with its neighbour 1, 2, 3 … places on, as long
    as that one still has the same band.
    """
    low = 0
    for bits in _BANDS:
        band = (hashes >> np.uint64(low)) & np.uint64((1 << bits) - 1)
        low += bits
        order = np.argsort(band, kind="stable")
        band = band[order]
        places, step = np.arange(len(band)), 0
        while len(places):
            step += 1
            places = places[places < len(band) - step]
            places = places[band[places] == band[places + step]]
            first, second = order[places], order[places + step]
            near = _distance(hashes[first], hashes[second]) <= MAX_BITS
            yield first[near], second[near]


def _distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of bits that differ."""
    differing = (one ^ other).view(np.uint8).reshape(-1, 8)
    count: NDArray[np.int64] = _ONES[differing].sum(axis=1, dtype=np.int64)
    return count


_ONES = np.array([bin(number).count("1") for number in range(256)], np.uint8)
