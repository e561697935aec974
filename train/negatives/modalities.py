"""What other machines make: CT, MR, ultrasound, mammography, nuclear medicine, ECG.

Drawn, or taken from the test files that pydicom carries in its own wheel (pydicom.data, MIT and
public domain; nothing is fetched).
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pydicom
from pydicom.pixels.utils import pixel_array

from .grey import (
    Grey,
    Points,
    Rng,
    Shape,
    Unit,
    blurred,
    chance,
    crop,
    enlarged,
    filled,
    grey,
    grid,
    resized,
    shape_of,
    stretched,
    strokes,
    warped,
)
from .grey import affine as affine_matrix
from .radiography import Pose, blob, pose, soft
from .textures import clouds, grain, random_tone
from .writing import written

# Of pydicom/data/test_files.
CT_AND_MR = (
    "693_J2KI.dcm",
    "CT_small.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "MR_small.dcm",
    "examples_overlay.dcm",
    "JPEG2000.dcm",
)
ULTRASOUND = (
    "examples_jpeg2k.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
)


def bundled_slice(shape: Shape, rng: Rng) -> Grey:
    """A CT, MR or bone scan that pydicom carries."""
    return _varied(dicom(CT_AND_MR[rng.integers(len(CT_AND_MR))]), shape, rng)


def bundled_ultrasound(shape: Shape, rng: Rng) -> Grey:
    """An ultrasound image that pydicom carries."""
    return _varied(dicom(ULTRASOUND[rng.integers(len(ULTRASOUND))]), shape, rng)


@cache
def dicom(name: str) -> Grey:
    """The first frame, grey, stretched."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / name
    pixels = pixel_array(path, index=0).astype(np.float32)
    if pixels.ndim == 3:
        pixels = pixels.mean(axis=2)
    black, white = np.percentile(pixels, (0.5, 99.5))
    image = grey((pixels - np.float32(black)) / np.float32(max(white - black, 1e-6)))
    image.setflags(write=False)
    return image


def _varied(image: Grey, shape: Shape, rng: Rng) -> Grey:
    """Cropped, mirrored, turned, toned."""
    width, height = rng.uniform(0.55, 1, 2)
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    part = crop(image, left, top, left + width, top + height)
    if chance(rng, 0.5):
        part = part[:, ::-1]
    part = np.rot90(part, int(rng.integers(4)))
    part = resized(np.ascontiguousarray(part), shape)
    part = warped(part, affine_matrix(shape, rng.uniform(-15, 15)))
    part = random_tone(part, rng)
    noise = np.float32(rng.uniform(0, 10)) * grain(shape, rng)
    part = np.clip(part + noise, 0, 255).astype(np.uint8)
    return 255 - part if chance(rng, 0.1) else part


# --- CT and MR -----------------------------------------------------------------------------------


def ct_head(shape: Shape, rng: Rng) -> Grey:
    """An axial slice: a bright ring of skull around brain with its ventricles."""
    lie = pose(rng, 10, (0.8, 1.15), quarters=chance(rng, 0.2))
    radii = np.array([rng.uniform(0.3, 0.36), rng.uniform(0.38, 0.44)])
    scalp = _mask(shape, lie, [blob(rng, (0.5, 0.5), radii + 0.03, 0.02)])
    skull = _mask(shape, lie, [blob(rng, (0.5, 0.5), radii, 0.02)])
    brain = _mask(shape, lie, [blob(rng, (0.5, 0.5), radii - rng.uniform(0.02, 0.045), 0.02)])
    window = rng.uniform(0.3, 0.6)
    image = 0.25 * scalp + (1 - 0.25) * skull - (1 - window) * brain
    image += brain * np.float32(0.15) * (clouds(shape, rng, 10, 4, 0.7) - 0.5)
    horns = [blob(rng, (0.5 + s * 0.05, 0.42), (0.022, 0.1), 0.2, s * -14) for s in (-1, 1)]
    horns += [blob(rng, (0.5 + s * 0.09, 0.6), (0.02, 0.07), 0.2, s * 18) for s in (-1, 1)]
    image -= brain * np.float32(0.5 * window) * _mask(shape, lie, horns)
    middle = np.array([[0.5, 0.5 - radii[1]], [0.5, 0.5 + radii[1]]])
    falx = np.zeros(shape, np.float32)
    strokes(falx, [lie(middle)], 1)
    image += brain * falx * np.float32(0.1)
    if chance(rng, 0.3):
        bleed = blob(rng, (0.5 + rng.choice((-0.15, 0.15)), 0.5), (0.06, 0.08), 0.2)
        image += brain * np.float32(0.3) * _mask(shape, lie, [bleed])
    return _sliced(image, rng)


