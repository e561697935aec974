"""A site's weeks against the films that the model was measured on."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta, timezone
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from benchmarks.drift_rates import CAUSES, Site, compared
from cxr_edge.bins import deciles
from cxr_edge.commands.watch import _compared
from cxr_edge.drift.comparison import (
    ALPHA,
    DISTANCES,
    MIN_FILMS,
    REFUSALS,
    SCORES,
    Comparison,
    Observed,
    compare,
    next_step,
    summary,
)
from cxr_edge.drift.statistics import larger_test, mixture_test, more_often_test
from cxr_edge.drift.weeks import full_weeks, last_week
from cxr_edge.errors import LedgerError
from cxr_edge.ledger import Ledger
from cxr_edge.model_card import N_DISTANCE_BINS, N_SCORE_BINS, FindingScores, Reference
from cxr_edge.profile import SiteProfile
from cxr_edge.profiles import Profiles
from cxr_edge.result import Finding
from cxr_edge.strict import from_data
from cxr_edge.watch.settings import Settings
from tests.test_counts import record
from tests.test_profile import PROFILE
from tests.tiny_model import tiny_card
from tests.watching import Bench

PRESENT = (6, 4, 5, 2, 3, 4, 2, 2, 2, 4, 4, 3, 3, 5, 3, 6, 9, 15, 36, 267)
ABSENT = (250, 60, 20, 14, 10, 8, 6, 5, 4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 0)
REFERENCE = Reference(
    "made films",
    n_films=800,
    n_refused=16,
    scores=(FindingScores("pneumonia", PRESENT, ABSENT),),
    distance_edges=(0.6, 0.7, 0.85, 1.0, 1.1, 1.2, 1.4, 1.6, 2.0),
    distances=(80, 80, 120, 156, 100, 88, 80, 40, 28, 12),
)
FEW = replace(
    REFERENCE,
    n_films=80,
    n_refused=2,
    scores=(
        FindingScores(
            "pneumonia",
            tuple(round(n / 10) for n in PRESENT),
            tuple(round(n / 10) for n in ABSENT),
        ),
    ),
    distances=(8, 8, 12, 15, 10, 9, 8, 4, 3, 1),
)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NOW = MONDAY + timedelta(days=7, hours=9)
OLD, NEW = "b" * 64, "c" * 64
CARD = replace(tiny_card(), reference=REFERENCE)


def observed(site_seed: int = 1, n_films: int = 200, prevalence: float = 0.3) -> Observed:
    """A week without any cause for an alarm."""
    return Site(REFERENCE, site_seed).week(n_films, prevalence)


def found(week: Observed, reference: Reference = REFERENCE) -> set[str]:
    return {test.kind for test in compare(week, reference, "tiny 1").differences}


# The tests


def mixed(prevalence: float, n: int) -> tuple[int, ...]:
    parts = prevalence * np.array(PRESENT) / sum(PRESENT)
    parts += (1 - prevalence) * np.array(ABSENT) / sum(ABSENT)
    return tuple(np.random.default_rng(3).multinomial(n, parts).tolist())


@pytest.mark.parametrize("prevalence", [0.0, 0.05, 0.4, 0.9, 1.0])
def test_how_frequent_a_finding_is_makes_no_difference(prevalence):
    """Against films with and without it in other proportions a chi-squared test would find any."""
    assert mixture_test(mixed(prevalence, 300), PRESENT, ABSENT, 999).p > 0.05


def test_scores_that_no_mix_explains_are_found():
    flat = (10,) * N_SCORE_BINS
    assert mixture_test(flat, PRESENT, ABSENT, 999).p == pytest.approx(0.001)
    # All alike, where films with and without are told apart.
    alike = tuple(60 * (place == 7) for place in range(N_SCORE_BINS))
    assert mixture_test(alike, PRESENT, ABSENT, 999).p == pytest.approx(0.001)


def test_a_week_that_is_the_reference_has_the_likelihood_of_its_own():
    assert mixture_test(PRESENT, PRESENT, ABSENT, 199).statistic == pytest.approx(0, abs=0.05)


def test_the_same_week_gets_the_same_answer():
    week = mixed(0.3, 60)
    first = mixture_test(week, PRESENT, ABSENT, 999)
    mixture_test.cache_clear()
    assert mixture_test(week, PRESENT, ABSENT, 999) == first
    assert larger_test((3, 4, 9), (50, 30, 20), 999) == larger_test((3, 4, 9), (50, 30, 20), 999)


def test_distances_are_tested_as_by_all_ways_to_divide_the_films():
    """Two of four films lie far out. That both are of the week's two has a chance of 1 in 6."""
    assert larger_test((0, 2), (2, 0), 9999).p == pytest.approx(1 / 6, abs=0.02)
    assert larger_test((2, 0), (0, 2), 999).p == 1.0, "nearer is no drift"
    assert larger_test((5, 5), (5, 5), 999).p > 0.5


