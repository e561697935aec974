"""How the last weeks compare with the model's card, in the words and numbers of the person."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..drift.comparison import (
    DISTANCES,
    MIN_FILMS,
    SCORES,
    TESTS,
    Check,
    Comparison,
    next_step,
    summary,
)
from ..language import _, told
from ..words import finding_told
from .view import number_told, percent_told

# Nobody needs to know more exactly how unlikely it is.
_LEAST_P = 1e-4


@dataclass(frozen=True)
class CheckShown:
    """said: what became of it. differs: whether the week is unlike the reference by it."""

    said: str
    differs: bool

    @classmethod
    def of(cls, test: Check) -> "CheckShown":
        if test.p is None:
            few = _("too few films ({n})").format(n=number_told(test.n_films))
            return cls(few, False)
        return cls(_chance_told(test.p), test.differs)


@dataclass(frozen=True)
class WeekShown:
    monday: str
    n_films: str
    tests: tuple[CheckShown, ...]


@dataclass(frozen=True)
class DriftShown:
    """last: what the last full week says; next_step: "" where nothing is to be done. heads: what
    the tests of each week look at. how: which tests they are, and what an alarm means."""

    last: str
    differs: bool
    next_step: str
    heads: tuple[str, ...]
    weeks: tuple[WeekShown, ...]
    how: str

    @classmethod
    def of(cls, comparisons: Sequence[Comparison]) -> "DriftShown":
        """comparisons: of the last full weeks, the oldest first, at least one."""
        last = comparisons[-1]
        return cls(
            told(summary(last)),
            bool(last.differences),
            told(next_step(last)),
            tuple(map(_head, last.tests)),
            tuple(
                WeekShown(
                    week.monday, number_told(week.n_films), tuple(map(CheckShown.of, week.tests))
                )
                for week in reversed(comparisons)
            ),
            _how(comparisons),
        )


def _head(test: Check) -> str:
    if test.kind == SCORES:
        return _("scores for {finding}").format(finding=finding_told(test.finding))
    return _("distances") if test.kind == DISTANCES else _("part that is refused")


def _chance_told(p: float) -> str:
    """How often chance alone does it."""
    if p >= 0.01:
        return _("{n} of 100 weeks").format(n=number_told(100 * p))
    if p >= _LEAST_P:
        return _("1 of {n} weeks").format(n=number_told(1 / p))
    return _("fewer than 1 of {n} weeks").format(n=number_told(1 / _LEAST_P))


def _how(comparisons: Sequence[Comparison]) -> str:
    last = comparisons[-1]
    tests = _("Scores: {scores}. Distances: {distances}. Refusals: {refusals}.").format(
        **{kind: told(name) for kind, name in TESTS.items()}
    )
    alarm = _(
        "All tests of a week together say unlike by chance in {alpha} of weeks at most, if each "
        "film is of another patient. Weeks are compared when they are over, from Monday to Sunday, "
        "with at least {least} films. How frequent a finding is here makes no difference."
    ).format(alpha=percent_told(last.alpha, 0), least=MIN_FILMS)
    said = [tests, alarm]
    if any(one.n_without_scores for one in comparisons):
        said.append(
            _("Scores by a site profile that is not kept here any more cannot be compared.")
        )
    return " ".join(said)
