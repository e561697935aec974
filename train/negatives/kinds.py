"""Every kind of image there is, the refusal code that it deserves, and which are held out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import (
    anatomy,
    documents,
    geometry,
    laterals,
    modalities,
    photographs,
    readable,
    screens,
    textures,
    tones,
)
from .grey import Grey, Rng, Shape, chance, shape_of, stretched
from .radiography import with_grain_of

READABLE = "readable"
N_COMPANIONS = 3

# One film or more: the first is changed, the others lend greys or stand beside it.
Make = Callable[[Sequence[Grey], Rng], Grey]


@dataclass(frozen=True)
class Kind:
    """One way of making an image.

    code: the refusal that it deserves, or READABLE. family: kinds that resemble each other.
    make: from films (the first is the one to change), all of one shape, to an image of that shape.
    """

    name: str
    code: str
    family: str
    make: Make


def make(kind: Kind, films: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """An image of the kind from each film, uint8 (N, H, W) to the same, stretched as prepared.

    films: prepared, at least one; each lends to the others where the kind takes several. The
    result depends on the films and the generator alone.
    """
    images = np.empty_like(films)
    for image, film in zip(images, films, strict=True):
        companions = [films[i] for i in rng.integers(len(films), size=N_COMPANIONS)]
        image[:] = stretched(kind.make((film, *companions), rng))
    return images


def _drawn(draw: Callable[[Shape, Rng], Grey]) -> Make:
    return lambda films, rng: draw(shape_of(films[0]), rng)


def _cut(change: Callable[[Grey, Rng], Grey]) -> Make:
    """A part of a film, which is dressed only then: its borders are the part's own."""
    return lambda films, rng: _as_elsewhere(change(films[0], rng), rng)


def _drawn_grained(draw: Callable[[Shape, Rng], Grey]) -> Make:
    """Some of them with the grain of a real film."""

    def make(films: Sequence[Grey], rng: Rng) -> Grey:
        image = draw(shape_of(films[0]), rng)
        return with_grain_of(image, films[0], rng) if chance(rng, 0.4) else image

    return make


def _one(change: Callable[[Grey, Rng], Grey]) -> Make:
    return lambda films, rng: change(_as_elsewhere(films[0], rng), rng)


def _two(change: Callable[[Grey, Grey, Rng], Grey]) -> Make:
    return lambda films, rng: change(_as_elsewhere(films[0], rng), films[1], rng)


def _kept(change: Callable[[Grey, Rng], Grey]) -> Make:
    """What makes readable films brings its own looks."""
    return lambda films, rng: change(films[0], rng)


def _as_elsewhere(film: Grey, rng: Rng) -> Grey:
    return readable.dressed(film, rng) if chance(rng, 0.5) else film


def _turned(turns: int) -> Make:
    return _one(lambda film, rng: geometry.rotated(film, turns, rng))


_Row = tuple[str, Make]


def _family(family: str, code: str, *rows: _Row) -> tuple[Kind, ...]:
    return tuple(Kind(name, code, family, make) for name, make in rows)


_TURNED = (
    Kind("rotated_90", "rotated_90", "turned", _turned(1)),
    Kind("rotated_180", "rotated_180", "turned", _turned(2)),
    Kind("rotated_270", "rotated_270", "turned", _turned(3)),
    Kind("upside_down_mirrored", "rotated_180", "turned", _one(geometry.flipped_upside_down)),
    Kind("transposed", "rotated_270", "turned", _one(geometry.transposed)),
)

