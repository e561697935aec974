"""`cxr-edge reprocess`: a new model reads what the ledger knows."""

import csv
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge import load_model
from cxr_edge.cli import cli
from cxr_edge.csv_export import Selection
from cxr_edge.csv_view import CsvView
from cxr_edge.errors import RecordError
from cxr_edge.ledger import Ledger
from cxr_edge.reading import predict_result
from cxr_edge.rereading import plan, readers_for, reread
from cxr_edge.result import Identifiers
from cxr_edge.terms import STANDARD_TERMS
from cxr_edge.watch.scan import look_of
from cxr_edge.watch.settle import Look
from tests.conftest import make_film
from tests.tiny_model import golden_text, tiny_card, write_tiny_model

PATIENT = Identifiers("ID 7", "1.2", "1.2.3")


@dataclass
class Site:
    """A watched folder with its ledger and CSV; new: a model that finds pneumonia everywhere."""

    films: Path
    ledger: Path
    csv: Path
    old: Path
    new: Path

    def record(self, *names: str) -> None:
        """Read films as the watcher does."""
        model = load_model(self.old, "cpu", threads=1)
        with Ledger(self.ledger) as ledger:
            folder_id = ledger.folder_id(self.films)
            for name in names:
                path = self.films / name
                look = look_of(path.lstat(), False)
                made = predict_result(path, model)
                file_id = ledger.saw(folder_id, name, look)
                ledger.record(file_id, look, made, PATIENT)
                ledger.finish(file_id, made.status, None, False)
            CsvView(self.csv, self.films, ledger).fill()

    def reprocess(self, *arguments: object):
        return CliRunner().invoke(
            cli,
            [
                *("reprocess", "--ledger", str(self.ledger), "--model", str(self.new)),
                *("--workers", "1", *map(str, arguments)),
            ],
        )

    def rows(self) -> list[tuple[str, str, str]]:
        with self.csv.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [(Path(row["file"]).name, row["model"], row["positive"]) for row in rows]


def new_model(path: Path, version: str = "2") -> Path:
    """It gives 10 more than the old one: every film is positive."""
    card = replace(tiny_card(), version=version).to_json()
    return write_tiny_model(path, card, golden=golden_text(off_by=10), bias=5)


@pytest.fixture
def site(tmp_path) -> Site:
    old, new = write_tiny_model(tmp_path / "old.onnx"), new_model(tmp_path / "new.onnx")
    return Site(tmp_path / "films ü", tmp_path / "l.db", tmp_path / "r.csv", old, new)


def test_a_new_model_reads_every_film_again_and_the_csv_gets_its_rows(site):
    make_film(site.films / "dark.png", 50)
    make_film(site.films / "ward 3" / "bright.png", 200)
    site.record("dark.png", "ward 3/bright.png")
    outcome = site.reprocess()
    assert outcome.exit_code == 0, outcome.stderr
    assert "2 radiographs: 2 positive, 0 negative, 0 unsure, 0 refused, 0 failed." in outcome.stderr
    assert "Not for diagnostic use" in outcome.stderr
    rows = site.rows()
    assert rows[:2] == [("dark.png", "tiny 1", "false"), ("bright.png", "tiny 1", "true")]
    assert sorted(rows[2:]) == [("bright.png", "tiny 2", "true"), ("dark.png", "tiny 2", "true")]
    with Ledger(site.ledger) as ledger:
        folder_id = ledger.folder_id(site.films)
        assert ledger.n_waiting(folder_id) == {"seen": 0, "settled": 0, "read": 0}
        assert {one.identifiers for one in ledger.predictions()} == {PATIENT}


def test_what_that_model_has_read_is_read_again_only_where_that_is_asked_for(site):
    make_film(site.films / "a.png")
    site.record("a.png")
    site.reprocess()
    outcome = site.reprocess()
    assert outcome.exit_code == 0
    assert "1 were read by it before" in outcome.stderr
    assert len(site.rows()) == 2
    site.reprocess("--again")
    assert len(site.rows()) == 3


def test_a_dry_run_says_how_many_and_reads_none(site):
    make_film(site.films / "a.png")
    site.record("a.png")
    outcome = site.reprocess("--dry-run")
    assert outcome.exit_code == 0 and "1 radiographs are to be read by tiny 2" in outcome.stderr
    assert len(site.rows()) == 1


def test_only_the_part_that_was_asked_for_is_read(site):
    make_film(site.films / "dark.png", 50)
    make_film(site.films / "bright.png", 200)
    site.record("dark.png", "bright.png")
    tomorrow = (datetime.now() + timedelta(days=2)).date().isoformat()
    for none in (("--since", tomorrow), ("--old-model", "tiny 9"), ("--status", "failed")):
        assert "0 radiographs are" in site.reprocess("--dry-run", *none).stderr
    site.reprocess("--finding", "pneumonia", "--old-model", "tiny", "--folder", site.films)
    assert site.rows()[2:] == [("bright.png", "tiny 2", "true")]


def test_a_film_is_found_where_it_was_moved_to_and_keeps_its_name(site, tmp_path):
    make_film(site.films / "a.png")
    site.record("a.png")
    moved = tmp_path / "done" / "a (1).png"
    moved.parent.mkdir()
    (site.films / "a.png").rename(moved)
    with Ledger(site.ledger) as ledger:
        ledger.finish(1, "ok", moved, False)
    assert site.reprocess().exit_code == 0
    assert [name for name, *_ in site.rows()] == ["a.png", "a.png"]