def test_some_films_far_out_are_found_as_all_films_a_little_farther_are():
    reference = (100,) * N_DISTANCE_BINS
    far_out = (9, 9, 9, 9, 9, 9, 9, 9, 9, 25)
    farther = (3, 5, 7, 9, 10, 11, 12, 13, 14, 16)
    for week in (far_out, farther):
        assert larger_test(week, reference, 999).p < 0.005
    assert larger_test(tuple(reversed(farther)), reference, 999).p > 0.9


def test_refusals_are_tested_exactly():
    def exact(n_hits: int, n: int, others: int, n_others: int) -> float:
        ways = sum(
            comb(n, k) * comb(n_others, n_hits + others - k)
            for k in range(n_hits, min(n, n_hits + others) + 1)
        )
        return float(Fraction(ways, comb(n + n_others, n_hits + others)))

    # Fisher's lady: all four cups of milk first.
    assert more_often_test(4, 4, 0, 4).p == pytest.approx(1 / 70)
    for counts in ((3, 100, 10, 1000), (30, 100, 10, 1000), (0, 30, 0, 100), (1, 30, 99, 100)):
        assert more_often_test(*counts).p == pytest.approx(exact(*counts))


# A week


@pytest.mark.parametrize(("reference", "n_films"), [(REFERENCE, 30), (REFERENCE, 200), (FEW, 100)])
def test_false_alarms_are_as_rare_as_is_said(reference, n_films):
    """With a reference that is itself drawn anew, however few films it has."""
    n_weeks = 200
    n_alarms = sum(bool(week.differences) for week in compared(Site(reference), n_weeks, n_films))
    # More than that has a chance of less than 1 in 1,000, were it ALPHA.
    chances = [comb(n_weeks, k) * ALPHA**k * (1 - ALPHA) ** (n_weeks - k) for k in range(9)]
    assert 1 - sum(chances) < 0.001
    assert n_alarms <= 8


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("scores + 1 logit", SCORES),
        ("a tenth of another kind", DISTANCES),
        ("distances x 1.1", DISTANCES),
        ("refusals x 3", REFUSALS),
    ],
)
def test_a_cause_is_found(cause, kind):
    weeks = compared(Site(REFERENCE), 12, 500, CAUSES[cause])
    n_found = sum(kind in {test.kind for test in week.differences} for week in weeks)
    assert n_found >= 9


def test_all_tests_of_a_week_together_have_the_rate_that_is_said():
    week = observed()
    tests = compare(week, REFERENCE, "tiny 1").tests
    assert [test.kind for test in tests] == [SCORES, DISTANCES, REFUSALS]
    # A p-value between ALPHA / 3 and ALPHA is none.
    n_refused = next(
        n
        for n in range(200)
        if ALPHA / 3 < more_often_test(n, week.n_answered + n, 16, 800).p < ALPHA
    )
    assert found(replace(week, n_refused=n_refused)) == set()
    without = replace(REFERENCE, scores=(), distances=(), distance_edges=())
    assert found(replace(week, n_refused=n_refused), without) == {REFUSALS}


