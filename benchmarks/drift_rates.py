"""How often the comparison of a week with the model's card raises an alarm, with and without cause.

    python -m benchmarks.drift_rates [--model NAME] [--weeks 2000] [--weeks-with-cause 200]

Weeks of made films are drawn from the reference of a model's card: scores of films with and without
each finding, at several prevalences, distances, and refusals. As the card's reference is itself a
sample of some hundred films, each week is compared with one drawn anew, as large as the card's.
Within a bin scores and distances are spread evenly; beyond the last edge distances reach half as
far again, below the first one they begin at half of it.

False alarms: of weeks that are drawn from the reference, whatever the prevalence. Alarms with a
cause: of weeks in which all scores are shifted by 1 on the logit scale, in which every tenth film
is of another kind (any score, distance beyond the last edge), in which distances are a tenth
larger, or three times as many films are refused (one in 50 at least).
"""

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from cxr_edge.drift.comparison import ALPHA, TESTS, Comparison, Observed, compare
from cxr_edge.model_card import N_SCORE_BINS, FindingScores, Reference
from cxr_edge.proportion import wilson

SIZES = (30, 100, 500)
PREVALENCES = (0.02, 0.1, 0.3, 0.6)
MONDAY = date(2026, 1, 5)


@dataclass(frozen=True)
class Cause:
    """What is unlike the reference in a week.

    logits: is added to each score's. part_unlike: of the films. scale: times each distance.
    times_refused: how many times as many films are refused.
    """

    logits: float = 0.0
    part_unlike: float = 0.0
    scale: float = 1.0
    times_refused: float = 1.0


CAUSES = {
    "scores + 1 logit": Cause(logits=1.0),
    "scores - 1 logit": Cause(logits=-1.0),
    "a tenth of another kind": Cause(part_unlike=0.1),
    "distances x 1.1": Cause(scale=1.1),
    "refusals x 3": Cause(times_refused=3.0),
}


class Site:
    """Weeks of a site, and references, by the proportions of a reference."""

    def __init__(self, truth: Reference, seed: int = 0) -> None:
        self._truth = truth
        self._rng = np.random.default_rng(seed)

    def week(self, n_films: int, prevalence: float, cause: Cause | None = None) -> Observed:
        """n_films: that were read."""
        cause, truth = cause or Cause(), self._truth
        part_refused = truth.n_refused / truth.n_films
        if cause.times_refused > 1:
            part_refused = max(0.02, cause.times_refused * part_refused)
        n_refused = int(self._rng.binomial(n_films, part_refused))
        n = n_films - n_refused
        unlike = self._rng.random(n) < cause.part_unlike
        scores = {
            of.finding: self._scores(of, prevalence, unlike, cause.logits) for of in truth.scores
        }
        distances = self._distances(unlike, cause.scale) if truth.distances else ()
        return Observed(MONDAY, n, n_refused, scores, 0, distances)

    def reference(self) -> Reference:
        """Of other films, as many."""
        truth = self._truth
        return replace(
            truth,
            n_refused=int(self._rng.binomial(truth.n_films, truth.n_refused / truth.n_films)),
            scores=tuple(
                FindingScores(of.finding, self._again(of.present), self._again(of.absent))
                for of in truth.scores
            ),
            distances=self._again(truth.distances) if truth.distances else (),
        )

    def _again(self, counts: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self._rng.multinomial(sum(counts), _parts(counts)).tolist())

    def _scores(
        self, of: FindingScores, prevalence: float, unlike: NDArray[np.bool_], logits: float
    ) -> tuple[int, ...]:
        parts = prevalence * _parts(of.present) + (1 - prevalence) * _parts(of.absent)
        edges = np.linspace(0, 1, N_SCORE_BINS + 1)
        scores = self._within(parts, edges, len(unlike)).clip(1e-9, 1 - 1e-9)
        scores = 1 / (1 + (1 / scores - 1) * np.exp(-logits))
        scores[unlike] = self._rng.random(int(unlike.sum()))
        return _counted(scores, edges[1:-1])

    def _distances(self, unlike: NDArray[np.bool_], scale: float) -> tuple[int, ...]:
        inner = np.array(self._truth.distance_edges)
        edges = np.concatenate(([inner[0] / 2], inner, [inner[-1] * 1.5]))
        distances = scale * self._within(_parts(self._truth.distances), edges, len(unlike))
        distances[unlike] = edges[-1]
        return _counted(distances, inner)

    def _within(
        self, parts: NDArray[np.float64], edges: NDArray[np.float64], n: int
    ) -> NDArray[np.float64]:
        """So many values, as frequent in each bin as `parts` says."""
        place = self._rng.choice(len(parts), n, p=parts)
        values: NDArray[np.float64] = edges[place] + np.diff(edges)[place] * self._rng.random(n)
        return values


def _parts(counts: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array(counts) / sum(counts)


def _counted(values: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[int, ...]:
    places = np.searchsorted(edges, values, side="right")
    return tuple(np.bincount(places, minlength=len(edges) + 1).tolist())


def compared(
    site: Site, n_weeks: int, n_films: int, cause: Cause | None = None
) -> list[Comparison]:
    """So many weeks, at one prevalence after the other, each with a reference of its own."""
    return [
        compare(
            site.week(n_films, PREVALENCES[number % len(PREVALENCES)], cause),
            site.reference(),
            "model",
        )
        for number in range(n_weeks)
    ]


def told(weeks: list[Comparison]) -> str:
    """The part of weeks with an alarm, with its interval, and by which tests."""
    n_alarms = sum(bool(week.differences) for week in weeks)
    part = n_alarms / len(weeks)
    low, high = wilson(part, len(weeks))
    kinds = Counter(kind for week in weeks for kind in {test.kind for test in week.differences})
    by = ", ".join(f"{kind} {100 * kinds[kind] / len(weeks):.1f}" for kind in TESTS)
    return f"{100 * part:6.2f} ({100 * low:.2f} to {100 * high:.2f})   by {by}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drift_rates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", help="a model's name or file; without it, the shipped one")
    parser.add_argument("--weeks", type=int, default=2000, help="of each size, without a cause")
    parser.add_argument("--weeks-with-cause", type=int, default=200, help="of each size and cause")
    options = parser.parse_args()
    truth, label = _reference_of(options.model)
    site = Site(truth)
    print(f"{label}: {truth.n_films} films, {truth.n_refused} refused; {truth.measured_on}")
    print(
        f"alarms in % of weeks (95 % interval); stated for weeks without a cause: {100 * ALPHA:g}"
    )
    print(f"{'':26}{'films':>6}")
    causes: dict[str, Cause | None] = {"none": None, **CAUSES}
    for name, cause in causes.items():
        for n_films in SIZES:
            n_weeks = options.weeks if cause is None else options.weeks_with_cause
            weeks = compared(site, n_weeks, n_films, cause)
            print(f"{name:26}{n_films:6}{told(weeks)}", flush=True)


def _reference_of(name: str | None) -> tuple[Reference, str]:
    from cxr_edge import load_model

    card = (load_model(name) if name else load_model()).card
    if card.reference is None:
        raise SystemExit(f"The card of {card.label} has no reference to draw from.")
    return card.reference, card.label


if __name__ == "__main__":
    main()
