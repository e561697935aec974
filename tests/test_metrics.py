"""The figures against hand counts, and intervals that respect who the films belong to."""

import math

import numpy as np
import pytest

from train.measure.metrics import (
    FINDING_FIGURES,
    LABEL_FIGURES,
    Interval,
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    confusion,
    expected_calibration_error,
    measure,
    measure_decisions,
    measure_labels,
    precision_recall_curve,
    reliability,
    resampled,
    roc_curve,
    sensitivity,
    specificity,
)


def present(*labels: int) -> np.ndarray:
    return np.array(labels, bool)


@pytest.mark.parametrize(
    ("labels", "probabilities", "area"),
    [
        ((0, 0, 1, 1), (0.1, 0.2, 0.8, 0.9), 1.0),
        ((1, 1, 0, 0), (0.1, 0.2, 0.8, 0.9), 0.0),
        ((0, 1, 0, 1), (0.1, 0.2, 0.3, 0.4), 0.75),  # three of the four pairs in order
        ((0, 1), (0.5, 0.5), 0.5),  # a tie counts half
        ((0, 0, 1, 1), (0.1, 0.5, 0.5, 0.9), 0.875),  # three and a half of four
        ((0, 0, 0, 1), (0.3, 0.3, 0.3, 0.3), 0.5),
    ],
)
def test_auroc_is_the_part_of_pairs_in_the_right_order(
    labels: tuple[int, ...], probabilities: tuple[float, ...], area: float
) -> None:
    assert auroc(present(*labels), np.array(probabilities)) == pytest.approx(area)


@pytest.mark.parametrize("labels", [(0, 0, 0), (1, 1, 1)])
def test_auroc_is_not_defined_with_one_label(labels: tuple[int, ...]) -> None:
    assert math.isnan(auroc(present(*labels), np.array([0.1, 0.2, 0.3])))


@pytest.mark.parametrize("n_levels", [4, 1000])
def test_auroc_equals_counting_every_pair(n_levels: int) -> None:
    rng = np.random.default_rng(n_levels)
    labels = rng.random(150) < 0.3
    probability = rng.integers(0, n_levels, 150) / n_levels
    higher = probability[labels][:, np.newaxis] - probability[~labels]
    counted = ((higher > 0) + 0.5 * (higher == 0)).mean()
    assert auroc(labels, probability) == pytest.approx(counted)


def test_auroc_depends_on_the_order_alone() -> None:
    rng = np.random.default_rng(2)
    labels, logits = rng.random(80) < 0.5, rng.normal(size=80)
    assert auroc(labels, logits) == auroc(labels, 1 / (1 + np.exp(-logits)))


