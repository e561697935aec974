"""A module that does not load is a message with the missing file, never a traceback."""

import os
import subprocess
import sys

import pytest

from cxr_edge.errors import ProgramError
from cxr_edge.not_loaded import not_loaded
from tests.conftest import ROOT, make_film
from tests.made_dlls import write_dll

WINDOWS_SAYS = "DLL load failed while importing cv2: The specified module could not be found."


def error_of(path) -> ImportError:
    return ImportError(WINDOWS_SAYS, name="cv2", path=str(path))


def test_the_missing_library_is_named_and_installed_again(tmp_path):
    path = write_dll(tmp_path / "cv2.pyd", "opencv_world.dll")
    error = not_loaded(error_of(path), [], [])
    assert error.exit_code == 8
    assert "opencv_world.dll is missing, which cv2.pyd needs" in error.message
    assert error.next_step.startswith("Install cxr-edge again.")


def test_microsofts_runtime_is_not_installed_by_installing_cxr_edge_again(tmp_path):
    path = write_dll(tmp_path / "cv2.pyd", "VCRUNTIME140_1.dll", "msvcp140.dll")
    error = not_loaded(error_of(path), [], [])
    assert "VCRUNTIME140_1.dll is missing" in error.message
    assert "msvcp140.dll is missing" in error.message
    assert "vc_redist.x64.exe" in error.next_step
    write_dll(path, "VCRUNTIME140_1.dll", "gone.dll")
    assert not_loaded(error_of(path), [], []).next_step.startswith("Install cxr-edge again.")


def test_numpys_page_of_advice_does_not_hide_what_happened(tmp_path):
    path = write_dll(tmp_path / "_multiarray_umath.pyd", "openblas.dll")
    try:
        try:
            raise error_of(path)
        except ImportError as exc:
            raise ImportError("IMPORTANT: PLEASE READ THIS\n" * 40) from exc
    except ImportError as exc:
        assert "openblas.dll is missing" in not_loaded(exc, [], []).message
        write_dll(path)
        assert WINDOWS_SAYS.rstrip(".") in not_loaded(exc, [], []).message


def test_a_module_that_is_gone_is_named_by_python():
    gone = ModuleNotFoundError("No module named 'numpy._core._multiarray_umath'", name="x")
    assert "No module named 'numpy._core._multiarray_umath'" in not_loaded(gone, [], []).message


def test_what_windows_alone_knows_is_repeated(tmp_path):
    """All libraries are there, and one of them lacks a function, for instance."""
    error = not_loaded(error_of(write_dll(tmp_path / "cv2.pyd")), [], [])
    assert WINDOWS_SAYS.rstrip(".") in error.message
    assert isinstance(error, ProgramError)


@pytest.mark.parametrize("name", ["cv2", "numpy", "onnxruntime", "click"])
def test_no_command_ends_in_a_traceback(tmp_path, tiny_model_path, name):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / f"{name}.py").write_text(
        f"raise ImportError('DLL load failed while importing {name}: no such module.', "
        f"name='{name}_native', path='{name}.pyd')"
    )
    film = make_film(tmp_path / "film.png")
    process = subprocess.run(
        [sys.executable, "-m", "cxr_edge", "predict", film, "--model", tiny_model_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "first"), str(ROOT)))},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 8, process.stderr
    assert "Error: A part of cxr-edge does not load" in process.stderr
    assert name in process.stderr
    assert "Traceback" not in process.stderr


def test_that_pefile_is_missing_too_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pefile", None)
    path = write_dll(tmp_path / "cv2.pyd", "gone.dll")
    assert WINDOWS_SAYS.rstrip(".") in not_loaded(error_of(path), [], []).message
