"""The figures of the test films for the card, by the model file itself."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cxr_edge.model import Model
from cxr_edge.model_card import Figure, ModelCard
from train.commands import film_bar
from train.data.split import TEST, TRAIN
from train.measure.answers import (
    Answers,
    Measured,
    answers_of_model,
    measure_answers,
    measure_by_source,
)
from train.measure.report import SOURCE_FIGURES

from .errors import ExportError
from .run import Run


@dataclass(frozen=True)
class OnTestFilms:
    """What a model file answers on its run's test films, and how right it is. where: in words."""

    answers: Answers
    measured: Measured
    where: str


def measure_on_test_films(run: Run, card: ModelCard, model: Model) -> OnTestFilms:
    """Raises ExportError where the model refuses one of them."""
    answers = answers_of_model(model, run.split[TEST], film_bar)
    if answers.unanswered:
        worst = answers.unanswered[0]
        raise ExportError(
            f"The model refuses {len(answers.unanswered)} of its own test films, the first is "
            f"{worst.film.path} ({worst.reason}).",
            "Move films that cannot be judged out of the data.",
        )
    sources = {film.source for film in run.split[TEST]}
    learned = {film.source for film in run.split[TRAIN]}
    # Of some of its sources alone: see run.judged_on.
    films = card.training_data.name if sources >= learned else ", ".join(sorted(sources))
    where = (
        f"test films of {films}, patients unseen in training and in choosing the operating point"
    )
    return OnTestFilms(answers, measure_answers(answers), where)


def with_test_figures(card: ModelCard, test: OnTestFilms) -> ModelCard:
    """The card with what the int8 model gives on the test films, in all and by source."""
    figures = _figures(test.measured, test.where)
    for source, of_source in measure_by_source(test.answers).items():
        figures += _figures(of_source, f"those of {source} among the test films", SOURCE_FIGURES)
    points = [
        dataclasses.replace(
            point,
            sensitivity=test.measured.findings[point.finding]["sensitivity"].value,
            specificity=test.measured.findings[point.finding]["specificity"].value,
            measured_on=test.where,
        )
        for point in card.operating_points
    ]
    return dataclasses.replace(card, figures=tuple(figures), operating_points=tuple(points))


def _figures(measured: Measured, where: str, kinds: Sequence[str] = ()) -> list[Figure]:
    """Those that the films determine, of these kinds or of all; named by finding and kind."""
    named = {
        f"{of} {kind}": interval
        for of, figures in (*measured.findings.items(), ("all labels", measured.overall))
        for kind, interval in figures.items()
        if not kinds or kind in kinds
    }
    return [
        Figure(name, i.value, i.low, i.high, measured.n_films, where)
        for name, i in named.items()
        if not np.isnan([i.value, i.low, i.high]).any()
    ]
