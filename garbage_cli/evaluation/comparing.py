"""Two models on the same photos: what one has right that the other has wrong, and whether that can be chance.

Knows paired tests. Does not know engines or files.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from garbage_cli.errors import DatasetError
from garbage_cli.evaluation.counting import DRAWS, LEVEL
from garbage_cli.evaluation.values import (
    Answers,
    Comparison,
    Difference,
    Disagreement,
    Estimate,
    Evaluation,
)
from garbage_cli.labels import Label

Flags = NDArray[np.bool_]
_SEED = 0


def compare(a: Evaluation, a_answers: Answers, b: Evaluation, b_answers: Answers) -> Comparison:
    """Return the differences, b less a, over the photos that both answered and whose kind both know."""
    a_rows, b_rows = _shared(a_answers, b_answers)
    if not len(a_rows):
        raise DatasetError(f"{a.subject.source} and {b.subject.source} have no photo in common to be compared on")
    a_labels, b_labels = _said(a_answers, a_rows), _said(b_answers, b_rows)
    true = [a_answers.labels[int(i)] for i in a_answers.true[a_rows]]
    return Comparison(
        a=a,
        b=b,
        photos=len(a_rows),
        top1=_difference(_same(a_labels, true), _same(b_labels, true)),
        bin_accuracy=_bins(a_labels, b_labels, true) if a.bin_accuracy and b.bin_accuracy else None,
        macro_f1=_macro_f1(true, a_labels, b_labels),
        disagreements=tuple(sorted(_disagreements(a_answers, a_rows, b_answers, b_rows), key=_order)),
    )


def _shared(a: Answers, b: Answers) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the same photos in both."""
    place = {name: row for row, name in enumerate(b.names)}
    rows = [(row, place[name]) for row, name in enumerate(a.names) if name in place]
    both = np.asarray(rows, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _said(answers: Answers, rows: NDArray[np.int64]) -> list[Label]:
    return [answers.labels[int(i)] for i in answers.answered[rows]]


def _same(said: list[Label], true: list[Label]) -> Flags:
    return np.array([a.text == t.text for a, t in zip(said, true, strict=True)], np.bool_)


def _bins(a: list[Label], b: list[Label], true: list[Label]) -> Difference:
    right = ([x.bin_name == t.bin_name for x, t in zip(said, true, strict=True)] for said in (a, b))
    return _difference(*(np.array(each, np.bool_) for each in right))


def _difference(a: Flags, b: Flags) -> Difference:
    """The difference of two shares of the same photos: paired bootstrap, McNemar's exact test."""
    from scipy.stats import binomtest

    only_a, only_b, total = int((a & ~b).sum()), int((b & ~a).sum()), len(a)
    drawn = np.random.default_rng(_SEED).multinomial(
        total, [only_a / total, only_b / total, 1 - (only_a + only_b) / total], size=DRAWS
    )
    p = float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    difference = _estimate(float(b.mean() - a.mean()), (drawn[:, 1] - drawn[:, 0]) / total)
    return Difference(float(a.mean()), float(b.mean()), difference, only_a, only_b, p)


def _estimate(value: float, drawn: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def _macro_f1(true: list[Label], a: list[Label], b: list[Label]) -> Estimate:
    """The difference of macro-F1 over the kinds that have photos, with a paired bootstrap's interval."""
    from sklearn.metrics import f1_score

    texts = sorted({label.text for label in (*true, *a, *b)})
    place = {text: i for i, text in enumerate(texts)}
    t, x, y = (np.array([place[label.text] for label in labels], np.int64) for labels in (true, a, b))
    present = np.unique(t)
    value = float(
        np.subtract(*(f1_score(t, said, labels=present, average="macro", zero_division=0) for said in (y, x)))
    )
    return _estimate(value, np.array(list(_redrawn(t, x, y, present, len(texts)))))


def _redrawn(
    t: NDArray[np.int64], x: NDArray[np.int64], y: NDArray[np.int64], present: NDArray[np.int64], classes: int
) -> Iterator[float]:
    rng = np.random.default_rng(_SEED)
    for _ in range(DRAWS):
        rows = rng.integers(0, len(t), len(t))
        yield _f1(t[rows], y[rows], present, classes) - _f1(t[rows], x[rows], present, classes)


def _f1(true: NDArray[np.int64], said: NDArray[np.int64], present: NDArray[np.int64], classes: int) -> float:
    """Macro-F1 of one draw, quickly: over those of the present kinds that were drawn."""
    photos, answers = np.bincount(true, minlength=classes), np.bincount(said, minlength=classes)
    right = np.bincount(true[true == said], minlength=classes)
    there = photos[present] > 0
    return float((2 * right / np.maximum(photos + answers, 1))[present][there].mean())


def _disagreements(
    a: Answers, a_rows: NDArray[np.int64], b: Answers, b_rows: NDArray[np.int64]
) -> Iterator[Disagreement]:
    for i, j in zip(a_rows.tolist(), b_rows.tolist(), strict=True):
        said = [
            (answers.labels[k := int(answers.scores[row].argmax())], float(answers.scores[row, k]))
            for answers, row in ((a, i), (b, j))
        ]
        if said[0][0].text != said[1][0].text:
            yield Disagreement(a.names[i], a.labels[int(a.true[i])], *said[0], *said[1])


def _order(each: Disagreement) -> tuple[bool, float]:
    return each.verdict == "neither", -max(each.a_score, each.b_score)
