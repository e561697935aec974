"""The figures by what a manifest tells of the patient and the film."""

from bisect import bisect
from collections.abc import Callable, Mapping
from itertools import pairwise

from ...data.films import Film
from ..answers import Answers, Measured, measure_by

NOT_KNOWN = "not known"
# The first year of each band but the first; radiographs of a baby, a child and an adult differ.
_AGES = (1, 6, 12, 18, 40, 65)
_BANDS = (
    "below 1 year",
    *(f"{start} to {end - 1} years" for start, end in pairwise(_AGES)),
    f"{_AGES[-1]} years and above",
)
_SEXES = {"F": "female", "M": "male"}


def age_band(film: Film) -> str:
    return NOT_KNOWN if film.age_years is None else _BANDS[bisect(_AGES, film.age_years)]


# By what is told: the films' parts, and their order.
_STRATA: Mapping[str, tuple[Callable[[Film], str], tuple[str, ...]]] = {
    "age": (age_band, _BANDS),
    "sex": (lambda film: _SEXES.get(film.sex, NOT_KNOWN), tuple(_SEXES.values())),
    "view": (lambda film: film.view or NOT_KNOWN, ("PA", "AP")),
}


def measure_strata(answers: Answers) -> dict[str, dict[str, Measured]]:
    """The figures by age, by sex and by view, each where it is known of any film; the films of
    which it is not known come last.
    """
    strata = {}
    for kind, (part_of, order) in _STRATA.items():
        parts = [part_of(film) for film in answers.films]
        if set(parts) - {NOT_KNOWN}:
            measured = measure_by(parts, answers)
            strata[kind] = {
                name: measured[name] for name in (*order, NOT_KNOWN) if name in measured
            }
    return strata
