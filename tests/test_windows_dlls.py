"""Where a Windows module does not load, the missing library is named; libraries are made here."""

import pytest

from cxr_edge.windows_dlls import Trouble, troubles
from tests.made_dlls import write_dll


@pytest.fixture
def program(tmp_path):
    return tmp_path / "program"


@pytest.fixture
def system(tmp_path):
    folder = tmp_path / "System32"
    # What Windows brings is not looked into.
    write_dll(folder / "kernel32.dll", "not there either.dll")
    return folder


def named(module, folders, system):
    return [str(trouble) for trouble in troubles([module], folders, [system])]


def test_a_module_whose_libraries_are_all_there_has_no_trouble(program, system):
    module = write_dll(
        program / "cv2" / "cv2.pyd",
        "KERNEL32.dll",
        "api-ms-win-crt-heap-l1-1-0.dll",
        "ext-ms-win-ntuser-window-l1-1-0.dll",
        "Beside.dll",
        "python311.dll",
    )
    write_dll(program / "cv2" / "beside.DLL")
    write_dll(program / "python311.dll")
    assert named(module, [program], system) == []


def test_a_missing_library_is_named_with_who_needs_it(program, system):
    module = write_dll(program / "cv2.pyd", "KERNEL32.dll", "gone.dll")
    assert named(module, [], system) == ["gone.dll is missing, which cv2.pyd needs"]


def test_what_a_library_needs_is_looked_for_too_and_from_the_modules_folder(program, system):
    module = write_dll(program / "numpy" / "core.pyd", "openblas.dll")
    write_dll(program / "numpy.libs" / "openblas.dll", "beside-core.dll", "MSVCP140.dll")
    write_dll(program / "numpy" / "beside-core.dll", "openblas.dll")  # a circle
    # It is in the library's own folder, where Windows does not look.
    assert named(module, [program / "numpy.libs"], system) == [
        "MSVCP140.dll is missing, which openblas.dll needs"
    ]
    write_dll(program / "numpy.libs" / "msvcp140.dll")
    assert named(module, [program / "numpy.libs"], system) == []
    # Without that folder only its first library is not found.
    assert named(module, [], system) == ["openblas.dll is missing, which core.pyd needs"]


def test_a_library_that_many_need_is_said_once(program, system):
    modules = [write_dll(program / f"{i}.pyd", "VCRUNTIME140.dll") for i in range(3)]
    (trouble,) = troubles(modules, [], [system])
    assert trouble == Trouble("VCRUNTIME140.dll", "0.pyd")
    assert trouble.is_visual_cpp


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_library_that_is_none_is_damaged(program, system, damage):
    module = write_dll(program / "cv2.pyd", "other.dll")
    other = write_dll(program / "other.dll")
    data = other.read_bytes()
    other.write_bytes({"empty": b"", "text": b"no library", "cut": data[:-100]}[damage])
    assert named(module, [], system) == ["other.dll is damaged, which cv2.pyd needs"]
    assert named(other, [], system) == ["other.dll is damaged"]


def test_a_module_that_is_gone_is_missing_and_a_folder_that_is_gone_holds_nothing(program, system):
    assert named(program / "gone.pyd", [program / "none"], system) == ["gone.pyd is missing"]
