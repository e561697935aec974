"""Radiographs of other parts of the body, drawn from nothing.

Proportions follow the ordinary projections (Lampignano & Kendrick, "Bontrager's Textbook of
Radiographic Positioning"); each drawing lies, is sized, flexed and exposed at random.
"""

import numpy as np

from .grey import Grey, Points, Rng, Shape, Unit, chance, strokes
from .radiography import (
    blob,
    bone,
    column,
    curve,
    exposed,
    line,
    long_bone,
    pose,
    soft,
    tube,
)
from .textures import clouds


def hand(shape: Shape, rng: Rng) -> Grey:
    """Fingers spread more or less, the wrist at the edge."""
    lie = pose(rng, 35, (0.75, 1.2))
    spread = rng.uniform(5, 17)
    size = rng.uniform(0.9, 1.1)
    skin, bones, small = [], [], []
    wrist = np.array([0.5, 0.8])
    for i_finger, (angle, length) in enumerate(
        zip((-2.6, -0.9, 0, 0.9, 1.9), (0.4, 0.62, 0.67, 0.62, 0.5), strict=True)
    ):
        angle = np.deg2rad(angle * spread + rng.normal(0, 2))
        way = np.array([np.sin(angle), -np.cos(angle)])
        start = wrist + way * 0.09 + np.array([0.045 * (i_finger - 2), 0.01])
        parts = (0.37, 0.27, 0.18, 0.12) if i_finger else (0.42, 0.32, 0.24)
        at = start
        thick = 0.05 * size * (1.1 if i_finger == 0 else 1)
        for i_part, part in enumerate(parts):
            end = at + way * (length * part * 0.94)
            width = thick * (1 - 0.16 * i_part)
            bones.append(lie(long_bone(at, end, width * 0.62, width * 1.1, width, 0.01)))
            at = at + way * (length * part)
            angle += rng.normal(0, 0.05)
            way = np.array([np.sin(angle), -np.cos(angle)])
        skin.append(lie(tube(line(start - way * 0.05, at + way * 0.02, 0), thick * 1.9)))
    for _ in range(8):
        place = wrist + rng.uniform(-1, 1, 2) * (0.085, 0.045)
        small.append(lie(blob(rng, place, rng.uniform(0.024, 0.036, 2))))
    palm = [(0.33, 0.82), (0.3, 0.6), (0.38, 0.48), (0.6, 0.48), (0.68, 0.6), (0.64, 0.84)]
    skin.append(lie(palm))
    skin.append(lie(tube(line((0.49, 0.76), (0.49, 1.6), 0), 0.26)))
    forearm = [
        lie(long_bone((0.455, 1.5), (0.45, 0.88), 0.06, 0.1, 0.115)),
        lie(long_bone((0.57, 1.5), (0.565, 0.885), 0.045, 0.07, 0.065)),
    ]
    total = soft(shape, skin, 0.07, rng.uniform(0.3, 0.7))
    total += bone(shape, bones + forearm, rng, rng.uniform(0.9, 1.5))
    return exposed(total + bone(shape, small, rng, rng.uniform(0.8, 1.3)), rng)


def foot(shape: Shape, rng: Rng) -> Grey:
    """From above, or from the side with the ankle."""
    return _foot_side(shape, rng) if chance(rng, 0.5) else _foot_above(shape, rng)


def _foot_above(shape: Shape, rng: Rng) -> Grey:
    lie = pose(rng, 25, (0.8, 1.15))
    bones, small = [], []
    for i_toe in range(5):
        x = 0.36 + 0.065 * i_toe
        start = np.array([0.42 + 0.04 * i_toe, 0.56 + 0.015 * i_toe])
        way = np.array([x - start[0], -0.27]) + rng.normal(0, 0.01, 2)
        way /= np.hypot(*way)
        thick = 0.06 if i_toe == 0 else 0.036
        at = start
        lengths = (0.24, 0.1, 0.07) if i_toe == 0 else (0.27 - 0.012 * i_toe, 0.08, 0.045, 0.04)
        for length in lengths:
            end = at + way * (length * 0.93)
            bones.append(lie(long_bone(at, end, thick * 0.6, thick * 1.1, thick)))
            at = at + way * length
    for x, y, radius in (
        (0.44, 0.62, 0.05),
        (0.5, 0.63, 0.045),
        (0.56, 0.66, 0.045),
        (0.6, 0.68, 0.05),
        (0.46, 0.7, 0.06),
        (0.49, 0.8, 0.075),
        (0.55, 0.85, 0.08),
    ):
        small.append(lie(blob(rng, (x, y), (radius, radius * rng.uniform(0.8, 1.2)))))
    sole = [(0.32, 0.1), (0.5, 0.1), (0.68, 0.22), (0.7, 0.6), (0.64, 0.97), (0.44, 0.97)]
    sole += [(0.38, 0.65), (0.3, 0.35)]
    total = soft(shape, [lie(curve([*sole, sole[0]], 40))], 0.12, rng.uniform(0.4, 0.9))
    total += bone(shape, bones, rng, rng.uniform(0.8, 1.3))
    return exposed(total + bone(shape, small, rng, rng.uniform(0.6, 1.1), marrow=0.7), rng)