def test_a_film_is_found_by_its_copy(site):
    film = make_film(site.films / "a.png")
    (site.films / "copy.png").write_bytes(film.read_bytes())
    site.record("a.png", "copy.png")
    film.unlink()
    assert site.reprocess().exit_code == 0
    assert [name for name, *_ in site.rows()] == ["a.png", "a.png"]


def test_films_that_are_gone_or_were_replaced_are_said_and_keep_their_rows(site):
    make_film(site.films / "gone.png", 50)
    make_film(site.films / "replaced.png", 100)
    make_film(site.films / "here.png", 150)
    site.record("gone.png", "replaced.png", "here.png")
    (site.films / "gone.png").unlink()
    make_film(site.films / "replaced.png", 200)
    outcome = site.reprocess()
    assert outcome.exit_code == 3
    assert "1 are gone." in outcome.stderr
    assert "1 have changed and are left to cxr-edge watch." in outcome.stderr
    assert site.rows()[3:] == [("here.png", "tiny 2", "true")]


def test_a_film_that_cannot_be_read_is_a_row_and_exit_code_3(site):
    make_film(site.films / "a.png").write_bytes(b"no film")
    site.record("a.png")
    outcome = site.reprocess()
    assert outcome.exit_code == 3 and "1 failed." in outcome.stderr
    assert site.rows()[1:] == [("a.png", "tiny 2", "")]


def test_what_may_heal_is_no_answer(site, monkeypatch):
    """The share is away; the earlier row stays the film's last one."""
    make_film(site.films / "a.png")
    site.record("a.png")

    def away(reader, path, model, thresholds=None):
        failed = predict_result(path / "none", model)
        return replace(failed, reason="io_error: It cannot be read.")

    monkeypatch.setattr("cxr_edge.watch.readers.result_by", away)
    outcome = site.reprocess()
    assert outcome.exit_code == 3
    assert "1 could not be read now and keep their earlier rows." in outcome.stderr
    assert len(site.rows()) == 1


def test_a_folder_that_may_not_be_looked_into_is_said(site, monkeypatch):
    make_film(site.films / "a.png")
    site.record("a.png")

    for name in ("lstat", "is_file"):
        usual = getattr(Path, name)

        def refused(self, usual=usual):
            if self.is_relative_to(site.films):
                raise PermissionError(13, "Permission denied")
            return usual(self)

        monkeypatch.setattr(Path, name, refused)
    outcome = site.reprocess()
    assert outcome.exit_code == 3
    assert "1 could not be read now and keep their earlier rows." in outcome.stderr


def test_films_known_by_pseudonyms_alone_are_said(site):
    make_film(site.films / "a.png")
    site.record("a.png")
    with Ledger(site.ledger) as ledger:
        first = next(ledger.predictions()).result
        folder_id = ledger.folder_id(site.films)
        file_id = ledger.saw(folder_id, "film-3f.png", Look(1, 1))
        hidden = replace(first, source=Path("film-3f.png"), sha256="d" * 64)
        ledger.record(file_id, Look(1, 1), hidden)
    outcome = site.reprocess()
    assert outcome.exit_code == 3
    assert "1 cannot be found: of their names the ledger has pseudonyms only" in outcome.stderr
    assert "gone" not in outcome.stderr


def test_an_interruption_leaves_what_is_done_and_the_next_run_goes_on(site):
    names = [f"{n}.png" for n in range(8)]
    for n, name in enumerate(names):
        make_film(site.films / name, 50 + 20 * n)
    site.record(*names)
    model = load_model(site.new, "cpu", threads=1)

    def interrupt(_) -> None:
        raise KeyboardInterrupt

    with Ledger(site.ledger) as ledger, readers_for(model, STANDARD_TERMS, 1) as (readers, wake):
        planned = plan(ledger, Selection(), model.sha256, again=False)
        with pytest.raises(KeyboardInterrupt):
            reread(ledger, planned.films, readers, wake, 2, interrupt)
        n_read = ledger.last_prediction_id() - 8
        assert 1 <= n_read <= 2
    outcome = site.reprocess()
    assert outcome.exit_code == 0 and f"{n_read} were read by it before" in outcome.stderr
    again = [name for name, model, _ in site.rows() if model == "tiny 2"]
    assert sorted(again) == names


def test_a_csv_that_is_locked_gets_its_rows_later(site, monkeypatch):
    make_film(site.films / "a.png")
    site.record("a.png")

    def locked(*_, **__):
        raise RecordError(f"{site.csv} cannot be written.", "Close it.")

    with monkeypatch.context() as patch:
        patch.setattr("cxr_edge.csv_view.append_to", locked)
        outcome = site.reprocess()
    assert outcome.exit_code == 6 and "in the ledger and come later" in outcome.stderr
    assert "1 radiographs: 1 positive" in outcome.stderr
    with Ledger(site.ledger) as ledger:
        CsvView(site.csv, site.films, ledger).fill()
    assert len(site.rows()) == 2


def test_a_csv_that_was_given_up_is_not_made_again(site):
    make_film(site.films / "a.png")
    site.record("a.png")
    site.csv.unlink()
    assert site.reprocess().exit_code == 0
    assert not site.csv.exists()


def test_without_a_ledger_nothing_is_made(site, tmp_path):
    outcome = site.reprocess()
    assert outcome.exit_code == 6 and "There is no ledger" in outcome.stderr
    assert not site.ledger.exists()