def ct_abdomen(shape: Shape, rng: Rng) -> Grey:
    """An axial slice: liver, spleen, kidneys, spine, bowel, in a ring of fat, on a table."""
    lie = pose(rng, 5, (0.85, 1.1), quarters=chance(rng, 0.2))
    size = np.array([rng.uniform(0.42, 0.48), rng.uniform(0.28, 0.36)])
    fat = rng.uniform(0.015, 0.07)
    image = 0.25 * _mask(shape, lie, [blob(rng, (0.5, 0.5), size, 0.03)])
    inside = _mask(shape, lie, [blob(rng, (0.5, 0.5), size - fat, 0.03)])
    image += np.float32(0.12) * inside
    organs = [
        (blob(rng, (0.32, 0.45), (0.17, 0.17), 0.2), 0.28),
        (blob(rng, (0.76, 0.52), (0.08, 0.1), 0.15), 0.28),
        (blob(rng, (0.37, 0.62), (0.05, 0.06), 0.1), 0.36),
        (blob(rng, (0.64, 0.62), (0.05, 0.06), 0.1), 0.36),
        (blob(rng, (0.53, 0.53), (0.03, 0.03), 0.05), 0.4),
        (blob(rng, (0.5, 0.64), (0.055, 0.05), 0.08), 0.6),
        (blob(rng, (0.5, 0.72), (0.02, 0.05), 0.2), 0.5),
        (blob(rng, (0.4, 0.7), (0.08, 0.04), 0.1), 0.22),
        (blob(rng, (0.6, 0.7), (0.08, 0.04), 0.1), 0.22),
    ]
    for outline, density in organs:
        image += inside * np.float32(density) * _mask(shape, lie, [outline])
    for _ in range(rng.integers(2, 9)):
        place = (rng.uniform(0.45, 0.75), rng.uniform(0.3, 0.5))
        radii = rng.uniform(0.02, 0.06, 2)
        image += inside * np.float32(0.2) * _mask(shape, lie, [blob(rng, place, radii, 0.2)])
        image *= 1 - 0.95 * _mask(shape, lie, [blob(rng, place, radii * 0.6, 0.3)])
    _table(image, lie, size[1], rng)
    return _sliced(image, rng)


def ct_thorax(shape: Shape, rng: Rng) -> Grey:
    """An axial slice: two lungs with their vessels, the heart between them, ribs around."""
    lie = pose(rng, 5, (0.85, 1.1), quarters=chance(rng, 0.2))
    size = np.array([rng.uniform(0.42, 0.48), rng.uniform(0.28, 0.34)])
    image = 0.5 * _mask(shape, lie, [blob(rng, (0.5, 0.5), size, 0.03)])
    sides = [
        blob(rng, (0.5 - 0.21, 0.48), (0.15, 0.21), 0.08, 8),
        blob(rng, (0.5 + 0.22, 0.48), (0.15, 0.21), 0.08, -8),
    ]
    lungs = _mask(shape, lie, sides)
    heart = _mask(shape, lie, [blob(rng, (0.54, 0.42), (0.14, 0.12), 0.1, 25)])
    lungs *= 1 - heart
    image -= np.float32(rng.uniform(0.35, 0.48)) * lungs
    vessels = clouds(shape, rng, 22, 3, 0.8)
    image += lungs * np.float32(rng.uniform(0.5, 0.9)) * np.maximum(vessels - 0.66, 0) * 2
    image += np.float32(rng.uniform(0.05, 0.2)) * heart
    aorta = [blob(rng, (0.55, 0.58), (0.035, 0.035), 0.03)]
    image += np.float32(rng.uniform(0.05, 0.2)) * _mask(shape, lie, aorta)
    spine = [blob(rng, (0.5, 0.66), (0.05, 0.045), 0.08), blob(rng, (0.5, 0.74), (0.03, 0.04), 0.2)]
    image += np.float32(0.45) * _mask(shape, lie, spine)
    turn = rng.uniform(0, 6.28, int(rng.integers(8, 15)))
    ribs = [
        blob(
            rng,
            (0.5 + (size[0] - 0.05) * np.cos(t), 0.5 + (size[1] - 0.04) * np.sin(t)),
            (0.03, 0.011),
            0.1,
            np.rad2deg(t) + 90,
        )
        for t in turn
    ]
    image += np.float32(0.45) * _mask(shape, lie, ribs)
    _table(image, lie, size[1], rng)
    return _sliced(image, rng)