def _foot_side(shape: Shape, rng: Rng) -> Grey:
    lie = pose(rng, 20, (0.8, 1.2))
    heel = lie(blob(rng, (0.73, 0.72), (0.15, 0.085), 0.1, rng.uniform(-15, 5)))
    talus = lie(blob(rng, (0.62, 0.58), (0.1, 0.065), 0.1, rng.uniform(0, 20)))
    middle = [
        lie(blob(rng, (x, y), (0.045, 0.06))) for x, y in ((0.5, 0.63), (0.43, 0.66), (0.5, 0.72))
    ]
    rays = [
        lie(long_bone((0.4, 0.64 + 0.03 * i), (0.19, 0.76 + 0.014 * i), 0.03, 0.05, 0.045))
        for i in range(4)
    ]
    toes = [
        lie(long_bone((0.17, 0.765 + 0.012 * i), (0.09, 0.79 + 0.01 * i), 0.025, 0.04, 0.03))
        for i in range(3)
    ]
    leg = [
        lie(long_bone((0.62, -0.4), (0.61, 0.5), 0.09, 0.12, 0.15)),
        lie(long_bone((0.68, -0.4), (0.68, 0.56), 0.045, 0.06, 0.065)),
    ]
    skin = [(0.05, 0.83), (0.07, 0.74), (0.25, 0.68), (0.45, 0.53), (0.52, 0.35), (0.5, -0.4)]
    skin += [(0.76, -0.4), (0.76, 0.4), (0.88, 0.62), (0.9, 0.78), (0.7, 0.86), (0.3, 0.86)]
    total = soft(shape, [lie(skin)], 0.12, rng.uniform(0.4, 0.8))
    for outlines in ([heel], [talus], middle, rays, toes, leg):
        total += bone(shape, outlines, rng, rng.uniform(0.5, 0.9), marrow=0.65)
    return exposed(total, rng)


def long_bones(shape: Shape, rng: Rng) -> Grey:
    """Forearm, lower leg, upper arm or thigh: one or two shafts along the frame."""
    lie = pose(rng, 20, (0.85, 1.3))
    thick = rng.uniform(0.08, 0.14)
    two = chance(rng, 0.7)
    top, bottom = rng.uniform(-0.25, 0.12), rng.uniform(0.88, 1.25)
    bones = [
        long_bone((0.45, top), (0.45, bottom), thick, thick * 2.1, thick * 1.7, rng.normal(0, 0.02))
    ]
    if two:
        other = thick * rng.uniform(0.4, 0.9)
        bones.append(
            long_bone(
                (0.5 + thick, top + 0.04),
                (0.48 + thick, bottom + 0.02),
                other,
                other * 1.5,
                other * 1.6,
                rng.normal(0.03, 0.03),
            )
        )
    beyond = [
        lie(blob(rng, (0.48, top - 0.1), (thick * 1.2, 0.09))),
        lie(blob(rng, (0.48, bottom + 0.1), (thick * 1.1, 0.09))),
    ]
    path = curve([(0.5, -0.5), (0.5, 0.2), (0.5, 0.8), (0.5, 1.5)], 20)
    width = thick * rng.uniform(3, 4.5)
    calf = width * (1 + rng.uniform(-0.2, 0.4) * np.sin(np.linspace(0, np.pi, 20)))
    total = soft(shape, [lie(tube(path, calf))], 0.16, rng.uniform(0.4, 1))
    for outline in bones:
        total += bone(
            shape, [lie(outline)], rng, rng.uniform(0.9, 1.4), rng.uniform(0.014, 0.03), 0.35
        )
    total += bone(shape, beyond, rng, rng.uniform(0.6, 1.1), marrow=0.7)
    return exposed(total, rng)


