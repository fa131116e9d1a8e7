"""What mistakes cost at the bin, the dearest first.

Knows bins. Does not know metrics or files.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from garbage_cli.evaluation.matching import bin_key
from garbage_cli.evaluation.values import Answers, Confusion, Cost, Counts, Mistake, Scores
from garbage_cli.labels import BINS, HAZARDOUS, KITCHEN, RECYCLABLE, Label, Labels


def cost(true: Label, answered: Label) -> Cost:
    """Return what it costs to take one kind for another.

    Hazardous waste in any other bin is worst; then what gets into recyclables or compost and spoils them; then what is
    only lost, or treated as hazardous without need. A wrong kind in the right bin costs nothing.
    """
    if bin_key(true) == bin_key(answered):
        return Cost.NAME_ONLY
    if true.bin is HAZARDOUS:
        return Cost.HAZARDOUS
    return Cost.SPOILS if answered.bin in (RECYCLABLE, KITCHEN) else Cost.MISPLACED


def bins_of(labels: Labels) -> tuple[tuple[Label, ...], list[int]]:
    """Return the bins as labels, and the bin's place for each kind; no bins where no label names one.

    The four of the national standard come first and in its order. A kind without a bin, among others that have one,
    counts as a bin of its own: nobody knows which bin is right for it, so only its own name is.
    """
    if not any(label.bin_name for label in labels.items):
        return (), []
    order = {("bin", bin_.key): i for i, bin_ in enumerate(BINS)}
    first = {bin_key(label): label for label in reversed(labels.items)}
    keys = sorted(first, key=lambda key: (order.get(key, len(BINS)), key))
    bins = tuple(
        Label(i, first[key].bin_name or f"— {first[key].name}", first[key].bin_name) for i, key in enumerate(keys)
    )
    return bins, [keys.index(bin_key(label)) for label in labels.items]


def confusions(counts: Counts, labels: Labels) -> tuple[Confusion, ...]:
    """Return the kinds that are taken for others, the dearest first, then the most frequent."""
    found = [
        Confusion(
            labels[t], labels[a], int(counts[t, a]), float(counts[t, a] / counts[t].sum()), cost(labels[t], labels[a])
        )
        for t, a in zip(*(axis.tolist() for axis in np.nonzero(counts)), strict=True)
        if t != a
    ]
    return tuple(sorted(found, key=lambda each: (each.cost, -each.photos, -each.share)))


def mistakes(answers: Answers, scores: Scores, *, threshold: float) -> tuple[Mistake, ...]:
    """Return the photos that were taken for another kind, the dearest first, then the surest."""
    return tuple(sorted(_wrong(answers, scores, threshold), key=lambda each: (each.cost, -each.score)))


def _wrong(answers: Answers, scores: Scores, threshold: float) -> Iterator[Mistake]:
    answered: Sequence[int] = scores.argmax(axis=1).tolist()
    for i, (true, said) in enumerate(zip(answers.true.tolist(), answered, strict=True)):
        if true != said:
            labels, score = (answers.labels[true], answers.labels[said]), float(scores[i, said])
            yield Mistake(
                answers.names[i], *labels, score, float(scores[i, true]), cost(*labels), refused=score < threshold
            )
