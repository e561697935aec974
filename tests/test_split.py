"""No patient on two sides, every label on each side, and the same split for the same seed."""

import csv
import dataclasses
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from train.config import SplitRule, Subset
from train.data.films import NO_FINDING, Film
from train.data.split import (
    LEFT_OUT,
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    leave_out,
    leave_out_source,
    read_split,
    subset,
    write_split,
)
from train.data.split import make_split as deal
from train.errors import TrainError

ROOT = Path("films")


def film(name: str, label: str, patient: str, source: str = "", official: str = "") -> Film:
    sha256 = hashlib.sha256((source + name).encode()).hexdigest()
    group = f"{source}/{patient}"
    return Film(ROOT / label / source / name, label, patient, group, sha256, source, official)


def make_split(films: list[Film], seed: int, rule: SplitRule | None = None) -> Split:
    return deal(films, rule or SplitRule(), seed)


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


def groups_of(split: Split) -> dict[str, set[str]]:
    return {name: {film.group for film in part} for name, part in split.films.items()}


def test_every_film_is_dealt_once_and_no_patient_to_two_groups_of(films: list[Film]) -> None:
    split = make_split(films, seed=1)
    dealt = [film for part in split.films.values() for film in part]
    assert sorted(dealt, key=str) == sorted(films, key=str)
    groups = list(groups_of(split).values())
    assert sum(map(len, groups)) == len(set().union(*groups)) == 200


def test_films_of_one_group_stay_together_though_their_patients_differ(films: list[Film]) -> None:
    joined = [Film(f.path, f.label, f.patient, f"g{i // 7}", f.sha256) for i, f in enumerate(films)]
    groups = list(groups_of(make_split(joined, seed=3)).values())
    assert sum(map(len, groups)) == len(set().union(*groups))


@pytest.mark.parametrize("seed", range(5))
def test_each_label_is_parted_eight_to_one_to_one(films: list[Film], seed: int) -> None:
    split = make_split(films, seed)
    for label, n_films in (("pneumonia", 300), (NO_FINDING, 100)):
        for name, part in ((TRAIN, 0.8), (VALIDATION, 0.1), (TEST, 0.1)):
            n_dealt = sum(film.label == label for film in split[name])
            assert n_dealt / n_films == pytest.approx(part, abs=0.021)


def test_the_parts_can_be_chosen(films: list[Film]) -> None:
    split = make_split(films, 1, SplitRule(validation=0.2, test=0.3))
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
    source = {"/person7"} | {f"/IM-1{i}" for i in range(10)}
    found, before = groups_of(split), groups_of(whole)
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
    write_split(split, tmp_path / "split.csv")
    assert read_split(tmp_path / "split.csv", films[::-1]) == split


def test_a_written_split_shows_files_below_their_common_folder(
    films: list[Film], tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    write_split(Split({TRAIN: (films[0], films[-1])}), path)
    rows = rows_of(path)
    assert rows[0] == {
        "split": "train",
        "label": "pneumonia",
        "patient": "person0",
        "source": "",
        "sha256": films[0].sha256,
        "file": "pneumonia/person0_virus_0.png",
    }
    assert rows[1]["file"] == "no finding/IM-99-1.png"


def test_a_split_is_found_again_after_the_films_were_renamed(
    films: list[Film], tmp_path: Path
) -> None:
    path = tmp_path / "split.csv"
    write_split(make_split(films, 1), path)
    moved = [Film(Path("new") / f.path.name, f.label, f.patient, f.group, f.sha256) for f in films]
    assert groups_of(read_split(path, moved)) == groups_of(make_split(films, 1))


@pytest.fixture
def written(films: list[Film], tmp_path: Path) -> Path:
    write_split(make_split(films, 1), tmp_path / "split.csv")
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
    assert f"1 patients stand on two sides of the split: /{row['patient']}." in error(
        written, films
    )


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
        b"split,label,patient,source,sha256,file\n",
        b"path,label\na.png,normal\n",
        b"split,label,patient,sha256,file\ntrain,pneumonia,p,00,a.png\n",
        b"split,label,patient,source,sha256,file\nholdout,pneumonia,p,s,00,a.png\n",
        b"split,label,patient,source,sha256,file\ntrain,pneumonia,p,s,00,a.png,more\n",
        b"split,label,patient,source,sha256,file\ntrain,pneumonia\n",
        b"\x89PNG\r\n\x1a\n\x00\xff",
    ],
    ids=[
        "empty",
        "no film",
        "other columns",
        "no source",
        "other side",
        "too many",
        "too few",
        "an image",
    ],
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


