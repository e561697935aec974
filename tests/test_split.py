"""No patient on two sides, every label on each side, and the same split for the same seed."""

import csv
import hashlib
from pathlib import Path

import pytest

from train.errors import TrainError
from train.films import NO_FINDING, Film
from train.split import (
    LEFT_OUT,
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    leave_out,
    make_split,
    read_split,
    write_split,
)

ROOT = Path("films")


def film(name: str, label: str, patient: str) -> Film:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return Film(ROOT / label / name, label, patient, patient, sha256)


@pytest.fixture
def films() -> list[Film]:
    """300 films with pneumonia of 100 patients with one to five each, 100 without of as many."""
    sick = [
        film(f"person{p}_virus_{i}.png", "pneumonia", f"person{p}")
        for p in range(100)
        for i in range(1 + p % 5)
    ]
    return sick + [film(f"IM-{p}-1.png", NO_FINDING, f"IM-{p}") for p in range(100)]


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def sides(split: Split) -> dict[str, set[str]]:
    return {name: {film.group for film in part} for name, part in split.films.items()}


def test_every_film_is_dealt_once_and_no_patient_to_two_sides(films: list[Film]) -> None:
    split = make_split(films, seed=1)
    dealt = [film for part in split.films.values() for film in part]
    assert sorted(dealt, key=str) == sorted(films, key=str)
    groups = list(sides(split).values())
    assert sum(map(len, groups)) == len(set().union(*groups)) == 200


def test_films_of_one_group_stay_together_though_their_patients_differ(films: list[Film]) -> None:
    joined = [Film(f.path, f.label, f.patient, f"g{i // 7}", f.sha256) for i, f in enumerate(films)]
    groups = list(sides(make_split(joined, seed=3)).values())
    assert sum(map(len, groups)) == len(set().union(*groups))


@pytest.mark.parametrize("seed", range(5))
def test_each_label_is_parted_eight_to_one_to_one(films: list[Film], seed: int) -> None:
    split = make_split(films, seed)
    for label, n_films in (("pneumonia", 300), (NO_FINDING, 100)):
        for name, part in ((TRAIN, 0.8), (VALIDATION, 0.1), (TEST, 0.1)):
            n_dealt = sum(film.label == label for film in split[name])
            assert n_dealt / n_films == pytest.approx(part, abs=0.021)


def test_the_parts_can_be_chosen(films: list[Film]) -> None:
    split = make_split(films, 1, validation_part=0.2, test_part=0.3)
    assert len(split[VALIDATION]) / 400 == pytest.approx(0.2, abs=0.02)
    assert len(split[TEST]) / 400 == pytest.approx(0.3, abs=0.02)


def test_the_seed_decides_the_split(films: list[Film]) -> None:
    assert make_split(films, 1) == make_split(films, 1)
    assert make_split(films, 1) != make_split(films, 2)


def test_the_order_of_the_films_decides_nothing(films: list[Film]) -> None:
    # Groups with as many films of one label as of the other must not tip with the order.
    mixed = [Film(f.path, f.label, f.patient, f"g{i % 190}", f.sha256) for i, f in enumerate(films)]
    for listed in (films, mixed):
        assert make_split(listed, 1) == make_split(listed[::-1], 1)


def test_a_source_left_out_neither_trains_nor_chooses(films: list[Film]) -> None:
    """Whole patients are left out: person7's every film, though one name alone is found."""
    whole = make_split(films, 1)
    split = leave_out(whole, r"person7_virus_0|^IM-1\d-")
    source = {"person7"} | {f"IM-1{i}" for i in range(10)}
    found, before = sides(split), sides(whole)
    assert found[LEFT_OUT] == source & (before[TRAIN] | before[VALIDATION])
    assert len(found[LEFT_OUT]) > 5
    assert found[TRAIN] == before[TRAIN] - source
    assert found[VALIDATION] == before[VALIDATION] - source


def test_a_source_left_out_does_not_move_the_test_films(films: list[Film]) -> None:
    """Sister runs with one seed share the test patients, so that none chooses with them."""
    whole = make_split(films, 1)
    assert leave_out(whole, "^IM-[1-5]")[TEST] == whole[TEST]


def test_sources_can_be_left_out_one_after_the_other(films: list[Film]) -> None:
    whole = make_split(films, 1)
    assert leave_out(leave_out(whole, "^IM-1"), "^IM-2") == leave_out(whole, "^IM-[12]")


def test_without_a_source_to_leave_out_none_is(films: list[Film]) -> None:
    assert make_split(films, 1)[LEFT_OUT] == ()


def test_a_source_that_is_not_there_cannot_be_left_out(films: list[Film]) -> None:
    with pytest.raises(TrainError, match="--leave-out Montgomery finds no film"):
        leave_out(make_split(films, 1), "Montgomery")


