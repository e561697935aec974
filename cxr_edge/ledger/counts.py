"""How many films there were, of what outcome, and what people said of them.

Of each film only what was said of it last.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from .database import Database, iso, midnight

N_BINS = 10
_READ_BY = "processed_at >= ? AND processed_at < ? AND (model = substr(?, 1, 12) OR ? = '')"


@dataclass(frozen=True)
class Day:
    """A day's films, by their outcome."""

    date: date
    positive: int
    negative: int
    unsure: int
    refused: int
    failed: int

    @property
    def n_films(self) -> int:
        return self.positive + self.negative + self.unsure + self.refused + self.failed


@dataclass(frozen=True)
class Week:
    """A week's films, from a Monday on.

    n: in which the finding was looked for. histogram: how many of them have a probability of 0 to
    0.1, of 0.1 to 0.2 and so on. mean: of the probabilities; None: there is none. n_all: all films,
    with those refused and failed.
    """

    monday: date
    n: int
    histogram: tuple[int, ...]
    mean: float | None
    n_refused: int
    n_failed: int
    n_all: int


@dataclass(frozen=True)
class Answers:
    """What one model made of films.

    by_profile: how many have an answer, by the label of the site profile that they were judged by,
    "" for none. distances: how many of those lie in each bin of distances.
    """

    n_refused: int
    by_profile: Mapping[str, int]
    distances: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """What people said last of a finding, in how many films.

    tp, fp, tn, fn: against their word. The finding is present where they agree with positive or
    disagree with negative; what is unsure counts for the side that it leans to, as the page says.
    """

    finding: str
    n_agree: int
    n_disagree: int
    n_unsure: int
    tp: int
    fp: int
    tn: int
    fn: int


