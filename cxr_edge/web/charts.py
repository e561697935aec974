"""Pictures of numbers, as SVG inside the page, with the numbers themselves as a table.

Pure: the same numbers give the same text. Colours are classes, which the stylesheet knows in light
and dark; no colour tells anything that shape, pattern or words do not.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import ceil, sqrt

from markupsafe import Markup, escape

from ..drift.comparison import Observed
from ..evidence import FindingEvidence, Interval
from ..language import _, told
from ..ledger import Day, Week
from ..model_card import Reference
from ..proportion import Proportion
from ..words import OUTCOMES
from .view import number_told, percent_told, range_told

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 52, 22, 14, 34
_SIDE = 340
_DATE_WIDTH = 44
_N_BINS = 10


@dataclass(frozen=True)
class Chart:
    """svg: the picture. head, rows: its numbers, for a table."""

    title: str
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def films_per_day(days: Sequence[Day]) -> Chart:
    """Stacked bars, a day each."""
    title, height = _("Films per day"), 240
    counts = [[getattr(day, word) for word in OUTCOMES] for day in days]
    top, ticks = _scale(max(map(sum, counts), default=0))
    down = _axis(0, top, height - _BOTTOM, _TOP)
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(days))
    parts = [_hatches("day"), *_across(ticks, down, number_told)]
    for place, (day, numbers) in enumerate(zip(days, counts, strict=True)):
        left, below = _LEFT + place * step, 0
        for word, n in zip(OUTCOMES, numbers, strict=True):
            if n:
                y = down(below + n)
                parts.append(
                    _box(left + step * 0.12, y, step * 0.76, down(below) - y, _fill(word, "day"))
                )
            below += n
        if place % ceil(len(days) / 10) == 0:
            parts.append(_text(left + step / 2, height - 12, f"{day.date:%m-%d}", "middle"))
    rows = (
        (day.date.isoformat(), *map(number_told, numbers))
        for day, numbers in zip(days, counts, strict=True)
    )
    return Chart(
        title,
        _svg("per-day", title, _("Days from left to right, films upwards."), height, parts),
        (_("day"), *map(told, OUTCOMES.values())),
        tuple(row for row, numbers in zip(rows, counts, strict=True) if any(numbers)),
    )


def scores_per_week(
    weeks: Sequence[Week], expected: Sequence[int] | None, asked: float | None
) -> Chart:
    """A column per week, the darker the more of its films have that score.

    expected: the films that the model was measured on, in as many bins; None: not known.
    asked: the probability from which on a film is positive.
    """
    title, height = _("Scores per week"), 300
    down = _axis(0, _N_BINS, height - _BOTTOM - 14, _TOP)
    parts = _across(range(0, _N_BINS + 1, 2), down, lambda tick: number_told(tick * _N_BINS))
    columns, middles = _columns(
        [(week.monday, week.histogram) for week in weeks], expected, down, height
    )
    parts += columns
    for week, middle in zip(weeks, middles, strict=True):
        if week.mean is not None:
            parts.append(_dot(middle, down(_N_BINS * week.mean), 3.5, "mean"))
    if asked is not None:
        at = down(_N_BINS * asked)
        parts.append(_line(_LEFT, at, _WIDTH - _RIGHT, at, "asked"))
    bins = tuple(f"{10 * k}-{10 * k + 10}" for k in range(_N_BINS))
    rows = [
        (week.monday.isoformat(), number_told(week.n), *map(number_told, week.histogram))
        for week in weeks
        if week.n
    ]
    if expected is not None:
        rows.insert(0, (_("tests"), number_told(sum(expected)), *map(number_told, expected)))
    description = _(
        "Weeks from left to right, scores from 0 to 100 upwards; below each column its films. The "
        "dashed line is the operating point, the dot the mean."
    )
    return Chart(
        title,
        _svg("per-week", title, description, height, parts),
        (_("week of"), _("films"), *bins),
        tuple(rows),
    )


def distances_per_week(weeks: Sequence[Observed], reference: Reference) -> Chart:
    """A column per week, the darker the more of its films lie so far from those that the model
    learned from; the bins of the reference, which are not of one width, have one height."""
    title, height = _("Distances per week"), 300
    edges, expected = reference.distance_edges, reference.distances
    down = _axis(0, len(expected), height - _BOTTOM - 14, _TOP)
    parts = _across(
        range(1, len(expected)), down, lambda tick: number_told(edges[round(tick) - 1], 2)
    )
    parts += _columns([(week.monday, week.distances) for week in weeks], expected, down, height)[0]
    said = [number_told(edge, 2) for edge in edges]
    bins = [f"< {said[0]}", *map("-".join, pairwise(said)), f"> {said[-1]}"]
    rows = [
        (week.monday.isoformat(), *map(number_told, (sum(week.distances), *week.distances)))
        for week in weeks
        if any(week.distances)
    ]
    rows.insert(0, (_("tests"), *map(number_told, (sum(expected), *expected))))
    description = _(
        "Weeks from left to right, distances upwards; below each column its films. Each step "
        "upwards is as high, however far it reaches."
    )
    return Chart(
        title,
        _svg("distances", title, description, height, parts),
        (_("week of"), _("films"), *bins),
        tuple(rows),
    )


def refused_per_week(weeks: Sequence[Week]) -> Chart:
    """The part of each week's films that got no answer."""
    title, height = _("Films without an answer, per week"), 190
    parts_of = [
        (week.n_refused + week.n_failed) / week.n_all if week.n_all else 0 for week in weeks
    ]
    top = next(one for one in (0.04, 0.08, 0.2, 0.4, 1.0) if one >= max(parts_of, default=0))
    down = _axis(0, top, height - _BOTTOM, _TOP)
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(weeks))
    ticks = [top * k / 4 for k in range(5)]
    parts = [_hatches("without"), *_across(ticks, down, lambda one: percent_told(one, 0))]
    for place, week in enumerate(weeks):
        left, below = _LEFT + place * step, 0.0
        for word, n in (("refused", week.n_refused), ("failed", week.n_failed)):
            if n:
                share = n / week.n_all
                y = down(below + share)
                parts.append(
                    _box(left + step * 0.15, y, step * 0.7, down(below) - y, _fill(word, "without"))
                )
                below += share
        if place % ceil(len(weeks) / 9) == 0:
            parts.append(_text(left + step / 2, height - 12, f"{week.monday:%m-%d}", "middle"))
    return Chart(
        title,
        _svg(
            "without",
            title,
            _("Weeks from left to right, part of all films upwards."),
            height,
            parts,
        ),
        (_("week of"), _("films"), told(OUTCOMES["refused"]), told(OUTCOMES["failed"]), "%"),
        tuple(
            (
                week.monday.isoformat(),
                *map(number_told, (week.n_all, week.n_refused, week.n_failed)),
                percent_told(part),
            )
            for week, part in zip(weeks, parts_of, strict=True)
            if week.n_all
        ),
    )


