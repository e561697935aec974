"""What a person is shown of a row of the ledger."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from cxr_edge.language import speaking
from cxr_edge.ledger import Agreement, Prediction, Verdict, midnight
from cxr_edge.result import Finding, Identifiers, Result
from cxr_edge.web.filter_form import Filter, Place
from cxr_edge.web.view import (
    AgreementShown,
    FilmShown,
    Proportion,
    VerdictShown,
    figure_told,
    grouped,
    minute_told,
    number_told,
    percent_told,
    sentence_told,
    summed_up,
)

AT = datetime(2026, 11, 22, 14, 5, 59, tzinfo=UTC)


def prediction(
    *findings: Finding, status="ok", reason="", source="/scans/ward 3/film.jpg", patient=""
) -> Prediction:
    result = Result(
        source=Path(source),
        status=status,
        reason=reason,
        findings=findings,
        model="tiny 1",
        model_sha256="a" * 64,
        provider="CPUExecutionProvider",
        duration_ms=31.6,
        processed_at=AT,
        sha256="b" * 64,
    )
    return Prediction(7, Path("/scans"), 1, result, "0.1.0", Identifiers(patient))


@pytest.mark.parametrize(
    ("language", "number", "percent"),
    [
        ("en", "1,234.50", "95.3\u202f%"),
        ("fr", "1\u202f234,50", "95,3\u202f%"),
        ("es", "1\u202f234,50", "95,3\u202f%"),
        ("pt", "1\u202f234,50", "95,3\u202f%"),
    ],
)
def test_numbers_are_written_as_they_are_where_the_language_is_spoken(language, number, percent):
    with speaking(language):
        assert number_told(1234.5, 2) == number
        assert percent_told(0.9532) == percent


def test_a_time_is_that_of_the_clock_on_the_wall():
    assert minute_told(AT, timezone(timedelta(hours=9))) == "2026-11-22 23:05"


def test_a_film_is_shown_with_all_its_findings_and_what_they_are_judged_by():
    said = prediction(
        Finding("pneumonia", 0.8746, 0.208), Finding("tuberculosis", 0.0301, 0.5), patient="P-1"
    )
    shown = FilmShown.of(said, UTC)
    assert (shown.name, shown.place, shown.patient) == ("film.jpg", "/scans/ward 3", "P-1")
    assert (shown.outcome, shown.at, shown.took) == ("positive", "2026-11-22 14:05", "32")
    first, second = shown.findings
    assert (first.probability, first.score, first.threshold) == ("0.875", 87, "0.208")
    assert (first.outcome, second.outcome) == ("positive", "negative")
    assert first.asked == 20.8


def test_no_finding_is_shown_and_never_judged():
    shown = FilmShown.of(
        prediction(Finding("no finding", 0.9, None), Finding("COVID-19", 0.05, 0.3))
    )
    assert shown.outcome == "negative"
    assert shown.leading is not None
    assert shown.leading.name == "no finding"
    assert shown.leading.threshold == ""
    assert [one.name for one in shown.judged] == ["COVID-19"]


def test_a_refused_film_says_why_in_plain_words_and_keeps_the_details():
    shown = FilmShown.of(
        prediction(status="refused", reason="too_small: 20 x 30 px is less than 224. Export again.")
    )
    assert (shown.outcome, shown.code) == ("refused", "too_small")
    assert shown.reason == "The image is too small. Export it at full size, not as a thumbnail."
    assert shown.details == "20 x 30 px is less than 224. Export again."
    with speaking("fr"):
        assert FilmShown.of(prediction(status="refused", reason="lateral: It is.")).reason == (
            "C'est un cliché de profil. Envoyez le cliché de face (PA ou AP)."
        )


def test_a_reason_that_nobody_knows_is_shown_as_it_is():
    shown = FilmShown.of(prediction(status="failed", reason="of_tomorrow: It came too early."))
    assert (shown.reason, shown.details) == ("It came too early.", "")


def test_a_pseudonym_has_no_folder_and_a_name_need_not_be_unicode():
    finding = Finding("pneumonia", 0.1, 0.5)
    assert FilmShown.of(prediction(finding, source="3f2a")).place == ""
    assert FilmShown.of(prediction(finding, source="/scans/\udcff.jpg")).name == "\\udcff.jpg"


def test_what_needs_a_look_sums_up_the_verdicts_of_a_film():
    agrees, disagrees, unsure = (
        Verdict("pneumonia", word, "", "", AT) for word in ("agree", "disagree", "unsure")
    )
    assert summed_up([]) == ""
    assert summed_up([agrees]) == "agree"
    assert summed_up([agrees, unsure]) == "unsure"
    assert summed_up([agrees, disagrees, unsure]) == "disagree"
    with speaking("es"):
        assert VerdictShown.of(disagrees).said == "en desacuerdo"


def test_an_interval_is_wilsons():
    # https://www.itl.nist.gov/div898/handbook/prc/section2/prc241.htm: 4 of 20.
    shown = Proportion.of(4, 20)
    assert shown is not None
    assert (shown.low, shown.high) == pytest.approx((0.0807, 0.4160), abs=1e-4)
    none, every = Proportion.of(0, 10), Proportion.of(10, 10)
    assert none is not None
    assert every is not None
    assert (none.low, none.high) == pytest.approx((0, 0.2775), abs=1e-4)
    assert (every.low, every.high) == pytest.approx((0.7225, 1), abs=1e-4)
    assert Proportion.of(0, 0) is None


def test_agreement_becomes_sensitivity_and_specificity():
    shown = AgreementShown.of(Agreement("pneumonia", 15, 5, 2, tp=9, fp=4, tn=6, fn=1))
    assert shown.sensitivity is not None
    assert shown.specificity is not None
    assert (shown.sensitivity.value, shown.sensitivity.n) == (0.9, 10)
    assert (shown.specificity.value, shown.specificity.n) == (0.6, 10)
    assert AgreementShown.of(Agreement("x", 0, 0, 1, 0, 0, 0, 0)).sensitivity is None


def test_a_figure_of_the_card_is_told_in_the_persons_language():
    names = ["pneumonia", "bacterial pneumonia"]
    assert figure_told("bacterial pneumonia auroc", names) == "bacterial pneumonia: AUROC"
    with speaking("fr"):
        assert figure_told("pneumonia sensitivity", names) == "pneumonie : sensibilité"
        assert figure_told("accuracy", names) == "exactitude"
        assert (
            figure_told("all labels macro auroc", names) == "toutes les étiquettes : AUROC moyenne"
        )
    assert figure_told("something new", names) == "something new"


def test_a_sentence_begins_and_ends_as_one():
    assert sentence_told("films of COVID-19") == "Films of COVID-19."
    assert sentence_told("") == ""


def test_settings_are_grouped_and_those_that_say_nothing_left_out():
    recipe = {"network": "x", "optimisation.epochs": "6", "init": "", "optimisation.seed": "1"}
    assert grouped(recipe) == {
        "": [("network", "x")],
        "optimisation": [("epochs", "6"), ("seed", "1")],
    }


def test_both_days_of_a_time_are_wanted():
    wanted = Filter.of({"since": "2026-11-01", "until": "2026-11-30"}).wanted()
    assert wanted.since == midnight(date(2026, 11, 1))
    assert wanted.until == midnight(date(2026, 12, 1))


@pytest.mark.parametrize(
    "given",
    [
        {"status": "nonsense", "verdict": "'", "order": "worst", "since": "yesterday"},
        {"since": "2026-02-30", "until": "9999-12-31"},
        {"since": "2026-11-01T00:00", "until": "20261101"},
        {"order": "newest", "unknown": "x"},
        {},
    ],
)
def test_what_cannot_be_meant_filters_nothing(given):
    asked = Filter.of(given)
    assert asked == Filter()
    assert asked.is_empty


def test_the_form_asks_for_what_is_in_it():
    asked = Filter.of(
        {"finding": "pneumonia", "status": "positive", "text": " DOE ", "order": "score"}
    )
    wanted = asked.wanted()
    assert (wanted.finding, wanted.status, wanted.text) == ("pneumonia", "positive", "DOE")
    assert wanted.by_score
    assert not asked.is_empty
    # How films are ordered hides none.
    assert Filter.of({"order": "score"}).is_empty


def test_pages_lead_on_and_back():
    first = Place.of({})
    second = Place.of({"go": "next", "cursor": "", "trail": "", "next": "b"})
    third = Place.of({"go": "next", "cursor": "b", "trail": second.trail_text, "next": "c"})
    assert (first.number, second.number, third.number) == (1, 2, 3)
    form = {"cursor": "c", "trail": third.trail_text, "next": "d"}
    assert Place.of({"go": "back", **form}) == second
    assert Place.of({"go": "stay", **form}) == third
    assert Place.of({"go": "first", **form}) == first
    # Whoever filters anew begins anew.
    assert Place.of(form) == first


def test_a_place_that_no_page_gave_is_the_beginning():
    assert Place.of({"go": "back", "cursor": "", "trail": "x|y"}) == Place()
    assert Place.of({"go": "wrong", "cursor": "c"}) == Place()
