"""Make the sample films: synthetic chest radiographs that show nobody, and files to be refused.

A model of appearance is fitted to many films of each label: their shape (how each film deforms
onto a common reference) and their texture (the grey values once deformed), each a mean and its
first principal components. A sample is a random point of that model, blurred by averaging over
hundreds of films; grain, opacities, collimation and the side marker are drawn on top.

    python samples/make_samples.py --films KERMANY_FOLDER
"""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

Grey = NDArray[np.float32]  # 0 black to 1 white

SEED = 20240713
SIDE_PX = 224
LABELS = ("NORMAL", "PNEUMONIA")
FILMS_PER_LABEL = 800  # the nearest to the label's mean: odd framings only blur the model
ROUNDS = 5
N_TEXTURE = 20
N_SHAPE = 8
MAX_SCORE = 1.6  # standard deviations; beyond, the samples leave what films look like
# How far texture moves on, away from the other label's mean, as a part of the means' distance.
EXAGGERATION = {"NORMAL": 0.15, "PNEUMONIA": 0.15}
SHARPEN = 0.3
SCALE = 4  # of the reference while it is drawn on
MIDLINE_PX = 108
MAX_CROP_PX = 24
BEND_PX = 1.6
MAX_DRAWS = 40
HIGH_PASS_PX = 4.0
ENCODING_MARGIN = 0.01  # what rounding to 8 bits and JPEG may add to a likeness
FRAME_PX = 24
N_BASELINE = 500

PATIENT = re.compile(r"person\d+|(?:NORMAL2-)?IM-\d+")


@dataclass(frozen=True)
class Sample:
    """What to draw. opacity: "", "focal" (bacterial) or "diffuse" (viral).

    marker: where the R stands, parts of width and height. border: of collimation, part of width.
    """

    name: str
    width: int
    height: int
    marker: tuple[float, float]
    border: float = 0.0
    opacity: str = ""

    @property
    def label(self) -> str:
        return self.name.split("-")[0].upper()


SAMPLES = (
    Sample("normal-1.jpg", 1240, 960, (0.06, 0.14)),
    Sample("normal-2.png", 720, 560, (0.05, 0.40), 0.012),
    Sample("normal-3.dcm", 512, 400, (0.07, 0.12)),
    Sample("normal-4.jpg", 1040, 860, (0.05, 0.22), 0.018),
    Sample("normal-5.png", 520, 420, (0.08, 0.10)),
    Sample("pneumonia-1.jpg", 1160, 840, (0.05, 0.10), 0.0, "focal"),
    Sample("pneumonia-2.png", 700, 580, (0.07, 0.16), 0.015, "diffuse"),
    Sample("pneumonia-3.dcm", 520, 440, (0.05, 0.10), 0.0, "focal"),
    Sample("pneumonia-4.jpg", 1280, 940, (0.06, 0.20), 0.0, "diffuse"),
    Sample("pneumonia-5.png", 760, 560, (0.05, 0.12), 0.010, "focal"),
)


# --- The model -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Components:
    """mean (D,), axes (K, D) of unit length, spread (K,): standard deviation along each."""

    mean: Grey
    axes: Grey
    spread: Grey

    def draw(self, rng: np.random.Generator) -> Grey:
        """A random point (D,)."""
        scores = rng.standard_normal(len(self.axes)).clip(-MAX_SCORE, MAX_SCORE)
        return self.mean + (scores * self.spread).astype(np.float32) @ self.axes


@dataclass(frozen=True)
class Model:
    """Per label; texture: SIDE_PX**2 grey values, shape: SIDE_PX**2 displacements (x, y) in px."""

    texture: dict[str, Components]
    shape: dict[str, Components]


