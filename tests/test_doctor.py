"""What `doctor` says of a PC: every trouble with its next step, nothing of any patient."""

import hashlib
import json
import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge.cli import cli
from cxr_edge.doctor import Check, Places, examine, exit_code, without_home
from cxr_edge.doctor import program as program_module
from cxr_edge.doctor.folders import (
    Survey,
    check_drives,
    check_films,
    check_free_space,
    check_long_paths,
    check_writing,
    survey,
)
from cxr_edge.doctor.models import check_device, check_model
from cxr_edge.doctor.pc import RELEASED, check_clock, check_graphics_card, newest_recorded
from cxr_edge.doctor.program import antivirus, check_dlls, check_files, check_onnxruntime
from cxr_edge.errors import LedgerError, SettingsError
from cxr_edge.ledger import Ledger
from cxr_edge.model import load_model, shipped_models
from cxr_edge.profiles import Profiles
from cxr_edge.store import Entry, Store
from cxr_edge.watch.places import refuse_unseen_drive
from tests.made_dlls import write_dll
from tests.test_profile import PROFILE
from tests.tiny_model import write_drifting_model, write_tiny_model


@pytest.fixture
def places(tmp_path) -> Places:
    folder = tmp_path / "own"
    folder.mkdir()
    return Places({"this folder": tmp_path, "ledger": folder}, folder / "ledger.db")


def entry_of(path: Path, sha256: str = "") -> Entry:
    return Entry(path.stem, "1", path, sha256)


def run(*arguments: str, models: Path):
    return CliRunner().invoke(cli, ["doctor", *arguments], env={"CXR_EDGE_MODELS": str(models)})


def test_every_shipped_model_is_put_to_its_golden_vectors_and_holds(tmp_path):
    outcome = run("--json", models=tmp_path)
    assert outcome.exit_code == 0, outcome.output
    checks = {check["name"]: check for check in json.loads(outcome.stdout)}
    for name in shipped_models():
        assert "drift 0." in checks[f"model {name}, golden vectors"]["found"]
    assert {
        *("system", "processor", "graphics card", "clock", "onnxruntime", "virus scanner"),
        *("--device auto", "--device dml", "writing, this folder", "writing, ledger"),
        *("writing, models", "writing, cache", "free space", "drives"),
    } <= set(checks)
    groups = [check["group"] for check in checks.values()]
    assert list(dict.fromkeys(groups)) == ["PC", "program", "models", "folders"]
    assert checks["--device cpu"]["found"] == "CPUExecutionProvider"


def test_an_installed_model_that_was_changed_is_exit_code_4_and_the_others_are_still_checked(
    tmp_path,
):
    store = Store(tmp_path / "models")
    entry = store.install(write_tiny_model(tmp_path / "tiny.onnx"), [], unsigned=True)
    write_tiny_model(entry.path, bias=-4.99)
    outcome = run(models=store.folder)
    assert outcome.exit_code == 4
    (line,) = (line for line in outcome.stdout.splitlines() if line.startswith("failed"))
    assert "model tiny@1: " in line
    assert "was changed or damaged" in line
    assert "ok       model pneumonia-children, golden vectors" in outcome.stdout
    assert "  -> Install it again from its source." in outcome.stdout
    assert "Traceback" not in outcome.output


def test_a_model_that_drifts_without_a_twin_fails(tmp_path):
    path = write_drifting_model(tmp_path / "m.onnx", n_right=1)
    *_, check = check_model(entry_of(path), [])
    assert (check.verdict, bool(check.next_step)) == ("failed", True)
    assert "drift 1.000 of at most 0.3 on 2 golden vectors" in check.found