def knee(shape: Shape, rng: Rng) -> Grey:
    """From the front: two condyles on a plateau, patella and fibula."""
    lie = pose(rng, 15, (0.85, 1.4))
    femur = [(0.42, -0.5), (0.42, 0.15), (0.3, 0.3), (0.27, 0.42), (0.36, 0.5), (0.46, 0.46)]
    femur += [(0.5, 0.42), (0.54, 0.46), (0.64, 0.5), (0.73, 0.42), (0.7, 0.3), (0.58, 0.15)]
    femur += [(0.58, -0.5)]
    tibia = [(0.28, 0.55), (0.44, 0.54), (0.49, 0.51), (0.53, 0.53), (0.72, 0.55), (0.7, 0.66)]
    tibia += [(0.57, 0.85), (0.56, 1.5), (0.41, 1.5), (0.41, 0.85), (0.29, 0.66)]
    fibula = long_bone((0.75, 0.64), (0.7, 1.5), 0.045, 0.1, 0.05)
    jitter = rng.normal(0, 0.008, 2)
    skin = tube(curve([(0.5, -0.5), (0.5, 0.3), (0.52, 0.7), (0.5, 1.5)]), rng.uniform(0.6, 0.8))
    total = soft(shape, [lie(skin)], 0.2, rng.uniform(0.4, 1))
    both = [lie(np.array(femur) + jitter), lie(tibia)]
    total += bone(shape, both, rng, rng.uniform(0.9, 1.3), 0.016, 0.6)
    total += bone(shape, [lie(fibula)], rng, rng.uniform(0.4, 0.8), 0.01, 0.5)
    patella = lie(blob(rng, (0.5, rng.uniform(0.28, 0.38)), (0.11, 0.12), 0.05))
    return exposed(total + bone(shape, [patella], rng, rng.uniform(0.2, 0.4)), rng)


def elbow(shape: Shape, rng: Rng) -> Grey:
    """From the side, bent: a shaft from above, two going away from it."""
    lie = pose(rng, 40, (0.85, 1.3))
    bend = np.deg2rad(rng.uniform(40, 110))
    joint = np.array([0.52, 0.55])
    way = np.array([-np.sin(bend), np.cos(bend)])
    across = np.array([way[1], -way[0]])
    up = np.array([0.0, -1.0])
    bones = [
        long_bone(joint + up * 1.2, joint + up * 0.03, 0.1, 0.13, 0.16),
        long_bone(joint + way * 0.07 + across * 0.04, joint + way * 1.2, 0.06, 0.1, 0.08),
        long_bone(joint - way * 0.05 - across * 0.06, joint + way * 1.2, 0.07, 0.15, 0.07),
    ]
    skin = [
        lie(tube(line(joint + up * 1.2, joint - up * 0.06), 0.32)),
        lie(tube(line(joint - way * 0.1, joint + way * 1.2), 0.27)),
        lie(blob(rng, joint, (0.17, 0.17))),
    ]
    total = soft(shape, skin, 0.13, rng.uniform(0.4, 0.9))
    for outline in bones:
        total += bone(shape, [lie(outline)], rng, rng.uniform(0.7, 1.2), 0.016, 0.45)
    return exposed(total, rng)