def roc(of: FindingEvidence, name: str) -> Chart:
    """Sensitivity against false alarms, with the band of resampled patients and the operating
    point with its intervals."""
    right, down = _square()
    band = [(right(one.false_alarms), down(one.high)) for one in of.roc_band]
    band += [(right(one.false_alarms), down(one.low)) for one in reversed(of.roc_band)]
    curve = [(right(one.false_alarms), down(one.sensitivity)) for one in of.roc]
    point, here = of.operating_point, of.operating_point.on_curve
    x, y = right(here.false_alarms), down(here.sensitivity)
    parts = [
        *_square_grid(right, down, _("false alarms (1 - specificity)"), _("sensitivity")),
        _line(right(0), down(0), right(1), down(1), "chance"),
        f'<polygon class="band" points="{_points(band)}"/>',
        f'<polyline class="curve" points="{_points(curve)}"/>',
        _line(x, down(point.sensitivity.low), x, down(point.sensitivity.high), "whisker"),
        _line(right(1 - point.specificity.low), y, right(1 - point.specificity.high), y, "whisker"),
        f'<path class="here" d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7-7z"/>',
    ]
    title = _("ROC curve")
    description = _(
        "The further the curve goes into the upper left corner, the better; on the dashed line it "
        "would be chance. Shaded: where the curves of other patients like these would lie. "
        "Diamond: the operating point, with lines for its intervals."
    )
    return Chart(
        title,
        _svg(f"roc-{name}", title, description, _SIDE, parts, _SIDE),
        (_("figure"), _("value"), _("interval (95 %)")),
        (
            ("AUROC", number_told(of.auroc.value, 3), range_told(of.auroc.low, of.auroc.high)),
            (
                _("sensitivity"),
                percent_told(point.sensitivity.value),
                range_told(point.sensitivity.low, point.sensitivity.high),
            ),
            (
                _("specificity"),
                percent_told(point.specificity.value),
                range_told(point.specificity.low, point.specificity.high),
            ),
        ),
    )


