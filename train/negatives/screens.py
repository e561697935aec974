"""Real films photographed from a screen, a light box or a desk, badly enough that a reader would
ask for the file itself.

What such a picture has: perspective and a surround; moire, the beat of the screen's pixels with
the camera's; bands of its refresh; glare and reflections; blur and uneven light.
"""

import cv2
import numpy as np

from .documents import screenshot
from .grey import (
    Grey,
    Points,
    Rng,
    Shape,
    Unit,
    blurred,
    chance,
    filled,
    grey,
    grid,
    resized,
    shape_of,
    strokes,
    unit,
)
from .textures import clouds, grain
from .writing import written


def on_light_box(film: Grey, rng: Rng) -> Grey:
    """Clipped to a glowing box: white around it, the room beyond, light through its dark parts."""
    shape = shape_of(film)
    scene = _room(shape, rng, 0.0, 0.5)
    box = _quad(rng, 0.02, 0.12, 0.05)
    scene = _laid(scene, np.full(shape, rng.uniform(0.85, 1), np.float32), box)
    quad = _quad(rng, 0.1, 0.26, 0.06)
    film_there = unit(film) * np.float32(rng.uniform(0.6, 0.9)) + np.float32(rng.uniform(0.02, 0.2))
    scene = _laid(scene, film_there, quad)
    scene = _glare(scene, rng, int(rng.integers(1, 4)))
    return _taken(scene, rng)


def on_screen(film: Grey, rng: Rng) -> Grey:
    """A monitor from near by: moire, bands, a bezel or nothing but the film."""
    shape = shape_of(film)
    near = chance(rng, 0.4)
    scene = _room(shape, rng, 0.0, 0.4)
    picture = unit(film) * np.float32(rng.uniform(0.6, 0.95)) + np.float32(rng.uniform(0.02, 0.15))
    picture = _moire(picture, rng, rng.uniform(0.12, 0.35))
    quad = _quad(rng, -0.06, 0.06, 0.1) if near else _quad(rng, 0.06, 0.22, 0.08)
    if not near:
        bezel = np.full(shape, rng.uniform(0, 0.15), np.float32)
        scene = _laid(scene, bezel, _grown(quad, rng.uniform(1.08, 1.25)))
    scene = _laid(scene, picture, quad)
    scene = _banded(scene, rng)
    scene = _glare(scene, rng, int(rng.integers(1, 4)))
    return _taken(scene, rng)


def in_a_window(film: Grey, rng: Rng) -> Grey:
    """A viewer's window with the film in a part of it: photographed, or a plain screenshot."""
    shape = shape_of(film)
    scene = unit(screenshot(shape, rng))
    height, width = shape
    size = rng.uniform(0.4, 0.72, 2)
    left, top = rng.uniform(0, 1 - size[0]), rng.uniform(0.06, 1 - size[1])
    target = scene[
        round(top * height) : round((top + size[1]) * height),
        round(left * width) : round((left + size[0]) * width),
    ]
    target[:] = unit(resized(film, shape_of(target)))
    if chance(rng, 0.6):
        for x, y in ((0.02, 0.06), (0.6, 0.06), (0.02, 0.97), (0.6, 0.97)):
            text = ("ID 0042", "CHEST PA", "W 2048", "Zoom 32%", "1 / 2")[rng.integers(5)]
            place = left + x * size[0], top + y * size[1]
            written(scene, text, *place, rng.uniform(0.03, 0.045) * height, 1)
    if chance(rng, 0.6):
        scene = _moire(scene, rng, rng.uniform(0.05, 0.25))
        scene = _laid(_room(shape, rng, 0, 0.4), scene, _quad(rng, -0.03, 0.12, 0.06))
        return _taken(_glare(scene, rng, 1), rng)
    return grey(scene)


def reflecting(film: Grey, rng: Rng) -> Grey:
    """A glossy film or screen that fills the picture: a window or lamps over the lungs, a shadow
    of who holds the camera, blur."""
    scene = _laid(
        _room(shape_of(film), rng, 0, 0.3),
        unit(film) * np.float32(rng.uniform(0.5, 0.8)) + np.float32(0.1),
        _quad(rng, -0.05, 0.08, 0.08),
    )
    scene = _glare(scene, rng, int(rng.integers(2, 5)), hard=True)
    x, y = grid(shape_of(film))
    shadow = np.exp(
        -(((x - rng.uniform(0.2, 0.8)) / 0.25) ** 2) - ((y - rng.uniform(0.6, 1.1)) / 0.4) ** 2
    )
    return _taken(scene * (1 - np.float32(rng.uniform(0.2, 0.6)) * shadow), rng, 1.6)


def held_print(film: Grey, rng: Rng) -> Grey:
    """A print on a desk, small and askew, its paper bent, fingers at its edge."""
    shape = shape_of(film)
    scene = _room(shape, rng, 0.2, 0.9)
    angle = rng.uniform(-25, 25)
    quad = _turned(_quad(rng, 0.15, 0.28, 0.08), angle)
    scene = _laid(scene, np.full(shape, rng.uniform(0.8, 1), np.float32), _grown(quad, 1.12))
    x, y = grid(shape)
    bend = np.sin(np.pi * (rng.uniform(0.5, 2) * x + rng.uniform(-1, 1) * y) + rng.uniform(0, 3))
    light = 1 + np.float32(rng.uniform(0.1, 0.35)) * bend
    scene = _laid(scene, (0.15 + 0.6 * unit(film)) * light, quad)
    for _ in range(rng.integers(0, 4)):
        corner = quad[rng.integers(4)]
        finger = corner + np.outer(np.linspace(-0.3, 0.08, 8), 0.5 - corner + rng.normal(0, 0.1, 2))
        strokes(scene, [finger], rng.uniform(0.4, 0.7), round(0.07 * min(shape)))
    return _taken(_glare(scene, rng, int(rng.integers(0, 2))), rng)