def read_films(folder: Path) -> tuple[Grey, list[str]]:
    """The films (N, SIDE_PX, SIDE_PX), stretched like the network's input, and their patients."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    if len(paths) < FILMS_PER_LABEL:
        sys.exit(f"{folder} has {len(paths)} films; at least {FILMS_PER_LABEL} are needed.")
    films = np.empty((len(paths), SIDE_PX, SIDE_PX), np.float32)
    for film, path in zip(films, paths, strict=True):
        film[:] = stretched(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    patients = []
    for path in paths:
        match = PATIENT.search(path.name)
        patients.append(match.group() if match else path.name)
    return films, patients


def stretched(pixels: NDArray[np.generic]) -> Grey:
    """Any greyscale image to (SIDE_PX, SIDE_PX), its darkest and brightest percent 0 and 1."""
    small = cv2.resize(pixels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32)
    black, white = np.percentile(small, (1, 99))
    return np.clip((small - black) / max(white - black, 1e-6), 0, 1).astype(np.float32)


def fit_model(films: dict[str, Grey]) -> Model:
    """Deform the most typical films of each label onto a common reference, then split them."""
    chosen = {}
    for label, all_films in films.items():
        distance = ((all_films - all_films.mean(axis=0)) ** 2).mean(axis=(1, 2))
        chosen[label] = all_films[np.argsort(distance, kind="stable")[:FILMS_PER_LABEL]]
    reference = chosen["NORMAL"].mean(axis=0)
    affine = {label: [_affine(reference, film) for film in chosen[label]] for label in LABELS}
    for i_round in range(ROUNDS):
        # Coarse deformations first: on a blurred reference, fine ones would follow noise.
        smoothness = max(3.0, 7.0 - 1.5 * i_round)
        shapes, textures = {}, {}
        for label in LABELS:
            shapes[label] = np.stack(
                [
                    _displacement(reference, film, matrix, smoothness if i_round else 0.0)
                    for film, matrix in zip(chosen[label], affine[label], strict=True)
                ]
            )
            textures[label] = _textures(chosen[label], shapes[label])
        reference = textures["NORMAL"].mean(axis=0)
        print(f"aligned, round {i_round + 1} of {ROUNDS}", flush=True)
    return Model(
        {label: _components(textures[label], N_TEXTURE) for label in LABELS},
        {label: _components(shapes[label], N_SHAPE) for label in LABELS},
    )


def _grid() -> Grey:
    """Pixel coordinates (x, y), (SIDE_PX, SIDE_PX, 2)."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)
    return np.stack([x, y], axis=-1)


def _affine(reference: Grey, film: Grey) -> Grey:
    """The matrix (2, 3) from reference to film coordinates."""
    half = (SIDE_PX // 2, SIDE_PX // 2)
    small = [cv2.resize(image, half, interpolation=cv2.INTER_AREA) for image in (reference, film)]
    start = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 30, 1e-4)
    try:
        _, matrix = cv2.findTransformECC(
            small[0], small[1], start.copy(), cv2.MOTION_AFFINE, stop, None, 5
        )
    except cv2.error:  # did not converge
        return start
    return np.asarray(matrix * np.array([1, 1, 2], np.float32), np.float32)


def _displacement(reference: Grey, film: Grey, matrix: Grey, smoothness: float) -> Grey:
    """From reference to film coordinates, (SIDE_PX, SIDE_PX, 2); smoothness 0: affine only."""
    grid = _grid()
    target = grid
    if smoothness:
        flow_of = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow_of.setFinestScale(2)
        moved = _warp(film, grid @ matrix[:, :2].T + matrix[:, 2])
        flow = flow_of.calc(_edges(reference), _edges(moved), None)
        target = grid + cv2.GaussianBlur(flow, (0, 0), smoothness)
    return np.asarray(target @ matrix[:, :2].T + matrix[:, 2] - grid, np.float32)


def _edges(image: Grey) -> NDArray[np.uint8]:
    """What optical flow compares: local contrast, whatever the exposure."""
    levels = np.clip(cv2.GaussianBlur(image, (0, 0), 1.2), 0, 1) * 255
    return cv2.createCLAHE(2, (4, 4)).apply(levels.astype(np.uint8))


