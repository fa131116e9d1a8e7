"""What a model says of labelled photos → how good it is, and what it gets wrong.

Knows metrics: scikit-learn's, with SciPy's intervals. Does not know engines, files or the terminal.
"""

from dataclasses import dataclass

import numpy as np

from garbage_cli.errors import DatasetError
from garbage_cli.evaluation.calibration import calibrate, tempered
from garbage_cli.evaluation.counting import confusion, macro, per_class, share
from garbage_cli.evaluation.mistakes import bins_of, confusions, mistakes
from garbage_cli.evaluation.notes import notes
from garbage_cli.evaluation.rejection import PRECISION, Outcome, reject
from garbage_cli.evaluation.values import (
    TOP,
    Answers,
    Calibration,
    Counts,
    Estimate,
    Evaluation,
    Figures,
    Flags,
    Ids,
    Rejection,
    Source,
    Speed,
    Subject,
)
from garbage_cli.labels import Labels
from garbage_cli.vendor import require

__all__ = ["PRECISION", "Served", "evaluate", "require_libraries"]


@dataclass(frozen=True, slots=True)
class Served:
    """What a bundle comes with."""

    temperature: float
    """What its network divides logits by."""
    threshold: float | None
    """The score under which it is not sure; None where it always answers."""
    asked: float | None = None
    """The precision that this threshold was chosen for, where it says so."""


def require_libraries() -> None:
    """Raise MissingExtraError where scikit-learn is not installed."""
    require("evaluation", module="sklearn", package="scikit-learn", extra="evaluate")


def evaluate(
    answers: Answers,
    *,
    subject: Subject,
    source: Source,
    served: Served | None = None,
    precision: float | None = None,
    speed: Speed | None = None,
    remarks: tuple[str, ...] = (),
) -> Evaluation:
    """Return all figures. What `served` does not bring, temperature and threshold, is fitted on these photos.

    `precision` is what the threshold must give: the share of answers with the right bin, 0…1; None means what the
    threshold that was served was chosen for, or else PRECISION. `remarks` come before its own notes. Raises
    DatasetError if no photo was answered, and MissingExtraError without scikit-learn.
    """
    require_libraries()
    if not len(answers.true):
        raise DatasetError(_nothing(answers, source))
    labels, true, answered = answers.labels, answers.true, answers.answered
    counts = confusion(true, answered, classes=len(labels))
    bins, by_bin, right_bin = _by_bin(labels, true, answered)
    calibration, scores = calibrate(answers.scores, true, temperature=served.temperature if served else None)
    outcome = Outcome(scores.max(axis=1).astype(np.float64), true == answered, right_bin)
    rejection = _reject(answers, outcome, calibration, served, precision)
    kinds = per_class(counts, labels.items)
    macro_precision, macro_recall, macro_f1 = macro(kinds, counts)
    return Evaluation(
        subject=subject,
        source=source,
        labels=labels,
        photos=len(true),
        top1=_share(true == answered),
        top5=_top5(answers),
        top5_k=min(TOP, len(labels)),
        macro_precision=macro_precision,
        macro_recall=macro_recall,
        macro_f1=macro_f1,
        bin_accuracy=None if right_bin is None else _share(right_bin),
        kinds=kinds,
        bins=bins,
        confusion=counts,
        bin_confusion=by_bin,
        confusions=confusions(counts, labels),
        mistakes=mistakes(answers, scores, threshold=0 if rejection.proposed else rejection.threshold),
        calibration=calibration,
        rejection=rejection,
        speed=speed,
        unreadable=answers.unreadable,
        notes=(*remarks, *notes(answers, source, kinds, calibration, rejection)),
    )


def _nothing(answers: Answers, source: Source) -> str:
    """Why there is no figure."""
    if not source.photos:
        return f"{source.root} has no photo in {source.split}"
    if answers.strangers:
        kinds = ", ".join(sorted(set(answers.stranger_kinds))[:5])
        known = ", ".join(label.name for label in answers.labels.items[:5])
        return f"the model knows none of the kinds in {source.root} ({kinds} …); it knows {known} …"
    first = answers.unreadable[0]
    return f"no photo in {source.split} of {source.root} could be read; the first: {first.name}: {first.reason}"


def _by_bin(labels: Labels, true: Ids, answered: Ids) -> tuple[tuple[Figures, ...], Counts, Flags | None]:
    """The bins' figures, their confusion, and which photos' bin is right; None where no label names a bin."""
    bins, place = bins_of(labels)
    if not bins:
        return (), np.zeros((0, 0), np.int64), None
    bin_true, bin_answered = (np.asarray(place, np.int64)[ids] for ids in (true, answered))
    counts = confusion(bin_true, bin_answered, classes=len(bins))
    return per_class(counts, bins), counts, bin_true == bin_answered


def _reject(
    answers: Answers, outcome: Outcome, calibration: Calibration, served: Served | None, precision: float | None
) -> Rejection:
    strangers = answers.stranger_scores
    if served is None:
        strangers = tempered(strangers, calibration.temperature)
    return reject(
        outcome,
        strangers.max(axis=1, initial=0).astype(np.float64),
        tuple(sorted(set(answers.stranger_kinds))),
        precision=precision or (served and served.asked) or PRECISION,
        proposed=served is not None and served.threshold is None,
        threshold=served.threshold if served else None,
    )


def _share(right: Flags) -> Estimate:
    found = share(int(right.sum()), len(right))
    assert found is not None
    return found


def _top5(answers: Answers) -> Estimate:
    """The share of photos whose kind is among the likeliest five; of equals `predict` names the lower number first.

    (scikit-learn's top_k_accuracy_score takes the higher one, and is the same otherwise.)
    """
    rows = np.arange(len(answers.true))
    own = answers.scores[rows, answers.true][:, None]
    before = (answers.scores > own).sum(axis=1)
    lower = np.arange(len(answers.labels)) < answers.true[:, None]
    before += ((answers.scores == own) & lower).sum(axis=1)
    return _share(before < TOP)
