"""The way of an X-ray: read, prepare, infer, interpret."""

import glob
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .errors import RadiographError
from .interpret import Finding, interpret
from .model import Model
from .preprocess import prepare
from .radiograph import RadiographFile, decode_radiograph, looks_like_dicom, open_radiograph

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".bmp"})
# Images that this version does not read; in a folder they become rows, never silence.
OTHER_IMAGE_SUFFIXES = frozenset({".gif", ".webp", ".heic", ".jp2", ".j2k", ".pdf"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})


@dataclass(frozen=True)
class Result:
    """What became of one radiograph: findings (leading one first), or the reason for none.

    status: "ok", "refused" (it was read, and may not be judged) or "failed" (it was not read).
    sha256 is empty where not even the file's bytes could be had.
    """

    source: Path
    status: str
    reason: str
    findings: tuple[Finding, ...]
    model: str
    model_sha256: str
    provider: str
    duration_ms: float
    processed_at: datetime
    sha256: str


def predict(
    path: str | Path, model: Model, thresholds: Mapping[str, float] | None = None
) -> tuple[Finding, ...]:
    """The findings of one radiograph, the leading one first.

    thresholds: by finding, in place of the model card's operating points.
    Raises RadiographError where the file cannot be read (UnreadableError) or must not be judged
    (RefusedError).
    """
    return _predict_file(open_radiograph(Path(path)), model, thresholds)


def _predict_file(
    file: RadiographFile, model: Model, thresholds: Mapping[str, float] | None
) -> tuple[Finding, ...]:
    radiograph = decode_radiograph(file)
    inputs = prepare(radiograph, model.card.input)  # (1, C, H, W)
    logits = model.infer(inputs)[0]  # (K,)
    return interpret(logits, model.card, thresholds)


def predict_result(
    path: Path, model: Model, thresholds: Mapping[str, float] | None = None
) -> Result:
    """Like `predict`, with a radiograph that cannot be read or judged as a Result, not an error."""
    started = time.perf_counter()
    sha256, status, reason = "", "ok", ""
    findings: tuple[Finding, ...] = ()
    try:
        file = open_radiograph(path)
        sha256 = file.sha256
        findings = _predict_file(file, model, thresholds)
    except RadiographError as exc:
        status, reason = exc.status, str(exc)
    # A film so large that this machine cannot hold it fails alone; the next one goes on.
    except MemoryError:
        status, reason = "failed", "out_of_memory: This machine has too little memory for the file."
    return Result(
        source=path,
        status=status,
        reason=reason,
        findings=findings,
        model=model.card.label,
        model_sha256=model.sha256,
        provider=model.provider,
        duration_ms=(time.perf_counter() - started) * 1000,
        processed_at=datetime.now(UTC),
        sha256=sha256,
    )


def find_radiographs(folder: Path) -> Iterator[Path]:
    """The files below `folder` that may be radiographs, sorted, links left out.

    A suffix of an image or of DICOM is enough; any other file is looked into for DICOM's mark.
    Raises OSError where the folder itself cannot be listed.
    """
    yield from sorted(path for path in _files_below(folder) if _may_be_radiograph(path))


def expand(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named, folders by their radiographs, patterns (*, ?) by what they match.

    A path that is not there, or a folder that cannot be listed, stays in the list, so that it gets
    a row that says so.
    """
    films: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            try:
                films |= dict.fromkeys(find_radiographs(path))
            except OSError:
                films[path] = None
        elif glob.has_magic(str(path)) and not path.exists():
            # Path.glob takes no absolute patterns.
            found = glob.glob(str(path), recursive=True)  # noqa: PTH207
            matches = [Path(match) for match in sorted(found)]
            films |= dict.fromkeys(match for match in matches if match.is_file())
            films |= {} if matches else {path: None}
        else:
            films[path] = None
    return list(films)


def _files_below(folder: Path) -> Iterable[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            # Hidden files are a system's own (.DS_Store, ._film.jpg) or half-copied.
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                try:
                    yield from _files_below(Path(entry.path))
                except PermissionError:
                    # It becomes a row of its own, so that nobody believes it was read.
                    yield Path(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)


def _may_be_radiograph(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | DICOM_SUFFIXES | OTHER_IMAGE_SUFFIXES:
        return True
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with path.open("rb") as file:
            return looks_like_dicom(file.read(132))
    except OSError:
        return True  # read again later, and recorded as failed if that fails too
