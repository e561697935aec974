"""How long a page of the worklist takes with 100,000 films in the ledger, against 1,000.

    python -m benchmarks.worklist

Ledgers are filled as `cxr-edge watch` does it, with made results of several findings over months:
some films refused or failed, some read again by a second model, some with verdicts. Asked for are
the first page of 50 films, the one in the middle and the last, in both orders and by every filter.
Then what the site's page counts over 26 weeks.
"""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxr_edge.ledger import Ledger, Verdict, Wanted
from cxr_edge.result import Finding, Identifiers, Result
from cxr_edge.watch.settle import Look

from .results import Measure, record
from .turns import median

SIZES = (1_000, 100_000)
N_ON_A_PAGE, N_TURNS = 50, 5
AIM_MS, TEXT_AIM_MS, SITE_AIM_MS = 50.0, 150.0, 300.0
FOLDER = Path("/films")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TIME = timedelta(weeks=26)
FINDINGS = ("bacterial pneumonia", "covid-19", "tuberculosis", "viral pneumonia")
MODELS = (("older 1", "a" * 64), ("newer 2", "b" * 64))
LOOK = Look(1, 2, 3)
FILTERS = {
    "all": Wanted(),
    "positive": Wanted(status="positive"),
    "negative": Wanted(status="negative"),
    "ok": Wanted(status="ok"),
    "refused": Wanted(status="refused"),
    "failed": Wanted(status="failed"),
    "a finding": Wanted(FINDINGS[1]),
    "a rare finding": Wanted(FINDINGS[2]),
    "an unknown finding": Wanted("none"),
    "a finding, negative": Wanted(FINDINGS[1], "negative"),
    "a week": Wanted(since=BEGIN + TIME / 2, until=BEGIN + TIME / 2 + timedelta(weeks=1)),
    "a week's failed": Wanted(
        "", "failed", BEGIN + TIME / 2, BEGIN + TIME / 2 + timedelta(weeks=1)
    ),
    "until the second week": Wanted(until=BEGIN + timedelta(weeks=1)),
    "a finding, a week": Wanted(FINDINGS[1], since=BEGIN, until=BEGIN + timedelta(weeks=1)),
    "no verdict": Wanted(verdict="none"),
    "agree": Wanted(verdict="agree"),
    "disagree": Wanted(verdict="disagree"),
    "unsure, refused": Wanted(status="refused", verdict="unsure"),
    "a finding, disagree": Wanted(FINDINGS[1], verdict="disagree"),
    "text: many": Wanted(text="film 0"),
    "text: one": Wanted(text="FILM 0000777"),
    "text: none": Wanted(text="no film has this"),
    "text: none, not ASCII": Wanted(text="ÜBER ALLE"),
    "text: a patient": Wanted(text="pat-00077"),
    "text: none, failed": Wanted(status="failed", text="no film has this"),
    "text: none, a finding": Wanted(FINDINGS[1], text="no film has this"),
}


class Timed(NamedTuple):
    """Milliseconds that a page took in a ledger of each size, turn by turn: (sizes, turns)."""

    filter: str
    by_score: bool
    place: str
    took_ms: list[list[float]]

    @property
    def median_ms(self) -> list[float]:
        """By size."""
        return [statistics.median(turns) for turns in self.took_ms]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledgers = [Ledger(Path(folder) / f"{size}.db") for size in SIZES]
        for ledger, size in zip(ledgers, SIZES, strict=True):
            started_s = time.perf_counter()
            fill(ledger, size)
            print(f"{size} films recorded in {time.perf_counter() - started_s:.0f} s", flush=True)
        timed = pages(ledgers)
        print(f"{'filter':24}{'order':8}{'page':8}{'times':>8}{'ms':>9}{'of 1,000':>10}")
        for one in timed:
            few_ms, many_ms = one.median_ms
            print(
                f"{one.filter:24}{'score' if one.by_score else 'time':8}{one.place:8}"
                f"{many_ms / few_ms:8.1f}{many_ms:9.2f}{few_ms:10.2f}"
            )
        for with_text, aim_ms in ((False, AIM_MS), (True, TEXT_AIM_MS)):
            slowest = max(
                (one for one in timed if one.filter.startswith("text") == with_text),
                key=lambda one: one.median_ms[-1],
            )
            _record(
                "worklist-text" if with_text else "worklist-page",
                f"the slowest page of 50 films of 100,000, {'by' if with_text else 'without'} text",
                slowest.took_ms[-1],
                aim_ms,
                {"filter": slowest.filter, "ms_of_1000": slowest.median_ms[0]},
            )
        _record(
            "site-page",
            "what the page of a site counts, over 26 weeks and 100,000 films",
            [_took_ms(lambda: site(ledgers[-1])) for _ in range(N_TURNS)],
            SITE_AIM_MS,
            {"ms_of_1000": _took_ms(lambda: site(ledgers[0]))},
        )
        for ledger in ledgers:
            ledger.close()