def pelvis(shape: Shape, rng: Rng) -> Grey:
    """From the front: iliac wings, sacrum, hips, and gas in the bowel."""
    lie = pose(rng, 8, (0.85, 1.15), quarters=chance(rng, 0.3))
    total = _trunk(shape, lie([(-0.02, -0.2), (1.02, -0.2), (1.05, 1.2), (-0.05, 1.2)]), rng)
    gap = [(0.5, 0.78), (0.44, 0.95), (0.44, 1.3), (0.56, 1.3), (0.56, 0.95)]
    for sign in (-1, 1):

        def side(points: list[tuple[float, float]] | Points, sign: int = sign) -> Points:
            return lie(np.array([0.5, 0]) + np.asarray(points) * (sign, 1))

        wing = [(0.09, 0.28), (0.2, 0.17), (0.34, 0.2), (0.39, 0.34), (0.33, 0.44), (0.28, 0.52)]
        wing += [(0.15, 0.5), (0.1, 0.42)]
        ring = [(0.16, 0.5), (0.3, 0.53), (0.27, 0.66), (0.2, 0.84), (0.12, 0.86), (0.02, 0.76)]
        ring += [(0.02, 0.69), (0.12, 0.65)]
        hole = blob(rng, (0.14, 0.76), (0.055, 0.055))
        head = blob(rng, (0.3, 0.6), (0.075, 0.075), 0.02)
        neck = tube(line((0.31, 0.6), (0.41, 0.7)), 0.085)
        shaft = long_bone((0.42, 0.63), (0.385, 1.3), 0.1, 0.13, 0.1)
        total += bone(shape, [side(curve([*wing, wing[0]], 30))], rng, 0.7, 0.014, 0.45)
        ischium = bone(shape, [side(curve([*ring, ring[0]], 30))], rng, 0.6, 0.012, 0.55)
        total += ischium * (1 - 0.8 * soft(shape, [side(hole)], 0.02))
        total += bone(shape, [side(head), side(neck), side(shaft)], rng, 0.8, 0.014, 0.6)
    sacrum = [(0.4, 0.28), (0.6, 0.28), (0.57, 0.42), (0.52, 0.58), (0.48, 0.58), (0.43, 0.42)]
    spine = column(lie(line((0.5, -0.2), (0.5, 0.28))), 4, (0.13, 0.15))
    total += bone(shape, [lie(sacrum), *spine], rng, 0.5, 0.01, 0.7)
    total *= 1 - 0.5 * soft(shape, [lie(gap)], 0.05)
    return exposed(_with_gas(total, rng, (0.2, 0.05, 0.8, 0.5)), rng)


def skull_front(shape: Shape, rng: Rng) -> Grey:
    """Cranium, orbits, nasal cavity, sinuses, teeth."""
    lie = pose(rng, 12, (0.85, 1.15), quarters=chance(rng, 0.3))
    cranium = lie(blob(rng, (0.5, 0.4), (0.33, 0.37), 0.03))
    face = [(0.25, 0.5), (0.3, 0.75), (0.38, 0.95), (0.62, 0.95), (0.7, 0.75), (0.75, 0.5)]
    skin = [
        lie(blob(rng, (0.5, 0.45), (0.38, 0.47), 0.03)),
        lie(tube(line((0.5, 0.8), (0.5, 1.5)), 0.4)),
    ]
    total = soft(shape, skin, 0.06, rng.uniform(0.2, 0.4))
    total += bone(shape, [cranium], rng, rng.uniform(0.9, 1.2), 0.025, 0.5)
    total += bone(shape, [lie(face)], rng, rng.uniform(0.4, 0.7), 0.03, 0.6)
    holes = [
        blob(rng, (0.36, 0.53), (0.085, 0.075), 0.06),
        blob(rng, (0.64, 0.53), (0.085, 0.075), 0.06),
        blob(rng, (0.5, 0.66), (0.05, 0.085), 0.08),
        blob(rng, (0.5, 0.4), (0.06, 0.04), 0.2),
        blob(rng, (0.37, 0.69), (0.06, 0.06), 0.1),
        blob(rng, (0.63, 0.69), (0.06, 0.06), 0.1),
    ]
    total *= 1 - np.float32(rng.uniform(0.3, 0.5)) * soft(shape, [lie(h) for h in holes], 0.02)
    teeth = [
        lie(
            tube(
                line((0.38 + 0.03 * i, 0.79 + 0.055 * row), (0.38 + 0.03 * i, 0.835 + 0.055 * row)),
                0.024,
            )
        )
        for i in range(9)
        for row in range(2)
    ]
    total += bone(shape, teeth, rng, rng.uniform(0.4, 0.8), 0.006, 0.8)
    neck = column(lie(line((0.5, 0.93), (0.5, 1.4))), 5, (0.12, 0.14))
    return exposed(total + bone(shape, neck, rng, 0.4), rng)


