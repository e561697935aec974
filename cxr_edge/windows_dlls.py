"""What keeps a Windows extension module from loading: Windows itself says no more than "the
specified module could not be found", and names neither the module nor who needs it."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .language import Message

# Sets of Windows' own functions, which are no files:
# learn.microsoft.com/windows/win32/apiindex/windows-apisets
_API_SETS = ("api-ms-", "ext-ms-")
_VISUAL_CPP = ("vcruntime140", "msvcp140", "concrt140", "vcomp140")


@dataclass(frozen=True)
class Trouble:
    """A file without which modules do not load. needed_by: which first asked for it, by its name.

    is_damaged: it is there, and is no library.
    """

    name: str
    needed_by: str
    is_damaged: bool = False

    @property
    def is_visual_cpp(self) -> bool:
        """Whether it is part of Microsoft's Visual C++ runtime."""
        return self.name.lower().startswith(_VISUAL_CPP)

    @property
    def said(self) -> Message:
        """What it is called and what is wrong with it."""
        what = Message("{name} is missing", name=self.name)
        if self.is_damaged:
            what = Message("{name} is damaged", name=self.name)
        if self.name == self.needed_by:
            return what
        return Message("{what}, which {other} needs", what=what, other=self.needed_by)

    def __str__(self) -> str:
        return str(self.said)


def troubles(
    modules: Iterable[Path], folders: Sequence[Path], system: Sequence[Path]
) -> list[Trouble]:
    """Which libraries the modules, and those that these need, cannot find; each one once.

    folders: where Python has Windows look for any module's libraries (see search_folders), beside
    the module's own folder. system: Windows' folders, whose libraries are taken to be whole.
    Libraries that are loaded only when they are first used (delay-loaded) are not looked for.
    """
    found: dict[str, Trouble] = {}
    files = _Files()
    for module in modules:
        waiting, seen = [module], {module.name.lower()}
        while waiting:
            file = waiting.pop()
            names = _imported(file)
            if names is None:
                found.setdefault(file.name.lower(), Trouble(file.name, module.name, file.exists()))
                continue
            for name in names:
                if name.lower() in seen or name.lower().startswith(_API_SETS):
                    continue
                seen.add(name.lower())
                # The libraries that a library needs are looked for from the module's folder, not
                # its own: LoadLibraryExW, LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR.
                if (there := files.find(name, (module.parent, *folders))) is not None:
                    waiting.append(there)
                elif files.find(name, system) is None:
                    found.setdefault(name.lower(), Trouble(name, file.name))
    return list(found.values())


def search_folders() -> list[Path]:
    """Where Python 3.8 and later has Windows look for the libraries of extension modules, beside
    the module's own folder: the program's folder, and those that packages have added.

    Which were added cannot be asked. They are NAME.libs beside the package, as delvewheel makes
    wheels (github.com/adang1345/delvewheel), pywin32's own, and a packaged program's.
    """
    program: str = getattr(sys, "_base_executable", "") or sys.executable
    folders = [Path(program).parent, Path(sys.executable).parent]
    if bundle := getattr(sys, "_MEIPASS", ""):
        folders.append(Path(bundle))
    for entry in sys.path:
        found = [*Path(entry).glob("*.libs"), *Path(entry).glob("pywin32_system32")]
        folders += sorted(found) if entry else []
    return list(dict.fromkeys(folders))


def system_folders() -> list[Path]:
    """Windows' folder of libraries."""
    return [Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32"]


class _Files:
    """The files of folders, each listed once; as on Windows, case does not matter."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, Path]] = {}

    def find(self, name: str, folders: Iterable[Path]) -> Path | None:
        for folder in folders:
            if folder not in self._listed:
                try:
                    files = {path.name.lower(): path for path in folder.iterdir()}
                except OSError:  # not there, or not to be listed: nothing is found in it
                    files = {}
                self._listed[folder] = files
            if name.lower() in self._listed[folder]:
                return self._listed[folder][name.lower()]
        return None


def _imported(file: Path) -> list[str] | None:
    """The libraries that a library needs to be loaded; None where it is none, or cannot be read."""
    import pefile

    try:
        with pefile.PE(str(file), fast_load=True) as library:
            ends = [part.PointerToRawData + part.SizeOfRawData for part in library.sections]
            if max(ends, default=0) > file.stat().st_size:  # cut short: Windows refuses it
                return None
            number = pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_IMPORT"]
            place = library.OPTIONAL_HEADER.DATA_DIRECTORY[number]
            entries = []
            if place.VirtualAddress:
                entries = library.parse_import_directory(
                    place.VirtualAddress, place.Size, dllnames_only=True
                )
            return [entry.dll.decode("ascii", "replace") for entry in entries or ()]
    # A file of no bytes cannot be mapped (ValueError).
    except (pefile.PEFormatError, OSError, ValueError, IndexError):
        return None