def test_a_week_of_few_films_is_not_compared_and_that_is_said():
    few = Observed(date(2026, 3, 2), 20, MIN_FILMS - 21, {"pneumonia": mixed(0.3, 20)}, 0, (20,))
    comparison = compare(few, REFERENCE, "tiny 1")
    assert {test.p for test in comparison.tests} == {None}
    assert summary(comparison) == (
        "In the week of 2026-03-02 29 films were read: too few to compare, which takes 30."
    )
    # One more that is refused: then refusals alone are.
    comparison = compare(replace(few, n_refused=10), REFERENCE, "tiny 1")
    assert [test.kind for test in comparison.tests if test.p is not None] == [REFUSALS]


def test_a_card_without_a_reference_has_nothing_to_compare_with():
    comparison = compare(observed(), None, "tiny 1")
    assert (comparison.tests, comparison.n_films) == ((), 200)
    assert summary(comparison) == "The model's card has nothing to compare with."
    assert next_step(comparison) == ""


def test_a_model_without_a_gate_is_compared_by_scores_and_refusals():
    without = replace(REFERENCE, distances=(), distance_edges=())
    tests = compare(observed(), without, "tiny 1").tests
    assert [test.kind for test in tests] == [SCORES, REFUSALS]


def test_what_differs_is_said_with_the_test_its_p_and_the_rate_of_false_alarms():
    week = replace(observed(), scores={"pneumonia": (10,) * 20}, n_refused=60)
    comparison = compare(week, REFERENCE, "tiny 1")
    said = summary(comparison)
    assert "week of 2026-03-02" not in said, "that of the benchmark"
    for fact in (
        "did not look like those that tiny 1 was measured on",
        "the scores for pneumonia are not explained by any mix of films with and without it",
        "(likelihood-ratio test against every mix, p = 0.00067)",
        f"more are refused than where the model was measured, 60 of {comparison.n_films}",
        "(Fisher's exact test, p < 0.0001)",
        "one week in 100 has such an alarm",
    ):
        assert fact in said, fact
    assert "farther" not in said
    assert "cxr-edge calibrate" in next_step(comparison)
    assert "why they are refused" in next_step(comparison)


def test_what_does_not_differ_is_said_too():
    said = summary(compare(observed(), REFERENCE, "tiny 1"))
    assert "the films (200) looked like those" in said
    assert "one week in 100" in said


def test_a_comparison_comes_back_as_it_was_stored():
    comparison = compare(observed(), REFERENCE, "tiny 1")
    assert from_data(Comparison, json.loads(json.dumps(asdict(comparison)))) == comparison


# The ledger's weeks


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def weeks_of(ledger: Ledger, tmp_path, n_weeks: int = 1, now: datetime = NOW) -> list[Observed]:
    profiles = Profiles(tmp_path / "profiles")
    return full_weeks(ledger, REFERENCE, OLD, profiles, now, n_weeks, UTC)


def test_weeks_are_compared_when_they_are_over(ledger, tmp_path):
    for hours in (-1, 0, 7 * 24 - 1, 7 * 24):
        record(ledger, MONDAY + timedelta(hours=hours))
    before, week = weeks_of(ledger, tmp_path, 2)
    assert (before.monday, before.n_answered) == (date(2026, 2, 23), 1)
    assert (week.monday, week.n_answered) == (date(2026, 3, 2), 2)
    sunday = MONDAY + timedelta(days=6, hours=23)
    (still_the_one_before,) = weeks_of(ledger, tmp_path, now=sunday)
    assert still_the_one_before == before
    # Where it is Monday already.
    east = timezone(timedelta(hours=2))
    (week,) = full_weeks(ledger, REFERENCE, OLD, Profiles(tmp_path), sunday, 1, east)
    assert (week.monday, week.n_answered) == (date(2026, 3, 2), 2)


