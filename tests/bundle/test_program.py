"""What the packaged program must do on a PC that has nothing else."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import dicom, with_gdcm
from nacl.signing import SigningKey
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

import cxr_edge
from cxr_edge.ledger import Ledger
from cxr_edge.model import load_model
from cxr_edge.model_file import read_model_file, signature_path
from cxr_edge.signature import PublicKey, public_key_text, sign
from tests.bundle.locking import kept_for_oneself
from tests.bundle.program import Program, rows_of, wait_until
from tests.bundle.watching import Watcher
from tests.conftest import BROKEN, ROOT, SAMPLES
from tests.test_counts import record

# Each is missed by another part: Python, onnxruntime, OpenCV.
WITH_PYDICOM = (
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
)
WITH_GDCM = ("JPEGBaselineProcess1", "JPEGLosslessProcess14_1", "JPEG2000Lossless")
RUNTIME_DLLS = ("msvcp140.dll", "msvcp140_1.dll", "vcruntime140_1.dll")


def test_it_says_its_version(program: Program) -> None:
    done = program.run("--version")
    assert (done.exit_code, done.out) == (0, f"cxr-edge {cxr_edge.__version__}\n"), done.said


def test_it_reads_the_samples_as_this_python_does(program: Program, tmp_path: Path) -> None:
    """The same model, another build of OpenCV and onnxruntime, perhaps another system."""
    here, there = tmp_path / "here.csv", tmp_path / "there.csv"
    done = program.run("predict", SAMPLES, "--csv", there)
    assert done.exit_code == 0, done.said
    command = [sys.executable, "-m", "cxr_edge", "predict", str(SAMPLES), "--csv", str(here)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    expected = {Path(row["file"]).name: row for row in rows_of(here)}
    found = {re.split(r"[\\/]", row["file"])[-1]: row for row in rows_of(there)}
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        same = ("status", "reason", "finding", "positive", "model", "model_sha256", "sha256")
        assert [found[name][column] for column in same] == [row[column] for column in same]
        probability = float(found[name]["probability"])
        assert probability == pytest.approx(float(row["probability"]), abs=1e-4), name


def test_spaces_and_letters_of_the_world_in_names(program: Program, clinic: Path) -> None:
    shutil.copy(SAMPLES / "normal-1.jpg", clinic / "Bild ü 1 – ñ 肺.jpg")
    done = program.run("predict", "Bild ü 1 – ñ 肺.jpg", "--csv", "Ergebnis ä.csv", cwd=clinic)
    assert done.exit_code == 0, done.said
    (row,) = rows_of(clinic / "Ergebnis ä.csv")
    assert row["file"].endswith("Bild ü 1 – ñ 肺.jpg")
    assert row["status"] == "ok"
    assert "Bild ü 1 – ñ 肺.jpg" in program.run("predict", ".", cwd=clinic).out


def test_films_that_cannot_be_read_have_their_rows(program: Program, tmp_path: Path) -> None:
    target = tmp_path / "r.csv"
    done = program.run("predict", BROKEN, SAMPLES / "normal-3.dcm", "--csv", target)
    assert done.exit_code == 3, done.said
    assert "Traceback" not in done.said
    rows = {re.split(r"[\\/]", row["file"])[-1]: row for row in rows_of(target)}
    assert len(rows) == len(list(BROKEN.iterdir())) + 1
    assert rows["truncated.jpg"]["reason"].startswith("corrupt:")
    assert rows["photo.jpg"]["reason"].startswith("colour:")
    assert rows["normal-3.dcm"]["status"] == "ok"


def test_dicom_of_every_compression(program: Program, tmp_path: Path) -> None:
    """Each decoder is a library that the bundle could lack."""
    pixels = cv2.imdecode(np.fromfile(SAMPLES / "normal-1.jpg", np.uint8), cv2.IMREAD_GRAYSCALE)
    films = {syntax.keyword: dicom(pixels, 8, "MONOCHROME2", syntax) for syntax in WITH_PYDICOM}
    plain = dicom(pixels, 8, "MONOCHROME2")
    films |= {name: with_gdcm(plain, name, tmp_path) for name in WITH_GDCM}
    (tmp_path / "films").mkdir()
    for name, data in films.items():
        (tmp_path / "films" / f"{name}.dcm").write_bytes(data)
    target = tmp_path / "r.csv"
    done = program.run("predict", tmp_path / "films", "--csv", target)
    assert done.exit_code == 0, done.said
    probabilities = {row["file"]: float(row["probability"]) for row in rows_of(target)}
    assert len(probabilities) == len(films)
    assert max(probabilities.values()) - min(probabilities.values()) < 0.02, probabilities


def test_heatmaps(program: Program, tmp_path: Path) -> None:
    done = program.run("predict", SAMPLES / "pneumonia-1.jpg", "--heatmap", tmp_path / "pictures")
    assert done.exit_code == 0, done.said
    (picture,) = (tmp_path / "pictures").rglob("*.png")
    assert picture.stat().st_size > 10_000


def test_a_dropped_film_is_read_and_the_watcher_stops(program: Program, clinic: Path) -> None:
    films, target = clinic / "films", clinic / "r.csv"
    films.mkdir()
    shutil.copy(SAMPLES / "normal-1.jpg", films)
    options = ("--csv", target, "--settle", 0.2, "--poll", 0.2, "--ledger", clinic / "l.sqlite")
    with Watcher(program, "watch", films, *options) as watcher:
        wait_until(lambda: target.exists() and len(rows_of(target)) == 1, "the first row")
        shutil.copy(SAMPLES / "pneumonia-2.png", films / "später – ñ.png")
        wait_until(lambda: len(rows_of(target)) == 2, "the dropped film's row")
        exit_code = watcher.stop()
    assert exit_code == 0, watcher.said
    assert b"Traceback" not in watcher.said
    assert rows_of(target)[1]["file"].endswith("später – ñ.png")
    assert rows_of(target)[1]["status"] == "ok"


def test_a_folder_dropped_onto_the_icon_is_read(program: Program, clinic: Path) -> None:
    """Nothing but the folder's name, as Windows gives it; the rest is remembered."""
    films = clinic / "films"
    films.mkdir()
    shutil.copy(SAMPLES / "normal-1.jpg", films)
    target = program.home / "cxr-edge" / "results.csv"
    with Watcher(program, films) as watcher:
        wait_until(lambda: target.exists() and bool(rows_of(target)), "the film's row")
        assert watcher.stop() == 0, watcher.said
    assert rows_of(target)[-1]["status"] == "ok"
    assert b"Not for diagnostic use" in watcher.said


