"""Made images as files, and the table of what became of them."""

import csv
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

import train.negatives.command
from cxr_edge.record import COLUMNS
from tests.small_gate import write_run
from train.errors import TrainError
from train.negatives import HELD_OUT, KINDS
from train.negatives.command import AS_THEY_ARE, command

FEW = tuple(kind for kind in KINDS if kind.name in ("rotated_90", "hand", "mirrored"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_run(tmp_path_factory.mktemp("run"))


def run(*arguments: object):
    outcome = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if outcome.exception and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome


def write_results(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for name, status, reason in rows:
            writer.writerow({"file": name, "status": status, "reason": reason})
    return path


def test_images_of_every_kind_are_written_under_their_names(data, tmp_path, monkeypatch):
    monkeypatch.setattr(train.negatives.command, "KINDS", FEW)
    manifest, split = data
    options = ("--data", manifest, "--split", split, "--each", 3, "--films", 2)
    assert "11 images" in run("write", tmp_path / "made", *options).output
    names = sorted(path.name for path in (tmp_path / "made").iterdir())
    assert names[:2] == [f"{AS_THEY_ARE}.0000.png", f"{AS_THEY_ARE}.0001.png"]
    assert [name.partition(".")[0] for name in names[2:]] == [
        *("hand", "hand", "hand", "mirrored", "mirrored", "mirrored"),
        *("rotated_90", "rotated_90", "rotated_90"),
    ]
    assert cv2.imread(str(tmp_path / "made" / names[0])).shape == (224, 224, 3)
    with pytest.raises(TrainError, match="is not empty"):
        run("write", tmp_path / "made", *options)


def test_the_table_counts_what_was_refused_and_with_which_code(tmp_path):
    assert "hand" in HELD_OUT
    path = write_results(
        tmp_path / "made.csv",
        [
            ("made/hand.0000.png", "refused", "not_a_chest_film: No chest."),
            ("made\\hand.0001.png", "refused", "lateral: A lateral."),
            ("made/hand.0002.png", "ok", ""),
            ("made/rotated_90.0000.png", "refused", "rotated_90: It lies."),
            (f"made/{AS_THEY_ARE}.0000.png", "ok", ""),
            (f"made/{AS_THEY_ARE}.0001.png", "refused", "inverted: A negative."),
            ("made/mirrored.0000.png", "ok", ""),
        ],
    )
    lines = {
        cells[1].strip(): [cell.strip() for cell in cells[2:5]]
        for line in run("table", path).output.splitlines()[2:]
        for cells in [line.split("|")]
    }
    assert lines["to be refused: all"][0] == "4"
    assert lines["to be refused: all"][1].startswith("75.0%")
    assert lines["to be refused: all"][2] == "50.0%"
    assert lines["to be refused: kinds never fitted on"][0] == "3"
    assert lines["to be refused: rotated_90"] == ["1", "100.0% (20.7% to 100.0%)", "100.0%"]
    assert lines["good films, as they are"][1:] == ["50.0% (9.5% to 90.5%)", "1 inverted"]
    assert lines["good films, changed as other hospitals' may look"][0] == "1"
    assert "not_a_chest_film: hand" in run("table", path, "--by-kind").output


@pytest.mark.parametrize(
    ("name", "said"),
    [("elsewhere/film.png", "none of these kinds"), (None, "no table of results")],
)
def test_a_table_of_other_films_is_none(tmp_path, name, said):
    path = tmp_path / "made.csv"
    if name:
        write_results(path, [(name, "ok", "")])
    with pytest.raises(TrainError, match=said):
        run("table", path)
