"""`cxr-edge export-csv`: the ledger as a CSV, whole or in part."""

import csv
import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge import csv_export
from cxr_edge.cli import cli
from cxr_edge.csv_export import Selection
from cxr_edge.csv_view import CsvView
from cxr_edge.ledger import Ledger, Verdict
from cxr_edge.record import COLUMNS, STANDARD
from cxr_edge.result import Finding, Identifiers, Result
from cxr_edge.watch.settle import Look
from tests.older_ledger import older_ledger

FILMS = Path("/films ü")
NOON = datetime(2026, 11, 21, 12).astimezone()
OLD, NEW = "0" * 64, "1" * 64


def result(name: str, days: float = 0, model_sha256: str = OLD, **changes) -> Result:
    values = {
        "source": FILMS / name,
        "status": "ok",
        "reason": "",
        "findings": (Finding("pneumonia", 0.9, 0.5), Finding("effusion", 0.1, 0.5)),
        "model": "old 1" if model_sha256 == OLD else "new 2",
        "model_sha256": model_sha256,
        "provider": "CPUExecutionProvider",
        "duration_ms": 12.34,
        "processed_at": NOON + timedelta(days=days),
        "sha256": name.encode().hex().ljust(64, "0"),
    }
    return Result(**(values | changes))


def record(ledger: Ledger, made: Result, name: str = "", folder: Path = FILMS, **more) -> None:
    name = name or made.source.name
    look = Look(len(name), ledger.last_prediction_id())
    file_id = ledger.saw(ledger.folder_id(folder), name, look)
    ledger.record(file_id, look, made, **more)


@pytest.fixture
def ledger_path(tmp_path) -> Path:
    """Three films on three days; a.jpg has a copy and was read again by a newer model."""
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        record(ledger, result("a.jpg"), identifiers=Identifiers("=ID 7", "1.2.3", "1.2.3.4"))
        record(ledger, result("copy.jpg", sha256=result("a.jpg").sha256))
        negative = (Finding("pneumonia", 0.2, 0.5), Finding("effusion", 0.1, 0.5))
        record(ledger, result("b.jpg", days=1, findings=negative))
        record(ledger, result("c.jpg", 2, status="failed", reason="corrupt: It.", findings=()))
        first = next(ledger.predictions())
        ledger.record_again(first, result("a.jpg", 3, NEW, findings=negative))
    return path


def export(ledger_path: Path, *arguments: object):
    arguments = ("export-csv", *arguments, "--ledger", ledger_path)
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def names(ledger_path: Path, *arguments: object) -> str:
    """The films in the CSV that is written to the standard output, as letters."""
    outcome = export(ledger_path, "-", *arguments)
    assert outcome.exit_code == 0, outcome.stderr
    rows = list(csv.DictReader(io.StringIO(outcome.stdout, newline="")))
    assert f"{len(rows)} rows." in outcome.stderr
    return "".join(Path(row["file"]).name[0] for row in rows)


def test_a_csv_of_everything_is_as_watch_writes_it(ledger_path, tmp_path):
    outcome = export(ledger_path, tmp_path / "all.csv")
    assert outcome.exit_code == 0
    assert "4 rows." in outcome.stderr and "Not for diagnostic use" in outcome.stderr
    with Ledger(ledger_path) as ledger:
        CsvView(tmp_path / "view.csv", FILMS, ledger).fill()
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "view.csv").read_bytes()


def test_both_days_of_a_time_are_wanted_by_this_machine_s_clock(ledger_path):
    assert names(ledger_path, "--since", "2026-11-22") == "bca"
    assert names(ledger_path, "--until", "2026-11-22") == "ab"
    assert names(ledger_path, "--since", "2026-11-22", "--until", "2026-11-23") == "bc"


def test_days_begin_where_this_machine_is(ledger_path):
    far_east = timezone(timedelta(hours=14))
    day = NOON.astimezone(far_east).date()
    with Ledger(ledger_path, read_only=True) as ledger:
        (only,) = Selection(since=day, until=day, timezone=far_east).of(ledger)
    assert only.result.source.name == "a.jpg"