class Counts(Database):
    """Of films read from `since` on and before `until`, by the days of `timezone` (None: this
    machine's)."""

    def per_day(
        self, since: datetime, until: datetime, timezone: tzinfo | None = None
    ) -> list[Day]:
        """Every day of that time, also those without films."""
        return [
            Day(
                day,
                *self.one(
                    "SELECT count(*) FILTER (WHERE outcome = 'positive'), "
                    "count(*) FILTER (WHERE outcome = 'negative'), "
                    "count(*) FILTER (WHERE outcome = 'unsure'), "
                    "count(*) FILTER (WHERE outcome = 'refused'), "
                    "count(*) FILTER (WHERE outcome = 'failed') FROM judged "
                    "WHERE finding = '' AND processed_at >= ? AND processed_at < ?",
                    *(iso(begins), iso(ends)),
                ),
            )
            for day, begins, ends in _spans(since, until, 1, timezone)
        ]

    def per_week(
        self,
        finding: str,
        model_sha256: str,
        since: datetime,
        until: datetime,
        timezone: tzinfo | None = None,
    ) -> list[Week]:
        """Every week of that time, also those without films. model_sha256: of the model that read
        them; "": any."""
        return [
            self._week(monday, finding, model_sha256, iso(begins), iso(ends))
            for monday, begins, ends in _spans(since, until, 7, timezone)
        ]

    def _week(self, monday: date, finding: str, model_sha256: str, since: str, until: str) -> Week:
        bins = self.all(
            "SELECT min(CAST(probability * ? AS INTEGER), ? - 1), count(*), sum(probability) "
            f"FROM judged WHERE finding = ? AND probability IS NOT NULL AND {_READ_BY} GROUP BY 1",
            *(N_BINS, N_BINS, finding, since, until, model_sha256, model_sha256),
        )
        histogram = [0] * N_BINS
        for number, n_films, _ in bins:
            histogram[number] = n_films
        n = sum(histogram)
        others = self.one(
            "SELECT count(*) FILTER (WHERE outcome = 'refused'), "
            "count(*) FILTER (WHERE outcome = 'failed'), count(*) "
            f"FROM judged WHERE finding = '' AND {_READ_BY}",
            *(since, until, model_sha256, model_sha256),
        )
        mean = sum(row[2] for row in bins) / n if n else None
        return Week(monday, n, tuple(histogram), mean, *others)

    def answers(
        self, model_sha256: str, since: datetime, until: datetime, distance_edges: Sequence[float]
    ) -> Answers:
        """distance_edges: between the bins, from small to large; each belongs to the next bin."""
        rows = self.all(
            "SELECT status, profile, distance FROM predictions WHERE processed_at >= ? "
            "AND processed_at < ? AND model_sha256 = ? AND is_latest = 1 "
            "AND status IN ('ok', 'refused')",
            *(iso(since), iso(until), model_sha256),
        )
        answered = [row for row in rows if row[0] == "ok"]
        return Answers(
            len(rows) - len(answered),
            Counter(row[1] for row in answered),
            _histogram((row[2] for row in answered if row[2] is not None), distance_edges),
        )

    def scores(
        self,
        finding: str,
        model_sha256: str,
        since: datetime,
        until: datetime,
        profile: str,
        edges: Sequence[float],
    ) -> tuple[int, ...]:
        """How many films that were judged by a site profile ("" for none) have a probability of the
        finding in each bin; edges: between the bins, each belongs to the next one."""
        rows = self.all(
            "SELECT probability FROM judged CROSS JOIN predictions ON id = prediction_id "
            "WHERE finding = ? AND judged.processed_at >= ? AND judged.processed_at < ? "
            "AND judged.model = substr(?, 1, 12) AND probability IS NOT NULL AND profile = ?",
            *(finding, iso(since), iso(until), model_sha256, profile),
        )
        return _histogram((row[0] for row in rows), edges)

    def agreement(
        self,
        model_sha256: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Agreement]:
        """By finding, in the order of their names; findings of which nothing was said are left
        out."""
        rows = self.all(
            "SELECT finding, count(*) FILTER (WHERE verdicts = 1), "
            "count(*) FILTER (WHERE verdicts = 2), count(*) FILTER (WHERE verdicts = 4), "
            "count(*) FILTER (WHERE verdicts = 1 AND rank IS NOT NULL), "
            "count(*) FILTER (WHERE verdicts = 2 AND rank IS NOT NULL), "
            "count(*) FILTER (WHERE verdicts = 1 AND rank IS NULL), "
            "count(*) FILTER (WHERE verdicts = 2 AND rank IS NULL) "
            f"FROM judged WHERE finding > '' AND verdicts != 0 AND {_READ_BY} GROUP BY finding",
            *(iso(since) if since else "", iso(until) if until else "~"),
            *(model_sha256, model_sha256),
        )
        return [Agreement(*row) for row in rows]

    def models(self) -> list[tuple[str, str]]:
        """Name and sha256 of each model that read a film last, the one last used first."""
        # Of each the last one by the index; finding it for all at once would sort all films.
        rows = self.all(
            "SELECT predictions.model, model_sha256 FROM "
            "(SELECT DISTINCT model AS name FROM judged WHERE finding = '') "
            "JOIN predictions ON id = (SELECT prediction_id FROM judged WHERE finding = '' "
            "AND judged.model = name ORDER BY processed_at DESC, prediction_id DESC LIMIT 1) "
            "ORDER BY processed_at DESC, id DESC"
        )
        return [(str(row[0]), str(row[1])) for row in rows]


def _histogram(values: Iterable[float], edges: Sequence[float]) -> tuple[int, ...]:
    counts = Counter(bisect_right(edges, value) for value in values)
    return tuple(counts[place] for place in range(len(edges) + 1))


def _spans(
    since: datetime, until: datetime, n_days: int, timezone: tzinfo | None
) -> list[tuple[date, datetime, datetime]]:
    """The days, or the weeks from Monday on, of a time: each one's date, and from when to when it
    lies within that time."""
    day = since.astimezone(timezone).date()
    if n_days == 7:
        day -= timedelta(days=day.weekday())
    spans = []
    begins = since
    while begins < until:
        ends = min(midnight(day + timedelta(days=n_days), timezone), until)
        spans.append((day, begins, ends))
        day, begins = day + timedelta(days=n_days), ends
    return spans