def mr_brain(shape: Shape, rng: Rng) -> Grey:
    """A slice with folds of grey and white matter, from above, the front or the side."""
    lie = pose(rng, 10, (0.8, 1.15), quarters=chance(rng, 0.2))
    radii = np.array([rng.uniform(0.3, 0.4), rng.uniform(0.34, 0.42)])
    head = _mask(shape, lie, [blob(rng, (0.5, 0.48), radii + 0.05, 0.04)])
    skull = _mask(shape, lie, [blob(rng, (0.5, 0.48), radii + 0.025, 0.03)])
    brain = _mask(shape, lie, [blob(rng, (0.5, 0.48), radii, 0.03)])
    folds = np.abs(2 * clouds(shape, rng, int(rng.integers(7, 13)), 2, 0.4) - 1)
    matter = np.tanh((folds - rng.uniform(0.1, 0.25)) * rng.uniform(6, 14)) * 0.5 + 0.5
    light, dark = (rng.uniform(0.6, 0.9), rng.uniform(0.2, 0.5))
    if chance(rng, 0.4):
        light, dark = dark, light
    image = rng.uniform(0.5, 1) * (head - skull) + brain * (dark + (light - dark) * matter)
    horns = [blob(rng, (0.5 + s * 0.05, 0.45), (0.025, 0.1), 0.3, s * -14) for s in (-1, 1)]
    fluid = _mask(shape, lie, horns)
    image = image * (1 - fluid) + fluid * brain * np.float32(rng.choice((0.05, 1.0)))
    return _sliced(image.astype(np.float32), rng)


def _mask(shape: Shape, lie: Pose, outlines: list[Points]) -> Unit:
    mask = filled(shape, [lie(outline) for outline in outlines]).astype(np.float32)
    return np.asarray(cv2.blur(mask, (3, 3)), np.float32)


def _table(image: Unit, lie: Pose, half_height: float, rng: Rng) -> None:
    if chance(rng, 0.7):
        x = np.linspace(0.05, 0.95, 30)
        y = 0.53 + half_height + 0.03 - rng.uniform(0.1, 0.3) * (x - 0.5) ** 2
        strokes(image, [lie(np.stack([x, y], 1))], rng.uniform(0.3, 0.8), int(rng.integers(1, 3)))


def _sliced(image: Unit, rng: Rng) -> Grey:
    """Noise, sharpness, tone and now and then what a viewer writes into the corners."""
    shape = image.shape[0], image.shape[1]
    image = blurred(image, rng.uniform(0.5, 1.3))
    image = image + np.float32(rng.uniform(0.005, 0.06)) * grain(shape, rng, rng.uniform(1, 2))
    film = random_tone(grey(image), rng, 0.7)
    if chance(rng, 0.35):
        _viewer_text(film, rng)
    return film


def _viewer_text(film: Grey, rng: Rng) -> None:
    size = rng.uniform(0.025, 0.045) * film.shape[0]
    texts = ("SE 3", "IM 42", "W 400 L 40", "T1 TSE", "kVp 120", "mA 210", "3.0 mm", "A", "FLAIR")
    for x in (0.02, 0.72):
        for y in (0.06, 0.12, 0.9, 0.97):
            if chance(rng, 0.6):
                written(film, texts[rng.integers(len(texts))], x, y, size, 255)


# --- Others --------------------------------------------------------------------------------------


