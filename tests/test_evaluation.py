"""Figures from answers: the same as scikit-learn's, with what can't be known left open."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics
from sklearn.calibration import calibration_curve

from garbage_cli import evaluation as room
from garbage_cli.errors import DatasetError
from garbage_cli.evaluation import Served, calibration
from garbage_cli.evaluation.calibration import expected_error, fit_temperature, score_bins, tempered
from garbage_cli.evaluation.comparing import compare
from garbage_cli.evaluation.counting import confusion, f1, macro, per_class, share
from garbage_cli.evaluation.measured import Measured
from garbage_cli.evaluation.mistakes import cost
from garbage_cli.evaluation.plain import as_json, comparison_as_json
from garbage_cli.evaluation.rejection import Outcome, choose, curve, reject
from garbage_cli.evaluation.values import Answers, Cost, Evaluation, Rejection, Scores, Source, Subject, Unreadable
from garbage_cli.labels import THE_40, Label, Labels

SUBJECT = Subject("Net", "inference", "bundle", "model.onnx", "00", 224, None, {}, {})
FOUR = Labels.parse(["有害垃圾/干电池", "厨余垃圾/菜叶菜根", "可回收物/易拉罐", "可回收物/酒瓶"])


def source(photos: int, **parts: object) -> Source:
    return replace(Source("data", "val", "AI Studio lists", photos, 0), **parts)


def drawn(labels: Labels, photos: int, *, seed: int = 0, skill: float = 2.0, heat: float = 1.0) -> Answers:
    """Answers of a model that is right more often the more skill it has, and surer than it should be with more heat."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, len(labels), photos)
    logits = rng.normal(size=(photos, len(labels))) + skill * np.eye(len(labels))[true]
    scores = softmax(heat * logits, axis=1).astype(np.float32)
    return Answers(labels, tuple(f"{i}.jpg" for i in range(photos)), true, scores)


def certain(labels: Labels, true: list[int], said: list[int], scores: list[float] | None = None) -> Answers:
    """Answers with these kinds, each with a score, the rest spread evenly."""
    rows = np.zeros((len(true), len(labels)))
    for row, (kind, score) in enumerate(zip(said, scores or [0.9] * len(true), strict=True)):
        rows[row] = (1 - score) / (len(labels) - 1)
        rows[row, kind] = score
    return Answers(labels, tuple(f"{i}.jpg" for i in range(len(true))), np.array(true), rows.astype(np.float32))


def evaluated(answers: Answers, **options: object) -> Evaluation:
    options = {"subject": SUBJECT, "source": source(len(answers.true)), **options}
    return room.evaluate(answers, **options)


@pytest.mark.parametrize("labels", [FOUR, THE_40], ids=["four", "forty"])
@pytest.mark.parametrize("photos", [30, 400])
def test_the_figures_are_scikit_learns(labels: Labels, photos: int) -> None:
    answers = drawn(labels, photos, seed=photos)
    true, said = answers.true, answers.scores.argmax(axis=1)
    found = as_json(evaluated(answers))
    every = np.arange(len(labels))
    assert found["top1"] == metrics.accuracy_score(true, said)
    if len(labels) > 5:
        assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(true, answers.scores, k=5, labels=every))
    assert found["confusion"] == metrics.confusion_matrix(true, said, labels=every).tolist()
    present = np.unique(true)
    macro = metrics.precision_recall_fscore_support(true, said, labels=present, average="macro", zero_division=0)
    assert [found[f"macro_{each}"] for each in ("precision", "recall", "f1")] == pytest.approx(list(macro[:3]))
    parts = metrics.precision_recall_fscore_support(true, said, labels=every, zero_division=0)
    for row, precision, recall, fscore, support in zip(found["per_class"], *parts, strict=True):
        assert row["photos"] == support
        if support:
            assert row["recall"] == pytest.approx(recall)
            assert row["f1"] == pytest.approx(fscore)
        else:
            assert (row["recall"], row["f1"]) == (None, None)
        assert row["precision"] == (pytest.approx(precision) if row["answered"] else None)