def test_a_source_that_is_all_there_is_of_a_label_cannot_be_left_out(films: list[Film]) -> None:
    with pytest.raises(TrainError, match="The train films have none labelled no finding"):
        leave_out(make_split(films, 1), "^IM-")


def test_a_source_must_be_a_regular_expression(films: list[Film]) -> None:
    with pytest.raises(TrainError, match="--leave-out is not a regular expression"):
        leave_out(make_split(films, 1), "IM-(")


def test_too_few_patients_with_a_label_for_three_sides_are_refused() -> None:
    films = [film(f"IM-{p}-1.png", NO_FINDING, f"IM-{p}") for p in range(20)]
    films += [film(f"person{p}_1.png", "pneumonia", f"person{p}") for p in range(2)]
    with pytest.raises(TrainError, match=r"have none labelled pneumonia"):
        make_split(films, 1)


def test_a_written_split_is_read_back(films: list[Film], tmp_path: Path) -> None:
    split = leave_out(make_split(films, 1), "person[4-9]")
    write_split(split, ROOT, tmp_path / "split.csv")
    assert read_split(tmp_path / "split.csv", films[::-1]) == split


def test_a_written_split_shows_files_below_the_data(films: list[Film], tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    elsewhere = Film(Path("other/IM-1.png"), NO_FINDING, "IM", "IM", "00")
    write_split(Split({TRAIN: (films[0], elsewhere)}), ROOT, path)
    rows = rows_of(path)
    assert rows[0] == {
        "split": "train",
        "label": "pneumonia",
        "patient": "person0",
        "sha256": films[0].sha256,
        "file": "pneumonia/person0_virus_0.png",
    }
    assert Path(rows[1]["file"]) == elsewhere.path


def test_a_split_is_found_again_after_the_films_were_renamed(
    films: list[Film], tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    write_split(make_split(films, 1), ROOT, path)
    moved = [Film(Path("new") / f.path.name, f.label, f.patient, f.group, f.sha256) for f in films]
    assert sides(read_split(path, moved)) == sides(make_split(films, 1))


@pytest.fixture
def written(films: list[Film], tmp_path: Path) -> Path:
    write_split(make_split(films, 1), ROOT, tmp_path / "split.csv")
    return tmp_path / "split.csv"


def error(path: Path, films: list[Film]) -> str:
    with pytest.raises(TrainError) as raised:
        read_split(path, films)
    return str(raised.value)


def edit(path: Path, **new: str) -> dict[str, str]:
    """Change the first training film of a patient with several; what the line was is returned."""
    rows = rows_of(path)
    row = next(r for r in rows if r["split"] == TRAIN and r["patient"] in ("person94", "person89"))
    before = dict(row)
    row.update(new)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows(rows)
    return before


def test_a_patient_edited_onto_two_sides_is_named(films: list[Film], written: Path) -> None:
    row = edit(written, split=TEST)
    assert f"1 patients stand on two sides of the split: {row['patient']}." in error(written, films)


def test_a_film_that_is_no_longer_there_is_named(films: list[Film], written: Path) -> None:
    row = edit(written)
    without = [film for film in films if film.sha256 != row["sha256"]]
    assert row["file"] in error(written, without)


def test_a_side_without_a_label_is_named(films: list[Film], written: Path) -> None:
    lines = written.read_text(encoding="utf-8").splitlines(keepends=True)
    left = [line for line in lines if not line.startswith("test,no finding")]
    written.write_text("".join(left), encoding="utf-8")
    assert "The test films have none labelled no finding." in error(written, films)


def test_a_split_of_one_label_alone_is_refused(films: list[Film], written: Path) -> None:
    lines = written.read_text(encoding="utf-8").splitlines(keepends=True)
    left = [line for line in lines if ",no finding," not in line]
    written.write_text("".join(left), encoding="utf-8")
    assert "only one label: pneumonia" in error(written, films)


def test_a_split_saved_by_a_spreadsheet_is_read(films: list[Film], written: Path) -> None:
    """With a byte order mark in front, as Excel writes UTF-8."""
    written.write_bytes(b"\xef\xbb\xbf" + written.read_bytes())
    assert read_split(written, films) == make_split(films, 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"split,label,patient,sha256,file\n",
        b"path,label\na.png,normal\n",
        b"split,label,patient,sha256,file\nholdout,pneumonia,p,00,a.png\n",
        b"split,label,patient,sha256,file\ntrain,pneumonia,p,00,a.png,more\n",
        b"split,label,patient,sha256,file\ntrain,pneumonia\n",
        b"\x89PNG\r\n\x1a\n\x00\xff",
    ],
    ids=["empty", "no film", "other columns", "other side", "too many", "too few", "an image"],
)
def test_another_file_is_not_taken_for_a_split(
    films: list[Film], tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content)
    message = error(path, films)
    assert str(path) in message


def test_a_missing_split_file_is_named(films: list[Film], tmp_path: Path) -> None:
    assert str(tmp_path / "split.csv") in error(tmp_path / "split.csv", films)