def skull_side(shape: Shape, rng: Rng) -> Grey:
    """Cranium, face to one side, jaw and neck."""
    lie = pose(rng, 12, (0.85, 1.15), quarters=chance(rng, 0.3))
    cranium = lie(blob(rng, (0.55, 0.36), (0.4, 0.32), 0.03))
    face = [(0.2, 0.42), (0.14, 0.5), (0.17, 0.62), (0.15, 0.75), (0.3, 0.78), (0.48, 0.62)]
    jaw = [(0.2, 0.8), (0.2, 0.9), (0.32, 0.9), (0.5, 0.78), (0.54, 0.6), (0.48, 0.6), (0.43, 0.74)]
    skin = [(0.1, 0.2), (0.06, 0.6), (0.12, 0.95), (0.34, 1), (0.4, 1.5), (0.85, 1.5), (0.84, 0.8)]
    skin += [(1, 0.5), (0.95, 0.15), (0.55, 0), (0.2, 0.08)]
    total = soft(shape, [lie(skin)], 0.07, rng.uniform(0.2, 0.45))
    total += bone(shape, [cranium], rng, rng.uniform(0.8, 1.1), 0.025, 0.45)
    total += bone(shape, [lie(face)], rng, rng.uniform(0.3, 0.6), 0.02, 0.6)
    total += bone(shape, [lie(curve([*jaw, jaw[0]], 30))], rng, rng.uniform(0.5, 0.8), 0.012, 0.6)
    base = lie(curve([(0.25, 0.44), (0.42, 0.5), (0.5, 0.56), (0.62, 0.6), (0.8, 0.62)]))
    total += bone(shape, [tube(base, rng.uniform(0.04, 0.08))], rng, rng.uniform(0.5, 0.9))
    spine = lie(curve([(0.58, 0.66), (0.56, 0.8), (0.57, 1), (0.62, 1.4)]))
    total += bone(shape, column(spine, 6, (0.1, 0.13)), rng, rng.uniform(0.4, 0.8))
    sinus = [blob(rng, (0.24, 0.56), (0.06, 0.06)), blob(rng, (0.2, 0.36), (0.03, 0.05))]
    total *= 1 - 0.4 * soft(shape, [lie(s) for s in sinus], 0.02)
    return exposed(total, rng)


def abdomen(shape: Shape, rng: Rng) -> Grey:
    """From the front: the lumbar spine, the last ribs, iliac crests, and gas."""
    lie = pose(rng, 6, (0.9, 1.15), quarters=chance(rng, 0.3))
    sides = [(-0.02, -0.3), (1.02, -0.3), (0.96, 0.5), (1.05, 1.3), (-0.05, 1.3), (0.04, 0.5)]
    total = _trunk(shape, lie(curve([*sides, sides[0]], 40)), rng)
    spine = lie(line((0.5, -0.15), (0.5 + rng.normal(0, 0.02), 0.88), rng.normal(0, 0.02)))
    total += bone(shape, column(spine, 7, (0.11, 0.14), 0.14), rng, 0.55, 0.01, 0.6)
    processes = [
        lie(tube(line((0.5, y), (0.5 + sign * 0.12, y - 0.015)), 0.02))
        for y in np.linspace(0.1, 0.8, 6)
        for sign in (-1, 1)
    ]
    total += bone(shape, processes, rng, 0.25)
    ribs = [
        lie(
            tube(
                curve([(0.5 + s * 0.07, y), (0.5 + s * 0.28, y + 0.06), (0.5 + s * 0.42, y + 0.2)]),
                0.025,
            )
        )
        for y in (-0.1, 0.0)
        for s in (-1, 1)
    ]
    total += bone(shape, ribs, rng, 0.3, 0.006, 0.4)
    crests = [lie(blob(rng, (0.5 + s * 0.3, 1.0), (0.2, 0.2), 0.06)) for s in (-1, 1)]
    total += bone(shape, crests, rng, 0.5, 0.014, 0.5)
    organs = [lie(blob(rng, (0.25, 0.18), (0.24, 0.22))), lie(blob(rng, (0.83, 0.2), (0.1, 0.13)))]
    total += 0.25 * soft(shape, organs, 0.1)
    return exposed(_with_gas(total, rng, (0.15, 0.15, 0.85, 0.95)), rng)