def test_the_figures_by_bin_are_scikit_learns_of_the_bins() -> None:
    answers = drawn(THE_40, 500)
    true, said = ([THE_40[int(i)].bin_name for i in ids] for ids in (answers.true, answers.scores.argmax(axis=1)))
    found = as_json(evaluated(answers))
    assert found["bin_accuracy"] == metrics.accuracy_score(true, said)
    order = ["可回收物", "厨余垃圾", "有害垃圾", "其他垃圾"]
    assert [row["bin"] for row in found["per_bin"]] == order
    assert found["bin_confusion"] == metrics.confusion_matrix(true, said, labels=order).tolist()
    parts = metrics.precision_recall_fscore_support(true, said, labels=order)
    for row, precision, recall, fscore, _ in zip(found["per_bin"], *parts, strict=True):
        assert [row[key] for key in ("precision", "recall", "f1")] == pytest.approx([precision, recall, fscore])


def test_a_wrong_kind_in_the_right_bin_is_right_at_the_bin() -> None:
    found = evaluated(certain(FOUR, [2, 2, 3], [3, 2, 2]))
    assert found.top1.value == pytest.approx(1 / 3)
    assert found.bin_accuracy is not None
    assert found.bin_accuracy.value == 1


# ---- what can't be known is said, not averaged away


def test_a_kind_without_photos_has_no_figures_and_a_note_names_it() -> None:
    found = evaluated(certain(FOUR, [1, 1, 2, 3], [1, 0, 2, 3]))
    empty = found.kinds[0]
    assert (empty.photos, empty.answered, empty.recall, empty.f1) == (0, 1, None, None)
    assert empty.precision is not None
    assert empty.precision.value == 0  # said once, and wrongly
    assert found.macro_recall.value == pytest.approx((0.5 + 1 + 1) / 3)
    note = next(note for note in found.notes if "干电池" in note)
    assert "val has no photo of 干电池" in note
    assert "leave it out" in note


def test_a_kind_that_is_never_answered_has_no_precision() -> None:
    found = evaluated(certain(FOUR, [0, 1], [1, 1]))
    assert found.kinds[0].precision is None
    assert found.kinds[0].recall is not None
    assert found.kinds[0].recall.value == 0


def test_top_5_of_few_kinds_is_capped_and_said() -> None:
    found = evaluated(certain(FOUR, [0, 1], [1, 1]))
    assert (found.top5_k, found.top5.value) == (4, 1)
    assert any("top-5 is top-4 here" in note for note in found.notes)
    assert evaluated(drawn(THE_40, 50)).top5_k == 5
    assert not any("top-5" in note for note in evaluated(drawn(THE_40, 50)).notes)


def test_one_kind_alone_can_be_evaluated() -> None:
    one = Labels.parse(["易拉罐"])
    found = evaluated(Answers(one, ("a", "b"), np.array([0, 0]), np.ones((2, 1), np.float32)))
    assert (found.top1.value, found.top5_k, found.calibration.temperature) == (1, 1, 1)


def test_labels_without_bins_give_no_figures_by_bin() -> None:
    found = evaluated(drawn(Labels.parse(["cat", "dog"]), 40))
    assert (found.bin_accuracy, found.bins, found.rejection.of) == (None, (), "kind")
    assert any("name no bins" in note for note in found.notes)


def test_kinds_without_a_bin_among_others_are_a_bin_of_their_own() -> None:
    mixed = Labels.parse(["可回收物/易拉罐", "cat", "dog"])
    found = evaluated(certain(mixed, [0, 1, 2, 1], [0, 2, 2, 0]))
    assert [each.label.name for each in found.bins] == ["可回收物", "— cat", "— dog"]
    assert found.bin_accuracy is not None
    assert found.bin_accuracy.value == 0.5  # a cat taken for a dog: nobody knows whether that is the same bin


