"""How many films a site had, of what outcome, and what people said of them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from cxr_edge.ledger import Agreement, Answers, Day, Ledger, Verdict
from cxr_edge.result import Finding
from tests.test_ledger import LOOK, NOW, result, seen

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
OLD, NEW = "b" * 64, "c" * 64


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield ledger


def record(
    ledger: Ledger, at: datetime, probability: float = 0.9, status: str = "ok", **changes: object
) -> int:
    n = ledger.last_prediction_id()
    findings = (Finding("pneumonia", probability, 0.5),) if status == "ok" else ()
    values = {"status": status, "findings": findings, "processed_at": at, "sha256": f"{n:064x}"}
    name = f"{n}.jpg"
    said = ledger.record(seen(ledger, name), LOOK, result(name, **(values | changes)))
    return said.prediction_id


def test_every_day_has_its_films_by_what_became_of_them(ledger):
    for hours, probability in ((0, 0.9), (23.9, 0.4), (24, 0.8), (25, 0.7), (72, 0.1)):
        record(ledger, MONDAY + timedelta(hours=hours), probability)
    record(ledger, MONDAY + timedelta(hours=26), status="refused", reason="colour: x")
    record(ledger, MONDAY + timedelta(hours=27), status="failed", reason="corrupt: x")
    for probability in (0.5, 0.4):
        within = (Finding("pneumonia", probability, 0.5, 0.4, 0.6),)
        record(ledger, MONDAY + timedelta(hours=28), findings=within)
    days = ledger.per_day(MONDAY, MONDAY + timedelta(days=3), UTC)
    assert days == [
        Day(date(2026, 3, 2), positive=1, negative=1, unsure=0, refused=0, failed=0),
        Day(date(2026, 3, 3), positive=2, negative=0, unsure=2, refused=1, failed=1),
        Day(date(2026, 3, 4), 0, 0, 0, 0, 0),
    ]
    assert [day.n_films for day in days] == [2, 6, 0]
    assert ledger.per_day(MONDAY, MONDAY, UTC) == []


def test_a_film_counts_once_as_what_was_said_of_it_last(ledger):
    record(ledger, MONDAY, 0.9)
    film = next(ledger.predictions())
    negative = (Finding("pneumonia", 0.2, 0.5),)
    again = result(
        *(film.result.source.name, film.result.sha256),
        findings=negative,
        model_sha256=NEW,
        processed_at=MONDAY + timedelta(days=1),
    )
    ledger.record_again(film, again)
    days = ledger.per_day(MONDAY, MONDAY + timedelta(days=2), UTC)
    assert [(day.positive, day.negative) for day in days] == [(0, 0), (0, 1)]
    assert ledger.models() == [("tiny 1", NEW)]


def test_a_day_begins_where_the_machine_is(ledger):
    far_east = timezone(timedelta(hours=14))
    record(ledger, datetime(2026, 3, 2, 9, 59, tzinfo=UTC))
    record(ledger, datetime(2026, 3, 2, 10, tzinfo=UTC))
    since = datetime(2026, 3, 2, tzinfo=far_east)
    days = ledger.per_day(since, since + timedelta(days=2), far_east)
    assert [(day.date.day, day.positive) for day in days] == [(2, 1), (3, 1)]


def test_days_of_23_and_25_hours_are_whole(ledger):
    berlin = ZoneInfo("Europe/Berlin")
    for start, n_hours in ((datetime(2026, 3, 29), 23), (datetime(2026, 10, 25), 25)):
        since = start.replace(tzinfo=berlin)
        until = (start + timedelta(days=2)).replace(tzinfo=berlin)
        first = since.astimezone(UTC)
        for hour in range(n_hours + 1):
            record(ledger, first + timedelta(hours=hour))
        days = ledger.per_day(since, until, berlin)
        assert [(day.date, day.positive) for day in days] == [
            (start.date(), n_hours),
            (start.date() + timedelta(days=1), 1),
        ]


def test_part_of_a_day_has_what_lies_within(ledger):
    for hour in (1, 11, 13):
        record(ledger, MONDAY + timedelta(hours=hour))
    noon = MONDAY + timedelta(hours=12)
    assert [day.positive for day in ledger.per_day(noon, noon + timedelta(days=1), UTC)] == [1, 0]


def test_a_weeks_scores_are_counted_in_tenths(ledger):
    probabilities = (0.0, 0.05, 0.1, 0.3, 0.7, 0.99, 1.0)
    for n, probability in enumerate(probabilities):
        record(ledger, MONDAY + timedelta(days=n), probability)
    record(ledger, MONDAY + timedelta(days=1), status="refused", reason="colour: x")
    record(ledger, MONDAY + timedelta(days=2), status="failed", reason="corrupt: x")
    record(ledger, MONDAY + timedelta(days=15), 0.5)
    wednesday = MONDAY + timedelta(days=2)
    weeks = ledger.per_week("pneumonia", OLD, MONDAY, MONDAY + timedelta(weeks=3), UTC)
    assert [week.monday for week in weeks] == [date(2026, 3, day) for day in (2, 9, 16)]
    first, second, third = weeks
    assert first.histogram == (2, 1, 0, 1, 0, 0, 0, 1, 0, 2)
    assert (first.n, first.n_refused, first.n_failed, first.n_all) == (7, 1, 1, 9)
    assert first.mean == pytest.approx(sum(probabilities) / 7)
    assert (second.n, second.histogram, second.mean, second.n_all) == (0, (0,) * 10, None, 0)
    assert (third.n, third.mean) == (1, 0.5)
    # From a Wednesday on the week is the same one, and what was before is left out.
    (rest,) = ledger.per_week("pneumonia", OLD, wednesday, MONDAY + timedelta(weeks=1), UTC)
    assert (rest.monday, rest.n) == (date(2026, 3, 2), 5)


def test_a_week_is_of_one_model_and_one_finding(ledger):
    both = (Finding("pneumonia", 0.9, 0.5), Finding("effusion", 0.2, 0.5))
    record(ledger, MONDAY, findings=both)
    record(ledger, MONDAY, 0.4, model_sha256=NEW, model="new 2")
    record(ledger, MONDAY, status="refused", reason="colour: x", model_sha256=NEW, model="new 2")

    def week(finding: str, model: str) -> tuple[int, float | None, int]:
        (one,) = ledger.per_week(finding, model, MONDAY, MONDAY + timedelta(weeks=1), UTC)
        return one.n, one.mean, one.n_all

    assert week("pneumonia", OLD) == (1, 0.9, 1)
    assert week("pneumonia", NEW) == (1, 0.4, 2)
    assert week("effusion", OLD) == (1, 0.2, 1)
    assert week("effusion", NEW) == (0, None, 2)
    assert week("pneumonia", "") == (2, pytest.approx(0.65), 3)


def test_films_are_counted_by_the_profile_that_judged_them_and_how_far_out_they_lie(ledger):
    week = (MONDAY, MONDAY + timedelta(weeks=1))
    for distance in (0.5, 1.0, 1.5, 9.0, None):
        record(ledger, MONDAY, distance=distance)
    record(ledger, MONDAY, distance=1.0, profile="here 1234")
    record(ledger, MONDAY, status="refused", reason="colour: x")
    record(ledger, MONDAY, status="failed", reason="corrupt: x")
    record(ledger, MONDAY, model_sha256=NEW, distance=1.0)
    record(ledger, week[1], distance=1.0)
    # An edge belongs to the bin above it; without a distance a film is in none.
    assert ledger.answers(OLD, *week, (1.0, 2.0)) == Answers(
        n_refused=1, by_profile={"": 5, "here 1234": 1}, distances=(1, 3, 1)
    )
    assert ledger.answers(OLD, MONDAY, MONDAY, (1.0,)) == Answers(0, {}, (0, 0))


def test_scores_are_counted_between_edges_of_one_profile(ledger):
    week = (MONDAY, MONDAY + timedelta(weeks=1))
    for probability in (0.0, 0.29, 0.3, 0.5, 1.0):
        record(ledger, MONDAY, probability)
    record(ledger, MONDAY, 0.5, profile="here 1234")
    record(ledger, MONDAY, 0.5, model_sha256=NEW)
    record(ledger, week[1], 0.5)
    assert ledger.scores("pneumonia", OLD, *week, "", (0.3, 0.6)) == (2, 2, 1)
    assert ledger.scores("pneumonia", OLD, *week, "here 1234", (0.3, 0.6)) == (0, 1, 0)
    assert ledger.scores("effusion", OLD, *week, "", (0.3, 0.6)) == (0, 0, 0)


def test_people_against_the_model(ledger):
    """Who agrees with positive, or disagrees with negative, says that the finding is there."""
    words = {
        0.9: ("agree", "agree", "agree", "disagree", "unsure"),
        0.1: ("agree", "agree", "disagree", "unsure"),
    }
    at = MONDAY
    for probability, said in words.items():
        for word in said:
            at += timedelta(hours=1)
            both = (Finding("pneumonia", probability, 0.5), Finding("effusion", 0.05, 0.5))
            number = record(ledger, at, findings=both)
            ledger.say(number, Verdict("pneumonia", "unsure", "", "", at))
            ledger.say(number, Verdict("pneumonia", word, "", "", at))
    record(ledger, at)  # of which nobody said a thing
    refused = record(ledger, at, status="refused", reason="colour: x")
    ledger.say(refused, Verdict("", "disagree", "", "", at))
    agreement = Agreement("pneumonia", n_agree=5, n_disagree=2, n_unsure=2, tp=3, fp=1, tn=2, fn=1)
    assert ledger.agreement() == ledger.agreement(OLD) == [agreement]
    assert ledger.agreement(NEW) == []
    ledger.say(1, Verdict("effusion", "disagree", "", "", at))
    effusion, pneumonia = ledger.agreement()
    assert effusion == Agreement("effusion", 0, 1, 0, 0, 0, 0, 1)
    assert pneumonia == agreement
    # By when the film was read, not when it was judged.
    (first,) = ledger.agreement(
        since=MONDAY + timedelta(hours=2), until=MONDAY + timedelta(hours=4)
    )
    assert (first.n_agree, first.n_disagree) == (2, 0)


def test_models_come_with_the_one_last_used_first(ledger):
    assert ledger.models() == []
    record(ledger, MONDAY + timedelta(days=1), model_sha256=NEW, model="new 2")
    record(ledger, MONDAY)
    record(ledger, MONDAY + timedelta(hours=1))
    assert ledger.models() == [("new 2", NEW), ("tiny 1", OLD)]
    record(ledger, MONDAY + timedelta(days=2))
    assert ledger.models() == [("tiny 1", OLD), ("new 2", NEW)]


def test_no_count_goes_through_more_than_its_time(ledger):
    record(ledger, NOW)
    statements: list[str] = []
    ledger._db.set_trace_callback(statements.append)
    ledger.per_day(MONDAY, MONDAY + timedelta(days=1), UTC)
    ledger.per_week("pneumonia", OLD, MONDAY, MONDAY + timedelta(days=1), UTC)
    ledger.scores("pneumonia", OLD, MONDAY, MONDAY + timedelta(days=1), "", (0.5,))
    ledger.answers(OLD, MONDAY, MONDAY + timedelta(days=1), (1.0,))
    ledger._db.set_trace_callback(None)
    assert len(statements) == 5
    steps = [next(iter(ledger.all(f"EXPLAIN QUERY PLAN {one}")))[3] for one in statements]
    for step in steps[:4]:
        assert "(finding=? AND processed_at>? AND processed_at<?)" in step
    assert "predictions_by_time (processed_at>? AND processed_at<?)" in steps[4]
