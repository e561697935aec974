"""The figures against hand counts, and intervals that respect who the films belong to."""

import math

import numpy as np
import pytest

from train.metrics import Interval, accuracy, auroc, measure, sensitivity, specificity


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
        assert list(figures) == ["auroc", "sensitivity", "specificity", "accuracy"]
        for interval in figures.values():
            assert 0 <= interval.low < interval.value < interval.high <= 1


def test_sixteen_times_the_patients_give_about_a_quarter_of_the_interval() -> None:
    few, many = measure(*some_films(40)), measure(*some_films(640))
    for name in few:
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
    assert shuffled == measure(labels, probability, threshold, patients)


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


def test_a_figure_is_shown_with_its_interval() -> None:
    assert str(Interval(0.95, 0.9, 0.98765)) == "0.950 (0.900 to 0.988)"