def spine(shape: Shape, rng: Rng) -> Grey:
    """A column of vertebrae through the frame, straight or curved, from the front or the side."""
    lie = pose(rng, 10, (0.9, 1.3), quarters=chance(rng, 0.3))
    from_side = chance(rng, 0.5)
    n = int(rng.integers(5, 10))
    bends = rng.normal(0, 0.07 if from_side else 0.03, 4)
    path = curve([(0.5 + b, y) for b, y in zip(bends, (-0.1, 0.3, 0.7, 1.1), strict=True)], 40)
    width = rng.uniform(0.13, 0.26)
    total = _trunk(shape, lie([(-0.4, -0.4), (1.4, -0.4), (1.4, 1.4), (-0.4, 1.4)]), rng)
    total += bone(
        shape, [lie(b) for b in column(path, n, (width, width * 1.2))], rng, 0.9, 0.012, 0.6
    )
    behind = []
    for x, y in path[3::4]:
        if from_side:
            process = line((x + width * 0.5, y), (x + width * 1.3, y + 0.07), 0.05)
            behind.append(lie(tube(process, 0.05)))
        else:
            behind += [
                lie(tube(line((x, y), (x + s * width * 1.1, y - 0.02)), 0.03)) for s in (-1, 1)
            ]
            behind.append(lie(blob(rng, (x, y), (0.02, 0.035))))
    total += bone(shape, behind, rng, rng.uniform(0.3, 0.6))
    if chance(rng, 0.4):
        total = _with_gas(total, rng, (0, 0.2, 0.35, 0.95))
    return exposed(total, rng)


def shoulder(shape: Shape, rng: Rng) -> Grey:
    """Upper arm, shoulder blade, collar bone, and the first ribs over a corner of lung."""
    lie = pose(rng, 12, (0.9, 1.3), quarters=chance(rng, 0.3))
    skin = [(1.3, -0.1), (0.9, 0.02), (0.5, 0.08), (0.2, 0.2), (0.08, 0.42), (0.05, 1.4)]
    skin += [(0.4, 1.4), (0.44, 0.75), (0.55, 1.4), (1.4, 1.4)]
    total = soft(shape, [lie(skin)], 0.2, rng.uniform(0.5, 0.9))
    lung = blob(rng, (1.0, 0.85), (0.3, 0.48))
    total *= 1 - 0.55 * soft(shape, [lie(lung)], 0.05)
    blade = [
        (0.42, 0.36),
        (0.5, 0.28),
        (0.72, 0.3),
        (0.74, 0.4),
        (0.58, 0.86),
        (0.53, 0.85),
        (0.46, 0.5),
    ]
    total += bone(shape, [lie(curve([*blade, blade[0]], 30))], rng, 0.5, 0.014, 0.35)
    ribs = [
        lie(tube(curve([(0.76, y), (0.72, y + 0.1), (0.9, y + 0.16), (1.3, y + 0.1)]), 0.035))
        for y in (0.4, 0.54, 0.68, 0.82)
    ]
    total += bone(shape, ribs, rng, 0.4, 0.008, 0.4)
    collar = tube(curve([(0.36, 0.2), (0.6, 0.2), (0.85, 0.26), (1.2, 0.24)]), 0.06)
    total += bone(shape, [lie(collar)], rng, 0.6)
    arm = [
        lie(long_bone((0.3, 0.38), (0.2, 1.4), 0.11, 0.13, 0.12)),
        lie(blob(rng, (0.33, 0.36), (0.1, 0.1), 0.03)),
    ]
    return exposed(total + bone(shape, arm, rng, rng.uniform(0.8, 1.1), 0.016, 0.5), rng)


def teeth(shape: Shape, rng: Rng) -> Grey:
    """A panorama of both jaws, or a few teeth with their roots from near by."""
    return _few_teeth(shape, rng) if chance(rng, 0.4) else _jaws(shape, rng)


