"""What a scan of the folder finds."""

import os
from pathlib import Path

import pytest

from cxr_edge.ledger import Ledger
from cxr_edge.watch.scan import Scanner, Wanted
from tests.conftest import make_film


@pytest.fixture
def scanner(tmp_path) -> Scanner:
    folder = tmp_path / "films"
    folder.mkdir()
    with Ledger(tmp_path / "ledger.db") as ledger:
        yield Scanner(folder, ledger, ledger.folder_id(folder), Wanted(), str)


def names(scanner: Scanner) -> list[str]:
    return [candidate.name for candidate in scanner.scan().candidates]


def test_films_are_found_by_suffix_and_dicom_by_its_mark(scanner):
    make_film(scanner.folder / "a.png")
    (scanner.folder / "IM0001").write_bytes(bytes(128) + b"DICM")
    (scanner.folder / "notes.txt").write_text("ward round at 8")
    assert sorted(names(scanner)) == ["IM0001", "a.png"]


def test_a_file_that_becomes_dicom_while_it_is_written_is_found_then(scanner):
    film = scanner.folder / "IM0001"
    film.write_bytes(bytes(64))
    assert names(scanner) == []
    film.write_bytes(bytes(128) + b"DICM")
    assert names(scanner) == ["IM0001"]


def test_the_oldest_or_newest_come_first_and_the_rest_is_counted(scanner, monkeypatch):
    monkeypatch.setattr("cxr_edge.watch.scan.MAX_CANDIDATES", 2)
    for n in range(5):
        os.utime(make_film(scanner.folder / f"{n}.png"), (n, n))
    scan = scanner.scan()
    assert ([c.name for c in scan.candidates], scan.n_candidates) == (["0.png", "1.png"], 5)
    scanner.newest_first = True
    assert names(scanner) == ["4.png", "3.png"]


def test_what_is_recorded_as_it_is_is_no_candidate(scanner):
    film = make_film(scanner.folder / "a.png")
    file_id = scanner.ledger.saw(scanner.folder_id, "a.png", scanner.look(film))
    scanner.ledger.finish(file_id, "ok", None, False)
    assert names(scanner) == []
    make_film(film, 17)
    assert names(scanner) == ["a.png"]


def test_an_event_tells_of_what_a_scan_would_find_and_of_nothing_else(scanner, tmp_path):
    film = make_film(scanner.folder / "ward" / "a.png")
    (scanner.folder / "link").symlink_to(tmp_path, target_is_directory=True)
    make_film(tmp_path / "outside.png")
    make_film(scanner.folder / ".hidden.png")
    assert scanner.examine(film).name == str(Path("ward", "a.png"))
    assert scanner.examine(scanner.folder / ".hidden.png") is None
    assert scanner.examine(scanner.folder / "link" / "outside.png") is None
    assert scanner.examine(scanner.folder / "gone.png") is None
    scanner.wanted = Wanted(subfolders=False)
    assert scanner.examine(film) is None


def test_an_event_from_a_folder_that_may_no_longer_be_entered_tells_of_nothing(
    scanner, monkeypatch
):
    film = make_film(scanner.folder / "ward" / "a.png")

    def lstat(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", lstat)
    assert scanner.examine(film) is None


def test_a_folder_that_is_away_is_told(scanner):
    scanner.folder.rmdir()
    with pytest.raises(FileNotFoundError):
        scanner.scan()


@pytest.mark.parametrize(
    ("pattern", "name", "takes"),
    [
        ("*.dcm", "ward/A.DCM", True),
        ("ward/*", "ward/a.png", True),
        ("ward/*", "b.png", False),
        ("Wärd/*", "wärd/b.png", True),
    ],
)
def test_patterns_match_the_path_or_the_bare_name_whatever_their_case(pattern, name, takes):
    assert Wanted(include=(pattern,)).takes(name.replace("/", os.sep)) == takes
    assert Wanted(exclude=(pattern,)).takes(name.replace("/", os.sep)) != takes
