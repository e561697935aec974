"""DRAW: where on a radiograph a finding comes from, as colour over the film."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .model_card import SOFTMAX, InputSpec, ModelCard
from .radiograph import Radiograph
from .result import Finding

LONG_SIDE_PX = 640
# Log odds above the operating point at which the colour is full. One scale for all films and
# models: a scale of each film's own would paint a negative film as hot as a positive one. With the
# shipped models the hottest cell of the median positive film lies 11 to 13 above, of the median
# negative one 1 to 5.
FULL_AT = 12.0
_OPACITY = 0.6
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

    logits: (K,). heatmaps: (K, h, w), as Model.infer_with_heatmaps gives them.
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
) -> tuple[Overlay, ...]:
    """An overlay of each positive finding, or of the most probable one where none is positive.

    logits, heatmaps: see `evidence`. findings: the film's, as `interpret` gives them.
    "no finding" is never drawn: nothing on a film shows what is not there.
    """
    judged = [finding for finding in findings if finding.threshold is not None]
    local = evidence(logits, heatmaps, card)
    film = _film(radiograph, card.input)
    overlays = []
    for finding in [one for one in judged if one.positive] or judged[:1]:
        picture = _captioned(
            overlay(film, local[card.findings.index(finding.name)], finding), finding, card.label
        )
        overlays.append(Overlay(finding.name, cv2.imencode(".png", picture)[1].tobytes()))
    return tuple(overlays)


def overlay(
    film: NDArray[np.uint8], local: NDArray[np.float64], finding: Finding
) -> NDArray[np.uint8]:
    """A film (H, W) with a finding's evidence (h, w) over it, in colour: BGR (H, W, 3).

    Grey stays what speaks for the finding no more than its operating point asks for.
    """
    assert finding.threshold is not None  # "no finding" has none and is not drawn
    asked = min(finding.threshold, 1 - 1e-9)
    above = (local - math.log(asked / (1 - asked))) / FULL_AT
    height, width = film.shape
    # The heatmap was made of the squashed film; at the film's own shape it is unsquashed again.
    smooth = cv2.resize(np.clip(above, 0, 1), (width, height), interpolation=cv2.INTER_CUBIC)
    strength = np.clip(smooth, 0, 1).astype(np.float32)[:, :, np.newaxis]
    opacity = _OPACITY * strength**0.75
    grey = film[:, :, np.newaxis].astype(np.float32)
    return _rounded(grey + opacity * (_coloured(strength) - grey))


def _film(radiograph: Radiograph, spec: InputSpec) -> NDArray[np.uint8]:
    """The film at a handy size, its own shape kept, black and white as the network gets them."""
    height, width = radiograph.full_shape
    scale = LONG_SIDE_PX / max(height, width)
    size = round(width * scale), round(height * scale)
    shrinks = radiograph.pixels.shape[0] > size[1]
    pixels = cv2.resize(
        radiograph.pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    ).astype(np.float32)
    black, white = np.percentile(pixels, (spec.black_percentile, spec.white_percentile))
    # A film that is blank at this size only, and was judged all the same.
    stretched = (pixels - black) * (255 / max(white - black, 1e-9))
    return _rounded(np.clip(stretched, 0, 255))


def _rounded(grey: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(grey), np.uint8)


def _coloured(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """Strengths (H, W, 1) from 0 to 1 as BGR (H, W, 3) from 0 to 255."""
    index = np.rint(_FIRST_COLOUR + (_LAST_COLOUR - _FIRST_COLOUR) * strength).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(index, _COLOURS), np.float32)


def _captioned(picture: NDArray[np.uint8], finding: Finding, model: str) -> NDArray[np.uint8]:
    """The picture with a strip below it that says what it is; nothing is written on the film."""
    width = picture.shape[1]
    verdict = "positive" if finding.positive else "negative"
    legend_px = min(width, _LEGEND_PX)
    legend = _line("Speaks for it, weakly to strongly:", legend_px - _BAR_PX)
    lines = (
        _line(f"{finding.name}: {verdict}, score {finding.score}", width),
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
