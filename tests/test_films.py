"""The films of a data set become labelled films, each once, no patient's films in two groups."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from train.config import Labels
from train.data.films import NO_FINDING, FilmSet, digest_of, load_films
from train.data.manifest import Entry
from train.data.sources import folders, kermany
from train.errors import TrainError


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


def load(roots: Sequence[Path], pattern: str = kermany.PATIENT) -> FilmSet:
    return load_films([e for root in roots for e in folders.read(root, pattern)], Labels())


def names(paths: tuple[Path, ...]) -> list[str]:
    return [path.name for path in paths]


def test_the_folder_is_the_label(root: Path) -> None:
    film_set = load([root])
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
    film_set = load([tmp_path])
    assert film_set.findings == ("tuberculosis",)
    assert [film.label for film in film_set.films if film.path.stem == "a"] == [NO_FINDING]


def test_findings_are_sorted_and_written_as_words(tmp_path: Path) -> None:
    for content, folder in enumerate(("Viral_Pneumonia", "Lung_Opacity", "COVID", "Normal")):
        put(tmp_path / folder / f"{content}.png", content)
    assert load([tmp_path]).findings == ("COVID-19", "lung opacity", "viral pneumonia")


def test_films_lie_anywhere_below_the_label_and_other_files_are_passed_over(root: Path) -> None:
    put(root / "NORMAL" / "2019" / "ward" / "x.PNG", 9)
    (root / "NORMAL" / "Thumbs.db").write_bytes(b"not a film")
    (root / "README.txt").write_text("about these films")
    film_set = load([root])
    assert len(film_set.films) == 5
    assert {film.label for film in film_set.films if film.path.name == "x.PNG"} == {NO_FINDING}


def test_several_roots_are_one_set_with_the_same_labels(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "more" / "pneumonia" / "person9_virus_1.png", 9)
    film_set = load([root, tmp_path / "more"])
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
        ("film of the 3rd of May.jpeg", "NORMAL/film of the 3rd of May"),
    ],
)
def test_the_patient_is_read_from_kermanys_file_names(root: Path, name: str, patient: str) -> None:
    put((root / "NORMAL" / name).with_suffix(".png"), 9).rename(root / "NORMAL" / name)
    (film,) = [film for film in load([root]).films if film.path.name == name]
    assert film.patient == patient


@pytest.mark.parametrize("pattern", [r"p(\d+)_", r"p\d+", r"(?P<patient>p\d+)_[ab]"])
def test_another_pattern_finds_the_patients_of_another_set(tmp_path: Path, pattern: str) -> None:
    for content, name in enumerate(("normal/p1_a", "normal/p1_b", "tb/p2_a", "tb/p3_b")):
        put(tmp_path / f"{name}.png", content)
    films = load([tmp_path], pattern).films
    assert len({film.group for film in films}) == 3
    assert films[0].group == films[1].group


@pytest.mark.parametrize("pattern", [r"(\d*)", r"(x)?IM", ""])
def test_a_pattern_that_matches_nothing_in_particular_does_not_join_strangers(
    root: Path, pattern: str
) -> None:
    assert len({film.group for film in load([root], pattern).films}) == 4


def test_of_films_with_the_same_bytes_one_is_kept(root: Path) -> None:
    put(root / "PNEUMONIA" / "person7_virus_1.png", 3)
    put(root / "PNEUMONIA" / "person9_virus_1.png", 3)
    film_set = load([root])
    kept = names(tuple(film.path for film in film_set.films if film.label == "pneumonia"))
    assert kept == ["person1_bacteria_1.png", "person2_virus_4.png"]
    assert names(film_set.duplicates) == ["person7_virus_1.png", "person9_virus_1.png"]
    assert film_set.contradictions == ()


def test_of_films_that_contradict_each_other_none_is_kept(root: Path) -> None:
    put(root / "PNEUMONIA" / "person7_virus_1.png", 1)
    film_set = load([root])
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
    films = {film.path.name: film for film in load([root]).films}
    assert films["person8_virus_2.png"].patient == "person8"
    joined = {film.group for film in films.values() if film.patient.endswith(("1_", "7", "8"))}
    assert joined == {films["person1_bacteria_1.png"].group}
    assert films["person2_virus_4.png"].group not in joined


def test_a_contradicting_film_joins_its_patients_though_it_is_not_used(root: Path) -> None:
    put(root / "PNEUMONIA" / "person7_virus_1.png", 1)
    put(root / "PNEUMONIA" / "person7_virus_2.png", 70)
    put(root / "NORMAL" / "IM-0001-0002.png", 71)
    films = {film.path.name: film.group for film in load([root]).films}
    assert films["person7_virus_2.png"] == films["IM-0001-0002.png"]


def test_the_digest_changes_with_a_film_and_not_with_its_name(root: Path) -> None:
    before = load([root]).digest
    film = root / "NORMAL" / "IM-0001-0001.png"
    renamed = film.rename(film.with_name("a-new-name.png"))
    assert load([root]).digest == before
    put(renamed, 99)
    assert load([root]).digest != before


def test_the_digest_changes_with_a_label_and_not_with_the_order(root: Path) -> None:
    film_set = load([root])
    assert digest_of(reversed(film_set.films)) == film_set.digest
    film = root / "NORMAL" / "IM-0001-0001.png"
    film.rename(root / "PNEUMONIA" / film.name)
    assert load([root]).digest != film_set.digest


def error(roots: list[Path], pattern: str = "person") -> str:
    with pytest.raises(TrainError) as raised:
        load(roots, pattern)
    assert raised.value.exit_code == 2
    return str(raised.value)


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
    assert "labelled tuberculosis: each is also there under another" in error([tmp_path])


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


# What a recipe makes of the findings.


def entries(tmp_path: Path, *findings: tuple[str, ...], view: str = "") -> list[Entry]:
    """A film of its own patient for each."""
    start = len(list(tmp_path.glob("*.png")))
    return [
        Entry(put(tmp_path / f"{i}.png", i), names, f"p{i}", "made", view)
        for i, names in enumerate(findings, start)
    ]


def labels_of(film_set: FilmSet) -> list[str]:
    return [film.label for film in film_set.films]


def test_findings_are_renamed_and_the_star_takes_those_that_are_not_named(tmp_path: Path) -> None:
    listed = entries(tmp_path, ("viral pneumonia",), ("COVID-19",), ("mass",), ("edema",), ())
    labels = Labels(
        findings=("pneumonia", "COVID-19"), rename={"viral pneumonia": "pneumonia", "*": "other"}
    )
    with pytest.raises(TrainError, match=r"does not name: edema \(1 films\), mass \(1 films\)"):
        load_films(listed, labels)
    labels = Labels(labels.findings, rename={**labels.rename, "*": NO_FINDING})
    film_set = load_films(listed, labels)
    assert film_set.findings == ("pneumonia", "COVID-19")
    assert labels_of(film_set) == ["pneumonia", "COVID-19", NO_FINDING, NO_FINDING, NO_FINDING]


def test_the_star_leaves_films_without_a_finding_as_they_are(tmp_path: Path) -> None:
    film_set = load_films(
        entries(tmp_path, ("mass",), ("edema",), ()), Labels(rename={"*": "abnormal"})
    )
    assert labels_of(film_set) == ["abnormal", "abnormal", NO_FINDING]


def test_ignored_findings_do_not_count_and_films_with_no_other_are_left_aside(
    tmp_path: Path,
) -> None:
    listed = entries(tmp_path, ("mass", "pneumonia"), ("mass",), (), ("pneumonia",))
    film_set = load_films(listed, Labels(findings=("pneumonia",), ignore=("mass",)))
    assert labels_of(film_set) == ["pneumonia", NO_FINDING, "pneumonia"]
    assert names(film_set.ignored) == ["1.png"]


def test_a_film_can_have_several_findings(tmp_path: Path) -> None:
    film_set = load_films(entries(tmp_path, ("pneumonia", "mass"), ("mass",), ()), Labels())
    assert film_set.findings == ("mass", "pneumonia")
    assert [film.labels for film in film_set.films] == [
        ("mass", "pneumonia"),
        ("mass",),
        (NO_FINDING,),
    ]


def test_where_findings_exclude_each_other_the_first_that_is_named_counts(tmp_path: Path) -> None:
    listed = entries(tmp_path, ("mass", "pneumonia"), ("mass",), ())
    film_set = load_films(listed, Labels(findings=("pneumonia", "mass"), exclusive=True))
    assert film_set.findings == (NO_FINDING, "pneumonia", "mass")
    assert labels_of(film_set) == ["pneumonia", "mass", NO_FINDING]


def test_no_finding_keeps_the_place_that_it_is_given(tmp_path: Path) -> None:
    listed = entries(tmp_path, ("mass",), ())
    labels = Labels(findings=("mass", NO_FINDING), exclusive=True)
    assert load_films(listed, labels).findings == ("mass", NO_FINDING)


def test_unknown_findings_are_named_with_their_number_and_what_to_do(tmp_path: Path) -> None:
    listed = entries(tmp_path, ("mass",), ("mass",), ("pneumonia",), ())
    with pytest.raises(TrainError) as raised:
        load_films(listed, Labels(findings=("pneumonia",)))
    for part in ("mass (2 films)", "labels.rename", "labels.ignore"):
        assert part in str(raised.value)


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_named_finding_without_a_film_is_refused(tmp_path: Path, exclusive: bool) -> None:
    labels = Labels(findings=("pneumonia", "tuberculosis"), exclusive=exclusive)
    with pytest.raises(TrainError, match="No film is labelled tuberculosis"):
        load_films(entries(tmp_path, ("pneumonia",), ()), labels)


def test_findings_that_exclude_each_other_need_films_without_any(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="No film is labelled no finding"):
        load_films(entries(tmp_path, ("mass",), ("edema",)), Labels(exclusive=True))


def test_lateral_films_are_left_aside(tmp_path: Path) -> None:
    listed = entries(tmp_path, ("mass",), ()) + entries(tmp_path, ("edema",), view="lateral")
    film_set = load_films(listed, Labels())
    assert film_set.findings == ("mass",)
    assert names(film_set.laterals) == ["2.png"]


def test_the_same_patient_number_in_two_sources_is_two_patients(tmp_path: Path) -> None:
    one, two = (
        Entry(put(tmp_path / f"{source}.png", i), findings, "1", source)
        for i, (source, findings) in enumerate([("nih", ()), ("cohen", ("mass",))])
    )
    assert len({film.group for film in load_films([one, two], Labels()).films}) == 2


def test_a_film_keeps_what_its_data_set_says_of_it(tmp_path: Path) -> None:
    listed = [
        Entry(put(tmp_path / "a.png", 1), ("mass",), "7", "nih", "PA", 58.0, "test", "F"),
        Entry(put(tmp_path / "b.png", 2), (), "8", "nih"),
    ]
    film, _ = load_films(listed, Labels()).films
    assert (film.source, film.official, film.view, film.age_years) == ("nih", "test", "PA", 58.0)
    assert film.sex == "F"


def test_a_copy_among_the_official_test_films_makes_a_test_film(tmp_path: Path) -> None:
    listed = [
        Entry(put(tmp_path / "a.png", 1), (), "1", "s", split="train"),
        Entry(put(tmp_path / "b.png", 1), (), "2", "s", split="test"),
        Entry(put(tmp_path / "c.png", 2), ("mass",), "3", "s", split="train"),
    ]
    assert [film.official for film in load_films(listed, Labels()).films] == ["test", "train"]


# Near-duplicates


def picture(seed: int) -> np.ndarray:
    """96 x 96 soft blobs, each seed its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    return cv2.resize(coarse, (96, 96), interpolation=cv2.INTER_CUBIC)


def test_patients_that_share_a_picture_share_a_group_and_the_pair_is_listed(
    tmp_path: Path,
) -> None:
    resized = cv2.resize(picture(1), (64, 72), interpolation=cv2.INTER_AREA)
    for name, pixels in (("a.png", picture(1)), ("b.jpg", resized), ("c.png", picture(2))):
        (tmp_path / name).write_bytes(cv2.imencode(Path(name).suffix, pixels)[1].tobytes())
    listed = [
        Entry(tmp_path / "a.png", (), "1", "kermany"),
        Entry(tmp_path / "b.jpg", ("mass",), "1", "other"),
        Entry(tmp_path / "c.png", ("mass",), "2", "other"),
    ]
    film_set = load_films(listed, Labels())
    group_a, group_b, group_c = (film.group for film in film_set.films)
    assert group_a == group_b != group_c
    (pair,) = film_set.near_duplicates
    assert names((pair.first, pair.second)) == ["a.png", "b.jpg"]
    assert film_set.contradicting_pairs == (pair,)
