"""The manifest is written, edited in a spreadsheet and read back; what is wrong is named."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from tests.conftest import make_film
from tests.test_duplicates import picture
from train.data.manifest import Entry, read_manifest, write_manifest
from train.data.manifest_command import command, plot_films, table_of
from train.errors import TrainError

HEADER = "path,finding,patient,source,view,age,split"


def entries(folder: Path) -> tuple[Entry, ...]:
    return (
        Entry(make_film(folder / "normal" / "a.png"), (), "p1", "nih", "PA", 58.0, "train"),
        Entry(make_film(folder / "b.png"), ("mass", "pleural effusion"), "p2", "nih"),
        Entry(
            make_film(folder / 'Röntgen, "alt"; 胸部.png'),
            ("COVID-19",),
            "p3",
            "own",
            "lateral",
            0.5,
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        make_film(tmp_path / name)
    return tmp_path


def written(folder: Path, *lines: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path = folder / "manifest.csv"
    path.write_bytes("\r\n".join([header, *lines, ""]).encode(encoding))
    return path


def error(path: Path) -> str:
    with pytest.raises(TrainError) as raised:
        read_manifest(path)
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_a_written_manifest_is_read_back(tmp_path: Path) -> None:
    listed = entries(tmp_path)
    write_manifest(listed, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv") == listed


def test_paths_below_the_manifest_are_relative_and_others_whole(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    listed = entries(tmp_path)
    write_manifest(listed[:2], tmp_path / "sub" / "manifest.csv")
    write_manifest(listed[:2], tmp_path / "manifest.csv")
    text = (tmp_path / "manifest.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.reader(text.splitlines()))
    assert rows[0] == HEADER.split(",")
    assert rows[1] == ["normal/a.png", "no finding", "p1", "nih", "PA", "58", "train"]
    assert rows[2] == ["b.png", "mass|pleural effusion", "p2", "nih", "", "", ""]
    assert read_manifest(tmp_path / "sub" / "manifest.csv") == listed[:2]


def test_a_manifest_can_be_moved_with_its_films(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    write_manifest(entries(tmp_path / "here"), tmp_path / "here" / "manifest.csv")
    (tmp_path / "here").rename(tmp_path / "there")
    first = read_manifest(tmp_path / "there" / "manifest.csv")[0]
    assert first.path == tmp_path / "there" / "normal" / "a.png"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_what_excel_makes_of_it_is_read(folder: Path, encoding: str, separator: str) -> None:
    """Semicolons and decimal commas where the comma is the decimal mark; empty lines at the end."""
    age = '"3,5"' if separator == "," else "3,5"
    lines = [separator.join(["a.png", "No Finding", "7", "own", "pa", age, "TEST"]), separator * 6]
    path = written(folder, *lines, header=HEADER.replace(",", separator), encoding=encoding)
    assert read_manifest(path) == (Entry(folder / "a.png", (), "7", "own", "PA", 3.5, "test"),)


def test_the_sex_has_a_column_where_it_is_known(tmp_path: Path) -> None:
    first, *others = entries(tmp_path)
    listed = (replace(first, sex="F"), *others)
    write_manifest(listed, tmp_path / "manifest.csv")
    header, known, unknown, _ = (tmp_path / "manifest.csv").read_text("utf-8-sig").splitlines()
    assert header == HEADER + ",sex"
    assert known.endswith(",train,F") and unknown.endswith(",,")
    assert read_manifest(tmp_path / "manifest.csv") == listed
    (read,) = read_manifest(written(tmp_path, "b.png,mass,,own,,,,m", header=HEADER + ",sex"))
    assert read.sex == "M"
    wrong = written(tmp_path, "b.png,mass,,own,,,,x", header=HEADER + ",sex")
    assert "Line 2" in error(wrong) and "the sex is 'x'; it can be F, M or empty" in error(wrong)


@pytest.mark.parametrize("name", ["normal", "No finding", "no_finding", "NEGATIVE", "Healthy"])
def test_films_without_a_finding_go_by_several_names(folder: Path, name: str) -> None:
    (entry,) = read_manifest(written(folder, f"a.png,{name},,own,,,"))
    assert entry.findings == ()


def test_films_without_a_patient_stand_for_themselves(folder: Path) -> None:
    make_film(folder / "more" / "a.png")
    path = written(folder, "a.png,mass,,own,,,", "more/a.png,mass,,own,,,", "b.png,mass,,own,,,")
    assert [entry.patient for entry in read_manifest(path)] == ["a.png", "more/a.png", "b.png"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",mass,1,own,,,", "the path is empty"),
        ("a.png,,1,own,,,", "the finding is empty"),
        ("a.png,mass,1,,,,", "the source is empty"),
        ("a.png,mass|,1,own,,,", "'mass|' has an empty part"),
        ("a.png,mass|normal,1,own,,,", "'normal' and other findings at once"),
        ("a.png,mass,1,own,oblique,,", "the view is 'oblique'; it can be PA, AP, lateral"),
        ("a.png,mass,1,own,,old,", "the age 'old'"),
        ("a.png,mass,1,own,,414,", "the age '414'"),
        ("a.png,mass,1,own,,-1,", "the age '-1'"),
        ("a.png,mass,1,own,,nan,", "the age 'nan'"),
        ("a.png,mass,1,own,,,val", "the split is 'val'; it can be train, validation, test"),
        ("a.png,mass,1,own", "has 4 cells, not 7"),
        ("a, b.png,mass,1,own,,,", "has 8 cells, not 7"),
    ],
)
def test_a_line_that_is_not_right_is_named(folder: Path, line: str, said: str) -> None:
    message = error(written(folder, "b.png,mass,1,own,,,", line))
    assert "Line 3 of" in message
    assert said in message


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,finding,patient,source,view,age", "without split"),
        (HEADER + ",weight", "unknown weight"),
        (HEADER + ",sex,sex", "one is there twice"),
        (HEADER.replace("path", "file"), "unknown file; without path"),
        (HEADER + ",", "unknown (no name)"),
        (HEADER + ",age", "one is there twice"),
        ("", "without path"),
    ],
)
def test_other_columns_are_named(folder: Path, header: str, said: str) -> None:
    message = error(written(folder, header=header))
    assert said in message
    assert HEADER in message


def test_missing_films_are_named_twenty_of_them(folder: Path) -> None:
    lines = [f"gone{i}.png,mass,,own,,," for i in range(25)]
    message = error(written(folder, "a.png,mass,,own,,,", *lines))
    assert "25 films" in message
    assert message.count(".png") == 20
    assert "and 5 more" in message


def test_a_film_listed_twice_is_named(folder: Path) -> None:
    message = error(written(folder, "a.png,mass,,own,,,", "a.png,edema,,own,,,"))
    assert "1 films more than once" in message
    assert "a.png" in message


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\xff\xfe", HEADER.encode()])
def test_another_file_is_not_taken_for_a_manifest(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    assert str(path) in error(path)


def test_a_manifest_in_another_encoding_says_how_to_save_it(folder: Path) -> None:
    assert "CSV UTF-8" in error(written(folder, "ä.png,mass,,own,,,", encoding="latin-1"))


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "m.csv") in error(tmp_path / "m.csv")


# python -m train manifest


def test_the_table_says_what_there_is(tmp_path: Path) -> None:
    lines = table_of(entries(tmp_path)).splitlines()
    cells = {tuple(line.split("  ")[0:1]): line for line in lines}
    assert "PA" in cells[("no finding",)]
    assert "58 (58 to 58)" in cells[("no finding",)]
    assert "1 train" in cells[("no finding",)]
    assert "0.5 (0.5 to 0.5)" in cells[("COVID-19",)]
    assert "2 not stated" not in cells[("mass",)]
    total = next(line for line in lines if line.startswith("all films"))
    assert total.split()[2:5] == ["2", "3", "3"]  # sources, films, patients
    assert "1 not stated" in total
    assert "1 films have several findings" in lines[-2]
    assert "1 lateral films" in lines[-1]


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot_films(entries(tmp_path), tmp_path / "films.png")
    assert cv2.imread(str(tmp_path / "films.png")).shape[1] > 500


@pytest.fixture
def two_sets(tmp_path: Path) -> tuple[str, str]:
    """site_a and site_b share one picture, saved anew under another finding."""
    for site, label, seed in (
        ("site_a", "normal", 1),
        ("site_a", "mass", 2),
        ("site_b", "normal", 3),
        ("site_b", "mass", 1),
    ):
        path = tmp_path / site / label / f"{seed}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(cv2.imencode(".png", picture(seed, 96 if site == "site_a" else 64))[1])
    return str(tmp_path / "site_a"), str(tmp_path / "site_b")


def test_the_command_joins_sets_and_shows_their_copies(
    two_sets: tuple[str, str], tmp_path: Path
) -> None:
    out, plot, copies = (tmp_path / name for name in ("m.csv", "films.png", "copies.csv"))
    arguments = [f"--data={two_sets[0]}", f"--data={two_sets[1]}", f"--out={out}"]
    result = CliRunner().invoke(command, [*arguments, f"--plot={plot}", f"--copies={copies}"])
    assert result.exit_code == 0, result.output
    assert "Near-duplicates: 1 pairs (1 in site_a and site_b)." in result.output
    assert "1 of them with contradicting findings:" in result.output
    assert {entry.source for entry in read_manifest(out)} == {"site_a", "site_b"}
    assert plot.stat().st_size > 1000
    assert len(copies.read_text(encoding="utf-8-sig").splitlines()) == 2


def test_the_command_overwrites_only_when_it_is_told_to(
    two_sets: tuple[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "m.csv"
    out.write_text("mine")
    result = CliRunner().invoke(command, ["--data", two_sets[0], "--out", str(out)])
    assert isinstance(result.exception, TrainError)
    assert out.read_text() == "mine"
    CliRunner().invoke(command, ["--data", two_sets[0], "--out", str(out), "--force"])
    assert len(read_manifest(out)) == 2


def test_the_help_has_an_example() -> None:
    result = CliRunner().invoke(command, ["--help"])
    assert "python -m train manifest --data" in result.output
