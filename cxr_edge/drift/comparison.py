"""One week's films against the reference of the model's card: the facts, and what is said of them.

How frequent a finding is here is no drift, nor are films that could not be read. Weeks are whole
ones, from Monday to Sunday: who looked at a running one again and again would see an alarm by
chance sooner or later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from ..language import Message
from ..model_card import Reference
from ..words import FINDINGS

# Of weeks whose films are like those of the reference, at most this part gets an alarm, by all
# tests together (Bonferroni): in two years about one.
ALPHA = 0.01
MIN_FILMS = 30
SCORES, DISTANCES, REFUSALS = "scores", "distances", "refusals"
TESTS: Mapping[str, Message] = {
    SCORES: Message("likelihood-ratio test against every mix"),
    DISTANCES: Message("Savage's rank test"),
    REFUSALS: Message("Fisher's exact test"),
}
NOTHING_TO_COMPARE = Message("The model's card has nothing to compare with.")
_LOOK = Message(
    "See whether the machine, its settings or the patients have changed. Have 200 films of these "
    "weeks labelled and run cxr-edge calibrate; if the figures are bad, ask for a model for this "
    "site."
)
_LOOK_AT_REFUSED = Message("See in the list of films why they are refused.")


@dataclass(frozen=True)
class Observed:
    """What a model made of a week's films; of each what was said last.

    scores: by finding, its films in model_card.N_SCORE_BINS bins of the model's own probability;
    n_without_scores: films of which that probability is not known any more. distances: films in the
    bins of the reference.
    """

    monday: date
    n_answered: int
    n_refused: int
    scores: Mapping[str, tuple[int, ...]]
    n_without_scores: int
    distances: tuple[int, ...]


@dataclass(frozen=True)
class Check:
    """kind: a word of TESTS. finding: whose scores; "" otherwise. n_films: of the week that count.
    statistic, p: see statistics.py; None where there are fewer than MIN_FILMS. differs: whether p
    is below its part of ALPHA."""

    kind: str
    finding: str
    n_films: int
    statistic: float | None = None
    p: float | None = None
    differs: bool = False


@dataclass(frozen=True)
class Comparison:
    """monday: ISO 8601. model: the label of what was measured on the reference's films: the model,
    or its site profile. n_films: with those refused. alpha: the part of weeks
    with an alarm by chance. tests: none where the card has nothing to compare with."""

    monday: str
    model: str
    n_films: int
    n_refused: int
    n_without_scores: int
    alpha: float
    tests: tuple[Check, ...]

    @property
    def differences(self) -> tuple[Check, ...]:
        return tuple(test for test in self.tests if test.differs)

    @property
    def n_done(self) -> int:
        """How many tests there were films enough for."""
        return sum(test.p is not None for test in self.tests)


def compare(observed: Observed, reference: Reference | None, model: str) -> Comparison:
    """model: its label, or that of its site profile, to be told of; see Comparison."""
    tests = () if reference is None else _tests(observed, reference)
    return Comparison(
        observed.monday.isoformat(),
        model,
        observed.n_answered + observed.n_refused,
        observed.n_refused,
        observed.n_without_scores,
        ALPHA,
        tests,
    )


def _tests(observed: Observed, reference: Reference) -> tuple[Check, ...]:
    wanted = [
        Check(SCORES, of.finding, sum(observed.scores.get(of.finding, ())))
        for of in reference.scores
        if any(of.present) and any(of.absent)
    ]
    if any(reference.distances):
        wanted.append(Check(DISTANCES, "", sum(observed.distances)))
    if reference.n_films:
        wanted.append(Check(REFUSALS, "", observed.n_answered + observed.n_refused))
    n_done = sum(test.n_films >= MIN_FILMS for test in wanted)
    return tuple(
        _done(test, observed, reference, ALPHA / n_done) if test.n_films >= MIN_FILMS else test
        for test in wanted
    )


def _done(test: Check, observed: Observed, reference: Reference, level: float) -> Check:
    # Here, as whoever tells of a comparison needs no numpy.
    from .statistics import larger_test, mixture_test, more_often_test

    # What is extreme for its level is so by several draws.
    n_draws = round(5 / level) - 1
    if test.kind == SCORES:
        of = next(one for one in reference.scores if one.finding == test.finding)
        tested = mixture_test(observed.scores[of.finding], of.present, of.absent, n_draws)
    elif test.kind == DISTANCES:
        tested = larger_test(observed.distances, reference.distances, n_draws)
    else:
        tested = more_often_test(
            observed.n_refused, test.n_films, reference.n_refused, reference.n_films
        )
    statistic = round(tested.statistic, 6)
    return Check(test.kind, test.finding, test.n_films, statistic, tested.p, tested.p <= level)


def summary(comparison: Comparison) -> Message:
    """What a week's comparison says, in a sentence or two."""
    facts = {"monday": comparison.monday, "n": comparison.n_films, "model": comparison.model}
    if not comparison.tests:
        return NOTHING_TO_COMPARE
    if not comparison.n_done:
        return Message(
            "In the week of {monday} {n} films were read: too few to compare, which takes {least}.",
            **facts,
            least=MIN_FILMS,
        )
    by_chance = Message(
        "Where nothing has changed, at most one week in {n_weeks} has such an alarm.",
        n_weeks=round(1 / comparison.alpha),
    )
    if not comparison.differences:
        like = Message(
            "In the week of {monday} the films ({n}) looked like those that {model} was measured "
            "on, as far as {n_tests} tests can tell.",
            **facts,
            n_tests=comparison.n_done,
        )
        return Message.joined((like, by_chance))
    unlike = Message(
        "In the week of {monday} the films ({n}) did not look like those that {model} was measured "
        "on: {what}.",
        **facts,
        what=Message.joined(
            (difference(test, comparison) for test in comparison.differences), "; "
        ),
    )
    return Message.joined((unlike, by_chance))


def difference(test: Check, comparison: Comparison) -> Message:
    """What a test has found, with its name."""
    facts = {"test": TESTS.get(test.kind, test.kind), "p": _p_told(test.p or 0.0)}
    if test.kind == SCORES:
        return Message(
            "the scores for {finding} are not explained by any mix of films with and without it "
            "({test}, p {p})",
            finding=next((one for one in FINDINGS if one == test.finding), test.finding),
            **facts,
        )
    if test.kind == DISTANCES:
        return Message("they lie farther from what the model learned from ({test}, p {p})", **facts)
    return Message(
        "more are refused than where the model was measured, {n_refused} of {n} ({test}, p {p})",
        n_refused=comparison.n_refused,
        n=test.n_films,
        **facts,
    )


def next_step(comparison: Comparison) -> Message:
    """What a person is to do about the differences; "" where there are none."""
    kinds = {test.kind for test in comparison.differences}
    return Message.joined(
        (
            _LOOK_AT_REFUSED if REFUSALS in kinds else "",
            _LOOK if kinds - {REFUSALS} else "",
        )
    )


def _p_told(p: float) -> str:
    return f"= {p:.2g}" if p >= 1e-4 else "< 0.0001"
