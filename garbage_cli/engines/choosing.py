"""Which engine and precision is taken: the fastest here of those that answer as well as the checkpoint did.

Knows what was asked, what the bundle has proved, what this machine can do and how fast each is on it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from garbage_cli.bundle import ModelBundle
from garbage_cli.engines import (
    KINDS,
    NAMES,
    PRECISIONS,
    Choice,
    Engine,
    Options,
    holds_files,
    is_installed,
    open_engine,
)
from garbage_cli.engines.machine import has_int8_products, processor
from garbage_cli.engines.speeds import Speed, deviation, measure, probes, recall, recorded
from garbage_cli.errors import BundleError, ConfigError, MissingExtraError

WORTH_TIMING = 2000
"""From so many photos on, a few seconds of timing each engine are soon made good."""
DEVIATION = 0.05
"""How far the scores of a precision may be from those it gave where it was measured, before it is not trusted here."""

Tell = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; `auto` leaves it to us."""

    engine: str = "auto"
    precision: str = "auto"
    options: Options = field(default_factory=Options)


def hub_wish(*, use_gpu: bool, enable_mkldnn: bool) -> Wish:
    """Return what PaddleHub's init_args ask for: Paddle on a GPU, else Paddle with oneDNN, else the fastest here."""
    return Wish("paddle", options=Options(use_gpu=use_gpu)) if use_gpu or enable_mkldnn else Wish()


@dataclass(frozen=True, slots=True)
class Chosen:
    """What to try, the best first, and why the first is the first."""

    choices: tuple[Choice, ...]
    why: str


def choose(
    wish: Wish,
    bundle: ModelBundle,
    *,
    photos: int | None = 1,
    timed: bool = False,
    tell: Tell = lambda text: None,
) -> Chosen:
    """Put what can be used into order; `photos` is how many are to come, None for no end.

    Where speeds are not known of this machine yet, they are `timed` now, which takes seconds, or guessed.
    What this machine lacks is told and replaced. Raises ConfigError for what no engine or precision is called, or what
    excludes each other, BundleError for what the bundle does not hold.
    """
    _check(wish, bundle)
    engine = _engine(wish, tell)
    able = [each for each in _candidates(bundle, wish) if engine in ("auto", each.engine)]
    if not able:
        raise _none(wish, engine, bundle)
    if wish.precision != "auto":
        wanted = [each for each in able if each.precision == wish.precision]
        if lacking := [each for each in wanted if not _machine_can(each)]:
            tell(f"this processor has no {wish.precision} ({processor()}); f32 is used in its place")
            wanted = [each for each in able if each not in lacking and each.precision == "f32"]
        if not wanted:
            raise _no_network(Choice("any engine" if engine == "auto" else engine, wish.precision), bundle)
        able = wanted
    else:
        able = [each for each in able if _trusted(each, bundle) and _machine_can(each)]
        if not able:
            raise BundleError(f"{bundle.root} holds nothing that proved good enough; export the model again")
    return _ordered(able, bundle, photos, timed, tell)


def open_best(
    wish: Wish,
    bundle: ModelBundle,
    *,
    photos: int | None = 1,
    parallel: bool = False,
    threads: int = 0,
    tell: Tell = lambda text: None,
) -> tuple[Engine, Choice, str]:
    """Open the first of `choose` that loads; say so if that is not the first. Returns why it was taken, too."""
    timed = photos is not None and photos >= WORTH_TIMING
    chosen = choose(wish, bundle, photos=photos, timed=timed, tell=tell)
    rest = [each for each in _spare(bundle, chosen.choices[0].engine) if each not in chosen.choices]
    problems: list[str] = []
    for number, choice in enumerate((*chosen.choices, *rest)):
        try:
            engine = open_engine(choice, bundle, parallel=parallel, threads=threads, options=wish.options)
            _prove(engine, choice, bundle)
        except (BundleError, MissingExtraError) as error:
            for name in bundle.files:  # an altered file is an error, not a reason to try another engine
                bundle.file(name)
            problems.append(str(error))
            continue
        if problems:
            tell(f"{problems[0]}; {choice} is used in its place")
        return engine, choice, chosen.why if number == 0 else f"{choice}: {problems[0]}"
    raise BundleError("; ".join(problems))


