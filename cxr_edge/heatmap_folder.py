"""RECORD: overlays become PNG files in a folder."""

import re
from collections.abc import Iterable
from glob import has_magic
from pathlib import Path

from .errors import RecordError
from .reading import DICOM_SUFFIXES, IMAGE_SUFFIXES
from .result import Result

# What `write` makes, and nothing that a person has put beside it.
HEATMAP_NAME = re.compile(r"-[0-9a-f]{8}-[\w-]+\.png$")


class HeatmapFolder:
    """A folder that overlays are written into; see `write`."""

    def __init__(self, folder: Path, inputs: Iterable[Path]) -> None:
        """Make the folder. inputs: what is being read: films, folders and patterns.

        Raises RecordError: it cannot be made, or what is written there would be read as films the
        next time.
        """
        self.folder = folder
        for path in inputs:
            if _would_read(path, folder):
                raise RecordError(
                    f"{folder} lies inside {path}, which is being read: the next time its pictures "
                    "would be taken for films.",
                    "Name a folder outside.",
                )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise self._trouble(exc) from exc

    def write(self, result: Result) -> None:
        """One PNG per overlay, whole or not at all.

        Its name is the film's, the start of the film's sha256 and the finding: of films of the same
        name each keeps its own, and the CSV's sha256 column tells which is which.
        Raises RecordError.
        """
        for one in result.overlays:
            path = self.folder / _name(result, one.finding)
            partial = path.with_name(path.name + ".partial")
            try:
                try:
                    partial.write_bytes(one.png)
                    partial.replace(path)
                finally:
                    partial.unlink(missing_ok=True)
            except OSError as exc:
                raise self._trouble(exc) from exc

    def _trouble(self, exc: OSError) -> RecordError:
        return RecordError(
            f"Heatmaps cannot be written to {self.folder} ({exc.strerror}).",
            "Name a folder that this user may write to, and check the free space.",
        )


def _would_read(path: Path, folder: Path) -> bool:
    """Whether PNGs in the folder would be among the films that an input names: see expand."""
    folder = folder.resolve()
    if path.is_dir():
        return folder.is_relative_to(path.resolve())
    if not has_magic(str(path)) or path.exists():
        return False
    pattern = path.resolve()
    if "**" in pattern.parts:
        top = pattern.parts[: pattern.parts.index("**")]
        return folder.is_relative_to(Path(*top))
    may_be_png = has_magic(pattern.suffix) or pattern.suffix.lower() in ("", ".png")
    return may_be_png and folder.match(str(pattern.parent))


def _name(result: Result, finding: str) -> str:
    """FILM-01234567-finding.png"""
    is_suffix = result.source.suffix.lower() in IMAGE_SUFFIXES | DICOM_SUFFIXES
    film = result.source.stem if is_suffix else result.source.name
    word = re.sub(r"[^\w-]+", "-", finding)
    # Cut, so that with the rest it stays under the 255 bytes that a file's name may have.
    return f"{film[:50]}-{result.sha256[:8]}-{word}.png"