# Official sides


def official(n_patients: dict[str, int], source: str = "kermany") -> list[Film]:
    """As many patients on each official side, half of them with pneumonia, two films each."""
    return [
        film(f"{side}{p}-{i}.png", (NO_FINDING, "pneumonia")[p % 2], f"{side}{p}", source, side)
        for side, n in n_patients.items()
        for p in range(n)
        for i in range(2)
    ]


def names(films: tuple[Film, ...]) -> set[str]:
    return {f"{film.source}/{film.path.name}" for film in films}


def test_official_test_films_are_all_there_is_of_the_test_side() -> None:
    films = official({"train": 100, "test": 12})
    split = make_split(films, 1)
    assert names(split[TEST]) == names(tuple(f for f in films if f.official == TEST))
    assert len(split[VALIDATION]) == pytest.approx(0.1 * 224, abs=4)


def test_official_validation_films_are_filled_up_from_the_train_films() -> None:
    """As Kermany's, which are 16 of 5,856."""
    films = official({"train": 100, "validation": 4, "test": 12})
    split = make_split(films, 1)
    assert names(tuple(f for f in films if f.official == VALIDATION)) < names(split[VALIDATION])
    assert len(split[VALIDATION]) == pytest.approx(0.1 * 232, abs=4)
    assert not names(split[TEST]) & names(tuple(f for f in films if f.official != TEST))


def test_enough_official_validation_films_are_not_filled_up() -> None:
    films = official({"train": 60, "validation": 30, "test": 10})
    split = make_split(films, 1)
    assert {film.official for film in split[VALIDATION]} == {VALIDATION}


def test_test_films_are_dealt_where_only_a_train_side_is_official() -> None:
    split = make_split(official({"train": 100}), 1)
    assert len(split[TEST]) == pytest.approx(20, abs=4)


def test_a_source_without_official_sides_is_dealt_out_beside_one_that_has_them() -> None:
    own = [film(f"{p}.png", (NO_FINDING, "pneumonia")[p % 2], str(p), "own") for p in range(100)]
    split = make_split(official({"train": 50, "test": 50}) + own, 1)
    assert sum(film.source == "own" for film in split[TEST]) == pytest.approx(10, abs=1)
    assert sum(film.source == "own" for film in split[VALIDATION]) == pytest.approx(10, abs=1)


def test_official_sides_can_be_passed_over() -> None:
    split = make_split(official({"train": 50, "test": 50}), 1, SplitRule(official=False))
    assert {film.official for film in split[TRAIN]} == {TRAIN, TEST}
    assert split.torn == ()


@pytest.mark.parametrize(
    ("sides", "side"),
    [
        (("train", "test"), TEST),
        (("validation", "test"), TEST),
        (("train", "validation"), VALIDATION),
    ],
)
def test_a_patient_whom_the_official_sides_tear_goes_to_the_stricter_one(
    sides: tuple[str, str], side: str
) -> None:
    torn = [film(f"torn{s}.png", NO_FINDING, "torn", "kermany", s) for s in sides]
    split = make_split(official({"train": 40, "validation": 4, "test": 4}) + torn, 1)
    assert {name for name, groups in groups_of(split).items() if "kermany/torn" in groups} == {side}
    assert split.torn == ("kermany/torn",)


# Sources