def _prove(engine: Engine, choice: Choice, bundle: ModelBundle) -> None:
    """Raise BundleError if a narrower precision answers otherwise here than where it was measured."""
    expected = (bundle.facts.get("probes") or {}).get(choice.precision)
    if choice.precision == "f32" or choice.engine != "openvino" or expected is None:
        return
    if any(each.choice == choice and not each.failed and _answers_the_same(each) for each in recall(bundle)):
        return  # it was proved here before
    scores = np.concatenate([engine.infer(each[None]) for each in probes(bundle.input_shape)])
    if not deviation(scores, expected) <= DEVIATION:
        raise BundleError(f"{choice} answers otherwise on this processor ({processor()}) than where it was exported")


def candidates(bundle: ModelBundle) -> tuple[Choice, ...]:
    """Return what of this bundle could be run and trusted on this machine, Paddle included."""
    return tuple(each for each in _candidates(bundle, Wish()) if _trusted(each, bundle) and _machine_can(each))


def _check(wish: Wish, bundle: ModelBundle) -> None:
    if wish.engine != "auto" and wish.engine not in KINDS:
        raise ConfigError(f"no engine named {wish.engine!r}; use auto, {', '.join(NAMES)}")
    if wish.precision != "auto" and wish.precision not in PRECISIONS:
        raise ConfigError(f"no precision named {wish.precision!r}; use auto, {', '.join(PRECISIONS)}")
    if wish.options.for_paddle and wish.engine not in ("auto", "paddle"):
        raise ConfigError(f"of --set, only cpu_num_threads is not Paddle's alone; --engine is {wish.engine}")
    if wish.engine == "auto":
        return
    if wish.precision not in ("auto", *KINDS[wish.engine].files):
        able = ", ".join(KINDS[wish.engine].files)
        raise ConfigError(f"{wish.engine} computes in {able} here, not in {wish.precision}; use --engine openvino")
    choice = Choice(wish.engine, "f32" if wish.precision == "auto" else wish.precision)
    if not holds_files(choice, bundle):
        raise _no_network(choice, bundle)


def _no_network(choice: Choice, bundle: ModelBundle) -> BundleError:
    lost = bundle.precisions.get(choice.precision)
    if choice.precision != "f32" and lost is not None:
        return BundleError(f"{bundle.root} has no {choice.precision} network: {lost.why}; use --precision auto")
    if choice.precision != "f32":
        remedy = "export the model with --quantize, where its photos are, or use --precision auto"
        return BundleError(f"{bundle.root} has no {choice.precision} network; {remedy}")
    return BundleError(f"{bundle.root} holds no network for {choice.engine}; export the model again")


def _engine(wish: Wish, tell: Tell) -> str:
    """The engine to look at, after what is not installed is told."""
    engine = "paddle" if wish.options.for_paddle else wish.engine
    if engine != "auto" and not is_installed(engine):
        kind = KINDS[engine]
        package = kind.module if kind.extra is None else f"'garbage-cli[{kind.extra}]'"
        tell(f"{engine} is not installed (pip install {package}); another engine is used in its place")
        return "auto"
    return engine


def _candidates(bundle: ModelBundle, wish: Wish) -> Iterator[Choice]:
    proven = bundle.facts.get("parity") or NAMES  # an export names the engines that it found in agreement
    for engine, kind in KINDS.items():
        for precision in kind.files:
            choice = Choice(engine, precision)
            if is_installed(engine) and holds_files(choice, bundle) and (engine in proven or wish.engine == engine):
                yield choice


def _none(wish: Wish, engine: str, bundle: ModelBundle) -> Exception:
    if engine != "auto":
        return _no_network(Choice(engine, "f32" if wish.precision == "auto" else wish.precision), bundle)
    proven = bundle.facts.get("parity") or NAMES
    return BundleError(f"{bundle.root} runs in {', '.join(proven)}: install one of them (pip install openvino)")


def _spare(bundle: ModelBundle, engine: str) -> list[Choice]:
    """What to try when all that was chosen fails to load: f32 in every engine, the same one first."""
    able = [each for each in _candidates(bundle, Wish(engine)) if each.precision == "f32"]
    return sorted(able, key=lambda each: each.engine != engine)