def test_the_site_profile_of_a_model_is_named_and_one_for_another_file_has_failed(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("CXR_EDGE_PROFILES", str(tmp_path / "profiles"))
    path = write_tiny_model(tmp_path / "tiny.onnx")
    name = f"model {entry_of(path).label}, site profile"

    def found() -> dict[str, Check]:
        return {check.name: check for check in check_model(entry_of(path), [])}

    assert name not in found()
    profile = replace(PROFILE, model_sha256=load_model(path).sha256, twin_sha256="")
    Profiles(tmp_path / "profiles").keep(profile)
    assert found()[name] == Check(name, "ok", f"judged by {profile.label}")
    write_tiny_model(path, bias=-4.99)
    check = found()[name]
    assert check.verdict == "failed"
    assert "was made for" in check.found and "cxr-edge calibrate" in check.next_step


@pytest.mark.parametrize(("twin_off_by", "verdict"), [(0.0, "warning"), (0.5, "failed")])
def test_a_model_that_drifts_is_as_good_as_its_twin(tmp_path, twin_off_by, verdict):
    path = write_drifting_model(tmp_path / "m.onnx", twin_off_by)
    *_, check = check_model(entry_of(path), [])
    assert check.verdict == verdict
    assert check.next_step


def test_two_flavours_of_onnxruntime_are_named_with_the_way_out():
    check = check_onnxruntime({"onnxruntime": "1.20", "onnxruntime-gpu": "1.21"})
    assert check.verdict == "warning"
    assert "pip uninstall onnxruntime onnxruntime-gpu" in check.next_step
    assert check_onnxruntime({"onnxruntime": "1.20"}).verdict == "ok"


@pytest.mark.parametrize("device", ["cuda", "dml"])
def test_a_card_that_onnxruntime_was_not_built_for_is_no_trouble_and_otherwise_it_is(
    tmp_path, device
):
    store = Store(tmp_path)
    asked = check_device(store, device, is_built_in=True)
    if asked.verdict == "ok":
        pytest.skip("it works on this machine")
    assert "--device cpu" in asked.next_step
    assert check_device(store, device, is_built_in=False).verdict == "ok"
    assert check_device(store, device, is_built_in=False).found == asked.found


def test_a_folder_that_cannot_be_written_to_is_a_warning(tmp_path):
    assert check_writing("this folder", tmp_path).verdict == "ok"
    assert list(tmp_path.iterdir()) == [], "what was written is removed"
    missing = check_writing("csv.path", tmp_path / "none")
    assert (missing.verdict, bool(missing.next_step)) == ("warning", True)
    # cxr-edge makes that one.
    assert check_writing("ledger", tmp_path / "none" / "below").verdict == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("no folder")
    assert check_writing("this folder", tmp_path / "file").verdict == "warning"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="it may write everywhere")
def test_a_folder_without_the_right_to_write_is_a_warning(tmp_path):
    tmp_path.chmod(0o500)
    assert check_writing("this folder", tmp_path).verdict == "warning"


def test_a_full_disk_is_a_warning_and_each_disk_is_told_once(tmp_path):
    disks = {"a": (1, 20_000_000), "b": (1, 20_000_000), "c": (2, 9_000_000_000)}
    folders = {name: tmp_path / name for name in (*disks, "gone")}

    def space_of(path):
        if path.name == "gone":
            raise FileNotFoundError
        return disks[path.name]

    full, roomy, gone = check_free_space(folders, space_of)
    assert (full.verdict, roomy.verdict, gone.verdict) == ("warning", "ok", "warning")
    assert "20 MB" in full.found
    assert roomy.found == "9.0 GB for c"
    assert "not there" in gone.found


def test_a_mapped_drive_is_a_warning_with_the_path_to_write_instead():
    def refuse(path):
        refuse_unseen_drive(str(path), lambda drive: 4, lambda drive: "\\\\nas\\films")

    def accept(path):
        pass

    (check,) = check_drives({"films": Path("Z:\\new")}, Path("ledger.db"), refuse, accept)
    assert (check.name, check.verdict) == ("drive, films", "warning")
    assert "Z: is a mapped network drive" in check.found
    assert check.next_step.endswith("\\\\nas\\films\\new")
    with pytest.raises(SettingsError):
        refuse(Path("Z:\\new"))


