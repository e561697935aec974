"""A site's films and its operating points as a picture: an SVG that stands alone."""

from collections.abc import Sequence
from dataclasses import replace

from markupsafe import Markup, escape

from ..language import _, told
from ..profile import SiteProfile
from ..web import charts
from ..words import NOT_FOR_DIAGNOSIS, finding_told
from .curves import evidence_of, reliability_bins
from .fit import Fitted

_SIDE, _GAP, _HEAD, _TITLE = 340, 26, 64, 58
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #15222c; } .head { font-size: 20px; }
.title { font-size: 15px; font-weight: 600; } .tick, .soft { fill: #50606c; font-size: 11.5px; }
.grid { stroke: #d3dbe1; } .axis { stroke: #76858f; } .chance { stroke: #76858f;
stroke-dasharray: 4 4; } .bar.positive { fill: #d4610f; } .bar.negative { fill: #8fb8cf; }
.asked { stroke: #15222c; stroke-width: 1.5; stroke-dasharray: 5 4; }
.band { fill: #0b5f6b; opacity: .2; } .curve { fill: none; stroke: #0b5f6b; stroke-width: 2.2; }
.here, .mean { fill: #d4610f; stroke: #fff; } .whisker { stroke: #15222c; stroke-width: 1.4; }
"""


def picture(profile: SiteProfile, fitted: Sequence[Fitted]) -> str:
    """A row of charts for each finding: scores with the threshold and its interval, the ROC curve
    with the operating point and its intervals, and the reliability of the model's probability and
    of the site's."""
    row = _TITLE + _SIDE + _GAP
    width, height = 4 * _SIDE + 5 * _GAP, _HEAD + row * len(fitted) + _GAP
    parts = [
        _text(
            _GAP,
            30,
            _("{model} at {profile}").format(
                model=f"{profile.model} {profile.model_version}", profile=profile.label
            ),
            "head",
        ),
        _text(_GAP, 52, told(NOT_FOR_DIAGNOSIS), "soft"),
    ]
    for place, one in enumerate(fitted):
        top = _HEAD + place * row
        of_finding = _("{finding}: {n_present} films with it, {n_absent} without").format(
            finding=finding_told(one.point.finding),
            n_present=one.point.n_present,
            n_absent=one.point.n_absent,
        )
        parts.append(_text(_GAP, top + 22, of_finding, "title"))
        for column, (title, svg) in enumerate(_charts(one, place)):
            left = _GAP + column * (_SIDE + _GAP)
            parts.append(_text(left, top + 46, title, "soft"))
            parts.append(
                Markup('<svg x="{}" y="{}" width="{}" height="{}">{}</svg>').format(
                    left, top + _TITLE, _SIDE, _SIDE, svg
                )
            )
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" '
            'height="{1}"><style>{2}</style><rect width="{0}" height="{1}" fill="#fff"/>{3}</svg>\n'
        ).format(width, height, _STYLE, Markup("").join(parts))
    )


def _charts(one: Fitted, place: int) -> list[tuple[str, Markup]]:
    """Each with what stands above it."""
    site = evidence_of(one)
    model = replace(site, reliability=reliability_bins(one.films.present, one.films.probability))
    return [
        (
            _("Scores; shaded: the threshold's interval"),
            charts.scores(site, f"site-{place}", one.point.threshold).svg,
        ),
        (
            _("ROC curve, with the operating point and its intervals"),
            charts.roc(site, f"site-{place}").svg,
        ),
        (
            _("Reliability of the model's probability"),
            charts.reliability(model, f"model-{place}").svg,
        ),
        (
            _("Reliability of this site's probability"),
            charts.reliability(site, f"site-{place}").svg,
        ),
    ]


def _text(x: float, y: float, text: str, style: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(style, x, y, escape(text))
