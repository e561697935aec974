"""Pictures say what the numbers say, to whoever looks and to whoever listens."""

import re
import xml.etree.ElementTree as ET
from datetime import date, timedelta

import pytest

from cxr_edge.drift.comparison import Observed
from cxr_edge.evidence import (
    BandPoint,
    FindingEvidence,
    Interval,
    OperatingFigures,
    ReliabilityBin,
    RocPoint,
)
from cxr_edge.language import speaking
from cxr_edge.ledger import Day, Week
from cxr_edge.web import charts
from cxr_edge.web.view import Proportion
from tests.test_drift import REFERENCE

MONDAY = date(2026, 11, 16)
HALF = Interval(0.5, 0.4, 0.6)
EVIDENCE = FindingEvidence(
    finding="pneumonia",
    n_present=30,
    n_absent=50,
    auroc=Interval(0.9, 0.85, 0.95),
    roc=(RocPoint(0, 0), RocPoint(0.1, 0.8), RocPoint(1, 1)),
    roc_band=(BandPoint(0, 0, 0.2), BandPoint(0.5, 0.8, 1), BandPoint(1, 1, 1)),
    operating_point=OperatingFigures(0.25, Interval(0.8, 0.7, 0.9), Interval(0.9, 0.8, 1.0)),
    reliability=(ReliabilityBin(50, 0.1, 0.2, 0.1, 0.3), ReliabilityBin(30, 0.9, 0.7, 0.5, 0.8)),
    brier=HALF,
    ece=HALF,
    scores_present=(*[0] * 19, 30),
    scores_absent=(50, *[0] * 19),
)


def week(n: int = 0, histogram=(0,) * 10, mean=None, refused=0, failed=0, weeks_ago=0) -> Week:
    return Week(
        MONDAY - timedelta(weeks=weeks_ago),
        n,
        tuple(histogram),
        mean,
        refused,
        failed,
        n + refused + failed,
    )


def observed(distances: list[int]) -> Observed:
    return Observed(MONDAY, sum(distances), 0, {}, 0, tuple(distances))


def parsed(chart: charts.Chart) -> ET.Element:
    return ET.fromstring(str(chart.svg))


def of_class(chart: charts.Chart, word: str) -> list[ET.Element]:
    return [one for one in parsed(chart).iter() if word in one.get("class", "").split()]


def all_charts() -> list[charts.Chart]:
    weeks = [week(20, [10, 0, 0, 0, 0, 0, 0, 0, 0, 10], 0.5, 1, 2)]
    return [
        charts.films_per_day([Day(MONDAY, 3, 5, 2, 1, 1)]),
        charts.scores_per_week(weeks, (40, *[0] * 8, 40), 0.2),
        charts.distances_per_week([observed([4] * 10)], REFERENCE),
        charts.refused_per_week(weeks),
        charts.roc(EVIDENCE, "0"),
        charts.reliability(EVIDENCE, "0"),
        charts.scores(EVIDENCE, "0"),
    ]


def test_a_picture_says_what_it_is_and_its_numbers_stand_in_a_table():
    for chart in all_charts():
        svg = parsed(chart)
        assert svg.get("role") == "img"
        texts = {one.get("id"): one.text for one in svg if one.get("id")}
        title, description = (texts[name] for name in svg.get("aria-labelledby").split())
        assert title == chart.title
        assert description
        assert chart.rows
        assert {len(row) for row in chart.rows} == {len(chart.head)}


def test_the_policy_of_the_page_lets_a_picture_be_drawn():
    """No style and no script within, and nothing from elsewhere."""
    for chart in all_charts():
        assert not re.search(r"style=|<script|https?:|data:|\bon\w+=", str(chart.svg))


def test_names_in_a_page_are_there_once():
    page = "".join(str(chart.svg) for chart in all_charts())
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))


def test_a_site_without_films_has_empty_pictures():
    empty = week(weeks_ago=1)
    for chart in (
        charts.films_per_day([]),
        charts.films_per_day([Day(MONDAY, 0, 0, 0, 0, 0)]),
        charts.scores_per_week([], None, None),
        charts.scores_per_week([empty], None, None),
        charts.refused_per_week([empty]),
    ):
        assert parsed(chart).get("role") == "img"
        assert chart.rows == ()


def test_a_bar_is_as_high_as_its_films_are_many():
    chart = charts.films_per_day([Day(MONDAY, 4, 8, 0, 0, 0), Day(MONDAY, 8, 0, 0, 0, 0)])
    first, second = (float(one.get("height")) for one in of_class(chart, "positive"))
    (negative,) = (float(one.get("height")) for one in of_class(chart, "negative"))
    assert second == pytest.approx(2 * first, abs=0.15)
    assert negative == pytest.approx(2 * first, abs=0.15)


def test_films_without_a_sure_answer_are_hatched_and_not_only_of_another_colour():
    chart = charts.films_per_day([Day(MONDAY, 0, 0, 1, 2, 3)])
    fills = [one.get("fill") for one in parsed(chart).iter() if one.get("fill")]
    assert fills == ["url(#day-unsure)", "url(#day-refused)", "url(#day-failed)"]
    patterns = [one for one in parsed(chart).iter() if one.tag.endswith("pattern")]
    assert {one.get("id") for one in patterns} >= {"day-unsure", "day-refused", "day-failed"}
    # No two are drawn alike.
    drawn = {tuple((line.tag, line.get("d"), line.get("y2")) for line in one) for one in patterns}
    assert len(drawn) == len(patterns)