def test_a_bin_is_the_same_whatever_a_city_calls_it() -> None:
    cities = Labels.parse(["厨余垃圾/菜叶菜根", "湿垃圾/米饭", "有害垃圾/干电池", "有毒有害垃圾/灯管"])
    found = evaluated(certain(cities, [0, 1, 2, 3], [1, 0, 3, 2]))
    assert [each.label.name for each in found.bins] == ["厨余垃圾", "有害垃圾"]
    assert found.bin_accuracy is not None
    assert found.bin_accuracy.value == 1
    assert {each.cost for each in found.confusions} == {Cost.NAME_ONLY}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"photos": 0}, "data has no photo in val"),
        ({"photos": 1}, "no photo in val of data could be read; the first: a.jpg: cut off"),
    ],
)
def test_no_answer_at_all_is_an_error(parts: dict[str, int], words: str) -> None:
    bad = () if not parts["photos"] else (Unreadable("a.jpg", "cut off"),)
    answers = Answers(FOUR, (), np.zeros(0, np.int64), np.zeros((0, 4), np.float32), unreadable=bad)
    with pytest.raises(DatasetError, match=words):
        evaluated(answers, source=source(**parts))


def test_photos_of_kinds_that_the_model_does_not_know_are_counted_apart() -> None:
    known = certain(FOUR, [0, 1, 2, 3] * 10, [0, 1, 2, 3] * 10, [0.9] * 40)
    strange = certain(FOUR, [0] * 4, [0, 1, 2, 3], [0.3, 0.4, 0.5, 0.95])
    answers = replace(known, strangers=strange.names, stranger_kinds=("猫",) * 4, stranger_scores=strange.scores)
    hot = drawn(FOUR, 400, heat=4)
    warmed = evaluated(replace(hot, strangers=hot.names, stranger_kinds=("猫",) * 400, stranger_scores=hot.scores))
    assert warmed.rejection.strangers is not None  # theirs are divided by the temperature too
    assert warmed.rejection.strangers.refused == pytest.approx(1 - warmed.rejection.coverage.value)
    found = evaluated(answers, served=Served(1.0, 0.6))
    assert found.photos == 40
    assert found.rejection.strangers is not None
    assert found.rejection.strangers.refused == 0.75
    assert found.rejection.strangers.auroc == pytest.approx(
        metrics.roc_auc_score([1] * 40 + [0] * 4, [*known.confidences, *strange.confidences])
    )
    assert any("4 photos are of kinds that the model does not know (猫)" in note for note in found.notes)
    nothing = replace(answers, names=(), true=np.zeros(0, np.int64), scores=np.zeros((0, 4), np.float32))
    with pytest.raises(DatasetError, match=r"the model knows none of the kinds in data .*猫.*; it knows 干电池, "):
        evaluated(nothing, source=source(4))


def test_training_photos_are_said_to_flatter() -> None:
    found = evaluated(drawn(FOUR, 40), source=source(40, split="train", problems=2))
    assert any("figures on those flatter" in note for note in found.notes)
    assert any("2 lines of its lists" in note for note in found.notes)


# ---- intervals


def test_intervals_are_wilsons() -> None:
    found = share(8, 10)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((0.490, 0.943), abs=0.001)  # Brown et al. 2001 and any calculator
    assert share(0, 0) is None


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_f1_lies_in_an_interval_that_does_not_shrink_to_nothing(right: int, missed: int, wrongly: int) -> None:
    found = f1(right, right + missed, right + wrongly)
    if not right + missed:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(2 * right / (2 * right + missed + wrongly))
    assert 0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1
    assert found.high - found.low > 0.005