def ultrasound(shape: Shape, rng: Rng) -> Grey:
    """A fan or a box of speckle on black, with cysts, bright layers and their shadows."""
    depth, angle = 160, 140
    speckle = np.hypot(*rng.standard_normal((2, depth, angle), np.float32)) / np.float32(1.25)
    speckle = np.asarray(cv2.GaussianBlur(speckle, (5, 3), 0), np.float32)
    scene = 0.35 + 0.5 * clouds((depth, angle), rng, 4, 3)
    lie = Pose(np.eye(2), np.zeros(2))
    for _ in range(rng.integers(1, 5)):
        outline = blob(rng, rng.uniform(0.15, 0.85, 2), rng.uniform(0.04, 0.2, 2), 0.2)
        scene *= 1 - np.float32(rng.uniform(0.5, 1)) * _mask((depth, angle), lie, [outline])
    for _ in range(rng.integers(1, 6)):
        heights = rng.uniform(0.05, 0.9) + np.cumsum(rng.normal(0, 0.015, 12))
        layer = np.stack([np.linspace(0, 1, 12), heights], axis=1)
        strokes(scene, [layer], rng.uniform(0.8, 1.5), int(rng.integers(1, 4)))
    for _ in range(rng.integers(0, 3)):
        start = rng.integers(5, angle - 20)
        scene[rng.integers(20, 120) :, start : start + rng.integers(4, 20)] *= np.float32(0.3)
    fade = np.linspace(1, rng.uniform(0.3, 1), depth, dtype=np.float32)[:, np.newaxis]
    polar = np.asarray(scene * speckle * fade, np.float32)
    x, y = grid(shape)
    if chance(rng, 0.25):
        image = np.zeros(shape, np.float32)
        box = np.array([rng.uniform(0.02, 0.2), rng.uniform(0.02, 0.15)])
        target = image[
            round(box[1] * shape[0]) : round((1 - box[1]) * shape[0]),
            round(box[0] * shape[1]) : round((1 - box[0]) * shape[1]),
        ]
        target[:] = enlarged(polar, shape_of(target))
    else:
        top, inner = rng.uniform(-0.15, 0.05), rng.uniform(0.02, 0.22)
        wide, outer = np.deg2rad(rng.uniform(28, 48)), rng.uniform(0.8, 1.05)
        dx, dy = x - np.float32(rng.uniform(0.4, 0.6)), y - np.float32(top)
        radius = np.hypot(dx, dy)
        theta = np.arctan2(dx, dy)
        to_y = (radius - inner) / (outer - inner) * (depth - 1)
        to_x = (theta / wide + 1) / 2 * (angle - 1)
        image = np.asarray(
            cv2.remap(
                polar,
                to_x.astype(np.float32),
                to_y.astype(np.float32),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=0,
            ),
            np.float32,
        )
    film = random_tone(grey(image * np.float32(rng.uniform(0.5, 1.1))), rng, 0.6)
    if chance(rng, 0.7):
        _viewer_text(film, rng)
    if chance(rng, 0.4):
        bar = film[round(0.2 * shape[0]) : round(0.6 * shape[0]), -8:-3]
        bar[:] = np.linspace(255, 0, len(bar))[:, np.newaxis]
    return film


def mammogram(shape: Shape, rng: Rng) -> Grey:
    """A breast from the chest wall's edge, its glands, at times the muscle in the corner."""
    lie = Pose(np.diag([-1 if chance(rng, 0.5) else 1, 1]), np.zeros(2))
    reach, tall = rng.uniform(0.45, 0.85), rng.uniform(0.3, 0.46)
    middle = rng.uniform(0.4, 0.6)
    outline = lie(blob(rng, (0, middle), (reach, tall), 0.04))
    breast = soft(shape, [outline], rng.uniform(0.08, 0.2))
    density = rng.uniform(0.1, 1)
    glands = clouds(shape, rng, 5, 6, 0.75) ** np.float32(rng.uniform(1, 3))
    centre = blurred(
        filled(shape, [lie(blob(rng, (0.25, middle), (reach * 0.6, tall * 0.7)))]) * np.float32(1),
        12,
    )
    image = breast * (0.35 + np.float32(density) * glands * (0.3 + centre))
    if chance(rng, 0.5):
        muscle = lie([(-0.2, -0.2), (rng.uniform(0.2, 0.4), -0.2), (-0.05, rng.uniform(0.4, 0.7))])
        image += np.float32(rng.uniform(0.2, 0.5)) * soft(shape, [muscle], 0.04) * (breast > 0.3)
    for _ in range(rng.integers(0, 3)):
        lump = lie(
            blob(rng, (rng.uniform(0.1, 0.4), middle + rng.uniform(-0.2, 0.2)), (0.03, 0.03))
        )
        image += np.float32(0.3) * soft(shape, [lump], 0.03)
    film = _sliced(np.asarray(image, np.float32), rng)
    if chance(rng, 0.7):
        text = ("R CC", "L CC", "R MLO", "L MLO")[rng.integers(4)]
        written(film, text, 0.05 if lie.linear[0, 0] < 0 else 0.75, 0.1, 0.06 * shape[0], 255)
    return film