def test_sensitivity_specificity_and_accuracy_are_counted_as_defined() -> None:
    labels = present(1, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    positive = present(1, 1, 1, 0, 1, 0, 0, 0, 0, 0)
    assert sensitivity(labels, positive) == 3 / 4
    assert specificity(labels, positive) == 5 / 6
    assert accuracy(labels, positive) == 8 / 10


def test_sensitivity_needs_the_finding_and_specificity_its_absence() -> None:
    assert math.isnan(sensitivity(present(0, 0), present(0, 1)))
    assert specificity(present(0, 0), present(0, 1)) == 0.5
    assert math.isnan(specificity(present(1, 1), present(0, 1)))
    assert sensitivity(present(1, 1), present(0, 1)) == 0.5


def test_a_probability_at_the_threshold_is_positive() -> None:
    figures = measure(present(0, 1), np.array([0.3, 0.5]), 0.5, ["a", "b"])
    assert figures["sensitivity"].value == 1.0


@pytest.mark.parametrize(
    ("labels", "probabilities", "area"),
    [
        ((1, 1, 0, 0), (0.9, 0.8, 0.2, 0.1), 1.0),
        # From the top: hit (1/1), miss, hit (2/3), miss: the mean of both precisions.
        ((1, 0, 1, 0), (0.9, 0.8, 0.7, 0.6), (1 + 2 / 3) / 2),
        ((0, 0, 1), (0.9, 0.8, 0.7), 1 / 3),
        ((1, 0, 0, 0), (0.5, 0.5, 0.5, 0.5), 0.25),  # one step: the prevalence
        ((1, 1, 0, 1), (0.9, 0.5, 0.5, 0.1), (1 + 2 / 3 + 3 / 4) / 3),  # a tie is one step
    ],
)
def test_average_precision_is_the_precision_at_each_gain_of_recall(
    labels: tuple[int, ...], probabilities: tuple[float, ...], area: float
) -> None:
    assert average_precision(present(*labels), np.array(probabilities)) == pytest.approx(area)


def test_average_precision_needs_the_finding() -> None:
    assert math.isnan(average_precision(present(0, 0), np.array([0.1, 0.2])))


def test_balanced_accuracy_does_not_reward_naming_the_frequent_label() -> None:
    labels = present(1, *[0] * 9)
    assert accuracy(labels, present(*[0] * 10)) == 0.9
    assert balanced_accuracy(labels, present(*[0] * 10)) == 0.5


def test_brier_is_the_mean_squared_error() -> None:
    probability = np.array([0.9, 0.6, 0.2, 0.0])
    assert brier(present(1, 1, 0, 0), probability) == pytest.approx((0.01 + 0.16 + 0.04) / 4)


def test_ece_is_the_distance_of_stated_from_seen_weighted_by_bin() -> None:
    # Ten films at 0.1 of which 3 have it, thirty at 0.9 of which 27 do.
    probability = np.repeat([0.1, 0.9], [10, 30])
    happened = present(*[1] * 3, *[0] * 7, *[1] * 27, *[0] * 3)
    assert expected_calibration_error(happened, probability) == pytest.approx(0.2 * 10 / 40)


def test_errors_within_one_bin_cancel_and_those_in_two_do_not() -> None:
    one_bin, two_bins = np.array([0.95, 0.99]), np.array([0.45, 0.55])
    assert expected_calibration_error(present(1, 1), one_bin) == pytest.approx(0.03)
    assert expected_calibration_error(present(0, 1), two_bins) == pytest.approx(0.45)


def test_certainty_falls_into_the_last_bin() -> None:
    stated, seen, counts = reliability(present(0, 1, 1), np.array([0.0, 1.0, 0.95]), n_bins=10)
    assert counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (stated[0], seen[0]) == (0, 0)
    assert stated[-1] == pytest.approx(0.975) and seen[-1] == 1
    assert np.isnan(stated[1:-1]).all()


def test_confusion_counts_labelled_by_decided() -> None:
    counts = confusion(["a", "a", "b", "c", "c"], ["a", "b", "b", "a", "c"], ["a", "b", "c"])
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_curves_begin_with_nobody_positive_and_end_with_all() -> None:
    labels, probability = present(1, 0, 1, 0), np.array([0.9, 0.8, 0.7, 0.6])
    alarms, hits = roc_curve(labels, probability)
    assert alarms.tolist() == [0, 0, 0.5, 0.5, 1]
    assert hits.tolist() == [0, 0.5, 0.5, 1, 1]
    recall, precision = precision_recall_curve(labels, probability)
    assert recall.tolist() == [0, 0.5, 0.5, 1, 1]
    assert precision.tolist() == [1, 1, 0.5, 2 / 3, 0.5]


def area_below(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.diff(x) @ (y[1:] + y[:-1]) / 2)


def test_the_area_below_the_roc_curve_is_the_auroc() -> None:
    labels, probability, _, _ = some_films(100)
    probability = np.round(probability, 1)  # with ties
    alarms, hits = roc_curve(labels, probability)
    assert area_below(alarms, hits) == pytest.approx(auroc(labels, probability))


def test_a_resample_draws_patients_with_all_their_films() -> None:
    weights = np.concatenate(list(resampled(["a", "b", "a", "c"], n_draws=120)))
    assert weights.shape == (120, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()  # as many patients as there are
    assert set(np.unique(weights)) == {0, 1, 2, 3}


def test_weighing_films_is_the_same_as_repeating_them() -> None:
    labels, probability, threshold, patients = some_films(30)
    weights = next(resampled(patients))[0].astype(int)
    repeated = np.repeat(np.arange(30), weights)
    again = measure(labels[repeated], probability[repeated], threshold, ["x"] * len(repeated))
    alarms, hits = roc_curve(labels, probability, weights.astype(float))
    assert area_below(alarms, hits) == pytest.approx(again["auroc"].value)


def three_labels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six films of three labels, four of them right."""
    true, decided = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 2])
    probability = np.full((6, 3), 0.2)
    probability[np.arange(6), decided] = 0.6
    return true, decided, probability


def test_figures_over_labels_are_counted_as_defined() -> None:
    figures = measure_labels(*three_labels(), list("abcdef"))
    assert tuple(figures) == LABEL_FIGURES
    assert figures["accuracy"].value == pytest.approx(4 / 6)
    assert figures["balanced accuracy"].value == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # Right: 0.4² + 2 · 0.2². Wrong: 0.6² + 0.8² + 0.2².
    assert figures["brier"].value == pytest.approx((4 * 0.24 + 2 * 1.04) / 6)
    assert figures["ece"].value == pytest.approx(4 / 6 - 0.6)
    areas = [auroc(three_labels()[0] == k, three_labels()[2][:, k]) for k in range(3)]
    assert figures["macro auroc"].value == pytest.approx(np.mean(areas))


def test_a_label_without_films_counts_for_nothing() -> None:
    true, decided, probability = three_labels()
    wider = np.c_[probability, np.zeros(6)]
    first = measure_labels(true, decided, probability, list("abcdef"))
    assert measure_labels(true, decided, wider, list("abcdef")) == first


def test_decisions_by_another_rule_than_a_threshold_are_measured_alike() -> None:
    labels, probability, threshold, patients = some_films(40)
    by_rule = measure_decisions(labels, probability, probability >= threshold, patients)
    assert by_rule == measure(labels, probability, threshold, patients)


def test_the_interval_of_a_calibration_error_lies_around_it() -> None:
    """A resample's bins are noisier than the films' own, which alone would move it upwards."""
    rng = np.random.default_rng(0)
    probability = rng.random(200)
    labels = rng.random(200) < probability
    interval = measure(labels, probability, 0.5, [str(i) for i in range(200)])["ece"]
    assert 0 <= interval.low < interval.value < interval.high


def some_films(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, float, list[str]]:
    """n films of n patients: labels, probabilities that follow them with errors, threshold."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2 == 0
    probability = np.clip(0.5 + 0.2 * (labels * 2 - 1) + rng.normal(0, 0.25, n), 0, 1)
    return labels, probability, 0.5, [f"person{i}" for i in range(n)]


def width(interval: Interval) -> float:
    return interval.high - interval.low


def test_each_interval_contains_its_figure() -> None:
    for seed in range(3):
        figures = measure(*some_films(60, seed))
        assert tuple(figures) == FINDING_FIGURES
        for interval in figures.values():
            assert 0 <= interval.low < interval.value < interval.high <= 1


def test_sixteen_times_the_patients_give_about_a_quarter_of_the_interval() -> None:
    few, many = measure(*some_films(40)), measure(*some_films(640))
    for name in few.keys() - {"ece"}:  # its bins fill up, so that it narrows less regularly
        assert 0.15 < width(many[name]) / width(few[name]) < 0.4


def test_copies_of_a_patients_film_do_not_narrow_the_interval() -> None:
    """Nine films of each patient, all alike, say no more than one; as strangers they would."""
    labels, probability, threshold, patients = some_films(40)
    nine = [np.repeat(x, 9) for x in (labels, probability)]
    of_patients = measure(*nine, threshold, [p for p in patients for _ in range(9)])
    of_films = measure(*nine, threshold, [str(i) for i in range(360)])
    once = measure(labels, probability, threshold, patients)
    for name, interval in of_patients.items():
        assert interval.value == pytest.approx(of_films[name].value)
        assert width(interval) == pytest.approx(width(once[name]))
        assert width(interval) > 2 * width(of_films[name])


def test_the_order_of_the_films_does_not_matter_to_the_figures() -> None:
    labels, probability, threshold, patients = some_films(50)
    order = np.random.default_rng(1).permutation(50)
    shuffled = measure(labels[order], probability[order], threshold, [patients[i] for i in order])
    for name, interval in measure(labels, probability, threshold, patients).items():
        for side in ("value", "low", "high"):
            assert getattr(shuffled[name], side) == pytest.approx(getattr(interval, side))


def test_the_same_seed_gives_the_same_interval_and_another_a_near_one() -> None:
    first, again = measure(*some_films(40)), measure(*some_films(40))
    other = measure(*some_films(40), seed=7)
    assert first == again
    assert first != other
    assert other["auroc"].low == pytest.approx(first["auroc"].low, abs=0.02)


def test_one_label_alone_determines_what_it_can() -> None:
    figures = measure(present(1, 1, 1), np.array([0.2, 0.7, 0.9]), 0.5, ["a", "b", "c"])
    assert math.isnan(figures["auroc"].value) and math.isnan(figures["auroc"].low)
    assert math.isnan(figures["specificity"].value) and math.isnan(figures["specificity"].high)
    assert figures["sensitivity"].value == pytest.approx(2 / 3)
    assert figures["sensitivity"].low < 2 / 3 < figures["sensitivity"].high


def test_a_figure_that_the_films_do_not_determine_is_said_so() -> None:
    assert str(Interval(math.nan, math.nan, math.nan)) == "not determined"


def test_a_figure_is_shown_with_its_interval() -> None:
    assert str(Interval(0.95, 0.9, 0.98765)) == "0.950 (0.900 to 0.988)"