def test_macro_intervals_hold_the_true_value_and_widen_with_few_photos() -> None:
    rng, chances = np.random.default_rng(3), np.array([0.95, 0.9, 0.8, 0.6])
    true = np.repeat(np.arange(4), [40, 30, 20, 10])
    many = np.repeat(true, 1000)
    often = np.where(rng.random(len(many)) < chances[many], many, (many + 1) % 4)
    wanted = metrics.f1_score(many, often, average="macro")
    recalls = f1s = 0
    for _ in range(100):
        said = np.where(rng.random(100) < chances[true], true, (true + 1) % 4)
        counts = confusion(true, said, classes=4)
        _, recall, f1_ = macro(per_class(counts, FOUR.items), counts)
        recalls += recall.low <= chances.mean() <= recall.high
        f1s += f1_.low <= wanted <= f1_.high
    assert min(recalls, f1s) >= 88, (recalls, f1s)
    few = evaluated(certain(FOUR, [0] * 500 + [1], [0] * 500 + [1])).macro_recall
    assert (few.value, few.high) == (1, 1)
    assert few.low < 0.65  # the one photo of its kind says next to nothing


# ---- calibration


def test_the_calibration_error_is_that_of_the_reliability_curve() -> None:
    answers = drawn(THE_40, 600, heat=3)
    found = evaluated(answers, served=Served(1.0, None)).calibration
    right = answers.true == answers.answered
    share_right, mean_score = calibration_curve(right, answers.confidences, n_bins=15)
    assert [each.right for each in found.bins] == pytest.approx(list(share_right))
    assert [each.score for each in found.bins] == pytest.approx(list(mean_score))
    counts = [each.photos for each in found.bins]
    assert found.ece == pytest.approx(np.average(np.abs(share_right - mean_score), weights=counts))
    assert found.ece == found.ece_uncalibrated


@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_heat_that_the_scores_were_made_with(heat: float) -> None:
    answers = drawn(FOUR, 3000, heat=heat)
    cool = drawn(FOUR, 3000)  # the same logits: their own best temperature is where the loss is least
    wanted = heat * fit_temperature(cool.scores, cool.true)
    found = fit_temperature(answers.scores, answers.true)
    assert found == pytest.approx(wanted, rel=0.01)
    loss = [metrics.log_loss(answers.true, tempered(answers.scores, t)) for t in (found, 1.1 * found, found / 1.1)]
    assert loss[0] < min(loss[1:])


def test_a_temperature_keeps_the_order_and_can_be_undone() -> None:
    scores = drawn(THE_40, 50).scores
    warm = tempered(scores, 2.5)
    assert (warm.argmax(axis=1) == scores.argmax(axis=1)).all()
    assert np.allclose(warm.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(tempered(warm, 1 / 2.5), scores, atol=1e-4)
    nothing: Scores = np.array([[1, 0, 0]], np.float32)  # a score that has sunk to nothing
    assert np.isfinite(tempered(nothing, 0.5)).all()


def test_a_fitted_temperature_lowers_the_error_and_is_tried_on_other_photos_too() -> None:
    found = evaluated(drawn(THE_40, 800, heat=4)).calibration
    assert found.fitted_here
    assert found.ece < found.ece_uncalibrated / 2
    assert found.ece_cross_fitted is not None
    assert found.ece_cross_fitted < found.ece_uncalibrated / 2


def test_the_cross_fitted_temperature_has_not_seen_the_photos_it_is_tried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[bytes]] = []

    def fit(scores: Scores, true: object) -> float:
        seen.append({row.tobytes() for row in scores})
        return 1.0

    monkeypatch.setattr(calibration, "fit_temperature", fit)
    answers = drawn(THE_40, 100)
    evaluated(answers)
    every = {row.tobytes() for row in answers.scores}
    unseen = [every - each for each in seen if each != every]
    assert [len(each) for each in unseen] == [20] * 5
    assert set.union(*unseen) == every


def test_a_model_without_a_mistake_gets_no_temperature() -> None:
    found = evaluated(certain(FOUR, [0, 1, 2, 3] * 5, [0, 1, 2, 3] * 5))
    assert found.calibration.temperature == 1


