"""Films that are there twice: the same bytes, or the same picture saved anew.

Public sets copy from each other, resized and re-encoded, so that digests alone miss most copies.
"""

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cxr_edge.errors import RadiographError
from cxr_edge.radiograph import open_radiograph, read_radiograph

from ..errors import TrainError

# Of 10,362 films of two public sets 170 pairs lie above 0.98, and but for one or two they show one
# picture saved twice, 153 of them above 0.995. Only 33 pairs lie between 0.97 and 0.98, crops and
# follow-ups; 173 between 0.96 and 0.97, where different patients begin.
MIN_CORRELATION = 0.98
_SIDE_PX = 32
_BLOCK = 1024

Progress = Callable[[Sequence[Path], str], Iterator[Path]]


@dataclass(frozen=True)
class NearDuplicate:
    """Two files that show the same picture; correlation: of their thumbnails, up to 1."""

    first: Path
    second: Path
    correlation: float


def same_bytes(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The files by the sha256 of their bytes, each list sorted.

    Raises TrainError that names each file which cannot be read.
    """
    by_digest: dict[str, list[Path]] = defaultdict(list)
    unreadable = []
    for path in sorted(paths):
        try:
            by_digest[open_radiograph(path).sha256].append(path)
        except RadiographError as exc:
            unreadable.append(f"{path}: {exc}")
    raise_unreadable(unreadable)
    return dict(by_digest)


def find_near_duplicates(
    paths: Sequence[Path], progress: Progress | None = None
) -> list[NearDuplicate]:
    """The pairs of films whose thumbnails correlate above MIN_CORRELATION, the surest first.

    A thumbnail is the film averaged down to 32 x 32 pixels, with mean 0 and norm 1, so that size,
    aspect, brightness and contrast do not count. Each film is read once, on all cores.
    Raises TrainError that names each film which cannot be read.
    """
    thumbnails = np.zeros((len(paths), _SIDE_PX**2), np.float32)
    unreadable = []
    shown = progress(paths, "looking for copies") if progress else iter(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, (path, thumbnail) in enumerate(
            zip(shown, pool.map(_thumbnail_or_error, paths), strict=True)
        ):
            if isinstance(thumbnail, RadiographError):
                unreadable.append(f"{path}: {thumbnail}")
            else:
                thumbnails[i] = thumbnail
    raise_unreadable(unreadable)
    pairs = [
        NearDuplicate(min(paths[i], paths[j]), max(paths[i], paths[j]), correlation)
        for i, j, correlation in _correlating(thumbnails)
    ]
    return sorted(pairs, key=lambda pair: (-pair.correlation, pair.first, pair.second))


def write_near_duplicates(
    pairs: Sequence[NearDuplicate], sources: Mapping[Path, str], path: Path
) -> None:
    """Write one line per pair, to be looked through. sources: by file."""
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(("correlation", "first source", "first", "second source", "second"))
        for pair in pairs:
            first, second = str(pair.first), str(pair.second)
            row = (sources[pair.first], first, sources[pair.second], second)
            writer.writerow((f"{pair.correlation:.4f}", *row))


def raise_unreadable(unreadable: Sequence[str]) -> None:
    """Raises TrainError that names the films, if there are any."""
    if unreadable:
        shown = "\n  ".join(unreadable[:20])
        more = f"\n  and {len(unreadable) - 20} more" if len(unreadable) > 20 else ""
        raise TrainError(
            f"{len(unreadable)} films cannot be used:\n  {shown}{more}\n",
            "Repair them or move them out of the data.",
        )


def _thumbnail_or_error(path: Path) -> NDArray[np.float32] | RadiographError:
    """The thumbnail (1024,) of mean 0 and norm 1; all 0 for a blank film, which is like none."""
    try:
        pixels = read_radiograph(path).pixels
    except RadiographError as exc:
        return exc
    small = cv2.resize(
        pixels.astype(np.float32), (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA
    ).ravel()
    small -= small.mean()
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def _correlating(thumbnails: NDArray[np.float32]) -> Iterator[tuple[int, int, float]]:
    """Pairs i < j of rows (N, 1024), a block at a time: all N x N would not fit for large sets."""
    for start in range(0, len(thumbnails), _BLOCK):
        correlation = thumbnails[start : start + _BLOCK] @ thumbnails[start:].T
        for i, j in np.argwhere(np.triu(correlation, 1) > MIN_CORRELATION):
            yield start + int(i), start + int(j), min(1.0, float(correlation[i, j]))
