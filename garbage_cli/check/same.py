"""Which of many photos are nearly the same.

Knows hashes, grids of colours, and their distances. Does not know what a split or a label is, but for two numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from garbage_cli.check.inspection import GRID, Record

Relation = Literal["two-labels", "leak", "duplicate"]
RELATIONS: tuple[Relation, ...] = ("two-labels", "leak", "duplicate")
"""The gravest first."""

MAX_BITS = 8
"""Of 64 bits of the perceptual hash that may differ, for photos whose colours agree well."""
FEW_BITS = 4
"""For photos whose colours agree less well: a second shot of the same thing, in other light."""
MIN_CORRELATION, MIN_CORRELATION_OF_FEW = 0.98, 0.965
"""Of the 8 × 8 grid of colours: tells a second shot of one scene from another thing in the same place."""
MAX_CONTRAST = 1.5
"""How many times stronger the contrast of one grid may be: a black cap on white is no pink cap on white."""
MAX_COLOUR, FLAT_COLOUR = 60.0, 6.0
"""Largest difference of a channel's mean, of 255, between photos of much contrast, and of none; in between, twice the
contrast is added."""
MAX_NEIGHBOURS = 1024
"""Photos of one band that each is compared with. Up to about 100,000 photos that is all of them."""

_BANDS = (8, 7, 7, 7, 7, 7, 7, 7, 7)
"""Bits a band. Two hashes that differ in at most eight bits are equal in at least one of nine bands."""

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Near:
    """An item that shows nearly the same as another, in the gravest relation that it has to any."""

    relation: Relation
    item: int
    other: int


def near(
    records: Sequence[Record], *, contents: Sequence[int], classes: Sequence[int], held_out: Sequence[bool]
) -> list[Near]:
    """Find items that show nearly the same as an item of other content: at most one finding an item.

    A pair of different classes has two labels; one of the same class, of which one is held out, leaks, and the training
    photo is named; of others the later is a duplicate. Not every pair is looked at: hashes are compared within bands.
    """
    if len(records) < 2:
        return []
    features = _Features.of(records)
    content, class_, held = np.array(contents), np.array(classes), np.array(held_out, bool)
    nobody = len(records)
    others = np.full((len(RELATIONS), nobody), nobody)
    for one, two in _candidates(features.hashes):
        close = _distance(features.hashes[one], features.hashes[two]) <= MAX_BITS
        low, high = np.minimum(one, two)[close], np.maximum(one, two)[close]
        relation = np.where(class_[low] != class_[high], 0, np.where(held[low] != held[high], 1, 2))
        owner = np.where((relation == 1) & held[high], low, high)
        unknown = (others[relation, owner] == nobody) & (content[low] != content[high])
        low, high, relation, owner = low[unknown], high[unknown], relation[unknown], owner[unknown]
        alike = features.alike(low, high)
        low, high, relation, owner = low[alike], high[alike], relation[alike], owner[alike]
        np.minimum.at(others, (relation, owner), low + high - owner)
    gravest = np.argmax(others < nobody, axis=0)
    found = np.flatnonzero((others < nobody).any(axis=0))
    return [Near(RELATIONS[gravest[item]], int(item), int(others[gravest[item], item])) for item in found]


@dataclass(frozen=True, slots=True)
class _Features:
    """What photos are compared by, a row a photo."""

    hashes: NDArray[np.uint64]
    grids: NDArray[np.float32]
    """Less each channel's mean."""
    means: NDArray[np.float32]
    norms: NDArray[np.float32]

    @classmethod
    def of(cls, records: Sequence[Record]) -> "_Features":
        hashes = _bytes(record.hash for record in records).view(">u8").astype(np.uint64)
        grids = _bytes(record.grid for record in records).reshape(len(records), GRID * GRID, 3).astype(np.float32)
        means = grids.mean(axis=1)
        grids = (grids - means[:, None]).reshape(len(records), -1)
        norms = np.sqrt((grids**2).sum(axis=1) + _FLAT)
        return cls(hashes, grids, means, norms)

    def alike(self, one: Indices, two: Indices) -> NDArray[np.bool_]:
        """Say of each pair, whose hashes differ in few bits, whether colours and contrast agree."""
        bits = _distance(self.hashes[one], self.hashes[two])
        norms = self.norms[one], self.norms[two]
        correlation = ((self.grids[one] * self.grids[two]).sum(axis=1) + _FLAT) / (norms[0] * norms[1])
        contrast = np.minimum(*norms) / np.sqrt(np.float32(self.grids.shape[1]))
        colour = np.abs(self.means[one] - self.means[two]).max(axis=1)
        agree: NDArray[np.bool_] = correlation >= np.where(bits <= FEW_BITS, MIN_CORRELATION_OF_FEW, MIN_CORRELATION)
        agree &= np.maximum(*norms) <= MAX_CONTRAST * np.minimum(*norms)
        agree &= colour <= np.minimum(MAX_COLOUR, FLAT_COLOUR + 2 * contrast)
        return agree


_FLAT = np.float32(GRID * GRID * 3 * 2**2)
"""Added to products of grids: two that are flat to within about two steps of brightness correlate by 1."""


def _bytes(parts: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(parts), np.uint8)


def _candidates(hashes: NDArray[np.uint64]) -> Iterator[tuple[Indices, Indices]]:
    """Yield pairs of indices whose hashes have a band in common, each pair once.

    Sorted by a band, equal bands stand side by side: each is paired with its neighbour 1, 2, 3 … places on, as long as
    that one still has the same band.
    """
    low = 0
    for bits in _BANDS:
        band = (hashes >> np.uint64(low)) & np.uint64((1 << bits) - 1)
        order = np.lexsort((hashes, band))  # equal hashes side by side
        band, below = band[order], hashes[order] & np.uint64((1 << low) - 1)
        low += bits
        places = np.arange(len(band))
        for step in range(1, MAX_NEIGHBOURS + 1):
            places = places[places < len(band) - step]
            places = places[band[places] == band[places + step]]
            if not len(places):
                break
            fresh = places[~_share_a_band(below[places] ^ below[places + step], low - bits)]
            yield order[fresh], order[fresh + step]


def _share_a_band(differing: NDArray[np.uint64], below: int) -> NDArray[np.bool_]:
    """Whether no bit differs in some band that ends below a bit: such a pair has come already."""
    result = np.zeros(len(differing), np.bool_)
    low = 0
    for bits in _BANDS:
        if low >= below:
            break
        result |= (differing >> np.uint64(low)) & np.uint64((1 << bits) - 1) == 0
        low += bits
    return result


def _distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of bits that differ."""
    differing = (one ^ other).view(np.uint16).reshape(-1, 4)
    count: NDArray[np.int64] = _ONES[differing].sum(axis=1, dtype=np.int64)
    return count


_ONES = np.array([bin(number).count("1") for number in range(1 << 16)], np.uint8)