def test_of_a_bundle_the_scores_are_judged_as_they_are_served() -> None:
    answers = drawn(THE_40, 800, heat=4)
    own = evaluated(answers)
    temperature = own.calibration.temperature
    served = replace(answers, scores=tempered(answers.scores, temperature))
    found = evaluated(served, served=Served(temperature, own.rejection.threshold))
    assert not found.calibration.fitted_here
    assert found.calibration.ece == pytest.approx(own.calibration.ece)
    assert found.calibration.ece_uncalibrated == pytest.approx(own.calibration.ece_uncalibrated, abs=1e-4)
    assert found.rejection.coverage == own.rejection.coverage
    assert not any("chosen on these photos" in note for note in found.notes)


def test_few_photos_fit_no_temperature_and_many_are_said_to_be_few() -> None:
    few = evaluated(drawn(FOUR, 15, heat=4))
    assert few.calibration.temperature == 1
    assert any("fewer than 100 photos" in note for note in few.notes)
    assert not any("fewer than 100 photos" in note for note in evaluated(drawn(FOUR, 150)).notes)


def test_the_noise_is_what_scores_that_hold_would_show() -> None:
    confidences = np.random.default_rng(0).uniform(0.3, 1, 100)
    errors = []
    for seed in range(200):
        right = np.random.default_rng(seed + 1).random(100) < confidences
        errors.append(expected_error(score_bins(confidences, right)))
    rows = np.zeros((100, 4))
    rows[:, 0], rows[:, 1:] = confidences, ((1 - confidences) / 3)[:, None]
    answers = Answers(FOUR, tuple(map(str, range(100))), np.zeros(100, np.int64), rows.astype(np.float32))
    noise = evaluated(answers, served=Served(1.0, None)).calibration.noise
    assert noise == pytest.approx(np.mean(errors), rel=0.1)


def test_a_bundle_whose_temperature_flattens_all_its_scores_is_still_judged_by_its_answers() -> None:
    answers = drawn(FOUR, 200)
    found = evaluated(answers, served=Served(0.01, None))
    share_right = sum(each.photos * each.right for each in found.calibration.bins_uncalibrated) / 200
    assert share_right == pytest.approx(found.top1.value)


# ---- not sure


def outcome(scores: list[float], right: list[int]) -> Outcome:
    return Outcome(np.array(scores), np.array(right, bool), None)


def test_the_threshold_is_the_lowest_that_gives_the_precision() -> None:
    scores = np.linspace(0.99, 0.10, 100)
    right = np.ones(100, bool)
    right[[60, 70, 80, 85, 90, 95]] = False
    threshold = choose(Outcome(scores, right, None), 0.97)
    answered = scores >= threshold
    assert right[answered].mean() >= 0.97
    lower = scores >= scores[answered.sum()]  # one photo more
    assert right[lower].mean() < 0.97
    assert threshold not in scores


def test_where_the_lowest_is_too_low_the_next_that_gives_the_precision_is_taken() -> None:
    """Right answers down to 0.9, then right bins under wrong names, which keep the precision up but are not kept."""
    scores = np.concatenate([np.full(10, 0.99), np.linspace(0.9, 0.95, 500), np.linspace(0.1, 0.5, 490)])
    right_bin = np.concatenate([np.zeros(10), np.ones(990)]).astype(bool)
    right_kind = np.concatenate([np.zeros(10), np.ones(500), np.zeros(490)]).astype(bool)
    found = Outcome(scores, right_kind, right_bin)
    answered = scores >= choose(found, 0.98)
    assert right_bin[answered].mean() >= 0.98
    assert answered.sum() < 520  # not by way of the guesses
    assert not rejected(found, 0.99).reached  # 10 of 510 are wrong, and more may not be refused


def rejected(found: Outcome, precision: float) -> Rejection:
    return reject(found, np.zeros(0), (), precision=precision, threshold=None, proposed=False)