@pytest.fixture
def two_sources() -> list[Film]:
    """Kermany: 80 patients, half with pneumonia; RSNA: 40 without, 40 with."""
    return [
        film(f"{p}.png", (NO_FINDING, "pneumonia")[p % 2], str(p), source)
        for source in ("kermany", "rsna")
        for p in range(80)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_each_source_is_parted_like_the_whole(two_sources: list[Film], seed: int) -> None:
    split = make_split(two_sources, seed)
    for source in ("kermany", "rsna"):
        for label in (NO_FINDING, "pneumonia"):
            for side in (VALIDATION, TEST):
                dealt = [f for f in split[side] if (f.source, f.label) == (source, label)]
                assert len(dealt) == pytest.approx(4, abs=1)


def test_many_small_sources_do_not_all_go_to_the_test_side() -> None:
    """Sources of one patient each are dealt together, else each one would be a test film."""
    films = [
        film("a.png", label, "1", f"s{i}") for i in range(50) for label in (NO_FINDING, "mass")
    ]
    split = make_split(films, 1)
    assert len(split[TRAIN]) > 70


def test_a_source_is_left_out_by_name_and_its_test_films_stay(two_sources: list[Film]) -> None:
    whole = make_split(two_sources, 1)
    split = leave_out_source(whole, "rsna")
    for side in (TRAIN, VALIDATION):
        assert {film.source for film in split[side]} == {"kermany"}
    assert {film.source for film in split[LEFT_OUT]} == {"rsna"}
    assert split[TEST] == whole[TEST]


def test_a_patient_shared_with_the_source_left_out_goes_with_it(two_sources: list[Film]) -> None:
    joined = [
        dataclasses.replace(f, group="shared") if f.patient in ("1", "3") else f
        for f in two_sources
    ]
    left_out = leave_out_source(make_split(joined, 1), "rsna")
    assert {film.source for film in left_out[LEFT_OUT] if film.group == "shared"} == {
        "kermany",
        "rsna",
    }
    for side in (TRAIN, VALIDATION):
        assert "shared" not in {film.group for film in left_out[side]}


def test_an_unknown_source_is_refused_and_the_known_are_named(two_sources: list[Film]) -> None:
    with pytest.raises(TrainError, match=r"montgomery.*The sources are kermany, rsna"):
        leave_out_source(make_split(two_sources, 1), "montgomery")


def test_a_source_that_alone_has_a_label_cannot_be_left_out(two_sources: list[Film]) -> None:
    rare = [film(f"r{p}.png", "mass", f"r{p}", "rsna") for p in range(20)]
    split = make_split([*two_sources, *rare], 1)
    with pytest.raises(TrainError, match="no other source has films labelled mass"):
        leave_out_source(split, "rsna")


# Subsets


def test_a_part_of_each_label_is_taken_in_whole_patients(films: list[Film]) -> None:
    part = subset(films, Subset(part=0.2), 1)
    groups = {film.group for film in part}
    assert {film for film in films if film.group in groups} == set(part)
    assert sum(film.label == "pneumonia" for film in part) == pytest.approx(60, abs=5)
    assert sum(film.label == NO_FINDING for film in part) == pytest.approx(20, abs=1)


def test_a_balanced_subset_has_as_many_films_of_each_label(two_sources: list[Film]) -> None:
    part = subset(two_sources, Subset(films=40), 1)
    assert len(part) == 40
    assert sum(film.label == "pneumonia" for film in part) == 20
    assert sum(film.source == "rsna" for film in part) == 20


def test_a_rare_label_gives_all_it_has_to_a_balanced_subset(two_sources: list[Film]) -> None:
    rare = [film(f"r{p}.png", "mass", f"r{p}", "rsna") for p in range(5)]
    part = subset([*two_sources, *rare], Subset(films=45), 1)
    counts = Counter(film.label for film in part)
    assert counts == {"mass": 5, NO_FINDING: 20, "pneumonia": 20}


def test_without_a_rule_all_films_are_taken(films: list[Film]) -> None:
    assert set(subset(films, Subset(), 1)) == set(films)


def test_films_with_several_findings_are_dealt_by_the_rarest() -> None:
    films = [film(f"{p}.png", "mass" if p % 10 else "edema|mass", str(p)) for p in range(100)]
    films += [film(f"n{p}.png", NO_FINDING, f"n{p}") for p in range(100)]
    split = make_split(films, 1)
    for side in (TRAIN, VALIDATION, TEST):
        assert "edema" in {label for film in split[side] for label in film.labels}
