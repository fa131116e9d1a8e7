"""Figures in words, as a person says them.

Knows English and how many digits a share deserves. Does not know pages.
"""

from garbage_cli.evaluation.rejection import FEWEST
from garbage_cli.evaluation.values import Calibration, Difference, Estimate, Rejection, Speed
from garbage_cli.labels import HAZARDOUS, Bin, Label

NO_BREAK = "\u00a0"
MINUS = "\u2212"


def percent(share: float) -> str:
    """Say a share as `91.2 %`; what is nearly all or nearly none, as `99.97 %` or `>99.99 %`."""
    digits = 2 if 0.9995 <= share < 1 or 0 < share < 0.0005 else 1
    said = f"{100 * share:.{digits}f}"
    said = {"100.00": ">99.99", "0.00": "<0.01"}.get(said, said)
    return f"{said}{NO_BREAK}%"


def about(share: float) -> str:
    """Say a share that is known roughly, as `about 7 %`."""
    return f"about {100 * share:.{0 if share >= 0.02 else 1}f}{NO_BREAK}%"


def interval(estimate: Estimate) -> str:
    """Say a 95 % interval as `88.1 – 93.9 %`."""
    return f"{100 * estimate.low:.1f} – {100 * estimate.high:.1f}{NO_BREAK}%"


def points(share: float) -> str:
    """Say a difference of shares, in percentage points, as `+1.2`."""
    said = f"{100 * share:+.1f}".replace("-", MINUS)
    return "0.0" if said[1:] == "0.0" else said


def points_interval(estimate: Estimate) -> str:
    """Say the interval of a difference as `−0.5 to +2.9 points`."""
    return f"{points(estimate.low)} to {points(estimate.high)} points"


def chance(p: float) -> str:
    """Say a p value."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def photos(number: int) -> str:
    """Say a number of photos."""
    return f"{number:,} photo" if number == 1 else f"{number:,} photos"


def bin_of(label: Label) -> Bin | None:
    """Return the bin of a kind, or of a label whose name is a bin's."""
    return label.bin or Label(label.class_id, label.name, label.name).bin


def bin_text(label: Label) -> str:
    """Say a kind's bin in Chinese and English; nothing where it has none."""
    known = label.bin
    return f"{label.bin_name} {known.english}" if known else label.bin_name or ""


def kind_text(label: Label) -> str:
    """Say a kind in Chinese and English."""
    return f"{label.name} {label.english}" if label.english else label.name


# ---- sentences


def of_threshold(rejection: Rejection) -> str:
    """Say what the threshold gives."""
    if rejection.proposed:
        return _of_proposal(rejection)
    head = f"At the threshold {rejection.threshold:.2f}, {percent(rejection.coverage.value)} of photos are answered"
    if rejection.precision is None:
        return f"{head}: none, so nothing is known of the answers."
    return f"{head}, and of those {percent(rejection.precision.value)} {_good(rejection)}."


def _of_proposal(rejection: Rejection) -> str:
    """What a bundle without a threshold could have."""
    right = f", and of those {percent(rejection.precision.value)} {_good(rejection)}" if rejection.precision else ""
    return (
        f"This bundle carries no threshold and always answers; {rejection.threshold:.2f} would give an answer to "
        f"{percent(rejection.coverage.value)} of photos{right}. Export it again to have it."
    )


def _good(rejection: Rejection) -> str:
    return "go to the right bin" if rejection.of == "bin" else "are named right"


