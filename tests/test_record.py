"""RECORD: rows that survive a spreadsheet, a power cut and another program's lock."""

import csv
import errno
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cxr_edge.errors import RecordError
from cxr_edge.record import (
    COLUMNS,
    DIALECTS,
    STANDARD,
    CsvRecord,
    json_text,
    refuse_inside,
    to_json,
    to_row,
)
from cxr_edge.result import Finding, Result, reason_for
from tests.made_csv import written_before

FINDINGS = (Finding("pneumonia", 0.876543, 0.5), Finding("effusion", 0.1, 0.4))


def result(source: str = "film.jpg", findings=FINDINGS, sha256: str = "a" * 64) -> Result:
    return Result(
        source=Path(source),
        status="ok" if findings else "failed",
        reason="" if findings else "empty: The file has zero bytes.",
        findings=findings,
        model="tiny 1",
        model_sha256="b" * 64,
        provider="CPUExecutionProvider",
        duration_ms=12.34,
        processed_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        sha256=sha256,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_header_is_the_promised_one(tmp_path):
    CsvRecord(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == (
        "file,status,reason,finding,probability,score,positive,answer,all_findings,"
        "model,model_sha256,site_profile,provider,duration_ms,processed_at,sha256\n"
    )


def test_a_row_says_everything(tmp_path):
    record = CsvRecord(tmp_path / "r.csv")
    record.append(result())
    (row,) = rows(tmp_path / "r.csv")
    assert row == {
        "file": "film.jpg",
        "status": "ok",
        "reason": "",
        "finding": "pneumonia",
        "probability": "0.876543",
        "score": "88",
        "positive": "true",
        "answer": "positive",
        "all_findings": "pneumonia=0.876543; effusion=0.100000",
        "model": "tiny 1",
        "model_sha256": "b" * 64,
        "site_profile": "",
        "provider": "CPUExecutionProvider",
        "duration_ms": "12.3",
        "processed_at": "2026-01-02T03:04:05+00:00",
        "sha256": "a" * 64,
    }


def test_a_film_without_an_answer_has_empty_cells_and_its_reason():
    row = to_row(result(findings=()))
    assert row["status"] == "failed"
    assert row["reason"] == "empty: The file has zero bytes."
    assert row["probability"] == row["score"] == row["positive"] == row["finding"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_file_name_is_never_a_formula(start):
    assert to_row(result(start + "cmd.jpg"))["file"] == "'" + start + "cmd.jpg"


def test_names_with_commas_quotes_line_breaks_and_other_alphabets_come_back(tmp_path):
    record = CsvRecord(tmp_path / "r.csv")
    names = ['a,"b".jpg', "line\nbreak.jpg", "肺 ü.jpg"]
    for name in names:
        record.append(result(name))
    assert [row["file"] for row in rows(tmp_path / "r.csv")] == names


def test_a_name_that_is_not_unicode_still_gets_its_row(tmp_path):
    record = CsvRecord(tmp_path / "r.csv")
    record.append(result("film-\udcff.jpg"))
    assert rows(tmp_path / "r.csv")[0]["file"] == r"film-\udcff.jpg"
    assert json.loads(json_text(result("film-\udcff.jpg")))["status"] == "ok"
    assert json_text(result("影.jpg")).isascii()  # a pipe may have any encoding


def test_rows_are_appended_to_an_earlier_file(tmp_path):
    CsvRecord(tmp_path / "r.csv").append(result("1.jpg"))
    CsvRecord(tmp_path / "r.csv").append(result("2.jpg"))
    assert [row["file"] for row in rows(tmp_path / "r.csv")] == ["1.jpg", "2.jpg"]


def test_a_csv_with_another_header_is_left_untouched(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("name,ward\nA,3\n")
    with pytest.raises(RecordError, match="not a result file of this version"):
        CsvRecord(path)
    assert path.read_text() == "name,ward\nA,3\n"


def test_a_file_that_is_not_text_is_left_untouched(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RecordError, match="not a result file"):
        CsvRecord(path)
    assert path.read_bytes() == b"\xff\xfe\x00\x01"


def test_a_row_cut_by_a_power_failure_is_dropped(tmp_path, caplog):
    path = tmp_path / "r.csv"
    record = CsvRecord(path)
    record.append(result("1.jpg"))
    whole = path.read_bytes()
    record.append(result("ü2.jpg"))
    path.write_bytes(path.read_bytes()[:-30])
    CsvRecord(path)
    assert path.read_bytes() == whole
    assert "half-written row" in caplog.text
    assert "2.jpg" not in caplog.text  # a film's name may be a patient's


def test_a_quotation_mark_set_by_hand_costs_no_row(tmp_path):
    path = tmp_path / "r.csv"
    record = CsvRecord(path)
    for number in range(3):
        record.append(result(f"{number}.jpg"))
    edited = path.read_bytes().replace(b"0.jpg", b'"0.jpg')
    path.write_bytes(edited)
    CsvRecord(path)
    assert path.read_bytes() == edited


def test_a_header_without_its_line_break_is_written_anew(tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(STANDARD.header[:-1])
    CsvRecord(path).append(result("1.jpg"))
    assert [row["file"] for row in rows(path)] == ["1.jpg"]


def test_a_full_disk_leaves_no_half_row(tmp_path, monkeypatch):
    """The row was not added: the disk took 20 bytes of it, and those are taken back."""
    path = tmp_path / "r.csv"
    record = CsvRecord(path)
    whole = path.read_bytes()
    opened = Path.open

    class Full:
        def __init__(self, file):
            self.file, self.n_left = file, 20

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            if not self.n_left:
                raise OSError(errno.ENOSPC, "No space left on device")
            n_bytes = self.file.write(data[: self.n_left])
            self.n_left -= n_bytes
            return n_bytes

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *a, **k: Full(opened(self, *a, **k)))
        with pytest.raises(RecordError, match="No space left"):
            record.append(result())
    assert path.read_bytes() == whole
    record.append(result("1.jpg"))
    assert [row["file"] for row in rows(path)] == ["1.jpg"]


def test_excel_with_decimal_commas_reads_numbers_and_letters(tmp_path):
    path = tmp_path / "r.csv"
    CsvRecord(path, DIALECTS["excel-semicolon"]).append(result("肺 ü;1.jpg"))
    CsvRecord(path, DIALECTS["excel-semicolon"]).append(result("=cmd.jpg"))
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbffile;status;") and data.count(b"\xef\xbb\xbf") == 1
    with path.open(newline="", encoding="utf-8-sig") as file:
        first, second = csv.DictReader(file, delimiter=";")
    assert (first["file"], second["file"]) == ("肺 ü;1.jpg", "'=cmd.jpg")
    assert (first["probability"], first["duration_ms"]) == ("0,876543", "12,3")
    assert first["all_findings"] == "pneumonia=0,876543; effusion=0,100000"


def test_the_other_excel_differs_by_its_byte_order_mark_alone(tmp_path):
    CsvRecord(tmp_path / "e.csv", DIALECTS["excel"]).append(result())
    CsvRecord(tmp_path / "s.csv").append(result())
    with_mark = (tmp_path / "e.csv").read_bytes()
    assert with_mark == b"\xef\xbb\xbf" + (tmp_path / "s.csv").read_bytes()
    CsvRecord(tmp_path / "e.csv").append(result())  # an editor may have put it there
    assert len(rows(tmp_path / "e.csv")) == 2


@pytest.mark.parametrize(
    ("has", "asked"),
    [("excel", "excel-semicolon"), ("standard", "excel-semicolon"), ("excel-semicolon", "excel")],
)
def test_a_csv_of_another_dialect_is_named_and_left_untouched(tmp_path, has, asked):
    path = tmp_path / "r.csv"
    CsvRecord(path, DIALECTS[has]).append(result())
    before = path.read_bytes()
    with pytest.raises(RecordError, match=f"was written with --csv-dialect {has}\\."):
        CsvRecord(path, DIALECTS[asked])
    assert path.read_bytes() == before


def test_the_option_and_the_settings_offer_every_dialect():
    from cxr_edge.commands.options import dialect_option
    from cxr_edge.watch.settings import CsvSettings

    choices = list(DIALECTS)
    option = dialect_option(lambda: None).__click_params__[0]
    assert list(option.type.choices) == choices
    offered = CsvSettings.__dataclass_fields__["dialect"].metadata["choices"]
    assert list(offered) == choices


def test_a_cut_through_a_letter_is_mended_too(tmp_path):
    path = tmp_path / "r.csv"
    CsvRecord(path).append(result("1.jpg"))
    whole = path.read_bytes()
    path.write_bytes(whole + "ü".encode()[:1])
    CsvRecord(path)
    assert path.read_bytes() == whole


def test_a_cut_inside_a_quoted_line_break_is_mended_too(tmp_path):
    path = tmp_path / "r.csv"
    record = CsvRecord(path)
    record.append(result("1.jpg"))
    whole = path.read_bytes()
    record.append(result("line\nbreak.jpg"))
    path.write_bytes(path.read_bytes()[: len(whole) + 8])
    CsvRecord(path)
    assert path.read_bytes() == whole


def test_a_csv_that_cannot_be_written_is_an_error_with_the_next_step(tmp_path, monkeypatch):
    record = CsvRecord(tmp_path / "r.csv")

    def locked(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", locked)
        with pytest.raises(RecordError, match="Close it in other programs"):
            record.append(result())
    record.append(result())
    assert len(rows(tmp_path / "r.csv")) == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RecordError, match="There is no folder"):
        CsvRecord(tmp_path / "none" / "r.csv")


def test_a_deleted_csv_is_begun_again_with_its_header(tmp_path):
    record = CsvRecord(tmp_path / "r.csv")
    (tmp_path / "r.csv").unlink()
    record.append(result())
    assert list(rows(tmp_path / "r.csv")[0]) == list(COLUMNS)


def test_results_inside_the_folder_that_is_read_are_refused(tmp_path):
    (tmp_path / "scans").mkdir()
    refuse_inside(tmp_path / "r.csv", tmp_path / "scans")
    with pytest.raises(RecordError, match="lies inside"):
        refuse_inside(tmp_path / "scans" / "sub" / ".." / "r.csv", tmp_path / "scans")


def test_a_file_of_an_earlier_version_is_left_untouched_and_the_next_step_named(tmp_path):
    path = tmp_path / "r.csv"
    CsvRecord(path).append(result())
    written_before(path)
    before = path.read_bytes()
    with pytest.raises(RecordError, match=r"r\.csv was written by an earlier version") as info:
        CsvRecord(path)
    assert info.value.next_step.startswith("Name another file, or move this one away")
    assert path.read_bytes() == before


def test_json_keeps_types_and_every_threshold():
    data = json.loads(json_text(result()))
    assert data["probability"] == pytest.approx(0.876543)
    assert data["positive"] is True
    assert data["all_findings"][1] == {
        "finding": "effusion",
        "probability": 0.1,
        "threshold": 0.4,
        "positive": False,
        "unsure_from": None,
        "unsure_below": None,
        "answer": "negative",
    }
    assert set(data) == {*COLUMNS, "distance", "accepted"}


def test_an_answer_within_the_band_is_unsure_and_keeps_its_side():
    found = (Finding("pneumonia", 0.3, 0.2, 0.1, 0.4),)
    row = to_row(result(findings=found))
    assert (row["positive"], row["answer"]) == ("true", "unsure")
    data = to_json(result(findings=found))["all_findings"][0]
    assert (data["unsure_from"], data["unsure_below"], data["answer"]) == (0.1, 0.4, "unsure")
    # The band begins with its lower end and ends before its upper one.
    assert [Finding("p", p, 0.2, 0.1, 0.4).answer for p in (0.0999, 0.1, 0.3999, 0.4)] == [
        *("negative", "unsure", "unsure", "positive")
    ]


def test_the_row_of_an_answer_names_the_refusals_that_the_site_overrules():
    accepted = replace(result(), reason=reason_for(("age", "lateral")))
    assert to_row(accepted)["reason"] == "accepted: age, lateral"
    assert to_json(accepted)["accepted"] == ["age", "lateral"]
    assert accepted.code == "accepted"
    assert result().accepted == result(findings=()).accepted == ()


def test_no_finding_stands_in_the_row_and_is_not_positive():
    found = (Finding("no finding", 0.9, None), Finding("nodule", 0.1, 0.5))
    row = to_row(result(findings=found))
    assert (row["finding"], row["score"], row["positive"]) == ("no finding", "90", "false")
    assert row["all_findings"] == "no finding=0.900000; nodule=0.100000"
    assert to_json(result(findings=found))["all_findings"][0]["threshold"] is None