def _jaws(shape: Shape, rng: Rng) -> Grey:
    lie = pose(rng, 4, (0.9, 1.15), quarters=False)
    total = np.full(shape, 0.35, np.float32) + 0.4 * clouds(shape, rng, 2, 3)
    jaw = [
        (0.04, 0.25),
        (0.1, 0.62),
        (0.25, 0.82),
        (0.5, 0.9),
        (0.75, 0.82),
        (0.9, 0.62),
        (0.96, 0.25),
    ]
    total += bone(shape, [lie(tube(curve(jaw, 40), 0.16))], rng, 0.5, 0.014, 0.6)
    upper = [(0.2, 0.42), (0.5, 0.5), (0.8, 0.42)]
    total += bone(shape, [lie(tube(curve(upper, 30), 0.16))], rng, 0.35, 0.014, 0.7)
    crowns, roots = [], []
    for sign, y in ((-1, 0.53), (1, 0.57)):
        for x in np.linspace(0.2, 0.8, int(rng.integers(12, 16))):
            smile = y - 1.1 * (x - 0.5) ** 2 * 0.5 + 0.02
            middle = abs(x - 0.5) < 0.15
            width = 0.028 if middle else 0.042
            crowns.append(lie(tube(line((x, smile), (x, smile + sign * 0.06)), width)))
            for dx in (0,) if middle else (-0.012, 0.012):
                root = line((x + dx, smile + sign * 0.055), (x + dx * 1.4, smile + sign * 0.16))
                roots.append(lie(tube(root, np.linspace(0.022, 0.008, 16))))
    total += bone(shape, roots, rng, 0.4, 0.006, 0.7)
    total += bone(shape, crowns, rng, 0.9, 0.006, 0.9)
    sinus = [lie(blob(rng, (x, 0.27), (0.13, 0.08), 0.1)) for x in (0.3, 0.7)]
    total *= 1 - 0.35 * soft(shape, sinus, 0.03)
    spine_ghost = np.abs(np.linspace(-1, 1, shape[1], dtype=np.float32)) < 0.08
    return exposed(total + np.float32(rng.uniform(0, 0.3)) * spine_ghost, rng)


def _few_teeth(shape: Shape, rng: Rng) -> Grey:
    lie = pose(rng, 12, (1.05, 1.5))
    total = np.full(shape, 0.3, np.float32) + 0.2 * clouds(shape, rng, 12, 3)
    crowns, roots, pulps = [], [], []
    n = int(rng.integers(4, 7))
    width = 1.2 / n
    for x in np.linspace(-0.1, 1.1, n):
        top = rng.uniform(0.18, 0.25)
        crowns.append(lie(blob(rng, (x, top + 0.13), (width * 0.48, 0.14), 0.06)))
        molar = chance(rng, 0.6)
        for dx in (-0.2, 0.2) if molar else (0.0,):
            points = [(x + 0.8 * dx * width, top + 0.2), (x + dx * width, 0.55)]
            path = curve([*points, (x + dx * width * rng.uniform(0.8, 1.5), 0.85)], 16)
            thick = width * (0.42 if molar else 0.62)
            roots.append(lie(tube(path, np.linspace(thick, 0.02, 16))))
            pulps.append(lie(tube(path, np.linspace(0.2 * thick, 0.006, 16))))
    above = lie([(-0.5, -0.5), (1.5, -0.5), (1.5, 0.15), (-0.5, 0.15)])
    total += bone(shape, roots, rng, 0.6, 0.02, 0.8)
    total += bone(shape, crowns, rng, 0.9, 0.02, 0.9)
    total *= 1 - 0.4 * soft(shape, pulps, 0.015)
    return exposed(total * (1 - 0.8 * soft(shape, [above], 0.03)), rng)


def _trunk(shape: Shape, outline: Points, rng: Rng) -> Unit:
    """Soft tissue that fills most of the frame, uneven inside."""
    uneven = np.float32(0.8) + np.float32(0.4) * clouds(shape, rng, 2, 4, 0.5)
    return soft(shape, [outline], 0.3, rng.uniform(0.5, 1)) * uneven


def _with_gas(total: Unit, rng: Rng, box: tuple[float, float, float, float]) -> Unit:
    """Bubbles of gas, and some dense stool, between these parts of width and height."""
    shape = total.shape[0], total.shape[1]
    bubbles = []
    for _ in range(rng.integers(3, 22)):
        centre = (rng.uniform(box[0], box[2]), rng.uniform(box[1], box[3]))
        size = rng.uniform(0.015, 0.07)
        radii = (size * rng.uniform(0.6, 2), size)
        bubbles.append(blob(rng, centre, radii, 0.2, rng.uniform(0, 180)))
    gas = soft(shape, bubbles, 0.03)
    if chance(rng, 0.3):
        strokes(gas, [bubble[[0, 14]] for bubble in bubbles[:5]], 0.3, 2)
    return total * (1 - np.float32(rng.uniform(0.25, 0.6)) * gas)