def _warp(image: Grey, coordinates: Grey) -> Grey:
    return cv2.remap(image, coordinates, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _textures(films: Grey, shapes: Grey) -> Grey:
    """The films in the reference's shape; what lies outside a film is filled with the mean."""
    grid = _grid()
    textures = np.stack(
        [_warp(film, grid + shape) for film, shape in zip(films, shapes, strict=True)]
    )
    position = grid + shapes
    inside = ((position >= 0) & (position <= SIDE_PX - 1)).all(axis=-1)
    mean = (textures * inside).sum(axis=0) / np.maximum(inside.sum(axis=0), 1)
    # Where hardly any film reaches, the reflected border is the better guess.
    trust = np.clip(inside.mean(axis=0) / 0.1, 0, 1)
    fill = trust * mean + (1 - trust) * textures.mean(axis=0)
    return np.where(inside, textures, fill).astype(np.float32)


def _components(data: Grey, n_axes: int) -> Components:
    """Principal components of (N, ...), by way of the N x N Gram matrix."""
    flat = data.reshape(len(data), -1)
    mean = flat.mean(axis=0)
    centred = flat - mean
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    values, vectors = values[::-1][:n_axes], vectors[:, ::-1][:, :n_axes]
    axes = (vectors / np.sqrt(values)).T.astype(np.float32) @ centred
    # The sign of an eigenvector is arbitrary; a fixed one keeps the samples the same.
    axes *= np.sign(axes.sum(axis=1, keepdims=True))
    return Components(mean, axes, np.sqrt(values / len(data)).astype(np.float32))


# --- Drawing -------------------------------------------------------------------------------------


def draw(sample: Sample, model: Model, rng: np.random.Generator) -> Grey:
    """One synthetic film (height, width)."""
    own = sample.label
    (other,) = (label for label in LABELS if label != own)
    away = model.texture[own].mean - model.texture[other].mean
    texture = model.texture[own].draw(rng) + EXAGGERATION[own] * away
    texture = texture.reshape(SIDE_PX, SIDE_PX)
    lungs = _lungs(model)
    if sample.opacity:
        texture = _add_opacity(texture, lungs, sample.opacity, rng)
    # The mean over many films is softer than any film.
    texture = texture + SHARPEN * (texture - cv2.GaussianBlur(texture, (0, 0), 2.0))
    fine = cv2.resize(texture, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    # Opacities veil the bones and vessels a little.
    fine = fine + (0.75 if sample.opacity else 1.0) * _anatomy(lungs, rng)
    shape = model.shape[own].draw(rng).reshape(SIDE_PX, SIDE_PX, 2)
    position = _view(shape + _reshaped(rng))
    size = (sample.width, sample.height)
    position = cv2.resize(position, size, interpolation=cv2.INTER_CUBIC)
    film = _warp(fine, (position + 0.5) * SCALE - 0.5)
    film += 0.012 * _warp(lungs, position) * _clouds(size, 0.03, rng, 3)
    low, high = np.percentile(film, (0.5, 99.8))
    film = np.clip((film - low) / (high - low), 0, 1)
    film = 0.02 + 0.95 * film ** rng.uniform(0.95, 1.1)
    _add_marker(film, sample.marker)
    film = _collimated(film, sample.border)
    grain = cv2.GaussianBlur(rng.standard_normal(film.shape), (0, 0), 0.7) * 2.4
    return np.clip(film + 0.005 * grain, 0, 1).astype(np.float32)


def _reshaped(rng: np.random.Generator) -> Grey:
    """Another build and another framing than the model's: a displacement on the reference."""
    size = (SIDE_PX, SIDE_PX)
    bend = np.stack([_clouds(size, 0.25, rng, 1) for _ in range(2)], axis=-1)
    angle = np.deg2rad(rng.normal(0, 1.5))
    zoom_x, zoom_y = rng.normal(0, 0.03, 2)
    matrix = np.array([[zoom_x, -angle], [angle, zoom_y]])
    framing = (_grid() - SIDE_PX / 2) @ matrix.T + rng.normal(0, 3.0, 2)
    return np.asarray(BEND_PX * bend + framing, np.float32)


def _view(displacement: Grey) -> Grey:
    """Where each pixel of the film lies on the reference, (SIDE_PX, SIDE_PX, 2).

    The film is cropped at the sides where the reference shows nothing.
    """
    position = _grid() + _inverse(displacement)
    outside = ((position < 0) | (position > SIDE_PX - 1)).any(axis=-1)
    top, bottom, left, right = 0, SIDE_PX, 0, SIDE_PX
    for _ in range(4 * MAX_CROP_PX):
        part = outside[top:bottom, left:right]
        shares = [side.mean() for side in (part[0], part[-1], part[:, 0], part[:, -1])]
        if max(shares) < 0.03:
            break
        worst = int(np.argmax(shares))
        top, bottom, left, right = (
            value + step * (worst == i)
            for i, (value, step) in enumerate(((top, 1), (bottom, -1), (left, 1), (right, -1)))
        )
    cropped = position[top:bottom, left:right]
    return cv2.resize(cropped, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)


def _anatomy(lungs: Grey, rng: np.random.Generator) -> Grey:
    """Ribs, vertebrae and vessels of nobody's, on the reference enlarged SCALE times.

    Averaging has washed out what differs between people; this is made up in its place.
    """
    side = SIDE_PX * SCALE
    large = cv2.resize(lungs, (side, side), interpolation=cv2.INTER_LINEAR)
    points = cv2.findNonZero((lungs > 0.3).astype(np.uint8))
    chest = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    cv2.fillConvexPoly(chest, cv2.convexHull(points), 1)
    chest = cv2.dilate(chest, np.ones((9, 9), np.uint8)).astype(np.float32)
    chest = cv2.resize(cv2.GaussianBlur(chest, (0, 0), 3.0), (side, side))
    ribs = 0.16 * _ribs(rng) * (0.45 + 0.55 * large) * chest
    return ribs + 0.07 * _vertebrae(rng) + 0.05 * _vessels(rng) * large


def _curve(canvas: Grey, points: Grey, width: float, value: float) -> None:
    """Draw a line through points (N, 2) in reference pixels; lines that cross do not add up."""
    layer = np.rint((points + 0.5) * SCALE * 16).astype(np.int32)
    thickness = max(1, round(width * SCALE))
    cv2.polylines(canvas, [layer], False, value, thickness, cv2.LINE_8, 4)


def _ribs(rng: np.random.Generator) -> Grey:
    total = np.zeros((SIDE_PX * SCALE, SIDE_PX * SCALE), np.float32)
    pitch = rng.uniform(14.5, 18.0)
    t = np.linspace(0, 1, 40, dtype=np.float32)
    for direction in (-1, 1):
        first = 34 + rng.uniform(-6, 6)
        arch, slope = rng.uniform(0.5, 1.1), rng.uniform(1.2, 2.2)
        for i_rib in range(11):
            y = first + i_rib * pitch * rng.uniform(0.97, 1.03)
            x = MIDLINE_PX + direction * (9 + 92 * t)
            behind = y + pitch * (slope * t**1.6 - arch * np.sin(np.pi * t**0.8))
            _rib(total, np.stack([x, behind], axis=-1), rng.uniform(4.5, 6.0), 1.0)
            # In front the rib runs from the side down to its cartilage, which does not show.
            x = MIDLINE_PX + direction * (98 - 58 * t)
            front = y + pitch * (slope * 0.8 + 1.8 * t + 0.5 * np.sin(np.pi * t))
            _rib(total, np.stack([x, front], axis=-1), rng.uniform(5.5, 7.0), 0.5)
    return cv2.GaussianBlur(total, (0, 0), 0.8 * SCALE)


def _rib(total: Grey, centre: Grey, width: float, strength: float) -> None:
    """A band whose rims are brighter than its middle."""
    layer = np.zeros_like(total)
    _curve(layer, centre, width, 1.0)
    _curve(layer, centre, width - 2.2, 0.55)
    total += strength * layer


def _vertebrae(rng: np.random.Generator) -> Grey:
    total = np.zeros((SIDE_PX * SCALE, SIDE_PX * SCALE), np.float32)
    y, half = rng.uniform(2, 14), rng.uniform(9, 11)
    x = np.linspace(-1, 1, 20, dtype=np.float32)
    while y < SIDE_PX:
        pitch = rng.uniform(11.5, 13.5) * (0.85 + 0.3 * y / SIDE_PX)
        for edge in (0.12, 0.80):
            plate = y + pitch * edge + rng.uniform(-0.5, 0.5) + 1.2 * (edge - 0.4) * (1 - x * x)
            points = np.stack([MIDLINE_PX + half * x, plate], axis=-1)
            _curve(total, points, 1.5, 1.0)
        for pedicle in (-0.6, 0.6):
            centre = (MIDLINE_PX + half * pedicle, y + pitch * 0.4)
            cv2.circle(total, [round(c * SCALE) for c in centre], round(2.2 * SCALE), 0.8, SCALE)
        y += pitch
    return cv2.GaussianBlur(total, (0, 0), 0.7 * SCALE)


def _vessels(rng: np.random.Generator) -> Grey:
    """Branching lines from each hilum outwards, thinner with every branch."""
    total = np.zeros((SIDE_PX * SCALE, SIDE_PX * SCALE), np.float32)
    for direction in (-1, 1):
        branches = [
            (np.array([MIDLINE_PX + direction * 18, 95 + rng.uniform(-6, 10)]), angle, 3.2)
            for angle in rng.uniform(-1.2, 1.3, 8)
        ]
        while branches:
            start, angle, width = branches.pop()
            points = [start]
            for _ in range(int(rng.integers(5, 9))):
                angle += rng.normal(0, 0.16)
                step = np.array([direction * np.cos(angle), np.sin(angle)])
                points.append(points[-1] + 3.0 * step)
            layer = np.zeros_like(total)
            _curve(layer, np.array(points, np.float32), width, 1.0)
            total += layer * min(1.0, width / 2.5)
            if width > 0.9:
                fork = rng.uniform(0.25, 0.6)
                branches += [(points[-1], angle + turn, width * 0.66) for turn in (-fork, fork)]
    return cv2.GaussianBlur(np.minimum(total, 1.6), (0, 0), 0.6 * SCALE)


def _lungs(model: Model) -> Grey:
    """0 to 1 on the reference: the two dark areas inside the normal chest."""
    mean = model.texture["NORMAL"].mean.reshape(SIDE_PX, SIDE_PX)
    dark = (mean < 0.52).astype(np.uint8)
    _, parts = cv2.connectedComponents(dark, connectivity=4)
    rim = set(np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])))
    lungs = np.isin(parts, list(rim | {0}), invert=True)
    return cv2.GaussianBlur(lungs.astype(np.float32), (0, 0), 3.0)