def test_a_precision_of_a_handful_of_answers_is_none() -> None:
    """The one surest answer is right; that does not make a threshold."""
    found = Outcome(np.linspace(0.9, 0.1, 60), np.arange(60) % 2 == 0, None)
    assert (found.confidences >= choose(found, 0.99)).sum() > 50
    few = Outcome(np.array([0.95] * 15 + [0.5] * 15), np.arange(30) < 15, None)
    assert rejected(few, 0.99).reached  # half of 30 photos
    assert rejected(few, 0.99).coverage.value == 0.5


def test_equal_scores_do_not_make_the_threshold_one_of_them() -> None:
    for ones in (20, 99, 100, 500):
        found = Outcome(np.ones(ones), np.ones(ones, bool), None)
        assert 0.98 <= choose(found, 0.99) < 1 - 1e-3
    close = Outcome(np.array([0.9] * 150 + [0.9 - 1e-8] + [0.5] * 2), np.ones(153, bool), None)
    assert not 0.9 - 1e-7 < choose(close, 0.99) < 0.9 + 1e-7


def test_a_precision_that_can_not_be_had_is_said() -> None:
    found = evaluated(certain(FOUR, [0, 1] * 50, [0, 0] * 50))
    assert not found.rejection.reached
    assert any("no threshold that leaves enough answers gives a precision of 99 %" in note for note in found.notes)
    assert found.rejection.coverage.value > 0.9


def test_a_model_without_a_mistake_still_refuses_what_is_less_sure_than_its_right_answers() -> None:
    scores = [0.8 + i / 1000 for i in range(100)]
    assert choose(outcome(scores, [1] * 100), 0.99) == pytest.approx(0.8005)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.booleans()), min_size=1, max_size=60), st.floats(0.5, 0.999))
def test_what_is_called_reached_is(rows: list[tuple[float, bool]], precision: float) -> None:
    found = Outcome(np.array([s for s, _ in rows]), np.array([r for _, r in rows]), None)
    result = rejected(found, precision)
    answered = found.confidences >= result.threshold
    assert 0 <= result.threshold <= 1
    assert answered.any()
    assert result.reached == (found.right[answered].mean() >= precision - 1e-12)
    kept = found.right_kind[answered].sum()
    assert result.reached or kept >= 0.99 * found.right_kind.sum() - 1e-9


def test_cross_fitting_does_not_see_the_photos_it_is_tried_on() -> None:
    """Noise: on its own photos a threshold looks better than on others; over many draws the difference shows."""
    own, others = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        result = rejected(Outcome(rng.random(100), rng.random(100) < 0.8, None), 0.9)
        if result.reached and result.cross_fitted is not None:
            own.append(0.9)
            others.append(result.cross_fitted)
    assert len(own) > 5
    assert np.mean(others) < 0.87  # 80 % is the truth, whatever the threshold


def test_a_bundle_without_a_threshold_gets_a_proposal_and_answers_all_the_same() -> None:
    found = evaluated(drawn(FOUR, 200), served=Served(1.0, None))
    assert found.rejection.proposed
    assert not any(each.refused for each in found.mistakes)
    assert any("carries no threshold and always answers" in note for note in found.notes)
    assert not evaluated(drawn(FOUR, 200), served=Served(1.0, 0.5)).rejection.proposed


def test_a_bundles_own_promise_counts_unless_another_is_asked_for() -> None:
    served = Served(1.0, 0.3, 0.6)
    assert evaluated(drawn(FOUR, 200), served=served).rejection.asked == 0.6
    assert evaluated(drawn(FOUR, 200), served=served, precision=0.9).rejection.asked == 0.9
    assert evaluated(drawn(FOUR, 200)).rejection.asked == 0.99


