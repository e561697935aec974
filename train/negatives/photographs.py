"""Photographs of the world: those that scikit-image carries in its own wheel.

Only files that lie in the package are read; skimage.data's functions, which fetch others, are not
called. Which of them belong to which set is fixed, so that a set can be held out.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from ..errors import TrainError
from .grey import Grey, Rng, Shape, affine, chance, crop, grey, resized, warped
from .textures import grain, random_tone

SEEN = (
    "camera.png",
    "chelsea.png",
    "brick.png",
    "coins.png",
    "rocket.jpg",
    "gravel.png",
    "ihc.png",
    "microaneurysms.png",
    "clock_motion.png",
    "motorcycle_left.png",
    "horse.png",
    "logo.png",
    "phantom.png",
    "color.png",
)
UNSEEN = (
    "astronaut.png",
    "coffee.png",
    "grass.png",
    "moon.png",
    "cell.png",
    "retina.jpg",
    "hubble_deep_field.jpg",
)
PAGES = ("page.png", "text.png")
FACES = "lfw_subset.npy"  # 200 of 25 x 25 px, the first half faces


def photograph(shape: Shape, rng: Rng) -> Grey:
    """A part of one of the photographs, mirrored, turned, toned; a small face now and then."""
    if chance(rng, 0.12):
        face = _faces()[rng.integers(200)]
        larger = cv2.resize(face, shape[::-1], interpolation=cv2.INTER_CUBIC)
        return _varied(np.asarray(larger, np.uint8), shape, rng)
    return _varied(bundled(SEEN[rng.integers(len(SEEN))]), shape, rng)


def unseen_photograph(shape: Shape, rng: Rng) -> Grey:
    """The same of the photographs that are held out."""
    return _varied(bundled(UNSEEN[rng.integers(len(UNSEEN))]), shape, rng)


def photographed_page(shape: Shape, rng: Rng) -> Grey:
    """A page of a book, or handwriting, photographed."""
    return _varied(bundled(PAGES[rng.integers(len(PAGES))]), shape, rng)


@cache
def bundled(name: str) -> Grey:
    """Grey, at most 512 px, kept.

    Raises TrainError: scikit-image, or this file of it, is missing.
    """
    data = np.frombuffer(_file(name).read_bytes(), np.uint8)
    image = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    times = min(1, 512 / max(image.shape))
    kept = resized(image, (round(times * image.shape[0]), round(times * image.shape[1])))
    kept.setflags(write=False)
    return kept


@cache
def _faces() -> Grey:
    return grey(np.load(_file(FACES)).astype(np.float32))


def _file(name: str) -> Path:
    # Without importing it, which would bring in scipy.
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise TrainError(
            "scikit-image is not installed; its photographs are among what a gate must refuse.",
            'pip install -c constraints.txt -e ".[train]"',
        )
    path = Path(spec.origin).parent / "data" / name
    if not path.is_file():
        raise TrainError(
            f"This version of scikit-image does not carry {name}.",
            "Install the one that constraints.txt names.",
        )
    return path


def _varied(image: Grey, shape: Shape, rng: Rng) -> Grey:
    size = rng.uniform(0.35, 1)
    left, top = rng.uniform(0, 1 - size, 2)
    part = crop(image, left, top, left + size, top + size)
    if chance(rng, 0.5):
        part = part[:, ::-1]
    if chance(rng, 0.2):
        part = np.rot90(part, int(rng.integers(1, 4)))
    part = resized(np.ascontiguousarray(part), shape)
    if chance(rng, 0.4):
        part = warped(part, affine(shape, rng.uniform(-15, 15)), None)
    part = random_tone(part, rng)
    if chance(rng, 0.5):
        noise = np.float32(rng.uniform(0, 12)) * grain(shape, rng)
        part = np.clip(part + noise, 0, 255).astype(np.uint8)
    return 255 - part if chance(rng, 0.08) else part