def _clouds(size: tuple[int, int], coarsest: float, rng: np.random.Generator, octaves: int) -> Grey:
    """Noise of several scales (height, width), standard deviation about 1."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cell = max(1, round(coarsest * width / 2**octave))
        shape = (height // cell + 4, width // cell + 4)
        noise = rng.standard_normal(shape).astype(np.float32)
        layer = cv2.resize(noise, (shape[1] * cell, shape[0] * cell), interpolation=cv2.INTER_CUBIC)
        total += layer[cell : cell + height, cell : cell + width] / 1.7**octave
    return total / total.std()


def _add_opacity(texture: Grey, lungs: Grey, kind: str, rng: np.random.Generator) -> Grey:
    """Consolidation: the lung turns towards the grey of soft tissue."""
    grid = _grid() / SIDE_PX
    if kind == "focal":
        side = rng.choice([0.27, 0.70])
        centres, radius, strength = [(side, rng.uniform(0.45, 0.62))], rng.uniform(0.10, 0.13), 0.7
    else:
        centres, radius, strength = [(0.36, 0.48), (0.64, 0.5)], 0.16, 0.45
    patch = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for centre in centres:
        squared = ((grid - np.array(centre, np.float32)) ** 2 / (radius * radius)).sum(axis=-1)
        patch = np.maximum(patch, np.exp(-0.5 * squared**1.3))
    patch *= np.clip(1 + 0.3 * _clouds((SIDE_PX, SIDE_PX), 0.09, rng, 3), 0, 1.4)
    weight = np.clip(strength * patch, 0, 0.8) * lungs
    return np.asarray(texture + weight * np.maximum(0.72 - texture, 0), np.float32)


def _inverse(displacement: Grey) -> Grey:
    """The displacement that undoes another, by fixed-point iteration."""
    grid = _grid()
    inverse = -displacement
    for _ in range(30):
        inverse = -_warp(displacement, (grid + inverse).astype(np.float32))
    return inverse


def _add_marker(film: Grey, place: tuple[float, float]) -> None:
    """The side marker R of lead, on the patient's right."""
    height, width = film.shape
    scale = width / 1000
    origin = (round(place[0] * width), round(place[1] * height))
    layer = np.zeros((height, width), np.uint8)
    cv2.putText(
        layer, "R", origin, cv2.FONT_HERSHEY_SIMPLEX, 1.5 * scale, 255,
        max(1, round(3.5 * scale)), cv2.LINE_AA,
    )  # fmt: skip
    blurred = cv2.GaussianBlur(layer.astype(np.float32) / 255, (0, 0), max(0.4, 0.7 * scale))
    film += blurred * (0.97 - film)