def test_a_ledger_on_a_share_is_a_warning(tmp_path):
    def refuse(path):
        raise LedgerError(f"The ledger cannot lie on a share ({path}).", "Put it elsewhere.")

    (check,) = check_drives({}, tmp_path / "ledger.db", lambda _: None, refuse)
    assert (check.name, check.verdict) == ("drive, ledger", "warning")
    assert check.next_step == "Put it elsewhere."


def test_a_folder_is_looked_through_without_naming_a_film(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100) / ("f" * 80)
    if os.name == "nt":
        deep = Path(f"\\\\?\\{deep}")
    deep.mkdir(parents=True)
    (deep / "Doe John.dcm").write_bytes(b"film")
    (tmp_path / "near.dcm").write_bytes(b"film")
    ahead = datetime(2040, 1, 2, tzinfo=UTC)
    os.utime(tmp_path / "near.dcm", (ahead.timestamp(),) * 2)
    found = survey(tmp_path)
    longest = len(str(deep / "Doe John.dcm")) - (4 if os.name == "nt" else 0)
    assert found == Survey(2, 1, longest, ahead, True)
    check = check_long_paths(False, found)
    assert check.verdict == "warning"
    assert f"1 files in the films' folder have such a path, the longest of {longest}" in check.found
    assert "LongPathsEnabled" in check.next_step
    assert check_long_paths(True, found).verdict == "ok"
    assert check_long_paths(False, Survey(9, 0, 259, None, True)).verdict == "ok"
    assert "Doe" not in str(check) + str(check_films(tmp_path, found))


def test_a_time_that_no_calendar_has_is_some_time_far_ahead(tmp_path):
    film = tmp_path / "film.dcm"
    film.write_bytes(b"film")
    os.utime(film, (2**33 * 30,) * 2)
    if film.stat().st_mtime < 2**33:
        pytest.skip("this file system keeps no such times")
    newest = survey(tmp_path).newest
    assert newest == datetime(2200, 1, 1, tzinfo=UTC)
    assert check_clock(NOW, None, newest).verdict == "warning"


def test_a_large_folder_is_looked_through_for_some_seconds_only(tmp_path):
    for i in range(5):
        (tmp_path / str(i)).write_bytes(b"film")
    found = survey(tmp_path, seconds=-1)
    assert not found.is_whole
    assert "and more" in check_films(tmp_path, found).found


def test_films_that_are_not_there_or_do_not_answer_are_a_warning(tmp_path):
    assert "there is no folder" in check_films(tmp_path / "none", survey(tmp_path / "none")).found
    silent = check_films(tmp_path, None)
    assert "does not answer within 10 s" in silent.found
    assert silent.next_step


NOW = datetime(RELEASED.year + 1, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "recorded", "film", "wrong"),
    [
        (NOW, None, None, ""),
        (NOW, NOW - timedelta(days=1), NOW + timedelta(hours=23), ""),  # a camera's time zone
        (NOW.replace(year=2010), None, None, "this program is of"),
        (NOW, NOW + timedelta(hours=1), None, "a film was read at"),
        (NOW, None, NOW + timedelta(days=2), "a film is of"),
    ],
)
def test_a_clock_that_fell_back_is_a_warning(now, recorded, film, wrong):
    check = check_clock(now, recorded, film)
    assert check.found.startswith(now.astimezone().isoformat(" ", "seconds"))
    assert wrong in check.found
    assert check.verdict == ("warning" if wrong else "ok")
    assert ("CMOS" in check.next_step) == bool(wrong)