def test_last_week_s_films_are_compared(program: Program, clinic: Path) -> None:
    (clinic / "films").mkdir()
    today = datetime.now(UTC).replace(hour=12)
    last_week = today - timedelta(days=today.weekday() + 4)
    with Ledger(clinic / "l.sqlite") as ledger, ledger.transaction():
        for n in range(40):
            record(ledger, last_week, n / 40, model_sha256=load_model().sha256)
    options = ("--csv", clinic / "r.csv", "--ledger", clinic / "l.sqlite")
    with Watcher(program, "watch", clinic / "films", *options) as watcher:
        wait_until(lambda: b"In the week of" in watcher.said, "the comparison")
        assert watcher.stop() == 0, watcher.said
    assert b"the films (40)" in watcher.said


def test_a_site_finds_its_own_operating_point(program: Program, clinic: Path) -> None:
    words = {"normal": "absent", "pneumonia": "present"}
    films = [(film, words[film.name.split("-")[0]]) for film in SAMPLES.glob("*-*.*")]
    lines = [f"{program.named(film)},pneumonia,{word}" for film, word in sorted(films)]
    labels = clinic / "labels.csv"
    labels.write_text("\n".join(["file,finding,label", *lines]))
    options = ("--target-sensitivity", 0.5, "--picture", clinic / "site.svg")
    done = program.run("calibrate", labels, *options, CXR_EDGE_PROFILES=clinic / "profiles")
    assert done.exit_code == 0, done.said
    assert "pneumonia: 5 films with it, 5 without" in done.out
    assert (clinic / "site.svg").read_text().startswith("<svg")
    assert len(list((clinic / "profiles").glob("*.json"))) == 2


def test_the_speed_of_this_pc_is_measured(program: Program) -> None:
    done = program.run("benchmark", "--seconds", 0.05, "--json")
    assert done.exit_code == 0, done.said
    assert "pneumonia-children" in done.out


def test_it_runs_where_nobody_may_write(program: Program, tmp_path: Path) -> None:
    with program.on_read_only_disk() as read_only:
        done = read_only.run("predict", SAMPLES / "normal-1.jpg", "--csv", tmp_path / "r.csv")
    assert done.exit_code == 0, done.said
    assert rows_of(tmp_path / "r.csv")[0]["status"] == "ok"


def test_windows_shows_whose_version_it_is(windows: Program) -> None:
    import pefile

    with pefile.PE(str(windows.executable)) as program:
        strings = program.FileInfo[0][0].StringTable[0].entries
        kinds = {entry.id for entry in program.DIRECTORY_ENTRY_RESOURCE.entries}
    assert strings[b"ProductVersion"].decode() == cxr_edge.__version__
    assert b"Not for diagnostic use" in strings[b"FileDescription"]
    assert pefile.RESOURCE_TYPE["RT_ICON"] in kinds