def test_a_cell_is_darker_the_more_of_its_week_it_holds():
    chart = charts.scores_per_week([week(100, [90, 10, *[0] * 8], 0.1)], None, None)
    many, few = (float(one.get("fill-opacity")) for one in of_class(chart, "cell"))
    assert many > 2 * few
    # The share counts, whatever the number.
    fewer = charts.scores_per_week([week(10, [9, 1, *[0] * 8], 0.1)], None, None)
    assert [one.get("fill-opacity") for one in of_class(fewer, "cell")] == [
        one.get("fill-opacity") for one in of_class(chart, "cell")
    ]


def test_low_scores_lie_below_and_the_mean_at_its_place():
    chart = charts.scores_per_week([week(2, [1, *[0] * 8, 1], 0.5)], None, None)
    low, high = (float(one.get("y")) for one in of_class(chart, "cell"))
    assert low > high
    (mean,) = (float(one.get("cy")) for one in of_class(chart, "mean"))
    assert high < mean < low


def test_the_test_films_stand_before_the_weeks():
    expected = charts.expected_scores(EVIDENCE)
    assert expected == (50, *[0] * 8, 30)
    chart = charts.scores_per_week([week(1, [1, *[0] * 9], 0.0)], expected, 0.2)
    first = of_class(chart, "expected")
    others = [one for one in of_class(chart, "cell") if one not in first]
    rightmost = max(float(one.get("x")) for one in first)
    weeks = of_class(chart, "cell")[len(first) :]
    assert others
    assert rightmost < min(float(one.get("x")) for one in weeks)
    assert chart.rows[0][:2] == ("tests", "80")
    assert charts.expected_scores(None) is None


def test_the_reference_stands_before_the_weeks_and_far_films_lie_above():
    chart = charts.distances_per_week([observed([0] * 10), observed([6, *[0] * 8, 6])], REFERENCE)
    expected = of_class(chart, "expected")
    near, far = of_class(chart, "cell")[len(expected) :]
    assert len(expected) == 10
    assert float(far.get("y")) < float(near.get("y"))
    assert max(float(one.get("x")) for one in expected) < float(near.get("x"))
    assert chart.head[2] == "< 0.60"
    assert chart.head[-1] == "> 2.00"
    assert [row[:2] for row in chart.rows] == [("tests", "784"), (MONDAY.isoformat(), "12")]


def test_a_week_without_films_is_no_row_and_has_no_mean():
    chart = charts.scores_per_week([week(weeks_ago=1), week(1, [1, *[0] * 9], 0.05)], None, None)
    assert len(of_class(chart, "mean")) == 1
    assert [row[0] for row in chart.rows] == [MONDAY.isoformat()]


@pytest.mark.parametrize(
    ("n", "said"),
    [(999, "999"), (1000, "1.0k"), (9940, "9.9k"), (10_000, "10k"), (123_456, "123k")],
)
def test_a_busy_weeks_count_fits_below_its_column(n, said):
    chart = charts.scores_per_week([week(n, [n, *[0] * 9], 0.05)], None, None)
    assert [one.text for one in of_class(chart, "small")] == [said]


def test_the_operating_point_stands_on_the_roc_curve():
    chart = charts.roc(EVIDENCE, "0")
    (curve,) = of_class(chart, "curve")
    points = [tuple(map(float, one.split(","))) for one in curve.get("points").split()]
    (here,) = of_class(chart, "here")
    x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", here.get("d")).groups())
    assert points[1] == pytest.approx((x, y + 7), abs=0.11)
    assert chart.rows[0] == ("AUROC", "0.900", "0.850 to 0.950")


def test_numbers_are_written_as_the_person_writes_them():
    with speaking("fr"):
        chart = charts.roc(EVIDENCE, "0")
    assert chart.rows[0] == ("AUROC", "0,900", "0,850 à 0,950")


def test_a_score_has_the_mark_that_it_is_judged_by():
    bar = ET.fromstring(str(charts.bar(63, 20.8, "positive")))
    filled = next(one for one in bar if one.get("class") == "filled")
    mark = next(one for one in bar if one.get("class") == "mark")
    assert (filled.get("width"), mark.get("x1")) == ("63", "20.8")
    unmarked = ET.fromstring(str(charts.bar(63, None, "negative")))
    assert [one.get("class") for one in unmarked] == ["ground", "filled"]


def test_the_band_in_which_a_score_is_unsure_lies_between_two_lines():
    bar = ET.fromstring(str(charts.bar(30, 20.8, "unsure", (15.0, 35.5))))
    band = next(one for one in bar if one.get("class") == "unsure")
    assert (band.get("x"), band.get("width")) == ("15.0", "20.5")
    assert [one.get("x1") for one in bar if one.get("class") == "edge"] == ["15.0", "35.5"]
    # The operating point is drawn over it.
    assert [one.get("class") for one in bar][-1] == "mark"


def test_an_interval_reaches_from_its_low_to_its_high_end():
    drawn = ET.fromstring(str(charts.interval(Proportion(0.5, 0.4, 0.6, 10), 0.9)))
    whisker = next(one for one in drawn if one.get("class") == "whisker")
    assert (whisker.get("x1"), whisker.get("x2")) == ("40.0", "60.0")


def test_what_is_said_in_a_picture_is_escaped():
    hostile = charts._svg("a'<b", "<script>", "&", 10, [])
    assert ET.fromstring(str(hostile))[0].text == "<script>"