def reliability(of: FindingEvidence, name: str) -> Chart:
    """How many films of a probability have the finding."""
    right, down = _square()
    parts = [
        *_square_grid(right, down, _("probability that was said"), _("films that have it")),
        _line(right(0), down(0), right(1), down(1), "chance"),
    ]
    most = max(one.n_films for one in of.reliability)
    for one in of.reliability:
        x = right(one.probability)
        parts.append(_line(x, down(one.low), x, down(one.high), "whisker"))
        parts.append(_dot(x, down(one.observed), 3 + 6 * sqrt(one.n_films / most), "mean"))
    title = _("Reliability")
    description = _(
        "A probability can be taken at its word where the dots lie on the dashed line. The larger "
        "a dot, the more films; lines are intervals of 95 %."
    )
    return Chart(
        title,
        _svg(f"reliability-{name}", title, description, _SIDE, parts, _SIDE),
        (_("probability that was said"), _("films"), _("films that have it"), _("interval (95 %)")),
        tuple(
            (
                percent_told(one.probability),
                number_told(one.n_films),
                percent_told(one.observed),
                range_told(one.low, one.high),
            )
            for one in of.reliability
        ),
    )


def scores(of: FindingEvidence, name: str, asked: Interval | None = None) -> Chart:
    """Films with the finding upwards, films without it downwards, by score. asked: where the
    threshold may lie, of a site's own films; None: these are films that the model was tested on."""
    right, _down = _square()
    n_bins = len(of.scores_present)
    most = sqrt(max(*of.scores_present, *of.scores_absent))
    middle, room = (_TOP + _SIDE - _BOTTOM) / 2, (_SIDE - _BOTTOM - _TOP) / 2 - 4
    parts = [_text(right(k / 5), _SIDE - 16, number_told(20 * k), "middle") for k in range(6)]
    parts.append(_text(right(0.5), _SIDE - 2, _("score"), "middle", "tick"))
    if asked is not None:
        wide = right(asked.high) - right(asked.low)
        parts.append(_box(right(asked.low), _TOP, wide, _SIDE - _BOTTOM - _TOP, 'class="band"'))
    step = (right(1) - right(0)) / n_bins
    for place, (present, absent) in enumerate(
        zip(of.scores_present, of.scores_absent, strict=True)
    ):
        left = right(place / n_bins) + step * 0.1
        up, under = room * sqrt(present) / most, room * sqrt(absent) / most
        parts.append(_box(left, middle - up, step * 0.8, up, 'class="bar positive"'))
        parts.append(_box(left, middle, step * 0.8, under, 'class="bar negative"'))
    at = right(of.operating_point.threshold)
    parts += [
        _line(right(0), middle, right(1), middle, "axis"),
        _line(at, _TOP, at, _SIDE - _BOTTOM, "asked"),
        _text(right(0.5), _TOP + 10, _("with it"), "middle"),
        _text(right(0.5), _SIDE - _BOTTOM - 4, _("without it"), "middle"),
    ]
    title = _("Scores of the test films") if asked is None else _("Scores of the labelled films")
    description = _(
        "Films that have the finding stand above the line, those that do not below it, on a square "
        "root scale; the dashed line is the operating point."
    )
    return Chart(
        title,
        _svg(f"scores-{name}", title, description, _SIDE, parts, _SIDE),
        (_("score"), _("with it"), _("without it")),
        tuple(
            (
                f"{100 * place // n_bins}-{100 * (place + 1) // n_bins}",
                number_told(present),
                number_told(absent),
            )
            for place, (present, absent) in enumerate(
                zip(of.scores_present, of.scores_absent, strict=True)
            )
        ),
    )