def _collimated(film: Grey, border: float) -> Grey:
    """Darker towards the corners; with a border, black where the collimator's leaves were."""
    height, width = film.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
    film = film * (1 - 0.10 * radius**2)
    if border:
        edge = np.minimum(np.minimum(x, width - 1 - x), np.minimum(y, height - 1 - y))
        open_part = 1 / (1 + np.exp(-(edge - border * width) / (0.0025 * width)))
        film = film * (0.03 + 0.97 * open_part)
    return np.asarray(film, np.float32)


# --- The check that nobody is shown --------------------------------------------------------------


class Crowd:
    """The real films, to tell whether a sample comes too near one of them.

    Likeness is the correlation after a high-pass filter: all chests have the same coarse layout.
    limit: the median, over N_BASELINE films, of the likeness of the most similar film of another
    patient. A sample nearer than that to any film would be nearer than two people typically are.
    """

    def __init__(self, films: Grey, patients: Sequence[str]) -> None:
        self.known = np.stack([_detail(film) for film in films])
        probe = np.random.default_rng(SEED).choice(len(films), N_BASELINE, replace=False)
        likeness = self.known[probe] @ self.known.T  # (N_BASELINE, N)
        names = np.asarray(patients)
        likeness[names[probe][:, np.newaxis] == names[np.newaxis]] = -1
        baseline = likeness.max(axis=1)
        self.limit = float(np.median(baseline))
        low, high = np.percentile(baseline, (5, 95))
        print(
            f"nearest film of another patient, for {N_BASELINE} of {len(films)} films: "
            f"median {self.limit:.3f}, 5 % to 95 % {low:.3f} to {high:.3f}"
        )

    def nearest(self, pixels: NDArray[np.generic]) -> float:
        """The likeness of the film that a sample (H, W) resembles most."""
        return float((self.known @ _detail(stretched(pixels))).max())


