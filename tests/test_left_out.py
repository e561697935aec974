"""What the packaged program leaves out, nothing misses: its commands run here without it.

tests/bundle drives the program itself, where there is one.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLES
from tests.test_drift import REFERENCE

# As PyInstaller's "excludes": an import fails as if the module were not installed.
WITHOUT = """
import importlib.abc, sys
class LeftOut(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if any(name == one or name.startswith(one + ".") for one in {left_out}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, LeftOut())
"""
COMMAND = "from cxr_edge.__main__ import main; main()"
DRIFT = f"""
from datetime import date
from cxr_edge.drift.comparison import Observed, compare
from cxr_edge.model_card import FindingScores, Reference
reference = {REFERENCE!r}
week = Observed(date(2026, 3, 2), 60, 0, {{"pneumonia": (3,) * 20}}, 0, (6,) * 10)
assert compare(week, reference, "tiny 1").n_done == 3
"""


def left_out() -> list[str]:
    tree = ast.parse((ROOT / "packaging" / "cxr_edge.spec").read_text())
    (names,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXCLUDED_MODULES"
    )
    return ast.literal_eval(names)


def run(program: str, folder: Path, *arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(left_out=left_out()) + program, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "CXR_EDGE_LANGUAGE": "en", "CXR_EDGE_PROFILES": str(folder / "p")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_left_out_is_not_there() -> None:
    assert "torch" in left_out()
    with pytest.raises(AssertionError, match="No module named 'torch"):
        run("import torch", Path())


def test_films_are_read(tmp_path: Path) -> None:
    films = sorted(SAMPLES.glob("*-*.*"))
    assert len(films) == 10
    run(COMMAND, tmp_path, "predict", *films, "--heatmap", tmp_path / "h", "--csv", tmp_path / "r")


def test_a_site_finds_its_own_operating_point(tmp_path: Path) -> None:
    words = {"normal": "absent", "pneumonia": "present"}
    lines = [f"{film},pneumonia,{words[film.name.split('-')[0]]}" for film in SAMPLES.glob("*-*.*")]
    (tmp_path / "labels.csv").write_text("\n".join(["file,finding,label", *lines]))
    picture = tmp_path / "site.svg"
    options = ("--target-sensitivity", 0.5, "--picture", picture)
    run(COMMAND, tmp_path, "calibrate", tmp_path / "labels.csv", *options)
    assert picture.exists()


def test_a_week_is_compared(tmp_path: Path) -> None:
    run(DRIFT, tmp_path)


def test_the_speed_of_this_pc_is_measured(tmp_path: Path) -> None:
    run(COMMAND, tmp_path, "benchmark", "--seconds", 0.01)
