"""DRAW: where on a radiograph a finding comes from, as colour over the film."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .display import size_at, stretched
from .interpret import on_models_scale
from .model_card import SOFTMAX, ModelCard
from .radiograph import Radiograph
from .result import Finding

if TYPE_CHECKING:
    from .profile import SiteProfile

LONG_SIDE_PX = 640
# Log odds above the operating point at which the colour is full. One scale for all films and
# models: a scale of each film's own would paint a negative film as hot as a positive one. With the
# shipped models the hottest cell of the median positive film lies 11 to 13 above, of the median
# negative one 1 to 5.
FULL_AT = 12.0
# Of the colour where it is full, over the film.
OPACITY = 0.6
# Inferno: its lightness rises evenly, with no red against green (van der Walt & Smith 2015). The
# black end, which would hide the lungs, and the pale one, which bones have too, are left out.
_COLOURS, _FIRST_COLOUR, _LAST_COLOUR = cv2.COLORMAP_INFERNO, 90, 230
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE, _LINE_PX, _MARGIN_PX = 0.5, 22, 8
_LEGEND_PX, _BAR_PX = 310, 64


@dataclass(frozen=True)
class Overlay:
    """A finding drawn over its radiograph, as the bytes of a PNG."""

    finding: str
    png: bytes = field(repr=False)


def evidence(
    logits: NDArray[np.float32], heatmaps: NDArray[np.float32], card: ModelCard
) -> NDArray[np.float64]:
    """What each part of the film says for each finding, in log odds: (K, h, w).

    logits: (K,). heatmaps: (K, h, w), as Model.answer gives them.
    It is what the model would answer if the whole film looked as it does there: the heatmap, and
    what the logit holds beyond the heatmap's mean (the bias), by the card's temperature. Of
    findings that exclude each other it is against all others, since only the logits' differences
    mean anything there. Over the film it averages to the film's own log odds, exactly so behind a
    sigmoid.
    """
    beyond = logits - heatmaps.mean(axis=(1, 2))
    local = np.asarray(heatmaps + beyond[:, np.newaxis, np.newaxis], np.float64) / card.temperature
    if card.activation != SOFTMAX:
        return local
    others = [np.logaddexp.reduce(np.delete(local, k, axis=0)) for k in range(len(local))]
    return np.asarray(local - np.stack(others))


def draw_overlays(
    radiograph: Radiograph,
    logits: NDArray[np.float32],
    heatmaps: NDArray[np.float32],
    findings: Sequence[Finding],
    card: ModelCard,
    profile: "SiteProfile | None" = None,
) -> tuple[Overlay, ...]:
    """An overlay of each positive finding, or of the most probable one where none is positive.

    logits, heatmaps: see `evidence`. findings: the film's, as `interpret` gives them, by that
    profile.
    "no finding" is never drawn: nothing on a film shows what is not there.
    """
    judged = [finding for finding in findings if finding.threshold is not None]
    local = evidence(logits, heatmaps, card)
    film = stretched(radiograph, card.input, LONG_SIDE_PX)
    overlays = []
    for finding in [one for one in judged if one.positive] or judged[:1]:
        of_finding = local[card.findings.index(finding.name)]
        drawn = overlay(film, of_finding, on_models_scale(finding, profile))
        picture = _captioned(drawn, finding, card.label)
        overlays.append(Overlay(finding.name, cv2.imencode(".png", picture)[1].tobytes()))
    return tuple(overlays)


def overlay(
    film: NDArray[np.uint8], local: NDArray[np.float64], finding: Finding
) -> NDArray[np.uint8]:
    """A film (H, W) with a finding's evidence (h, w) over it, in colour: BGR (H, W, 3).

    Grey stays what speaks for the finding no more than its operating point asks for, which is on
    the model's own scale (interpret.on_models_scale).
    """
    height, width = film.shape
    strength = _strength(local, finding, (width, height))
    opacity = OPACITY * _cover(strength)
    grey = film[:, :, np.newaxis].astype(np.float32)
    return _rounded(grey + opacity * (_coloured(strength) - grey))


def layer(local: NDArray[np.float64], finding: Finding, full_shape: tuple[int, int]) -> bytes:
    """A finding's evidence (h, w) alone, to be laid over its film (H, W): an RGBA PNG.

    Its longer side has LONG_SIDE_PX, whatever the film's. It is transparent where nothing speaks
    for the finding and opaque where the colour is full; laid over the film with OPACITY, it gives
    what `overlay` does.
    """
    strength = _strength(local, finding, size_at(full_shape, LONG_SIDE_PX))
    bgra = np.dstack([_coloured(strength), 255 * _cover(strength)])
    return cv2.imencode(".png", _rounded(bgra))[1].tobytes()


def legend_colours(n: int = 8) -> tuple[str, ...]:
    """So many colours of `layer` from weak to strong, as #rrggbb."""
    strength = np.linspace(0, 1, n, dtype=np.float32)[:, np.newaxis, np.newaxis]
    colours = _coloured(strength).astype(np.uint8)[:, 0].tolist()
    return tuple(f"#{red:02x}{green:02x}{blue:02x}" for blue, green, red in colours)


