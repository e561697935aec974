"""Which way of reducing full-size films comes closest to the public sets' own 224 px copies?

    python benchmarks/resize.py FULL_SIZE_FOLDER SMALL_FOLDER

Both hold the same films under the same names. Printed: the mean absolute difference in grey levels,
and the sharpness (standard deviation of the Laplacian), which must be that of the small films.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cxr_edge.preprocess import squash
from cxr_edge.radiograph import read_radiograph

SIDE = 224


def main() -> None:
    full_folder, small_folder = (Path(name) for name in sys.argv[1:3])
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "cxr-edge (triangle)": lambda film: squash(film, SIDE, SIDE),
        "mean (INTER_AREA)": lambda film: cv2.resize(
            film.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA
        ),
        "no filter (INTER_LINEAR)": lambda film: cv2.resize(film.astype(np.float32), (SIDE, SIDE)),
        "Pillow bilinear": lambda film: pillow(film, Image.Resampling.BILINEAR),
        "Pillow bicubic": lambda film: pillow(film, Image.Resampling.BICUBIC),
    }
    films = []
    for path in sorted(full_folder.rglob("*.jpeg")):
        small = read_radiograph(small_folder / path.relative_to(full_folder)).pixels
        films.append((read_radiograph(path).pixels, small.astype(np.float32)))
    print(
        f"{len(films)} films; sharpness of the small ones: {sharpness([s for _, s in films]):.2f}"
    )
    for name, reduce in ways.items():
        reduced = [reduce(full) for full, _ in films]
        difference = np.mean(
            [np.abs(r - small).mean() for r, (_, small) in zip(reduced, films, strict=True)]
        )
        print(f"{name:26} difference {difference:.2f}  sharpness {sharpness(reduced):.2f}")


def pillow(film: np.ndarray, method: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(film).resize((SIDE, SIDE), method), np.float32)


def sharpness(films: list[np.ndarray]) -> float:
    return float(np.mean([cv2.Laplacian(film, cv2.CV_32F).std() for film in films]))


if __name__ == "__main__":
    main()
