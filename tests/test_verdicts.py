"""What people say of what was said of a film."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cxr_edge.errors import LedgerError
from cxr_edge.ledger import Ledger, Verdict
from tests.test_ledger import LOOK, NOW, result, seen

AGREE = Verdict("pneumonia", "agree", "as I see it", "Dr Ü", NOW)


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    """With one film, which was read for pneumonia and no finding."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.record(seen(ledger), LOOK, result())
        yield ledger


def test_a_verdict_comes_back_as_it_was_said(ledger):
    ledger.say(1, AGREE)
    assert ledger.verdicts(1) == ledger.verdict_history(1) == [AGREE]


def test_the_last_word_on_each_finding_counts_and_none_is_lost(ledger):
    # In the order in which they are said: a clock may be set back.
    other = replace(AGREE, verdict="disagree", by="Dr B", at=NOW - timedelta(days=1))
    whole = replace(AGREE, finding="", verdict="unsure")
    nothing = replace(AGREE, finding="no finding", note="")
    for verdict in (AGREE, whole, nothing, other):
        ledger.say(1, verdict)
    assert ledger.verdicts(1) == [whole, nothing, other]
    assert ledger.verdict_history(1) == [AGREE, whole, nothing, other]
    assert ledger.verdicts(2) == []


def test_a_verdict_is_of_one_reading_of_the_film(ledger):
    ledger.say(1, AGREE)
    again = ledger.record_again(next(ledger.predictions()), result(model_sha256="c" * 64))
    assert ledger.verdicts(again) == []
    assert ledger.verdicts(1) == [AGREE]


def test_only_what_the_film_was_read_for_can_be_judged(ledger):
    with pytest.raises(ValueError, match="was not read for 'effusion'"):
        ledger.say(1, replace(AGREE, finding="effusion"))
    with pytest.raises(LedgerError, match="no film 2"):
        ledger.say(2, AGREE)
    assert ledger.verdict_history(1) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "maybe"}, "no verdict 'maybe'"),
        ({"verdict": ""}, "no verdict"),
        ({"verdict": "Agree"}, "no verdict"),
        ({"note": "x" * 2001}, "note is longer than 2000"),
        ({"by": "x" * 101}, "name is longer than 100"),
        ({"note": "a\0b"}, "note has control characters"),
        ({"note": "a\x1b[31m"}, "note has control characters"),
        ({"note": "a\x85"}, "note has control characters"),
        ({"note": "a\rb"}, "note has control characters"),
        ({"by": "a\nb"}, "name has control characters"),
        ({"by": "a\tb"}, "name has control characters"),
    ],
)
def test_what_could_spoil_a_page_or_a_table_is_refused(ledger, changes, said):
    with pytest.raises(ValueError, match=said):
        ledger.say(1, replace(AGREE, **changes))
    assert ledger.verdict_history(1) == []


def test_a_note_may_have_lines_and_any_text(ledger):
    longest = "ü" * 1998
    ledger.say(1, replace(AGREE, note=f"a\r\nb\n{longest[:1996]}", by="x" * 100))
    assert ledger.verdicts(1)[0].note == f"a\nb\n{longest[:1996]}"
    # Half of a surrogate pair is no UTF-8.
    ledger.say(1, replace(AGREE, note="a\udcffb"))
    assert ledger.verdicts(1)[0].note == "a\\udcffb"


def test_a_verdict_said_within_a_transaction_that_fails_was_not_said(ledger):
    with pytest.raises(ValueError, match="maybe"), ledger.transaction():
        ledger.say(1, AGREE)
        ledger.say(1, replace(AGREE, verdict="maybe"))
    assert ledger.verdicts(1) == []


def test_when_it_was_said_is_kept_in_utc(ledger):
    ledger.say(1, replace(AGREE, at=datetime(2026, 5, 1, 12).astimezone()))
    (said,) = ledger.verdicts(1)
    assert said.at == datetime(2026, 5, 1, 12).astimezone()
    assert said.at.tzinfo == UTC