def test_the_newest_time_of_the_ledger_is_found(tmp_path, places):
    assert newest_recorded(places.ledger) is None, "there is none, and none is made"
    assert not places.ledger.exists()
    with Ledger(places.ledger) as ledger:
        assert newest_recorded(places.ledger) is None
        folder_id = ledger.folder_id(tmp_path)
        ledger.run(
            "INSERT INTO files VALUES (1, ?, x'61', 1, 1, 1, 'failed', NULL, '', NULL, '', 0, "
            "'', '')",
            folder_id,
        )
        for at in ("2027-05-06T07:08:09.000000+00:00", "2026-01-01T00:00:00.000000+00:00"):
            ledger.run(
                "INSERT INTO predictions (folder_id, file_id, source, sha256, status, code, "
                "reason, findings, model, model_sha256, provider, version, duration_ms, "
                "processed_at, patient, study, instance) VALUES "
                "(?, 1, x'61', '', 'failed', '', '', '[]', '', '', '', '', 0, ?, '', '', '')",
                *(folder_id, at),
            )
    assert newest_recorded(places.ledger) == datetime(2027, 5, 6, 7, 8, 9, tzinfo=UTC)
    places.ledger.write_text("no ledger")
    assert newest_recorded(places.ledger) is None


SMI = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <driver_version>535.54</driver_version>
  <cuda_version>12.2</cuda_version>
  <attached_gpus>1</attached_gpus>
  <gpu id="00000000:01:00.0">
    <product_name>NVIDIA T400 4GB</product_name>
    <serial>1234567890</serial>
  </gpu>
</nvidia_smi_log>
"""


@pytest.fixture
def smi(tmp_path):
    """A program that says this and exits so, as NVIDIA's does."""

    def write(says: str, exit_code: int = 0, waits_s: float = 0) -> str:
        script = tmp_path / "smi.py"
        script.write_text(
            f"import sys, time\ntime.sleep({waits_s})\n"
            f"assert sys.argv[1:] == ['-q', '-x'], sys.argv\n"
            f"print({says!r})\nsys.exit({exit_code})\n"
        )
        if os.name == "nt":
            program = tmp_path / "nvidia-smi.bat"
            program.write_text(f'@"{sys.executable}" "{script}" %*\n')
        else:
            program = tmp_path / "nvidia-smi"
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
            program.chmod(0o700)
        return str(program)

    return write


def test_the_card_its_driver_and_both_cudas_are_named(smi):
    check = check_graphics_card(smi(SMI), "12.8")
    assert check.verdict == "ok"
    assert check.found == (
        "NVIDIA T400 4GB, driver 535.54, for CUDA up to 12.2; onnxruntime was built for CUDA 12.8"
    )
    assert "built for" not in check_graphics_card(smi(SMI), "").found
    assert check_graphics_card(None, "").verdict == "ok"


def test_a_driver_that_is_too_old_for_onnxruntime_is_a_warning(smi):
    check = check_graphics_card(smi(SMI), "13.0")
    assert check.verdict == "warning"
    assert "newer driver" in check.next_step


def test_a_driver_without_a_card_or_a_version_is_no_trouble(smi):
    check = check_graphics_card(smi("<nvidia_smi_log/>"), "13.0")
    assert check.verdict == "ok"
    assert "no NVIDIA card, driver not known" in check.found


@pytest.mark.parametrize(
    "says",
    [
        {"says": "NVIDIA-SMI has failed because it could not talk to the driver", "exit_code": 9},
        {"says": "no XML"},
        {"says": SMI, "waits_s": 30},
    ],
)
def test_a_driver_that_does_not_answer_is_a_warning(smi, says):
    started_s = time.monotonic()
    check = check_graphics_card(smi(**says), "12.8", timeout_s=2)
    assert time.monotonic() - started_s < 15
    assert check.verdict == "warning"
    assert check.next_step
    assert check_graphics_card("no such program", "12.8").verdict == "warning"


@pytest.fixture
def bundle(tmp_path):
    """A packaged program's folder, and its list of files."""
    folder = tmp_path / "cxr-edge"
    listed = folder / "_internal" / "files.sha256"
    files = {"cxr-edge.exe": b"MZ", "_internal/cv2/cv2.pyd": b"a library", "_internal/ü.txt": b"x"}
    lines = []
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    listed.write_text("".join(lines), encoding="utf-8")
    return folder, listed