def fill(ledger: Ledger, n_films: int) -> None:
    """Made films, evenly over TIME; the same ones each time."""
    rng = random.Random(0)
    folder_id = ledger.folder_id(FOLDER)
    for start in range(0, n_films, 1000):
        with ledger.transaction():
            for number in range(start, start + 1000):
                file_id = ledger.saw(folder_id, f"ward {number % 7}/Film {number:07}.jpg", LOOK)
                result = made(number, BEGIN + TIME * number / n_films, rng, MODELS[0])
                patient = Identifiers(f"PAT-{number // 3:07}", f"1.2.{number}", f"1.2.3.{number}")
                said = ledger.record(file_id, LOOK, result, patient)
                ledger.finish(file_id, result.status, None, False)
                if number % 20 == 0:
                    prediction = ledger.film(said.prediction_id)
                    assert prediction is not None
                    again = made(number, result.processed_at, rng, MODELS[1], result.sha256)
                    ledger.record_again(prediction, again, patient)
                elif number % 10 == 1:
                    finding = result.findings[0].name if result.findings else ""
                    word = rng.choices(("agree", "disagree", "unsure"), (97, 2, 1))[0]
                    ledger.say(
                        said.prediction_id,
                        Verdict(finding, word, "as I see it", "Dr A", result.processed_at),
                    )


def made(
    number: int, at: datetime, rng: random.Random, model: tuple[str, str], sha256: str = ""
) -> Result:
    """What is said of a film: one in 50 is refused or failed, one in four positive."""
    status = "failed" if number % 100 == 7 else "refused" if number % 100 == 57 else "ok"
    shares = [rng.random() ** power for power in (3, 2, 12, 3)]
    findings = [Finding(name, share, 0.7) for name, share in zip(FINDINGS, shares, strict=True)]
    findings.sort(key=lambda one: (one.positive, one.probability), reverse=True)
    return Result(
        source=FOLDER / f"ward {number % 7}/Film {number:07}.jpg",
        status=status,
        reason="" if status == "ok" else "corrupt: The file ends too early.",
        findings=tuple(findings) if status == "ok" else (),
        model=model[0],
        model_sha256=model[1],
        provider="CPUExecutionProvider",
        duration_ms=12.3,
        processed_at=at,
        sha256=sha256 or f"{rng.getrandbits(256):064x}",
    )


def pages(ledgers: list[Ledger]) -> list[Timed]:
    """The ledgers take turns."""
    timed = []
    for name, chosen in FILTERS.items():
        for by_score in (False, True):
            wanted = Wanted(**{**vars(chosen), "by_score": by_score})
            cursors = [_cursors(ledger, wanted) for ledger in ledgers]
            for place in cursors[0]:
                took_ms: list[list[float]] = [[] for _ in ledgers]
                for _ in range(N_TURNS):
                    for number, ledger in enumerate(ledgers):
                        ask = partial(
                            ledger.page, wanted, N_ON_A_PAGE, cursors[number].get(place, "")
                        )
                        took_ms[number].append(_took_ms(ask))
                timed.append(Timed(name, by_score, place, took_ms))
    return timed


def _cursors(ledger: Ledger, wanted: Wanted) -> dict[str, str]:
    """Of the first page, the one in the middle and the last."""
    n_films = ledger.n_films(wanted, 1_000_000)
    return {
        "first": "",
        "middle": ledger.page(wanted, max(1, n_films // 2)).next_cursor,
        "last": ledger.page(wanted, max(1, n_films - N_ON_A_PAGE)).next_cursor,
    }


def site(ledger: Ledger) -> None:
    """All that a site's page asks."""
    ledger.per_day(BEGIN, BEGIN + TIME, UTC)
    ledger.per_week(ledger.findings()[0], MODELS[0][1], BEGIN, BEGIN + TIME, UTC)
    ledger.agreement(MODELS[0][1])
    ledger.models()


def _took_ms(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started_s)


def _record(
    key: str, what: str, took_ms: list[float], aim_ms: float, details: dict[str, str | float]
) -> None:
    record(Measure(key, what, median(np.array(took_ms)), "ms", aim_ms, False, details))


if __name__ == "__main__":
    main()
