"""What a reader must know of an evaluation's figures, in sentences.

Knows English. Does not know how figures are made.
"""

from collections.abc import Iterator, Sequence

from garbage_cli.evaluation.rejection import KEEP
from garbage_cli.evaluation.values import TOP, Answers, Calibration, Figures, Rejection, Source

NAMED = 10
"""Kinds that a sentence names; of more it tells the number."""
MANY = 100
"""Photos of all kinds under which what is fitted on them says little."""
FEW = 10
"""Photos of a kind under which a figure says little."""


def notes(
    answers: Answers, source: Source, kinds: Sequence[Figures], calibration: Calibration, rejection: Rejection
) -> Iterator[str]:
    """Yield the sentences, the gravest first."""
    yield from _of_photos(answers, source)
    yield from _of_kinds(kinds, source)
    yield from _of_choices(source, calibration, rejection)


def _of_photos(answers: Answers, source: Source) -> Iterator[str]:
    if source.split in ("train", "all"):
        yield f"the {source.split} split holds photos that models are trained on: figures on those flatter"
    if bad := len(answers.unreadable):
        yield f"{_photos(bad)} could not be read and {_are(bad)} in no figure"
    if new := len(answers.strangers):
        kinds = sorted(set(answers.stranger_kinds))
        yield (
            f"{_photos(new)} {_are(new)} of kinds that the model does not know ({_named(kinds)}) "
            "and in no figure but their own"
        )
    if source.problems:
        lines = "line of its lists" if source.problems == 1 else "lines of its lists"
        yield f"{source.problems} {lines} can't be used; see: garbage check"


def _of_kinds(kinds: Sequence[Figures], source: Source) -> Iterator[str]:
    if empty := [each.label.name for each in kinds if not each.photos]:
        yield (
            f"{source.split} has no photo of {_named(empty)}: nothing is known of {_it(empty)}, "
            f"and the macro figures leave {_it(empty)} out"
        )
    if few := [each.label.name for each in kinds if 0 < each.photos < FEW]:
        yield f"fewer than {FEW} photos of {_named(few)}: see how wide the intervals are"
    if len(kinds) <= TOP:
        yield f"top-{TOP} is top-{len(kinds)} here, since the model knows no more kinds, and so always 100 %"
    if all(each.label.bin_name is None for each in kinds):
        yield "the labels name no bins, so there are no figures by bin"


def _of_choices(source: Source, calibration: Calibration, rejection: Rejection) -> Iterator[str]:
    if rejection.proposed:
        yield "the model carries no threshold and always answers; the one shown would be its"
    if calibration.fitted_here and sum(each.photos for each in calibration.bins) < MANY:
        yield f"on fewer than {MANY} photos temperature, calibration error and threshold are largely chance"
    chosen = [
        *(["temperature"] if calibration.fitted_here else []),
        *(["threshold"] if rejection.fitted_here else []),
    ]
    if chosen:
        best = ", as the epoch was if these are the training's own" if source.split == "val" else ""
        were = "were" if len(chosen) > 1 else "was"
        yield f"{' and '.join(chosen)} {were} chosen on these photos{best}: new ones will do a little worse"
    if not rejection.reached and rejection.fitted_here:
        yield (
            f"no threshold that leaves enough answers gives a precision of {_percent(rejection.asked)} here; "
            f"the one chosen keeps {_percent(KEEP)} of the right answers"
        )
    if not rejection.reached and not rejection.fitted_here:
        yield f"the bundle's threshold does not give a precision of {_percent(rejection.asked)} on these photos"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _photos(number: int) -> str:
    return f"{number} photo{'s' if number != 1 else ''}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _named(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