def test_the_curve_goes_from_all_photos_to_few() -> None:
    points = curve(Outcome(np.array([0.9, 0.8, 0.8, 0.3]), np.array([1, 1, 0, 0], bool), np.array([1, 1, 1, 0], bool)))
    assert [(p.threshold, p.coverage, p.top1, p.bin_accuracy) for p in points] == [
        (0.3, 1.0, 0.5, 0.75), (0.8, 0.75, pytest.approx(2 / 3), 1.0), (0.9, 0.25, 1.0, 1.0)
    ]  # fmt: skip


# ---- what mistakes cost


def test_hazardous_thrown_elsewhere_comes_first_however_rare() -> None:
    true = [2] * 9 + [1] * 4 + [0]
    said = [3] * 9 + [2] * 4 + [3]
    found = evaluated(certain(FOUR, true, said)).confusions
    assert [(each.true.name, each.answered.name, each.photos) for each in found] == [
        ("干电池", "酒瓶", 1), ("菜叶菜根", "易拉罐", 4), ("易拉罐", "酒瓶", 9)
    ]  # fmt: skip
    assert [each.cost.words for each in found] == [
        "hazardous thrown elsewhere", "spoils recyclables or compost", "wrong kind, right bin"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("true", "answered", "wanted"),
    [
        ("有害垃圾", "其他垃圾", Cost.HAZARDOUS),
        ("其他垃圾", "可回收物", Cost.SPOILS),
        ("可回收物", "湿垃圾", Cost.SPOILS),
        ("可回收物", "干垃圾", Cost.MISPLACED),
        ("厨余垃圾", "有害垃圾", Cost.MISPLACED),
        ("可回收物", "可回收物", Cost.NAME_ONLY),
        ("玻璃", "金属", Cost.MISPLACED),
    ],
)
def test_every_pair_of_bins_has_its_cost(true: str, answered: str, wanted: Cost) -> None:
    assert cost(Label(0, "a", true), Label(1, "b", answered)) is wanted


def test_the_surest_of_the_dearest_mistakes_comes_first() -> None:
    answers = certain(FOUR, [0, 0, 2], [1, 1, 3], [0.6, 0.8, 0.95])
    found = evaluated(answers, served=Served(1.0, 0.7)).mistakes
    assert [(each.name, each.refused) for each in found] == [("1.jpg", False), ("0.jpg", True), ("2.jpg", False)]


# ---- two models


def test_two_models_are_compared_by_mcnemars_exact_test() -> None:
    true = [0, 1, 2, 3] * 10
    a_said, b_said = list(true), list(true)
    for i in range(9):
        a_said[i] = (true[i] + 1) % 4
    b_said[20] = (true[20] + 1) % 4
    a, b = certain(FOUR, true, a_said), certain(FOUR, true, b_said)
    found = compare(evaluated(a), a, evaluated(b), b)
    assert (found.top1.only_a, found.top1.only_b) == (1, 9)
    assert found.top1.p == pytest.approx(2 * (1 + 10) / 2**10)  # both tails of ten tosses of a coin
    assert found.top1.significant
    assert found.top1.difference.value == pytest.approx(8 / 40)
    assert found.top1.difference.low < 8 / 40 < found.top1.difference.high
    assert len(found.disagreements) == 10
    assert {each.verdict for each in found.disagreements} == {"a", "b"}
    json.dumps(comparison_as_json(found))


def test_equal_models_do_not_differ() -> None:
    a = drawn(FOUR, 60)
    found = compare(evaluated(a), a, evaluated(a), a)
    assert (found.top1.p, found.top1.difference.value, found.macro_f1.value) == (1.0, 0.0, 0.0)
    assert found.disagreements == ()


def test_models_whose_cities_name_the_bins_otherwise_are_equal() -> None:
    other = Labels.parse([text.replace("厨余垃圾", "湿垃圾") for text in FOUR.texts])
    a = certain(FOUR, [0, 1, 2, 3] * 5, [0, 1, 2, 3] * 5)
    b = replace(a, labels=other)
    for one, two in ((a, b), (b, a)):
        found = compare(evaluated(one), one, evaluated(two), two)
        assert found.bin_accuracy is not None
        assert (found.top1.only_a, found.top1.only_b, found.bin_accuracy.difference.value) == (0, 0, 0)
        assert (found.a_macro_f1, found.b_macro_f1, found.macro_f1.value, found.disagreements) == (1, 1, 0, ())