def _strength(
    local: NDArray[np.float64], finding: Finding, size: tuple[int, int]
) -> NDArray[np.float32]:
    """How full the colour is, 0 to 1, (H, W, 1); size: W and H."""
    assert finding.threshold is not None  # "no finding" has none and is not drawn
    asked = min(finding.threshold, 1 - 1e-9)
    above = (local - math.log(asked / (1 - asked))) / FULL_AT
    # The heatmap was made of the squashed film; at the film's own shape it is unsquashed again.
    smooth = cv2.resize(np.clip(above, 0, 1), size, interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 1).astype(np.float32)[:, :, np.newaxis]


def _cover(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """How opaque the colour is, of what it is at its fullest."""
    return np.asarray(strength**0.75, np.float32)


def _rounded(grey: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(grey), np.uint8)


def _coloured(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """Strengths (H, W, 1) from 0 to 1 as BGR (H, W, 3) from 0 to 255."""
    index = np.rint(_FIRST_COLOUR + (_LAST_COLOUR - _FIRST_COLOUR) * strength).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(index, _COLOURS), np.float32)


def _captioned(picture: NDArray[np.uint8], finding: Finding, model: str) -> NDArray[np.uint8]:
    """The picture with a strip below it that says what it is; nothing is written on the film."""
    width = picture.shape[1]
    legend_px = min(width, _LEGEND_PX)
    legend = _line("Speaks for it, weakly to strongly:", legend_px - _BAR_PX)
    lines = (
        _line(f"{finding.name}: {finding.answer}, score {finding.score}", width),
        _line(model, width),
        _line("Not for diagnostic use", width),
        np.hstack([legend, _bar(), np.zeros((_LINE_PX, width - legend_px, 3), np.uint8)]),
    )
    return np.vstack([picture, *lines])


def _line(text: str, width: int) -> NDArray[np.uint8]:
    """A line of text in grey on black, BGR (h, width, 3), as small as it must be to fit."""
    line = np.zeros((_LINE_PX, width, 3), np.uint8)
    text = text.encode("ascii", "replace").decode()  # OpenCV's letters are ASCII
    (text_px, _), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    scale = _FONT_SCALE * min(1.0, (width - 2 * _MARGIN_PX) / text_px)
    at = _MARGIN_PX, _LINE_PX - 7
    cv2.putText(line, text, at, _FONT, scale, (225, 225, 225), 1, cv2.LINE_AA)
    return line


def _bar() -> NDArray[np.uint8]:
    """The colours from weak to strong, BGR (h, _BAR_PX, 3)."""
    steps = np.linspace(0, 1, _BAR_PX, dtype=np.float32)[:, np.newaxis]
    return _coloured(np.tile(steps, (_LINE_PX, 1, 1))).astype(np.uint8)