def draw_nobody(i_sample: int, model: Model, crowd: Crowd) -> Grey:
    """The first draw of a sample that resembles no film; exits where there is none."""
    sample = SAMPLES[i_sample]
    for i_draw in range(MAX_DRAWS):
        film = draw(sample, model, np.random.default_rng((SEED, i_sample, i_draw)))
        likeness = crowd.nearest(film)
        if likeness <= crowd.limit - ENCODING_MARGIN:
            print(f"{sample.name:16} nearest film {likeness:.3f}, draw {i_draw + 1}", flush=True)
            return film
    sys.exit(f"Every draw of {sample.name} resembles a film too closely; nothing was written.")


def _detail(film: Grey) -> Grey:
    """High-pass filtered, flattened, mean 0 and length 1."""
    detail = film - cv2.GaussianBlur(film, (0, 0), HIGH_PASS_PX)
    # Markers and the borders of the film stand in the frame, and their edges outweigh all else.
    detail = detail[FRAME_PX:-FRAME_PX, FRAME_PX:-FRAME_PX].ravel()
    detail = detail - detail.mean()
    return np.asarray(detail / np.linalg.norm(detail), np.float32)


# --- Files ---------------------------------------------------------------------------------------


def encode(sample: Sample, film: Grey) -> bytes:
    """The bytes of one good sample, in the format its name says."""
    grey = np.rint(film * 255).astype(np.uint8)
    if sample.name.endswith(".jpg"):
        image = Image.fromarray(grey)
        # Many viewers export greyscale films as RGB.
        image = image.convert("RGB") if sample.name == "normal-4.jpg" else image
        return _saved(image, "JPEG", quality=88)
    if sample.name == "normal-5.png":
        # 12 bits of a detector in a 16-bit file.
        deep = (np.rint(film * 4095) * 16).astype(np.uint16)
        return _saved(Image.fromarray(deep), "PNG", optimize=True)
    if sample.name.endswith(".png"):
        return _saved(Image.fromarray(grey), "PNG", optimize=True)
    if sample.name == "normal-3.dcm":
        # The detector's values fill part of the range; the window says which.
        return _dicom(sample.name, np.rint(400 + 3000 * film), window=(1900, 3000))
    return _dicom(sample.name, np.rint(4095 - 4095 * film), inverted=True, compressed=True)


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def _dicom(
    name: str,
    pixels: NDArray[np.generic],
    window: tuple[float, float] | None = None,
    inverted: bool = False,
    compressed: bool = False,
) -> bytes:
    """A DICOM file of (H, W) or (frames, H, W) 12-bit values, or (H, W, 3) 8-bit colour.

    No person, no place, no time; the identifiers follow from the name and the seed.
    """
    colour = pixels.shape[-1] == 3
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = (
        SecondaryCaptureImageStorage if colour else DigitalXRayImageStorageForPresentation
    )
    for kind in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(dataset, kind, generate_uid(entropy_srcs=[str(SEED), name, kind]))
    dataset.PatientName = "SYNTHETIC"
    dataset.PatientID = "SYNTHETIC"
    for keyword in (
        "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
        "ReferringPhysicianName", "Manufacturer",
    ):  # fmt: skip
        setattr(dataset, keyword, "")
    dataset.Modality = "OT" if colour else "DX"
    dataset.SeriesDescription = "Synthetic film, shows no patient"
    if not colour:
        dataset.BodyPartExamined = "CHEST"
        dataset.ViewPosition = "AP"
        dataset.PatientOrientation = ["L", "F"]
        dataset.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    dataset.SeriesNumber = 1
    dataset.InstanceNumber = 1
    bits = 8 if colour else 12
    dataset.SamplesPerPixel = 3 if colour else 1
    if colour:
        dataset.PlanarConfiguration = 0
        dataset.PhotometricInterpretation = "RGB"
    else:
        dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    if pixels.ndim == 3 and not colour:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset.BitsAllocated = 8 if colour else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    if window:
        dataset.WindowCenter, dataset.WindowWidth = window
    dataset.PixelData = pixels.astype(np.uint8 if colour else np.dtype("<u2")).tobytes()
    if compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def broken_files(film: Grey) -> dict[str, bytes]:
    """Files that must be refused, each for another reason. film: any of the samples."""
    grey = np.rint(cv2.resize(film, (320, 240), interpolation=cv2.INTER_AREA) * 255)
    image = Image.fromarray(grey.astype(np.uint8))
    negative = Image.fromarray((255 - grey).astype(np.uint8))
    whole = {
        "truncated.jpg": _saved(image, "JPEG", quality=88),
        "truncated.png": _saved(image, "PNG"),
        "truncated.dcm": _dicom("truncated.dcm", np.rint(grey * 16)),
    }
    files = {name: data[: len(data) * 3 // 5] for name, data in whole.items()}
    small = np.rint(cv2.resize(film, (128, 96), interpolation=cv2.INTER_AREA) * 4095)
    sunset = _sunset(320, 240)
    more = {"save_all": True, "append_images": [negative.resize((160, 120))]}
    return files | {
        "zero-bytes.jpg": b"",
        "text.jpg": b"This is a line of text, not a radiograph.\n" * 4,
        "photo.jpg": _saved(Image.fromarray(sunset), "JPEG", quality=88),
        "colour.dcm": _dicom("colour.dcm", cv2.resize(sunset, (160, 120))),
        "multi-frame.dcm": _dicom("multi-frame.dcm", np.stack([small, small * 0.8, small * 0.6])),
        "animated.png": _saved(image.resize((160, 120)), "PNG", duration=500, **more),
        "two-pages.tif": _saved(
            image.resize((160, 120)), "TIFF", compression="tiff_adobe_deflate", **more
        ),
    }


def _sunset(width: int, height: int) -> NDArray[np.uint8]:
    """A picture in colour (height, width, 3): the sun going down behind hills."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    down = (y / height)[..., np.newaxis]
    picture = (1 - down) * np.array((40, 60, 150.0)) + down * np.array((255, 150, 50.0))
    sun = (x - 0.62 * width) ** 2 + (y - 0.52 * height) ** 2 < (0.11 * height) ** 2
    picture[sun] = (255, 230, 120)
    for level, colour in ((0.62, (110, 60, 90)), (0.74, (60, 90, 50)), (0.88, (30, 60, 30))):
        ridge = height * (level + 0.05 * np.sin(x / width * 9 + level * 40))
        picture[y > ridge] = colour
    return np.rint(picture).clip(0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the synthetic sample films.")
    parser.add_argument("--films", type=Path, required=True, help="has NORMAL/ and PNEUMONIA/")
    here = Path(__file__).resolve().parent
    parser.add_argument("--out", type=Path, default=here)
    parser.add_argument("--broken", type=Path, default=here.parent / "tests" / "broken")
    arguments = parser.parse_args()

    # One thread: the order of sums, and with it the last bit, must not depend on the machine.
    cv2.setNumThreads(1)
    films, patients = {}, []
    for label in LABELS:
        films[label], names = read_films(arguments.films / label)
        patients += names
    model = fit_model(films)
    crowd = Crowd(np.concatenate([films[label] for label in LABELS]), patients)
    drawn = [draw_nobody(i_sample, model, crowd) for i_sample in range(len(SAMPLES))]
    files = {sample.name: encode(sample, film) for sample, film in zip(SAMPLES, drawn, strict=True)}
    for folder, made in ((arguments.out, files), (arguments.broken, broken_files(drawn[0]))):
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            (folder / name).write_bytes(data)
            print(f"{len(data):8} {folder / name}")


if __name__ == "__main__":
    main()
