"""What refusing, and being unsure, does to the answers that remain."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cxr_edge.model import Model
from cxr_edge.model_card import UnsureBand
from cxr_edge.refusals import ACCEPTABLE
from cxr_edge.terms import Terms

from ...commands import film_bar
from ...errors import TrainError
from ..answers import Answers, Measured, answers_of_model, joined, measure_answers
from ..metrics import Interval, measure_decisions, measure_part

UNSURE_FIGURES = ("sensitivity", "specificity", "accuracy")


@dataclass(frozen=True)
class Refused:
    """Films without an answer.

    reasons: films by code and label. forced: the figures with an answer to every film that can be
    had by overruling the refusals; None where there is no such film.
    """

    reasons: Mapping[tuple[str, str], int]
    forced: Measured | None

    @property
    def codes(self) -> Mapping[str, int]:
        """Films by code."""
        counts = Counter[str]()
        for (code, _), n in self.reasons.items():
            counts[code] += n
        return dict(counts.most_common())


def measure_refused(model: Model, answers: Answers) -> Refused:
    """answers: the model's, on its own terms."""
    reasons = Counter((fault.code, fault.film.label) for fault in answers.unanswered)
    overruled = [fault.film for fault in answers.unanswered if fault.code in ACCEPTABLE]
    forced = None
    if overruled:
        try:
            others = answers_of_model(model, overruled, film_bar, Terms(accepted=ACCEPTABLE))
            forced = measure_answers(joined(answers, others))
        except TrainError:  # none of them has an answer even so
            pass
    return Refused(dict(sorted(reasons.items())), forced)


@dataclass(frozen=True)
class Unsure:
    """A finding's unsure band on these films.

    part: of the films, unsure. of_present, of_absent: the part of the films with and without the
    finding that is answered rightly or with "unsure", which is what the band promises. decided: the
    figures (UNSURE_FIGURES) of the films that are not unsure.
    """

    band: UnsureBand
    n_films: int
    part: Interval
    of_present: Interval
    of_absent: Interval
    decided: Mapping[str, Interval]


def measure_unsure(answers: Answers, bands: Sequence[UnsureBand]) -> tuple[Unsure, ...]:
    return tuple(_unsure(answers, band) for band in bands)


def _unsure(answers: Answers, band: UnsureBand) -> Unsure:
    present, probability = answers.of(band.finding)
    positive = answers.positive[:, answers.findings.index(band.finding)]
    unsure = (band.low <= probability) & (probability < band.high)
    kept = unsure | (positive == present)
    sure = ~unsure
    patients = np.array(answers.patients)
    figures: Mapping[str, Interval] = {}
    if sure.any():
        figures = measure_decisions(
            present[sure], probability[sure], positive[sure], patients[sure].tolist()
        )
    return Unsure(
        band,
        int(unsure.sum()),
        measure_part(unsure, answers.patients),
        measure_part(kept, answers.patients, present),
        measure_part(kept, answers.patients, ~present),
        {name: figures[name] for name in UNSURE_FIGURES if name in figures},
    )