def test_a_part_is_chosen_by_model_finding_status_and_folder(ledger_path):
    assert names(ledger_path, "--model", "new") == "a"
    assert names(ledger_path, "--model", "old 1") == names(ledger_path, "--model", OLD) == "abc"
    assert names(ledger_path, "--finding", "pneumonia") == "a"
    assert names(ledger_path, "--finding", "effusion") == ""
    assert names(ledger_path, "--status", "failed") == "c"
    assert names(ledger_path, "--folder", FILMS) == "abca"


def test_the_latest_of_each_film_is_the_last_that_fits(ledger_path):
    assert names(ledger_path, "--latest") == "bca"
    assert names(ledger_path, "--latest", "--model", "old") == "abc"
    # It was positive, and is not any more.
    assert names(ledger_path, "--latest", "--finding", "pneumonia") == ""


def test_copies_have_rows_where_every_name_is_asked_for(ledger_path):
    # The newest prediction answers for the copy.
    assert names(ledger_path, "--every-name") == "abcac"
    outcome = export(ledger_path, "-", "--every-name", "--model", "new")
    first, second = csv.DictReader(io.StringIO(outcome.stdout))
    assert (first["file"], second["file"]) == (str(FILMS / "a.jpg"), str(FILMS / "copy.jpg"))
    assert first["sha256"] == second["sha256"]


def test_a_copy_with_a_pseudonym_stays_pseudonymous(tmp_path):
    with Ledger(tmp_path / "l.db") as ledger:
        record(ledger, result("x", source=Path("film-1.png"), sha256="a" * 64), "film-1.png")
        record(ledger, result("x", source=Path("film-2.png"), sha256="a" * 64), "film-2.png")
    outcome = export(tmp_path / "l.db", "-", "--every-name")
    rows = csv.DictReader(io.StringIO(outcome.stdout))
    assert [row["file"] for row in rows] == ["film-1.png", "film-2.png"]


def test_identifiers_are_there_where_they_are_asked_for_and_no_formulas(ledger_path):
    outcome = export(ledger_path, "-", "--identifiers")
    first, *_ = csv.DictReader(io.StringIO(outcome.stdout))
    assert list(first) == [*COLUMNS, "patient", "study", "instance"]
    assert [first[name] for name in ("patient", "study", "instance")] == [
        "'=ID 7",
        "1.2.3",
        "1.2.3.4",
    ]


VERDICT_COLUMNS = ["verdict", "verdict_note", "verdict_by", "verdict_at"]


def test_verdicts_are_there_where_they_are_asked_for(ledger_path):
    at = NOON + timedelta(hours=1)
    with Ledger(ledger_path) as ledger:
        numbers = [said.id for said in ledger.predictions()]
        for verdict in (
            Verdict("pneumonia", "agree", "", "Dr A", at),
            Verdict("pneumonia", "disagree", "=1+1, an artefact", "@Dr A", at),
        ):
            ledger.say(numbers[0], verdict)
        ledger.say(numbers[1], Verdict("pneumonia", "agree", "", "", at))
        ledger.say(numbers[1], Verdict("effusion", "unsure", "small\none", "Dr B", at))
        ledger.say(numbers[2], Verdict("", "agree", "no film", "Dr B", at))
        ledger.say(numbers[3], Verdict("effusion", "agree", "", "", at))
    rows = list(csv.DictReader(io.StringIO(export(ledger_path, "-", "--verdicts").stdout)))
    said_at = at.astimezone(UTC).isoformat(timespec="seconds")
    assert list(rows[0]) == [*COLUMNS, *VERDICT_COLUMNS]
    assert [[row[name] for name in VERDICT_COLUMNS] for row in rows] == [
        ["disagree", "'=1+1, an artefact", "'@Dr A", said_at],
        [
            "pneumonia=agree; effusion=unsure",
            "pneumonia=; effusion=small\none",
            "pneumonia=; effusion=Dr B",
            f"pneumonia={said_at}; effusion={said_at}",
        ],
        ["agree", "no film", "Dr B", said_at],
        ["effusion=agree", "effusion=", "effusion=", f"effusion={said_at}"],
    ]