def of_choice(rejection: Rejection, *, number: int) -> str:
    """Say where the threshold comes from, and what to expect of it elsewhere; `number` of photos are evaluated."""
    asked = percent(rejection.asked)
    if not rejection.fitted_here:
        reached = "is reached here" if rejection.reached else "is not reached here"
        return f"It came with the bundle; the precision of {asked} that is asked of it {reached}."
    least = min(FEWEST, -(-number // 2))
    enough = "1 answer" if least == 1 else f"{least} answers"
    chosen = (
        f"It was chosen on these very photos, for a precision of {asked}."
        if rejection.reached
        else f"No threshold that leaves {enough} gives the precision of {asked} that was asked for; this one keeps "
        "nearly all right answers."
    )
    if rejection.cross_fitted is None:
        return chosen
    return f"{chosen} Chosen on four fifths and tried on the others, it gives {percent(rejection.cross_fitted)}."


def of_calibration(calibration: Calibration) -> list[str]:
    """Say what the scores are worth, a sentence each."""
    off = percent(calibration.ece)
    said = [f"Among photos of like scores, score and share of right answers differ by {off} on average (ECE)."]
    if chance_of_it := of_noise(calibration):
        said.append(chance_of_it)
    if calibration.temperature != 1:
        said.append(f"Without the temperature it would be {percent(calibration.ece_uncalibrated)}.")
    said.append(_of_temperature(calibration))
    if calibration.ece_cross_fitted is not None:
        said.append(
            f"With a temperature that has not seen the photos it is tried on, the error is "
            f"{percent(calibration.ece_cross_fitted)}: expect this on new photos."
        )
    return said


def of_noise(calibration: Calibration) -> str:
    """Say what error chance alone would show; nothing where that is next to none, or not known."""
    if calibration.noise is None or calibration.noise < 0.0005:
        return ""
    number = sum(each.photos for each in calibration.bins)
    return f"By chance, even perfect scores would show {about(calibration.noise)} on {photos(number)}."


def _of_temperature(calibration: Calibration) -> str:
    value = f"{calibration.temperature:.2f}"
    tends = _tendency(calibration.temperature)
    if calibration.fitted_here:
        return f"The temperature that fits these photos is {value}: {tends}."
    best = f"{calibration.best_temperature:.2f}"
    return f"The temperature came with the bundle and is {value}: {tends}. These photos would be fitted best by {best}."


def _tendency(temperature: float) -> str:
    if abs(temperature - 1) < 0.005:
        return "the network's own scores are served"
    return f"the network by itself is too {'sure' if temperature > 1 else 'timid'}"


def of_difference(difference: Difference, what: str) -> str:
    """Say who has more photos right, and whether that can be chance; `what` is "kind" or "bin"."""
    if not difference.only_a and not difference.only_b:
        return f"By {what}, A and B have the same photos right."
    uneven = (
        f"By {what}, B has {photos(difference.only_b)} right that A has wrong, "
        f"A {difference.only_a:,} that B has wrong: {chance(difference.p)}"
    )
    if not difference.significant:
        return f"{uneven}, no significant difference."
    return f"{uneven}, {'B' if difference.only_b > difference.only_a else 'A'} is better."


def of_hazard(bins: "list[tuple[Label, int, int]]") -> str:
    """Say where the hazardous photos went, from (bin, photos, right ones); nothing where there are none."""
    for label, number, right in bins:
        if bin_of(label) is HAZARDOUS and number:
            return f"Of {photos(number)} of hazardous waste, {right:,} would go to the hazardous bin."
    return ""


def of_speed(speed: Speed) -> str:
    """Say how fast photos are answered."""
    cores = "1 core" if speed.cores == 1 else f"{speed.cores} cores"
    return (
        f"{rate(speed.images_per_second)} photos a second with {speed.engine} on {cores}, from file to answer, "
        f"{photos(speed.photos)} in a row. One photo by itself takes {milliseconds(speed.ms_p50)} (median of "
        f"{speed.single:,}), and 99 of 100 take no more than {milliseconds(speed.ms_p99)}."
    )


def rate(value: float) -> str:
    """Say a rate with three digits or so."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def milliseconds(value: float) -> str:
    """Say a time."""
    return f"{value:,.0f}{NO_BREAK}ms" if value >= 100 else f"{value:.1f}{NO_BREAK}ms"
