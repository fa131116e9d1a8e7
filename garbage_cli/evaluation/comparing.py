"""Two models on the same photos: what one has right that the other has wrong, and whether that can be chance.

Knows paired tests. Does not know engines or files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import DatasetError
from garbage_cli.evaluation.counting import CHUNK, DRAWS, LEVEL
from garbage_cli.evaluation.matching import bin_key, match
from garbage_cli.evaluation.values import (
    Answers,
    Comparison,
    Difference,
    Disagreement,
    Estimate,
    Evaluation,
    Flags,
    Ids,
)
from garbage_cli.labels import Labels

_SEED = 0


@dataclass(frozen=True)
class _Side:
    """What one model says of the shared photos, in their order."""

    answers: Answers
    rows: Ids

    @cached_property
    def true(self) -> Ids:
        return self.answers.true[self.rows]

    @cached_property
    def said(self) -> Ids:
        return self.answers.answered[self.rows]

    @cached_property
    def right(self) -> Flags:
        return np.asarray(self.true == self.said, np.bool_)

    @property
    def right_bin(self) -> Flags:
        """By the model's own bins."""
        keys = [bin_key(label) for label in self.answers.labels.items]
        place = np.array([keys.index(key) for key in keys], np.int64)
        return np.asarray(place[self.true] == place[self.said], np.bool_)

    def score(self, photo: int) -> float:
        return float(self.answers.scores[self.rows[photo]].max())


def compare(a: Evaluation, a_answers: Answers, b: Evaluation, b_answers: Answers) -> Comparison:
    """Return the differences, b less a, over the photos that both answered and whose kind both know.

    Each model is right by its own labels; kinds of the two are the same as in `match`.
    """
    one, other = _shared(a_answers, b_answers)
    if not len(one.rows):
        raise DatasetError(f"{a.subject.source} and {b.subject.source} have no photo in common to be compared on")
    said = _in_numbers_of(a_answers.labels, b_answers.labels)[other.said]
    macro = _macro_f1(one.true, one.said, said)
    bins = _difference(one.right_bin, other.right_bin) if a.bin_accuracy and b.bin_accuracy else None
    return Comparison(
        a=a,
        b=b,
        photos=len(one.rows),
        top1=_difference(one.right, other.right),
        bin_accuracy=bins,
        a_macro_f1=macro[0],
        b_macro_f1=macro[1],
        macro_f1=macro[2],
        disagreements=tuple(sorted(_disagreements(one, other, said), key=_order)),
    )


def _shared(a: Answers, b: Answers) -> tuple[_Side, _Side]:
    place = {name: row for row, name in enumerate(b.names)}
    rows = [(row, place[name]) for row, name in enumerate(a.names) if name in place]
    both = np.asarray(rows, np.int64).reshape(-1, 2)
    return _Side(a, both[:, 0]), _Side(b, both[:, 1])


def _in_numbers_of(a: Labels, b: Labels) -> Ids:
    """B's kinds in A's numbers; those that A does not have come after."""
    known, _, _ = match(b, a)
    return np.array([known.get(i, len(a) + i) for i in range(len(b))], np.int64)


def _difference(a: Flags, b: Flags) -> Difference:
    """The difference of two shares of the same photos, and McNemar's exact test of it.

    The interval is that of Agresti and Min, "Simple improved confidence intervals for comparing matched proportions"
    (2005): half a photo more in each of the four cells.
    """
    from scipy.stats import binomtest, norm

    only_a, only_b, total = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    more, less, of = only_b + 0.5, only_a + 0.5, total + 2
    middle = (more - less) / of
    reach = float(norm.ppf((1 + LEVEL) / 2)) * ((more + less - (more - less) ** 2 / of) ** 0.5) / of
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    difference = Estimate((only_b - only_a) / total, max(-1.0, middle - reach), min(1.0, middle + reach))
    return Difference(float(a.mean()), float(b.mean()), difference, only_a, only_b, p)


def _macro_f1(true: Ids, a: Ids, b: Ids) -> tuple[float, float, Estimate]:
    """Macro-F1 of both, and their difference with the interval of a paired bootstrap."""
    cells, counts = np.unique(np.stack([true, a, b], axis=1), axis=0, return_counts=True)
    present = np.unique(true)
    values = [float(each[0]) for each in _f1(counts[None].astype(np.float64), cells, present)]
    rng = np.random.default_rng(_SEED)
    drawn = np.concatenate(
        [
            np.subtract(*reversed(_f1(rng.multinomial(len(true), counts / len(true), CHUNK), cells, present)))
            for _ in range(DRAWS // CHUNK)
        ]
    )
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return values[0], values[1], Estimate(values[1] - values[0], float(low), float(high))


def _f1(drawn: NDArray[Any], cells: Ids, present: Ids) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Macro-F1 of both models for each draw of photos by (true, a, b), over the kinds that were drawn."""
    from scipy.sparse import csr_matrix

    classes = int(cells.max()) + 1

    def summed(ids: Ids, which: Flags) -> NDArray[np.float64]:
        ones = csr_matrix((which.astype(np.float64), (ids, np.arange(len(ids)))), shape=(classes, len(ids)))
        return np.asarray((ones @ drawn.T).T[:, present], np.float64)

    every = np.ones(len(cells), np.bool_)
    true, (photos, there) = cells[:, 0], (each := summed(cells[:, 0], every), each > 0)
    found = []
    for said in (cells[:, 1], cells[:, 2]):
        right, answered = summed(true, np.asarray(true == said, np.bool_)), summed(said, every)
        scores = 2 * right / np.maximum(photos + answered, 1)
        found.append((scores * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1))
    return found[0], found[1]


def _disagreements(a: _Side, b: _Side, b_said: Ids) -> Iterator[Disagreement]:
    for photo in np.flatnonzero(a.said != b_said).tolist():
        yield Disagreement(
            name=a.answers.names[a.rows[photo]],
            true=a.answers.labels[int(a.true[photo])],
            a=a.answers.labels[int(a.said[photo])],
            a_score=a.score(photo),
            b=b.answers.labels[int(b.said[photo])],
            b_score=b.score(photo),
            verdict="a" if a.right[photo] else "b" if b.right[photo] else "neither",
        )


def _order(each: Disagreement) -> tuple[bool, float]:
    return each.verdict == "neither", -max(each.a_score, each.b_score)