def expected_scores(of: FindingEvidence | None) -> tuple[int, ...] | None:
    """The test films in as few bins as a week's films have."""
    if of is None:
        return None
    both = [sum(pair) for pair in zip(of.scores_present, of.scores_absent, strict=True)]
    wide = len(both) // _N_BINS
    return tuple(sum(both[k * wide : (k + 1) * wide]) for k in range(_N_BINS))


def bar(
    score: int, asked: float | None, outcome: str, unsure: tuple[float, float] | None = None
) -> Markup:
    """A score from 0 to 100 with the mark that it is judged by and, between two lines, the band in
    which it is unsure; its numbers stand beside it."""
    mark = "" if asked is None else _line(asked, 0, asked, 10, "mark")
    if unsure is not None:
        low, high = unsure
        ends = "".join(_line(end, 0, end, 10, "edge") for end in unsure)
        mark = _box(low, 0, high - low, 10, 'class="unsure"') + ends + mark
    return Markup(
        '<svg class="bar {}" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="ground" y="2" width="100" height="6"/>'
        '<rect class="filled" y="2" width="{}" height="6"/>{}</svg>'
    ).format(outcome, score, Markup(mark))


def interval(shown: Proportion, reference: float | None) -> Markup:
    """A part with its interval on a line from 0 to 1; reference: a tick that it is compared
    with. The numbers stand beside it."""
    mark = "" if reference is None else _line(100 * reference, 0, 100 * reference, 12, "mark")
    inner = _line(100 * shown.low, 6, 100 * shown.high, 6, "whisker")
    inner += mark + _box(100 * shown.value - 1, 2, 2, 8, 'class="mean"')
    return Markup(
        '<svg class="interval" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="ground" y="5" width="100" height="2"/>{}</svg>'
    ).format(Markup(inner))


def _svg(
    name: str, title: str, description: str, height: int, parts: Iterable[str], width: int = _WIDTH
) -> Markup:
    name = "".join(letter if letter.isalnum() else "-" for letter in name)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-title {}-text">'
        '<title id="{}-title">{}</title><desc id="{}-text">{}</desc>{}</svg>'
    ).format(*(width, height, name, name, name, title, name, description), Markup("".join(parts)))


def _columns(
    weeks: Sequence[tuple[date, Sequence[int]]],
    expected: Sequence[int] | None,
    down: Callable[[float], float],
    height: int,
) -> tuple[list[str], list[float]]:
    """A column per week, and before them one of what was expected; and where their middles are."""
    parts, middles = [], []
    start, wide = float(_LEFT), 34.0
    if expected is not None:
        parts += _column(expected, start, wide, down, "cell expected")
        parts.append(_text(start + wide / 2, height - 26, _("tests"), "middle"))
        parts.append(_line(start + wide + 9, _TOP, start + wide + 9, down(0), "axis"))
        start += wide + 18
    step = min(wide, (_WIDTH - _RIGHT - start) / max(1, len(weeks)))
    dated = max(ceil(len(weeks) / 9), ceil(_DATE_WIDTH / step))
    for place, (monday, counts) in enumerate(weeks):
        left, middle = start + place * step, start + (place + 0.5) * step
        parts += _column(counts, left, step, down, "cell")
        parts.append(_text(middle, height - 26, _short(sum(counts)), "middle", "tick small"))
        if place % dated == 0:
            parts.append(_text(middle, height - 10, f"{monday:%m-%d}", "middle"))
        middles.append(middle)
    return parts, middles