def test_a_week_has_what_one_model_said_last_of_films_that_were_read(ledger, tmp_path):
    record(ledger, MONDAY, 0.05, distance=0.65)
    record(ledger, MONDAY, 0.999, distance=2.0)
    record(ledger, MONDAY, 0.5)
    record(ledger, MONDAY, status="refused", reason="colour: x")
    record(ledger, MONDAY, status="failed", reason="corrupt: x")
    record(ledger, MONDAY, 0.5, model_sha256=NEW)
    record(ledger, MONDAY, 0.5, distance=1.0)
    *_, film = ledger.predictions()
    ledger.record_again(film, replace(film.result, model_sha256=NEW))
    (week,) = weeks_of(ledger, tmp_path)
    assert (week.n_answered, week.n_refused, week.n_without_scores) == (3, 1, 0)
    scores = dict(enumerate(week.scores["pneumonia"]))
    assert {place: n for place, n in scores.items() if n} == {1: 1, 10: 1, 19: 1}
    assert week.distances == (0, 1, 0, 0, 0, 0, 0, 0, 0, 1)


def test_a_site_profile_changes_no_bin(ledger, tmp_path):
    """The probability of the site is another; what the model itself said is compared."""
    Profiles(tmp_path / "profiles").keep(PROFILE)
    point = PROFILE.of("pneumonia")
    for probability in (0.07, 0.12, 0.52, 0.97):
        site = Finding("pneumonia", point.probability(probability), 0.3)
        assert int(site.probability * N_SCORE_BINS) != int(probability * N_SCORE_BINS)
        record(ledger, MONDAY, findings=(site,), profile=PROFILE.label)
    record(ledger, MONDAY, 0.97)
    (week,) = weeks_of(ledger, tmp_path)
    counts = week.scores["pneumonia"]
    assert [counts[place] for place in (1, 2, 10, 19)] == [1, 1, 1, 2]
    assert (sum(counts), week.n_without_scores) == (5, 0)


def test_scores_by_a_profile_that_is_gone_are_left_out_and_counted(ledger, tmp_path):
    record(ledger, MONDAY, 0.2, distance=1.0, profile="gone 12345678")
    record(ledger, MONDAY, 0.2, distance=1.0)
    (week,) = weeks_of(ledger, tmp_path)
    assert (week.n_answered, week.n_without_scores, sum(week.scores["pneumonia"])) == (2, 1, 1)
    assert sum(week.distances) == 2


def test_a_quiet_site_becomes_unlike_the_week_after(ledger, tmp_path):
    rng = np.random.default_rng(0)
    with ledger.transaction():
        for number in range(400):
            at = MONDAY + timedelta(hours=number % 168)
            record(ledger, at - timedelta(weeks=1), _score(rng), distance=_distance(rng))
            # The week after, another machine.
            record(ledger, at, _score(rng), distance=1.5 * _distance(rng))
    profiles = Profiles(tmp_path / "profiles")
    quiet = last_week(ledger, CARD, OLD, None, profiles, NOW - timedelta(weeks=1))
    assert (quiet.n_films, quiet.differences) == (400, ())
    unlike = last_week(ledger, CARD, OLD, None, profiles, NOW)
    assert {test.kind for test in unlike.differences} == {DISTANCES}


