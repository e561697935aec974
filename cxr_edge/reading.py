"""The way of an X-ray: read, prepare, infer, interpret."""

import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from .errors import RadiographError
from .gate import check_header, check_outputs
from .interpret import probabilities_of, to_findings
from .model import Model, Outputs
from .model_card import ModelCard
from .preprocess import min_side_px, prepare
from .radiograph import (
    Radiograph,
    decode_radiograph,
    is_out_of_memory,
    looks_like_dicom,
    open_radiograph,
    out_of_memory,
    read_radiograph,
)
from .refusals import Refusals
from .result import Finding, Result, reason_for
from .terms import STANDARD_TERMS, Terms
from .windows_path import reachable

if TYPE_CHECKING:
    from .heatmap import Overlay

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".tif", ".tiff", ".bmp"})
# Images that this version does not read; in a folder they become rows, never silence.
OTHER_IMAGE_SUFFIXES = frozenset({".gif", ".webp", ".heic", ".jp2", ".j2k", ".pdf"})
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
# Films per worker that may be done before their turn: while one of JPEG 2000 is decoded for a
# second and a half, the other workers go through a hundred JPEG.
N_AHEAD = 64


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says of a film.

    findings: on the site's terms. probabilities: the model's own, in the order of its card.
    distance: see gate.distance; None where the model has no gate. accepted: codes of refusals that
    the site overrules. overlays: the findings drawn over the film, where asked for.
    """

    findings: tuple[Finding, ...]
    probabilities: tuple[float, ...]
    distance: float | None = None
    accepted: tuple[str, ...] = ()
    overlays: "tuple[Overlay, ...]" = ()


class FilmReader(Protocol):
    """The way of an X-ray: in this process, or in another (isolation.IsolatedReader).

    sha256: of the film that was read last, as soon as its bytes could be had.
    """

    sha256: str

    def read(self, path: Path) -> Answer:
        """Raises RadiographError."""


class _Here:
    """The way of an X-ray in this process."""

    def __init__(self, model: Model, terms: Terms, draw: bool) -> None:
        self.sha256 = ""
        self._model = model
        self._terms = terms
        self._draw = draw

    def read(self, path: Path) -> Answer:
        self.sha256 = ""
        file = open_radiograph(path)
        self.sha256 = file.sha256
        side_px = min_side_px(self._model.card.input)
        radiograph = decode_radiograph(file, side_px, self._terms.accepted)
        del file  # as large as its pixels, and not needed beside them
        return judge(radiograph, self._model, self._terms, self._draw)


def predict(path: str | Path, model: Model, terms: Terms = STANDARD_TERMS) -> tuple[Finding, ...]:
    """The findings of one radiograph, the leading one first.

    Raises RadiographError where the file cannot be read (UnreadableError) or must not be judged
    (RefusedError).
    """
    radiograph = read_radiograph(Path(path), min_side_px(model.card.input), terms.accepted)
    return judge(radiograph, model, terms).findings


def judge(
    radiograph: Radiograph, model: Model, terms: Terms = STANDARD_TERMS, draw: bool = False
) -> Answer:
    """What the model says of a radiograph; draw: see predict_result. Raises RefusedError."""
    refusals = Refusals(terms.accepted, radiograph.overruled)
    inputs = accept(radiograph, model.card, refusals)
    outputs = model.answer(inputs, draw)
    answer = answer_by(outputs, model.card, terms, refusals)
    if outputs.heatmaps is None:
        return answer
    from .heatmap import draw_overlays

    overlays = draw_overlays(
        radiograph,
        outputs.logits[0],
        outputs.heatmaps[0],
        answer.findings,
        model.card,
        terms.profile,
    )
    return replace(answer, overlays=overlays)


def accept(radiograph: Radiograph, card: ModelCard, refusals: Refusals) -> NDArray[np.float32]:
    """The network's input (1, C, H, W) of a radiograph that its header and its shape let through.

    Raises RefusedError.
    """
    check_header(radiograph.header, card, refusals)
    return prepare(radiograph, card.input, refusals)


def answer_by(outputs: Outputs, card: ModelCard, terms: Terms, refusals: Refusals) -> Answer:
    """What one film's outputs (N = 1) say, without its pictures. Raises RefusedError."""
    distance = None
    if card.gate is not None:
        assert outputs.conditions is not None  # Model.answer gives both where there is a gate
        assert outputs.features is not None
        distance = check_outputs(outputs.conditions[0], outputs.features[0], card.gate, refusals)
    probabilities = probabilities_of(outputs.logits[0], card)
    findings = to_findings(probabilities, card, terms)
    return Answer(findings, probabilities, distance, refusals.overruled)