def test_files_that_a_virus_scanner_took_or_changed_are_named(bundle):
    folder, listed = bundle
    assert check_files(folder, listed).found == "3 files are as they were made"
    (folder / "_internal/cv2/cv2.pyd").unlink()
    (folder / "cxr-edge.exe").write_bytes(b"MZ and more")
    check = check_files(folder, listed)
    assert check.verdict == "failed"
    assert check.found == "cxr-edge.exe is changed; _internal/cv2/cv2.pyd is missing"
    assert check.next_step.startswith("Install cxr-edge again.")


@pytest.mark.parametrize("damage", [None, b"", b"\xff\xfe\x00"])
def test_a_list_of_files_that_is_gone_or_damaged_has_failed(bundle, damage):
    folder, listed = bundle
    if damage is None:
        listed.unlink()
    else:
        listed.write_bytes(damage)
    assert check_files(folder, listed).verdict == "failed"


def test_of_many_files_some_are_named_and_the_rest_counted(bundle):
    folder, listed = bundle
    listed.write_text("".join(f"{'0' * 64}  {i}.dll\n" for i in range(25)))
    found = check_files(folder, listed).found
    assert "9.dll is missing; and 15 more" in found
    assert "10.dll" not in found


def test_a_packaged_program_is_held_against_its_list_and_installed_python_is_not(
    bundle, places, monkeypatch
):
    assert "program files" not in [one.name for one in program_module.checks(places.written)]
    folder, listed = bundle
    monkeypatch.setattr(sys, "_MEIPASS", str(listed.parent), raising=False)
    monkeypatch.setattr(sys, "executable", str(folder / "cxr-edge.exe"))
    check = next(program_module.checks(places.written))
    assert (check.name, check.verdict) == ("program files", "ok")
    (folder / "_internal/ü.txt").write_bytes(b"y")
    check = next(program_module.checks(places.written))
    assert (check.verdict, check.found) == ("failed", "_internal/ü.txt is changed")
    assert program_module.extension_modules() == [listed.parent / "cv2" / "cv2.pyd"]


def test_a_missing_dll_is_named_with_its_next_step(tmp_path):
    module = write_dll(tmp_path / "cv2.pyd", "KERNEL32.dll", "MSVCP140.dll")
    write_dll(tmp_path / "System32" / "kernel32.dll")
    check = check_dlls([module], [], [tmp_path / "System32"])
    assert check.verdict == "failed"
    assert check.found == "MSVCP140.dll is missing, which cv2.pyd needs"
    assert "vc_redist.x64.exe" in check.next_step
    write_dll(tmp_path / "System32" / "msvcp140.dll")
    assert check_dlls([module], [], [tmp_path / "System32"]).verdict == "ok"


def test_a_module_that_was_installed_and_is_gone_is_missing(tmp_path, monkeypatch):
    listed = tmp_path / "numpy-1.0.dist-info"
    listed.mkdir()
    (listed / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    (listed / "RECORD").write_text("numpy/__init__.py,,\nnumpy/here.pyd,,\nnumpy/gone.pyd,,\n")
    write_dll(tmp_path / "numpy" / "here.pyd")
    monkeypatch.syspath_prepend(tmp_path)
    modules = [path for path in program_module.extension_modules() if tmp_path in path.parents]
    check = check_dlls(modules, [], [])
    assert (check.verdict, check.found) == ("failed", "gone.pyd is missing")
    assert check.next_step.startswith("Install cxr-edge again.")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_virus_scanner_is_told_every_folder_and_process(tmp_path, places, monkeypatch, frozen):
    if frozen:
        monkeypatch.setattr(sys, "frozen", True, raising=False)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "program" / "cxr-edge.exe"))
    check = antivirus(places.written)
    assert check.verdict == "note"
    folders, processes = check.found.split(" and the processes ")
    assert str(places.written["ledger"]) in folders
    assert (str(tmp_path / "program") if frozen else sys.prefix) in folders
    assert f"{tmp_path};" not in folders, "where the user happens to be is not cxr-edge's"
    assert sys.executable in processes.split("; ")