# --- A scene -------------------------------------------------------------------------------------


def _room(shape: Shape, rng: Rng, low: float, high: float) -> Unit:
    """What lies behind: dark, a plain wall, a wooden or speckled desk."""
    base = rng.uniform(low, high)
    room = base + np.float32(rng.uniform(0, 0.3)) * (clouds(shape, rng, 2, 4) - 0.5)
    style = rng.integers(4)
    if style == 0:
        x, y = grid(shape)
        path = rng.uniform(2, 6) * y + rng.uniform(-0.5, 0.5) * x
        rings = np.sin(2 * np.pi * (path + 0.5 * room))
        room = room + np.float32(rng.uniform(0.03, 0.12)) * rings
    elif style == 1:
        room = room + np.float32(rng.uniform(0.02, 0.1)) * grain(shape, rng, rng.uniform(1, 4))
    return np.clip(room, 0, 1).astype(np.float32)


def _quad(rng: Rng, least: float, most: float, uneven: float) -> Points:
    """Corners (4, 2) of a film seen askew. least, most: margins, parts of the frame."""
    left, top, right, bottom = rng.uniform(least, most, 4)
    corners = np.array([[left, top], [1 - right, top], [1 - right, 1 - bottom], [left, 1 - bottom]])
    return _turned(corners + rng.uniform(-uneven, uneven, (4, 2)), rng.uniform(-7, 7))


def _turned(quad: Points, angle_deg: float) -> Points:
    angle = np.deg2rad(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = quad.mean(axis=0)
    return (quad - centre) @ turn.T + centre


def _grown(quad: Points, times: float) -> Points:
    centre = quad.mean(axis=0)
    return centre + (quad - centre) * times


def _laid(scene: Unit, picture: Unit, quad: Points) -> Unit:
    """The picture in perspective over the scene."""
    height, width = scene.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, (quad * (width, height)).astype(np.float32))
    laid = cv2.warpPerspective(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.where(filled((height, width), [quad]) > 0, laid, scene).astype(np.float32)


def _moire(image: Unit, rng: Rng, strength: float) -> Unit:
    """Two gratings nearly alike, bent a little: what remains is their slow beat."""
    x, y = grid((image.shape[0], image.shape[1]))
    angle = rng.uniform(0, np.pi)
    bent = np.float32(rng.uniform(0.02, 0.15)) * np.sin(np.float32(rng.uniform(2, 7)) * (x + y))
    path = np.cos(angle) * x + np.sin(angle) * y + bent
    waves = np.sin(np.float32(2 * np.pi * rng.uniform(8, 60)) * path)
    if chance(rng, 0.6):
        across = np.sin(angle) * x - np.cos(angle) * y + bent
        waves = waves * np.sin(np.float32(2 * np.pi * rng.uniform(6, 50)) * across)
    return np.asarray(image * (1 + np.float32(strength) * waves), np.float32)


def _banded(image: Unit, rng: Rng) -> Unit:
    """Dark bands of a screen's refresh."""
    if chance(rng, 0.5):
        return image
    _, y = grid((image.shape[0], image.shape[1]))
    turns = 2 * np.pi * rng.uniform(0.7, 5)
    bands = np.clip(np.sin(turns * y + rng.uniform(0, 6)) * 2, -1, 1)
    return np.asarray(image * (1 - np.float32(rng.uniform(0.1, 0.3)) * (bands + 1) / 2), np.float32)


def _glare(image: Unit, rng: Rng, n: int, hard: bool = False) -> Unit:
    """Lamps and windows mirrored; hard: seen as such, over the lungs."""
    shape = image.shape[0], image.shape[1]
    light = np.zeros(shape, np.float32)
    for _ in range(n):
        middle = 0.22 if hard else 0.4
        centre = rng.uniform(0.5 - middle, 0.5 + middle, 2) * (shape[1], shape[0])
        axes = rng.uniform(0.05 if hard else 0.03, 0.16, 2) * min(shape)
        strength = float(rng.uniform(0.4, 1))
        if chance(rng, 0.4):
            box = cv2.boxPoints((tuple(centre), tuple(2 * axes), rng.uniform(0, 180)))
            cv2.fillConvexPoly(light, np.rint(box).astype(np.int32), (strength,))
        else:
            cv2.ellipse(
                light,
                (round(centre[0]), round(centre[1])),
                (round(axes[0]), round(axes[1])),
                rng.uniform(0, 180),
                0,
                360,
                (strength,),
                -1,
            )
    soft = blurred(light, rng.uniform(1, 3) if hard else rng.uniform(5, 18))
    return np.asarray(image + soft, np.float32)


def _taken(scene: Unit, rng: Rng, least_blur_px: float = 0.5) -> Grey:
    """By a telephone: blur, vignetting, tone, noise."""
    shape = scene.shape[0], scene.shape[1]
    image = blurred(np.clip(scene, 0, 1), rng.uniform(least_blur_px, 2.2))
    x, y = grid(shape)
    distance = (x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2
    image = image * (1 - np.float32(rng.uniform(0.1, 0.8)) * distance)
    image = image ** np.float32(2 ** rng.uniform(-0.5, 0.6))
    return grey(image + np.float32(rng.uniform(0.005, 0.04)) * grain(shape, rng))