def test_verdicts_come_after_the_identifiers_and_may_be_none(ledger_path):
    outcome = export(ledger_path, "-", "--verdicts", "--identifiers")
    first, *_ = csv.DictReader(io.StringIO(outcome.stdout))
    assert list(first) == [*COLUMNS, "patient", "study", "instance", *VERDICT_COLUMNS]
    assert [first[name] for name in VERDICT_COLUMNS] == ["", "", "", ""]


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_ledger_is_exported_as_it_is(tmp_path, version):
    """It is only read, and so not brought up to date; one of version 1 has no verdicts."""
    with older_ledger(tmp_path / "l.db", version) as ledger:
        record(ledger, result("a.jpg"))
    assert names(tmp_path / "l.db", "--verdicts", "--latest", "--every-name") == "a"
    (row,) = csv.DictReader(io.StringIO(export(tmp_path / "l.db", "-").stdout))
    assert (row["answer"], row["site_profile"]) == ("positive", "")


def test_excel_gets_its_dialect(ledger_path, tmp_path):
    export(ledger_path, tmp_path / "e.csv", "--csv-dialect", "excel-semicolon")
    data = (tmp_path / "e.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbffile;status;") and b";0,900000;" in data


def test_a_file_that_is_there_is_replaced_only_where_that_is_asked_for(ledger_path, tmp_path):
    out = tmp_path / "o.csv"
    out.write_text("mine")
    outcome = export(ledger_path, out)
    assert outcome.exit_code == 2 and "--force" in outcome.stderr
    assert out.read_text() == "mine"
    assert export(ledger_path, out, "--force").exit_code == 0
    assert out.read_bytes().startswith(STANDARD.header)


def test_the_csv_that_watch_keeps_is_not_written_over(ledger_path, tmp_path):
    out = tmp_path / "results.csv"
    with Ledger(ledger_path) as ledger:
        CsvView(out, FILMS, ledger).fill()
    before = out.read_bytes()
    outcome = export(ledger_path, out, "--force", "--latest")
    assert outcome.exit_code == 6 and "kept by cxr-edge watch" in outcome.stderr
    assert out.read_bytes() == before


def test_what_is_not_whole_is_not_there(ledger_path, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv_export, "write_rows", full)
    outcome = export(ledger_path, tmp_path / "o.csv")
    assert outcome.exit_code == 6 and "No space left" in outcome.stderr
    assert [path.name for path in tmp_path.glob("o.csv*")] == []


def test_it_is_written_while_another_process_records(ledger_path):
    with Ledger(ledger_path) as ledger, ledger.transaction():
        record(ledger, result("d.jpg", 4))
        assert names(ledger_path) == "abca"
    assert names(ledger_path) == "abcad"


def test_a_wrong_word_is_answered_with_the_right_ones(ledger_path, tmp_path):
    outcome = export(ledger_path, "-", "--finding", "pneumonja")
    assert outcome.exit_code == 2 and "effusion, pneumonia" in outcome.stderr
    outcome = export(ledger_path, "-", "--folder", tmp_path)
    assert outcome.exit_code == 2 and str(FILMS) in outcome.stderr
    assert export(ledger_path, "-", "--since", "21.11.2026").exit_code == 2
    outcome = export(tmp_path / "none.db", "-")
    assert outcome.exit_code == 6 and "There is no ledger" in outcome.stderr
    assert not (tmp_path / "none.db").exists()


def test_a_folder_that_cannot_be_written_to_is_said(ledger_path, tmp_path):
    outcome = export(ledger_path, tmp_path / "none" / "o.csv")
    assert outcome.exit_code == 6 and "cannot be written" in outcome.stderr