def test_what_does_not_load_is_told_and_the_rest_is_still_looked_at(tmp_path, places, monkeypatch):
    monkeypatch.setitem(sys.modules, "cxr_edge.doctor.models", None)
    checks = {check.name: check for check in examine(Store(tmp_path), places)}
    assert checks["loading"].verdict == "failed"
    assert "A part of cxr-edge does not load" in checks["loading"].found
    assert {"clock", "virus scanner", "drives"} <= set(checks)
    assert exit_code(checks.values()) == 8


def test_a_broken_list_of_models_is_told_and_the_rest_is_still_looked_at(tmp_path, places):
    (tmp_path / "manifest.json").write_text("no list")
    checks = {check.name: check for check in examine(Store(tmp_path), places)}
    assert checks["models"].verdict == "failed"
    assert {"clock", "drives"} <= set(checks)
    assert exit_code(checks.values()) == 4


def test_a_broken_program_is_exit_code_8_even_where_a_model_has_failed_too():
    def failed(group):
        return Check("x", "failed", "y", "z", group)

    assert exit_code([Check("x", "warning", "y", "z")]) == 0
    assert exit_code([failed("models")]) == 4
    assert exit_code([failed("models"), failed("program")]) == 8


def test_every_trouble_has_a_next_step(tmp_path, places):
    """Whatever is found on the machine that runs the tests."""
    for check in examine(Store(tmp_path), places):
        assert isinstance(check, Check)
        assert check.verdict in ("ok", "note") or check.next_step, check


def test_nothing_of_the_films_at_hand_is_told(tmp_path, monkeypatch):
    home = tmp_path / "homes" / "doctor.doe"
    films = home / "films"
    films.mkdir(parents=True)
    (films / "Smith John 1970.dcm").write_bytes(b"a film")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(films)
    outcome = run("--json", str(films), models=home / "models")
    assert outcome.exit_code == 0, outcome.output
    checks = {check["name"]: check for check in json.loads(outcome.stdout)}
    assert checks["films"]["found"].replace("\\", "/") == "~/films, 1 files"
    assert "doctor.doe" not in outcome.stdout
    assert "Smith" not in outcome.stdout
    # On the screen the paths stand as they can be copied.
    assert str(films) in run(str(films), models=home / "models").stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/al", "~"),
        ("/home/al/films; /HOME/AL/x", "~/films; ~/x"),
        ("/home/alice/films", "/home/alice/films"),
        ("/home", "/home"),
    ],
)
def test_the_home_folder_alone_is_hidden(text, shown):
    if os.name == "nt":
        pytest.skip("other paths there")
    check = Check("x", "ok", text, text)
    assert without_home(check, Path("/home/al"))["found"] == shown
    assert without_home(check, Path("/home/al"))["next_step"] == shown
    assert without_home(check, Path("/"))["found"] == text


def test_the_folders_of_a_configuration_are_looked_at(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    config = tmp_path / "watch.toml"
    config.write_text(
        "folder = 'films'\nledger = 'state/l.db'\n[csv]\npath = 'none/r.csv'\n", encoding="utf-8"
    )
    checks = {
        check["name"]: check
        for check in json.loads(run("--json", "--config", str(config), models=tmp_path).stdout)
    }
    assert checks["films"]["verdict"] == "ok"
    assert checks["writing, ledger"]["verdict"] == "ok"
    assert checks["writing, csv.path"]["verdict"] == "warning"
    assert "writing, folder" not in checks, "films that stay are only read"
    assert not (tmp_path / "state").exists()
    config.write_text("colour = 'red'\n")
    wrong = run("--config", str(config), models=tmp_path)
    assert wrong.exit_code == 2
    assert "colour" in wrong.stderr


def test_the_last_line_names_what_is_to_be_looked_at(tmp_path):
    last = run(str(tmp_path / "no folder"), models=tmp_path).stdout.splitlines()[-1]
    assert last.startswith("To be looked at: ")
    assert "films" in last