def predict_result(
    path: Path, model: Model, terms: Terms = STANDARD_TERMS, draw: bool = False
) -> Result:
    """Like `predict`, with a radiograph that cannot be read or judged as a Result, not an error.

    draw: with the findings drawn over the film.
    """
    return result_by(_Here(model, terms, draw), path, model, terms)


def result_by(reader: FilmReader, path: Path, model: Model, terms: Terms) -> Result:
    """The Result of a film that `reader` reads by `model` on these terms."""
    started = time.perf_counter()
    status, reason, answer = "ok", "", Answer((), ())
    try:
        answer = reader.read(path)
        reason = reason_for(answer.accepted)
    except RadiographError as exc:
        status, reason = exc.status, str(exc)
    # A film so large that this machine cannot hold it fails alone; the next one goes on.
    except (MemoryError, cv2.error) as exc:
        if not is_out_of_memory(exc):
            raise
        status, reason = "failed", str(out_of_memory())
    return Result(
        source=path,
        status=status,
        reason=reason,
        findings=answer.findings,
        model=model.card.label,
        model_sha256=model.sha256,
        provider=model.provider,
        duration_ms=(time.perf_counter() - started) * 1000,
        processed_at=datetime.now(UTC),
        sha256=reader.sha256,
        overlays=answer.overlays,
        distance=answer.distance,
        profile=terms.profile_label,
    )


def predict_contained(
    path: Path, model: Model, terms: Terms = STANDARD_TERMS, draw: bool = False
) -> Result:
    """Like `predict_result`, with a Result even where this program itself has a fault."""
    try:
        return predict_result(path, model, terms, draw)
    # The one broad except: whatever one film does, the next one is read.
    except Exception as exc:
        logger.exception("%s", path)
        return internal_error(path, model, terms, exc)


def internal_error(path: Path, model: Model, terms: Terms, exc: Exception) -> Result:
    """The Result of a film at which this program itself failed."""
    return Result(
        source=path,
        status="failed",
        reason=f"internal_error: {type(exc).__name__}: {exc}. Please report this film's kind.",
        findings=(),
        model=model.card.label,
        model_sha256=model.sha256,
        provider=model.provider,
        duration_ms=0.0,
        processed_at=datetime.now(UTC),
        sha256="",
        profile=terms.profile_label,
    )


def read_results(
    paths: Iterable[Path],
    model: Model,
    terms: Terms = STANDARD_TERMS,
    n_workers: int = 1,
    draw: bool = False,
) -> Iterator[Result]:
    """The results of many films, in their order, whatever becomes of any of them.

    n_workers: threads, each of which takes a film all the way, so that some decode while others
    infer; the model should then be loaded with threads=1. Only so many films are taken from `paths`
    ahead of the result that is waited for. An exception of the caller's, or Ctrl-C, ends it with
    the films in hand.
    """
    if n_workers < 2:
        for path in paths:
            yield predict_contained(path, model, terms, draw)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    # The workers keep every core busy by themselves.
    n_opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(n_workers, "reading")
    ahead: deque[Future[Result]] = deque()
    try:
        for path in paths:
            ahead.append(pool.submit(predict_contained, path, model, terms, draw))
            # Results are small, but for pictures.
            if len(ahead) >= n_workers * (2 if draw else N_AHEAD):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        cv2.setNumThreads(n_opencv_threads)


def n_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_radiographs(folder: Path) -> Iterator[Path]:
    """The files below `folder` that may be radiographs, sorted, links left out.

    A suffix of an image or of DICOM is enough; any other file is looked into for DICOM's mark.
    Raises OSError where the folder itself cannot be listed.
    """
    yield from sorted(path for path in _files_below(folder) if may_be_radiograph(path))


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
        elif any(mark in str(path) for mark in "*?[") and not path.exists():
            import glob

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


def may_be_radiograph(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | DICOM_SUFFIXES | OTHER_IMAGE_SUFFIXES:
        return True
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with reachable(path).open("rb") as file:
            return looks_like_dicom(file.read(132))
    except OSError:
        return True  # read again later, and recorded as failed if that fails too