KINDS: tuple[Kind, ...] = (
    *_TURNED,
    *_family(
        "negative",
        "inverted",
        ("inverted", _one(tones.inverted)),
        ("inverted_framed", _one(tones.inverted_framed)),
        ("inverted_windowed", _one(tones.inverted_windowed)),
    ),
    *_family(
        "cut",
        "lungs_cut_off",
        ("cut_top", _cut(geometry.cut_top)),
        ("cut_bottom", _cut(geometry.cut_bottom)),
        ("cut_side", _cut(geometry.cut_side)),
        ("half_chest", _cut(geometry.half_chest)),
        ("one_lung", _cut(geometry.one_lung)),
        ("shifted_out", _one(geometry.shifted_out)),
        ("covered", _one(geometry.covered)),
    ),
    *_family(
        "dark",
        "overexposed",
        ("overexposed", _one(tones.overexposed)),
        ("overexposed_saturated", _one(tones.overexposed_saturated)),
    ),
    *_family(
        "bright",
        "underexposed",
        ("underexposed", _one(tones.underexposed)),
        ("low_dose", _one(tones.low_dose)),
        ("few_levels", _one(tones.few_levels)),
    ),
    *_family(
        "lateral",
        "lateral",
        ("lateral_from_half", _one(laterals.from_half)),
        ("lateral_silhouette", _one(laterals.silhouette)),
        ("lateral_drawn", _drawn_grained(laterals.drawn)),
        ("lateral_superposed", _two(laterals.superposed)),
    ),
    *_family(
        "anatomy",
        "not_a_chest_film",
        ("hand", _drawn_grained(anatomy.hand)),
        ("foot", _drawn_grained(anatomy.foot)),
        ("long_bones", _drawn_grained(anatomy.long_bones)),
        ("knee", _drawn_grained(anatomy.knee)),
        ("elbow", _drawn_grained(anatomy.elbow)),
        ("pelvis", _drawn_grained(anatomy.pelvis)),
        ("skull_front", _drawn_grained(anatomy.skull_front)),
        ("skull_side", _drawn_grained(anatomy.skull_side)),
        ("abdomen", _drawn_grained(anatomy.abdomen)),
        ("spine", _drawn_grained(anatomy.spine)),
        ("shoulder", _drawn_grained(anatomy.shoulder)),
        ("teeth", _drawn_grained(anatomy.teeth)),
    ),
    *_family(
        "fragment",
        "not_a_chest_film",
        ("corner", _cut(geometry.corner)),
        ("abdomen_strip", _cut(geometry.abdomen_strip)),
        ("neck", _cut(geometry.neck)),
        ("extreme_zoom", _cut(geometry.extreme_zoom)),
    ),
    *_family(
        "disordered",
        "not_a_chest_film",
        ("jigsaw", _two(geometry.jigsaw)),
        ("swirl", _one(geometry.swirl)),
        ("elastic", _one(geometry.elastic)),
        ("kaleidoscope", _one(geometry.kaleidoscope)),
        ("contact_sheet", geometry.contact_sheet),
        ("side_by_side", _two(geometry.side_by_side)),
    ),
    *_family(
        "modality",
        "not_a_chest_film",
        ("bundled_slice", _drawn(modalities.bundled_slice)),
        ("ct_head", _drawn(modalities.ct_head)),
        ("ct_abdomen", _drawn(modalities.ct_abdomen)),
        ("ct_thorax", _drawn(modalities.ct_thorax)),
        ("mr_brain", _drawn(modalities.mr_brain)),
        ("mammogram", _drawn(modalities.mammogram)),
        ("nuclear", _drawn(modalities.nuclear)),
        ("ecg", _drawn(modalities.ecg)),
        ("ultrasound", _drawn(modalities.ultrasound)),
        ("bundled_ultrasound", _drawn(modalities.bundled_ultrasound)),
    ),
    *_family(
        "photograph",
        "not_a_chest_film",
        ("photograph", _drawn(photographs.photograph)),
        ("unseen_photograph", _drawn(photographs.unseen_photograph)),
    ),
    *_family(
        "document",
        "not_a_chest_film",
        ("report", _drawn(documents.report)),
        ("table", _drawn(documents.table)),
        ("form", _drawn(documents.form)),
        ("consent_with_film", _one(documents.consent_with_film)),
        ("screenshot", _drawn(documents.screenshot)),
        ("code", _drawn(documents.code)),
        ("scribbles", _drawn(documents.scribbles)),
        ("photographed_page", _drawn(photographs.photographed_page)),
    ),
    *_family(
        "texture",
        "not_a_chest_film",
        ("white_noise", _drawn(textures.white_noise)),
        ("fractal_noise", _drawn(textures.fractal_noise)),
        ("gradient", _drawn(textures.gradient)),
        ("stripes", _drawn(textures.stripes)),
        ("checkerboard", _drawn(textures.checkerboard)),
        ("dusty_flat", _drawn(textures.dusty_flat)),
        ("shapes", _drawn(textures.shapes)),
        ("test_pattern", _drawn(textures.test_pattern)),
    ),
    *_family(
        "photographed",
        "photographed",
        ("on_light_box", _one(screens.on_light_box)),
        ("on_screen", _one(screens.on_screen)),
        ("in_a_window", _one(screens.in_a_window)),
        ("reflecting", _one(screens.reflecting)),
        ("held_print", _one(screens.held_print)),
    ),
    *_family(
        "readable",
        READABLE,
        ("as_elsewhere", _kept(readable.dressed)),
        ("moved", _kept(readable.readable_by(readable.moved))),
        ("cropped", _kept(readable.readable_by(readable.cropped))),
        ("mirrored", _kept(readable.readable_by(readable.mirrored))),
        ("bordered", _kept(readable.readable_by(readable.bordered))),
        ("shuttered", _kept(readable.readable_by(readable.shuttered, readable.labelled))),
        ("labelled", _kept(readable.readable_by(readable.labelled))),
        ("exposed_otherwise", _kept(readable.readable_by(readable.exposed_otherwise))),
        ("locally_contrasted", _kept(readable.readable_by(readable.locally_contrasted))),
        ("sharpened", _kept(readable.readable_by(readable.sharpened))),
        ("noisy", _kept(readable.readable_by(readable.noisy))),
        ("resampled", _kept(readable.readable_by(readable.resampled, readable.compressed))),
        ("hazy", _kept(readable.readable_by(readable.hazy))),
        ("with_devices", _kept(readable.readable_by(readable.with_devices))),
        ("with_opacity", _kept(readable.readable_by(readable.with_opacity))),
        ("hyperinflated", _kept(readable.readable_by(readable.hyperinflated))),
        (
            "with_tones_of_another",
            lambda films, rng: readable.with_tones_of(films[0], films[1], rng),
        ),
        ("scanned", _kept(readable.readable_by(readable.scanned, readable.shaded))),
    ),
)

# Never used in fitting: what the gate says of them is what it says of kinds it has not met.
HELD_OUT = frozenset(
    {
        "upside_down_mirrored",
        "transposed",
        "inverted_windowed",
        "cut_side",
        "overexposed_saturated",
        "few_levels",
        "lateral_superposed",
        "hand",
        "skull_front",
        "skull_side",
        "neck",
        "swirl",
        "ultrasound",
        "bundled_ultrasound",
        "unseen_photograph",
        "form",
        "test_pattern",
        "held_print",
        "scanned",
        "with_tones_of_another",
    }
)