def test_the_rows_of_a_locked_csv_are_filled_in(windows: Program, clinic: Path) -> None:
    """As Excel locks it: nobody else may write, or even open it."""
    films, target = clinic / "films", clinic / "r.csv"
    films.mkdir()
    options = ("--csv", target, "--settle", 0.2, "--poll", 0.2, "--ledger", clinic / "l.sqlite")
    shutil.copy(SAMPLES / "normal-1.jpg", films)
    with Watcher(windows, "watch", films, *options) as watcher:
        wait_until(lambda: target.exists() and len(rows_of(target)) == 1, "the first row")
        with kept_for_oneself(windows, target):
            shutil.copy(SAMPLES / "normal-2.png", films)
            wait_until(lambda: b"normal-2.png" in watcher.said, "the film to be read")
            assert len(rows_of(target)) == 1
        wait_until(lambda: len(rows_of(target)) == 2, "the row that waited")
        assert watcher.stop() == 0, watcher.said


def test_doctor_finds_nothing_wrong(program: Program) -> None:
    done = program.run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.out)}
    assert done.exit_code == 0, done.out
    assert checks["--device cpu"]["found"] == "CPUExecutionProvider"
    assert {check["verdict"] for check in checks.values()} <= {"ok", "note", "warning"}
    assert "drift" in str(checks), "the golden vectors were not tried"


@pytest.mark.parametrize("name", RUNTIME_DLLS)
def test_a_missing_dll_is_named(windows: Program, name: str) -> None:
    with windows.without(name) as broken:
        done = broken.run("predict", SAMPLES / "normal-1.jpg")
    assert done.exit_code == 8, done.said
    assert name in done.said.lower()
    assert "Traceback" not in done.said


def test_without_vcruntime140_the_part_that_needs_it_is_named(windows: Program) -> None:
    """No Python runs then: it is the starter that says so."""
    with windows.without("vcruntime140.dll") as broken:
        done = broken.run("predict", SAMPLES / "normal-1.jpg")
    assert done.exit_code != 0
    assert re.search("(?i)python311.dll|vcruntime140.dll", done.said), done.said


def test_a_signed_model_from_a_stick_and_back_again(program: Program, tmp_path: Path) -> None:
    stick = tmp_path / "stick é"
    stick.mkdir()
    model = stick / "chest findings.onnx"
    shutil.copy(ROOT / "cxr_edge" / "models" / "chest-findings.onnx", model)
    key = SigningKey.generate()
    (stick / "k.pub").write_text(public_key_text(PublicKey("St. Anna", bytes(key.verify_key))))
    file = read_model_file(model)
    signed = sign(file.sha256, file.card.name, file.card.version, "St. Anna", key)
    signature_path(model).write_text(signed)
    models = {"CXR_EDGE_MODELS": tmp_path / "models"}
    install = ("model", "install", model, "--public-key", stick / "k.pub")
    read = ("predict", SAMPLES / "normal-1.jpg", "--json")

    whole = model.read_bytes()
    model.write_bytes(whole[:-5000] + bytes(5000))
    refused = program.run(*install, **models)
    assert refused.exit_code == 4, refused.said
    model.write_bytes(whole)
    done = program.run(*install, **models)
    assert done.exit_code == 0, done.said
    for name in ("chest-findings", "pneumonia-children"):
        assert program.run("model", "use", name, **models).exit_code == 0
        assert json.loads(program.run(*read, **models).out)[0]["model"].startswith(name)


def test_a_path_of_over_260_characters(program: Program, tmp_path: Path) -> None:
    deep = tmp_path
    while len(program.named(deep)) < 300:
        deep = deep / "ein langer Ordnername"
    deep.mkdir(parents=True)
    shutil.copy(SAMPLES / "normal-1.jpg", deep / "film.jpg")
    done = program.run("predict", deep / "film.jpg", "--csv", deep / "r.csv")
    assert done.exit_code == 0, done.said
    assert rows_of(deep / "r.csv")[0]["status"] == "ok"


def test_a_command_that_is_not_there_is_a_user_s_mistake(program: Program) -> None:
    done = program.run("predikt")
    assert done.exit_code == 2
    assert "Traceback" not in done.said


def test_torch_is_not_in_it(program: Program) -> None:
    names = {path.name.lower() for path in program.folder.rglob("*")}
    assert not {name for name in names if re.match(r"torch|.*ffmpeg", name)}


def test_what_it_is_made_of_is_told(program: Program) -> None:
    notices = (program.folder / "THIRD-PARTY-NOTICES.txt").read_text(encoding="utf-8")
    for part in ("numpy", "OpenCV", "onnxruntime", "OpenSSL", "PyInstaller", "Kermany"):
        assert part.lower() in notices.lower(), part
    bill = json.loads((program.folder / "sbom.cdx.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    assert "onnxruntime" in {part["name"] for part in bill["components"]}