def test_a_site_that_is_unlike_the_card_for_good_is_compared_with_its_own_films(ledger, tmp_path):
    rng = np.random.default_rng(0)
    with ledger.transaction():
        for number in range(400):
            at = MONDAY + timedelta(hours=number % 168)
            record(ledger, at - timedelta(weeks=1), _score(rng), distance=1.5 * _distance(rng))
            record(ledger, at, _score(rng), distance=2 * _distance(rng))
    profiles = Profiles(tmp_path / "profiles")
    edges, distances = deciles(np.array([1.5 * _distance(rng) for _ in range(200)]))
    own = replace(PROFILE, reference=replace(REFERENCE, distance_edges=edges, distances=distances))

    def differ(profile: SiteProfile | None, weeks_ago: int) -> set[str]:
        now = NOW - timedelta(weeks=weeks_ago)
        week = last_week(ledger, CARD, OLD, profile, profiles, now)
        assert week.model == (own.label if profile is own else CARD.label)
        return {test.kind for test in week.differences}

    assert differ(None, 1) == {DISTANCES}
    assert differ(PROFILE, 1) == {DISTANCES}  # of too few films for a reference
    assert differ(own, 1) == set()
    assert differ(own, 0) == {DISTANCES}  # another machine again


def _score(rng: np.random.Generator) -> float:
    counts = np.array(PRESENT if rng.random() < 0.2 else ABSENT)
    return float((rng.choice(N_SCORE_BINS, p=counts / counts.sum()) + rng.random()) / N_SCORE_BINS)


def _distance(rng: np.random.Generator) -> float:
    edges = np.array([0.4, *REFERENCE.distance_edges, 2.4])
    parts = np.array(REFERENCE.distances) / sum(REFERENCE.distances)
    place = rng.choice(N_DISTANCE_BINS, p=parts)
    return float(rng.uniform(edges[place], edges[place + 1]))


# The watcher


@pytest.fixture
def bench(tmp_path, tiny_model):
    bench = Bench(tmp_path, tiny_model)
    yield bench
    bench.stop()


UNLIKE = compare(replace(observed(), n_refused=90), REFERENCE, "tiny 1")


def test_a_watcher_says_once_when_a_week_was_unlike_and_keeps_on_reading(bench, caplog):
    bench.watch.compared = lambda: UNLIKE
    bench.rounds(40)
    warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
    (said,) = (one.getMessage() for one in warnings)
    assert said == f"{summary(UNLIKE)} {next_step(UNLIKE)}"
    assert bench.watch.trouble == ""
    (watcher,) = bench.ledger.watchers()
    assert (watcher.trouble, from_data(Comparison, watcher.drift)) == ("", UNLIKE)


def test_a_week_is_compared_at_the_start_and_once_an_hour(bench, caplog):
    caplog.set_level(logging.INFO, "cxr_edge.watch.loop")
    n_asked = 0

    def compared() -> Comparison:
        nonlocal n_asked
        n_asked += 1
        return UNLIKE if n_asked == 1 else compare(observed(), REFERENCE, "tiny 1")

    bench.watch.compared = compared
    bench.rounds(12)
    assert n_asked == 1
    bench.rounds(365, seconds=10.0)
    assert n_asked == 2
    said = [one.getMessage() for one in caplog.records]
    assert sum("looked like those" in line for line in said) == 1
    assert any(line.startswith("No longer: In the week of") for line in said)


def test_a_ledger_that_cannot_be_read_ends_no_watch(bench, caplog):
    def compared() -> Comparison:
        raise LedgerError("The ledger cannot be used.", "Check the disk.")

    bench.watch.compared = compared
    bench.rounds(12)
    assert "cannot be compared" in caplog.text
    (watcher,) = bench.ledger.watchers()
    assert watcher.drift is None


def test_a_watcher_compares_the_films_of_its_own_model_with_its_card(tmp_path, tiny_model):
    path = tmp_path / "data" / "ledger.db"
    model = replace(tiny_model, card=CARD)
    with Ledger(path) as ledger:
        for sha256 in (model.sha256, NEW):
            record(ledger, datetime.now(UTC) - timedelta(weeks=1), model_sha256=sha256)
    settings = Settings(tmp_path / "scans", ledger=path)
    comparison = _compared(settings, model, None)()
    assert (comparison.model, comparison.n_films) == (CARD.label, 1)
    own = replace(PROFILE, reference=REFERENCE)
    assert _compared(settings, model, own)().model == own.label
    assert [test.n_films for test in comparison.tests] == [1, 0, 1]
