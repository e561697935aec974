"""The program itself: whether all its files are there and load, and what a virus scanner must leave
alone."""

import contextlib
import hashlib
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..not_loaded import INSTALL_AGAIN, next_step
from .check import Check

# They overwrite each other's files: onnxruntime #26996.
FLAVOURS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
)
# What films and models are read with.
_DISTRIBUTIONS = (
    *("numpy", "opencv-python-headless", "pillow", "python-gdcm", "pyjpegls", "pynacl", "cffi"),
    *FLAVOURS,
)
_MAX_NAMED = 10


def checks(written: Mapping[str, Path]) -> Iterator[Check]:
    """written: the folders that cxr-edge writes into, by what they hold."""
    if bundle := getattr(sys, "_MEIPASS", ""):
        yield check_files(Path(sys.executable).parent, Path(bundle) / "files.sha256")
    if sys.platform == "win32":
        from ..windows_dlls import search_folders, system_folders

        yield check_dlls(extension_modules(), search_folders(), system_folders())
    yield check_onnxruntime(installed_flavours())
    yield antivirus(written)


def check_files(folder: Path, listed: Path) -> Check:
    """The packaged program's files against their list. folder: of the program. listed: in the
    format of sha256sum, with paths below the folder."""
    name = "program files"
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as exc:
        return Check(name, "failed", f"{listed.name} cannot be read ({exc})", INSTALL_AGAIN)
    wrong = []
    for line in lines:
        sha256, _, below = line.partition("  ")
        if trouble := _trouble(folder / below, sha256):
            wrong.append(f"{below} {trouble}")
    if wrong or not lines:
        return Check(name, "failed", _some(wrong) or f"{listed.name} is empty", INSTALL_AGAIN)
    return Check(name, "ok", f"{len(lines)} files are as they were made")


def check_dlls(modules: Sequence[Path], folders: Sequence[Path], system: Sequence[Path]) -> Check:
    """Whether every extension module finds its libraries: see windows_dlls.troubles."""
    from ..windows_dlls import troubles

    found = troubles(modules, folders, system)
    if found:
        return Check("DLLs", "failed", _some([str(one) for one in found]), next_step(found))
    return Check("DLLs", "ok", f"{len(modules)} modules find all that they need")


def extension_modules() -> list[Path]:
    """Those of the packaged program; of an installed one, those that were installed for films and
    models, whether or not they are there still."""
    if bundle := getattr(sys, "_MEIPASS", ""):
        return sorted(Path(bundle).rglob("*.pyd"))
    modules = []
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            files = importlib.metadata.files(name) or []
            modules += [Path(str(file.locate())) for file in files if file.suffix == ".pyd"]
    return modules


def installed_flavours() -> dict[str, str]:
    """The distributions of onnxruntime that are installed, with their versions."""
    found = {}
    for name in FLAVOURS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def check_onnxruntime(flavours: Mapping[str, str]) -> Check:
    """flavours: see installed_flavours."""
    found = ", ".join(f"{name} {version}" for name, version in flavours.items())
    if len(flavours) > 1:
        return Check(
            "onnxruntime",
            "warning",
            f"{found}: they overwrite each other's files",
            f"Run `pip uninstall {' '.join(flavours)}`, then install one of cxr-edge[cpu], "
            "cxr-edge[gpu] and cxr-edge[dml].",
        )
    if not flavours:
        from ..session import import_onnxruntime

        found = f"{import_onnxruntime().__version__}, not installed as a package of its own"
    return Check("onnxruntime", "ok", found)


def antivirus(written: Mapping[str, Path]) -> Check:
    """What to ask for where a virus scanner slows it down or takes its files."""
    package = Path(__file__).parents[1]
    program = Path(sys.executable)
    if getattr(sys, "frozen", False):
        folders, processes = [program.parent], [program]
    else:
        folders = [Path(sys.prefix), package]
        # A virtual environment's python.exe starts another one, which does the work.
        base: str = getattr(sys, "_base_executable", "") or sys.executable
        launcher = program.with_name(f"cxr-edge{program.suffix}")
        processes = [program, Path(base), *([launcher] if launcher.is_file() else [])]
    own = ("ledger", "models", "cache")
    folders += [written[name] for name in own if name in written]
    outer = [one for one in dict.fromkeys(folders) if not set(one.parents) & set(folders)]
    return Check(
        "virus scanner",
        "note",
        f"if it slows cxr-edge down or takes its files, have it leave out the folders "
        f"{'; '.join(map(str, outer))} and the processes "
        f"{'; '.join(str(one) for one in dict.fromkeys(processes))}",
    )


def _trouble(path: Path, sha256: str) -> str:
    """What is wrong with a file; "" where nothing is."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as exc:
        return f"cannot be read ({exc.strerror})"
    return "" if found == sha256 else "is changed"


def _some(said: Sequence[str]) -> str:
    more = f"; and {len(said) - _MAX_NAMED} more" if len(said) > _MAX_NAMED else ""
    return "; ".join(said[:_MAX_NAMED]) + more
