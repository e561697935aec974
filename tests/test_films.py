"""What the folders say becomes labelled films, each once, no patient's films in two groups."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from train.errors import TrainError
from train.films import NO_FINDING, digest_of, load_films


def put(path: Path, content: int = 0) -> Path:
    """A small random film; the same content gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(content).integers(0, 256, (8, 8), np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two films without and two with pneumonia, of four patients."""
    data = tmp_path / "data"
    put(data / "NORMAL" / "IM-0001-0001.png", 1)
    put(data / "NORMAL" / "NORMAL2-IM-0001-0001.png", 2)
    put(data / "PNEUMONIA" / "person1_bacteria_1.png", 3)
    put(data / "PNEUMONIA" / "person2_virus_4.png", 4)
    return data


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_the_folder_is_the_label(root: Path) -> None:
    film_set = load_films([root])
    assert {film.path.name: film.label for film in film_set.films} == {
        "IM-0001-0001.png": NO_FINDING,
        "NORMAL2-IM-0001-0001.png": NO_FINDING,
        "person1_bacteria_1.png": "pneumonia",
        "person2_virus_4.png": "pneumonia",
    }
    assert film_set.findings == ("pneumonia",)
    assert film_set.duplicates == film_set.contradictions == ()


@pytest.mark.parametrize(
    "folder", ["normal", "Normal", "No Finding", "no_finding", "NEGATIVE", "healthy"]
)
def test_folders_of_films_without_a_finding_go_by_several_names(
    tmp_path: Path, folder: str
) -> None:
    put(tmp_path / folder / "a.png", 1)
    put(tmp_path / "tuberculosis" / "b.png", 2)
    film_set = load_films([tmp_path])
    assert film_set.findings == ("tuberculosis",)
    assert [film.label for film in film_set.films if film.path.stem == "a"] == [NO_FINDING]


def test_findings_are_sorted_and_written_as_words(tmp_path: Path) -> None:
    for content, folder in enumerate(("Viral_Pneumonia", "Lung_Opacity", "COVID", "Normal")):
        put(tmp_path / folder / f"{content}.png", content)
    assert load_films([tmp_path]).findings == ("covid", "lung opacity", "viral pneumonia")


def test_films_lie_anywhere_below_the_label_and_other_files_are_passed_over(root: Path) -> None:
    put(root / "NORMAL" / "2019" / "ward" / "x.PNG", 9)
    (root / "NORMAL" / "Thumbs.db").write_bytes(b"not a film")
    (root / "README.txt").write_text("about these films")
    film_set = load_films([root])
    assert len(film_set.films) == 5
    assert {film.label for film in film_set.films if film.path.name == "x.PNG"} == {NO_FINDING}


def test_several_roots_are_one_set_with_the_same_labels(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "more" / "pneumonia" / "person9_virus_1.png", 9)
    film_set = load_films([root, tmp_path / "more"])
    assert film_set.findings == ("pneumonia",)
    assert len(film_set.films) == 5


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person12_bacteria_47.jpeg", "person12"),
        ("person12_virus_48.jpeg", "person12"),
        ("person123_bacteria_1.jpeg", "person123"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0115-0001-0002.jpeg", "IM-0115"),
        ("NORMAL2-IM-0115-0001.jpeg", "NORMAL2-IM-0115"),
        ("film of the 3rd of May.jpeg", "film of the 3rd of May"),
    ],
)
def test_the_patient_is_read_from_kermanys_file_names(root: Path, name: str, patient: str) -> None:
    put((root / "NORMAL" / name).with_suffix(".png"), 9).rename(root / "NORMAL" / name)
    (film,) = [film for film in load_films([root]).films if film.path.name == name]
    assert film.patient == film.group == patient


@pytest.mark.parametrize("pattern", [r"p(\d+)_", r"p\d+", r"(?P<patient>p\d+)_[ab]"])
def test_another_pattern_finds_the_patients_of_another_set(tmp_path: Path, pattern: str) -> None:
    for content, name in enumerate(("normal/p1_a", "normal/p1_b", "tb/p2_a", "tb/p3_b")):
        put(tmp_path / f"{name}.png", content)
    films = load_films([tmp_path], pattern).films
    assert len({film.group for film in films}) == 3
    assert films[0].group == films[1].group


@pytest.mark.parametrize("pattern", [r"(\d*)", r"(x)?IM", ""])
def test_a_pattern_that_matches_nothing_in_particular_does_not_join_strangers(
    root: Path, pattern: str
) -> None:
    assert len({film.group for film in load_films([root], pattern).films}) == 4


def test_of_films_with_the_same_bytes_one_is_kept(root: Path) -> None:
    put(root / "PNEUMONIA" / "person7_virus_1.png", 3)
    put(root / "PNEUMONIA" / "person9_virus_1.png", 3)
    film_set = load_films([root])
    kept = names(tuple(film.path for film in film_set.films if film.label == "pneumonia"))
    assert kept == ["person1_bacteria_1.png", "person2_virus_4.png"]
    assert names(film_set.duplicates) == ["person7_virus_1.png", "person9_virus_1.png"]
    assert film_set.contradictions == ()


def test_of_films_that_contradict_each_other_none_is_kept(root: Path) -> None:
    put(root / "PNEUMONIA" / "person7_virus_1.png", 1)
    film_set = load_films([root])
    assert names(film_set.contradictions) == ["IM-0001-0001.png", "person7_virus_1.png"]
    kept = names(tuple(film.path for film in film_set.films))
    assert kept == ["NORMAL2-IM-0001-0001.png", "person1_bacteria_1.png", "person2_virus_4.png"]
    assert film_set.duplicates == ()


def test_patients_that_share_a_film_share_a_group(root: Path) -> None:
    """person1 and person7 have one film in common, person7 and person8 another."""
    put(root / "PNEUMONIA" / "person7_virus_1.png", 3)
    put(root / "PNEUMONIA" / "person7_virus_2.png", 70)
    put(root / "PNEUMONIA" / "person8_virus_1.png", 70)
    put(root / "PNEUMONIA" / "person8_virus_2.png", 80)
    films = {film.path.name: film for film in load_films([root]).films}
    assert films["person8_virus_2.png"].patient == "person8"
    joined = {film.group for film in films.values() if film.patient.endswith(("1_", "7", "8"))}
    assert joined == {films["person1_bacteria_1.png"].group}
    assert films["person2_virus_4.png"].group not in joined


def test_a_contradicting_film_joins_its_patients_though_it_is_not_used(root: Path) -> None:
    put(root / "PNEUMONIA" / "person7_virus_1.png", 1)
    put(root / "PNEUMONIA" / "person7_virus_2.png", 70)
    put(root / "NORMAL" / "IM-0001-0002.png", 71)
    films = {film.path.name: film.group for film in load_films([root]).films}
    assert films["person7_virus_2.png"] == films["IM-0001-0002.png"]


def test_the_digest_changes_with_a_film_and_not_with_its_name(root: Path) -> None:
    before = load_films([root]).digest
    film = root / "NORMAL" / "IM-0001-0001.png"
    renamed = film.rename(film.with_name("a-new-name.png"))
    assert load_films([root]).digest == before
    put(renamed, 99)
    assert load_films([root]).digest != before


def test_the_digest_changes_with_a_label_and_not_with_the_order(root: Path) -> None:
    film_set = load_films([root])
    assert digest_of(reversed(film_set.films)) == film_set.digest
    film = root / "NORMAL" / "IM-0001-0001.png"
    film.rename(root / "PNEUMONIA" / film.name)
    assert load_films([root]).digest != film_set.digest


def error(roots: list[Path], pattern: str = "person") -> str:
    with pytest.raises(TrainError) as raised:
        load_films(roots, pattern)
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_a_missing_folder_is_named(root: Path, tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in error([root, tmp_path / "nowhere"])


def test_a_file_is_no_folder(root: Path) -> None:
    film = root / "NORMAL" / "IM-0001-0001.png"
    assert str(film) in error([film])


def test_a_folder_without_label_folders_is_named(tmp_path: Path) -> None:
    put(tmp_path / "a.png")
    message = error([tmp_path])
    assert f"{tmp_path} has no label folders" in message


def test_an_empty_label_folder_is_named(root: Path) -> None:
    (root / "COVID").mkdir()
    (root / "COVID" / "notes.txt").write_text("no film")
    assert f"{root / 'COVID'} holds no film" in error([root])


def test_one_label_is_not_enough(root: Path) -> None:
    (root / "NORMAL").rename(root / "_")
    (root / "_").rename(root.parent / "away")
    assert "only one label: pneumonia" in error([root])


def test_a_label_that_contradictions_leave_without_a_film_is_named(tmp_path: Path) -> None:
    for folder in ("normal", "tuberculosis"):
        put(tmp_path / folder / "same.png", 1)
    put(tmp_path / "normal" / "other.png", 2)
    assert "labelled tuberculosis" in error([tmp_path])


@pytest.mark.parametrize("part", ["train", "TEST", "val"])
def test_the_parts_of_a_published_split_are_not_taken_for_labels(root: Path, part: str) -> None:
    outer = root.parent / "chest_xray"
    outer.mkdir()
    root.rename(outer / part)
    assert f"{outer / part} is named like a part of a split" in error([outer])


def test_films_without_bytes_are_all_named(root: Path) -> None:
    empty = [root / "NORMAL" / "IM-0005-0001.png", root / "PNEUMONIA" / "person5_virus_1.png"]
    for path in empty:
        path.touch()
    message = error([root])
    assert "2 films cannot be used" in message
    assert all(str(path) in message for path in empty)


def test_of_very_many_unusable_films_twenty_are_named(root: Path) -> None:
    for i in range(25):
        (root / "NORMAL" / f"IM-{i:04}-0009.png").touch()
    message = error([root])
    assert message.count("IM-") == 20
    assert "and 5 more" in message


def test_a_pattern_that_is_no_regular_expression_is_refused(root: Path) -> None:
    assert "not a regular expression" in error([root], "person(")