def _column(
    counts: Sequence[int], left: float, width: float, down: Callable[[float], float], style: str
) -> list[str]:
    """Cells of a histogram one above the other, each as dark as its part of all."""
    total = sum(counts)
    return [
        _box(
            *(left + 1, down(place + 1) + 0.5, width - 2, down(place) - down(place + 1) - 1),
            f'class="{style}" fill-opacity="{0.08 + 0.92 * sqrt(n / total):.2f}"',
        )
        for place, n in enumerate(counts)
        if n
    ]


def _square() -> tuple[Callable[[float], float], Callable[[float], float]]:
    return _axis(0, 1, _LEFT, _SIDE - _RIGHT), _axis(0, 1, _SIDE - _BOTTOM, _TOP)


def _square_grid(
    right: Callable[[float], float], down: Callable[[float], float], below: str, beside: str
) -> list[str]:
    parts = []
    for k in range(6):
        at = k / 5
        parts += [
            _line(right(at), down(0), right(at), down(1), "grid"),
            _line(right(0), down(at), right(1), down(at), "grid"),
            _text(right(at), _SIDE - 19, percent_told(at, 0), "middle"),
            _text(right(0) - 5, down(at) + 4, percent_told(at, 0), "end"),
        ]
    parts.append(_text(right(0.5), _SIDE - 4, below, "middle"))
    turned = f"{12:.0f} {down(0.5):.1f}"
    parts.append(
        f'<text class="tick" transform="translate({turned}) rotate(-90)" text-anchor="middle">'
        f"{escape(beside)}</text>"
    )
    return parts


def _across(
    ticks: Iterable[float], down: Callable[[float], float], told_as: Callable[[float], str]
) -> list[str]:
    """Lines across with their values at the left."""
    parts = []
    for tick in ticks:
        parts.append(_line(_LEFT, down(tick), _WIDTH - _RIGHT, down(tick), "grid"))
        parts.append(_text(_LEFT - 6, down(tick) + 4, told_as(tick), "end"))
    return parts


def _axis(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """From a value to its place."""
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _scale(most: int) -> tuple[int, list[int]]:
    """Where an axis of counts ends, and its ticks."""
    step = next(
        base * 10**power
        for power in range(12)
        for base in (1, 2, 3, 4, 5, 8)
        if base * 10**power * 4 >= most
    )
    return 4 * step, [step * k for k in range(5)]


def _hatches(name: str) -> str:
    """Patterns for films without a sure answer, so that not only their colour tells them apart."""
    return (
        f'<defs><pattern id="{name}-unsure" width="4" height="4" patternUnits="userSpaceOnUse">'
        '<rect class="bar unsure" width="4" height="4"/>'
        '<line class="hatch" x1="0" y1="1" x2="4" y2="1"/></pattern>'
        f'<pattern id="{name}-refused" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><rect class="bar refused" width="6" height="6"/>'
        '<line class="hatch" x1="1" y1="0" x2="1" y2="6"/></pattern>'
        f'<pattern id="{name}-failed" width="5" height="5" patternUnits="userSpaceOnUse">'
        '<rect class="bar failed" width="5" height="5"/>'
        '<path class="hatch" d="M0 0l5 5M5 0l-5 5"/></pattern></defs>'
    )


def _fill(word: str, name: str) -> str:
    if word in ("unsure", "refused", "failed"):
        return f'class="bar" fill="url(#{name}-{word})"'
    return f'class="bar {word}"'


def _short(n: int) -> str:
    """A count that fits below a narrow column."""
    return number_told(n) if n < 1000 else f"{number_told(n / 1000, 1 if n < 10_000 else 0)}k"


def _box(x: float, y: float, width: float, height: float, attributes: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {attributes}/>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(x: float, y: float, radius: float, style: str) -> str:
    return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick") -> str:
    return (
        f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(text)}</text>"
    )