def _trusted(choice: Choice, bundle: ModelBundle) -> bool:
    """Whether the export found this precision good enough; f32 is what it compared with."""
    proved = bundle.precisions.get(choice.precision)
    if choice.precision == "f32":
        return True
    probed = choice.precision in (bundle.facts.get("probes") or {})
    return choice.engine == "openvino" and proved is not None and proved.ships and probed


def _machine_can(choice: Choice) -> bool:
    if choice.precision == "int8":
        return has_int8_products()
    if choice.precision == "bf16":
        from garbage_cli.engines.openvino import has_bf16

        return has_bf16()
    return True


def _ordered(able: Sequence[Choice], bundle: ModelBundle, photos: int | None, timed: bool, tell: Tell) -> Chosen:
    """The fastest first, by what is known of this machine, or can be found out if that may be `timed` now."""
    if len(able) == 1:
        return Chosen(tuple(able), f"{able[0]}: it is the only one that is asked for, or there")
    known = recall(bundle)
    quick = [each for each in able if each.engine != "paddle"] or list(able)  # Paddle takes seconds to load
    if not all(any(speed.choice == each for speed in known) for each in quick):
        if not timed or all(each.precision == "f32" for each in quick):  # in f32 there is little to gain
            return _guessed(able, bundle, photos)
        known = measure(bundle, quick, tell=tell)
    return _fastest(able, known, bundle, photos)


def _fastest(able: Sequence[Choice], known: Sequence[Speed], bundle: ModelBundle, photos: int | None) -> Chosen:
    here = [each for each in known if each.choice in able and not each.failed]
    ranked = _ranked([each for each in here if _answers_the_same(each)], photos)
    off = [each.choice for each in here if not _answers_the_same(each)]
    failed = [each.choice for each in known if each.failed]
    if not ranked:
        return _guessed([each for each in able if each not in (*off, *failed)], bundle, photos)
    said = ", ".join(f"{each.choice} {_figure(each, photos)}" for each in ranked)
    left = f"; {', '.join(map(str, off))} answers otherwise on this processor" if off else ""
    rest = [each for each in able if each not in {speed.choice for speed in known}]
    return Chosen((*(each.choice for each in ranked), *rest), f"{ranked[0].choice} is the fastest here: {said}{left}")


def _ranked(speeds: Sequence[Speed], photos: int | None) -> list[Speed]:
    """The precision that is the fastest in the long run first: a photo gets the same answer alone and among many.

    In it, and after it, what is done first with so many photos.
    """
    if not speeds:
        return []
    precision = min(speeds, key=lambda each: each.bulk_ms).choice.precision
    return sorted(speeds, key=lambda each: (each.choice.precision != precision, each.seconds(photos)))


def _answers_the_same(speed: Speed) -> bool:
    """Whether a precision gives here what it gave at the export; f32 needs no proof."""
    return speed.choice.precision == "f32" or (speed.deviation is not None and speed.deviation <= DEVIATION)


def _figure(speed: Speed, photos: int | None) -> str:
    """What a speed was ranked by, in words."""
    if photos is not None and photos < WORTH_TIMING:
        return f"{speed.seconds(photos):.2f} s with its start"
    return f"{speed.single_ms if photos is None else speed.bulk_ms:.1f} ms a photo"


def _guessed(able: Sequence[Choice], bundle: ModelBundle, photos: int | None) -> Chosen:
    """By what the export measured on another machine; else the narrower the numbers, the sooner."""
    able = able or [each for each in _candidates(bundle, Wish()) if each.precision == "f32"]
    if elsewhere := [each for each in recorded(bundle) if each.choice in able and not each.failed]:
        ranked = [each.choice for each in _ranked(elsewhere, photos)]
        rest = [each for each in able if each not in ranked]
        return Chosen((*ranked, *rest), f"{ranked[0]} was the fastest where the model was exported")
    narrow = sorted(able, key=lambda each: (NAMES.index(each.engine), -PRECISIONS.index(each.precision)))
    return Chosen(tuple(narrow), f"{narrow[0]}: nothing was timed on this machine")