def nuclear(shape: Shape, rng: Rng) -> Grey:
    """Counts: a bone scan's skeleton, or hot spots on a faint body; either way round."""
    lie = pose(rng, 5, (0.8, 1.1), quarters=False)
    counts = np.zeros(shape, np.float32)
    halves = (0.28, 0.72) if chance(rng, 0.5) else (0.5,)
    for x in halves:
        body = [blob(rng, (x, 0.1), (0.05, 0.06)), blob(rng, (x, 0.35), (0.11, 0.2))]
        body += [blob(rng, (x + s * 0.06, 0.75), (0.04, 0.24)) for s in (-1, 1)]
        body += [blob(rng, (x + s * 0.14, 0.4), (0.03, 0.2), 0.05, s * -8) for s in (-1, 1)]
        counts += np.float32(rng.uniform(0.15, 0.4)) * _mask(shape, lie, body)
        bones = [blob(rng, (x, y), (0.018, 0.016)) for y in np.linspace(0.18, 0.52, 12)]
        bones += [blob(rng, (x + s * 0.05, 0.55), (0.05, 0.03)) for s in (-1, 1)]
        bones += [
            blob(rng, (x + s * 0.06, y), (0.015, 0.09)) for s in (-1, 1) for y in (0.68, 0.87)
        ]
        counts += np.float32(rng.uniform(0.3, 0.6)) * _mask(shape, lie, bones)
        spots = [
            blob(rng, (x + rng.normal(0, 0.06), rng.uniform(0.1, 0.7)), rng.uniform(0.008, 0.04, 2))
            for _ in range(rng.integers(0, 6))
        ]
        counts += _mask(shape, lie, spots)
    if chance(rng, 0.3):
        counts = _hot_spots(shape, rng)
    per_unit = rng.uniform(6, 60)
    smooth = blurred(counts, rng.uniform(1, 3.5))
    noise = np.sqrt(np.maximum(smooth, 0) / np.float32(per_unit)) * grain(shape, rng, 1.5)
    film = random_tone(grey(smooth + noise), rng, 0.7)
    return 255 - film if chance(rng, 0.5) else film


def _hot_spots(shape: Shape, rng: Rng) -> Unit:
    x, y = grid(shape)
    counts = np.full(shape, 0.05, np.float32)
    for _ in range(rng.integers(2, 10)):
        place, size = rng.uniform(0.2, 0.8, 2), rng.uniform(0.01, 0.12)
        squared = (x - np.float32(place[0])) ** 2 + (y - np.float32(place[1])) ** 2
        counts += np.float32(rng.uniform(0.2, 1)) * np.exp(squared / np.float32(-2 * size**2))
    return counts


def ecg(shape: Shape, rng: Rng) -> Grey:
    """Traces on squared paper, or bright ones on a monitor's black."""
    dark = chance(rng, 0.25)
    paper, ink = (0.05, 0.95) if dark else (rng.uniform(0.8, 1), rng.uniform(0, 0.3))
    image = np.full(shape, paper, np.float32)
    n_squares = int(rng.integers(15, 50))
    if not dark or chance(rng, 0.4):
        for i in range(n_squares + 1):
            value = paper + (ink - paper) * (0.3 if i % 5 == 0 else 0.12)
            t = i / n_squares
            strokes(image, [np.array([[t, 0], [t, 1.0]]), np.array([[0, t], [1, t]])], value)
    n_rows = int(rng.integers(1, 13))
    beat = rng.uniform(0.08, 0.3)
    x = np.linspace(0, 1, 300)
    for i_row in range(n_rows):
        phase = (x + rng.uniform(0, 0.1)) % beat / beat
        wave = 0.15 * np.exp(-(((phase - 0.2) / 0.04) ** 2))
        wave += rng.uniform(-1, 1.5) * np.exp(-(((phase - 0.4) / 0.015) ** 2))
        wave -= 0.25 * np.exp(-(((phase - 0.44) / 0.015) ** 2))
        wave += rng.uniform(-0.2, 0.4) * np.exp(-(((phase - 0.68) / 0.06) ** 2))
        middle = (i_row + 0.5) / n_rows
        y = middle - wave * 0.4 / n_rows + rng.normal(0, 0.002, len(x))
        strokes(image, [np.stack([x, y], 1)], ink, int(rng.integers(1, 3)))
        if chance(rng, 0.6):
            lead = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V4", "V6")[rng.integers(9)]
            written(image, lead, 0.02, middle - 0.2 / n_rows, shape[0] * 0.04, ink)
    image += np.float32(rng.uniform(0, 0.05)) * grain(shape, rng)
    return stretched(grey(image))