def test_the_interval_of_a_difference_agrees_with_its_test() -> None:
    true = [0] * 200
    a, b = certain(FOUR, true, [0] * 196 + [1] * 4), certain(FOUR, true, [0] * 200)
    top1 = compare(evaluated(a), a, evaluated(b), b).top1
    assert not top1.significant  # 4 : 0, p = 0.125
    assert top1.difference.low < 0 < top1.difference.value < top1.difference.high
    three = certain(FOUR, [0, 1, 2], [0, 1, 2])
    same = compare(evaluated(three), three, evaluated(three), three).top1.difference
    assert same.high - same.low > 0.3  # three photos prove nothing


def test_macro_f1_of_a_comparison_is_scikit_learns_over_the_shared_photos() -> None:
    a, b = drawn(THE_40, 300, seed=1), drawn(THE_40, 300, seed=2)
    b = replace(b, true=a.true)
    half = replace(b, names=(*b.names[:150], *(f"x{i}" for i in range(150))))
    found = compare(evaluated(a), a, evaluated(half), half)
    true = a.true[:150]
    options = {"labels": np.unique(true), "average": "macro", "zero_division": 0}
    wanted = [metrics.f1_score(true, each.answered[:150], **options) for each in (a, b)]
    assert found.photos == 150
    assert (found.a_macro_f1, found.b_macro_f1) == pytest.approx(tuple(wanted))
    assert found.macro_f1.low < found.macro_f1.value < found.macro_f1.high


def test_equal_scores_are_ranked_as_predict_ranks_them() -> None:
    even = np.full((2, 40), 1 / 40, np.float32)
    found = evaluated(Answers(THE_40, ("a", "b"), np.array([0, 4]), even))
    assert (found.top1.value, found.top5.value) == (0.5, 1)
    assert evaluated(Answers(THE_40, ("a", "b"), np.array([5, 6]), even)).top5.value == 0


def test_models_with_their_classes_in_another_order_are_compared_by_name() -> None:
    other = Labels.parse(reversed(FOUR.texts))
    a, b = certain(FOUR, [0, 1], [0, 2]), certain(other, [3, 2], [3, 1])
    found = compare(evaluated(a), a, evaluated(b), b)
    assert found.disagreements == ()
    with pytest.raises(DatasetError, match="no photo in common"):
        compare(evaluated(a), a, evaluated(b), replace(b, names=("x", "y")))


# ---- as plain values


def test_the_json_has_the_keys_that_are_promised_and_can_be_read_back() -> None:
    found = as_json(evaluated(drawn(THE_40, 200)))
    again = json.loads(json.dumps(found))
    assert json.dumps(again) == json.dumps(found)
    assert {"top1", "top5", "macro_f1", "bin_accuracy", "ece", "per_class"} <= set(found)
    measured = Measured.read(again)
    assert (measured.top1, measured.threshold) == (found["top1"], found["rejection"]["threshold"])
    assert len(measured.kinds) == 40


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("top1", 2),
        ("top1", "x"),
        ("top1", True),
        ("photos", None),
        ("calibration.temperature", 0),
        ("per_class", 3),
        ("photos", float("inf")),
        ("calibration.temperature", 10**400),
        ("rejection.of", "<script>"),
        ("notes", "a"),
    ],
)
def test_figures_that_can_not_be_are_refused(path: str, value: object) -> None:
    found = as_json(evaluated(drawn(FOUR, 40)))
    *where, last = path.split(".")
    place = found
    for key in where:
        place = place[key]
    place[last] = value
    with pytest.raises((KeyError, TypeError, ValueError)):
        Measured.read(found)
