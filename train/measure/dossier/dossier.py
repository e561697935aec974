"""All that is measured of one model on one choice of films."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_edge.model import Model
from cxr_edge.model_card import SOFTMAX, ModelCard

from ...commands import film_bar
from ...config import Labels
from ...data.films import Film, digest_of
from ..answers import Measured, answers_of_model, read_films, reader_of_model
from ..blackout import Blackout, black_out_lungs, measure_blackout, only_borders
from ..report import Evaluation, evaluate_answers
from ..selection import Selection, check_known, n_learned_from, partitions
from .decision_curve import DecisionCurve, decision_curve
from .refusal import Refused, Unsure, measure_refused, measure_unsure
from .robustness import RobustnessCurve, measure_robustness, some_films
from .sisters import Sister, measure_sister
from .strata import measure_strata

WHOLE, WITHOUT_LUNGS, BORDER = "whole films", "lungs blacked out", "only the border"
_HIDDEN = {WHOLE: lambda pixels: pixels, WITHOUT_LUNGS: black_out_lungs, BORDER: only_borders}


@dataclass(frozen=True)
class Dossier:
    """file: the model file's name. part: of the data, that the films are. n_aside: films of the
    data that were left aside; see Selection. n_learned_from: films that a run of the split trained
    on or chose with. partitions: films and patients by part of the split; empty without one.
    films: those asked for, with an answer or without. hidden: by what is left of the films: WHOLE,
    WITHOUT_LUNGS, BORDER. decision: by finding that some films have and others lack.
    """

    card: ModelCard
    file: str
    sha256: str
    provider: str
    part: str
    n_aside: int
    n_learned_from: int
    partitions: Mapping[str, tuple[int, int]]
    films: tuple[Film, ...]
    evaluation: Evaluation
    sisters: tuple[Sister, ...]
    hidden: Mapping[str, Blackout]
    robustness: tuple[RobustnessCurve, ...]
    strata: Mapping[str, Mapping[str, Measured]]
    refused: Refused
    unsure: tuple[Unsure, ...]
    decision: Mapping[str, DecisionCurve]


def measure_model(
    model: Model, selection: Selection, sisters: Sequence[Path], n_robustness: int
) -> Dossier:
    """sisters: checkpoints of runs that left films out. n_robustness: about so many films are
    disturbed.

    Raises TrainError: no films, findings that the model does not know, a sister that is none.
    """
    card = model.card
    films, n_aside = selection.films(Labels(card.findings, card.activation == SOFTMAX))
    check_known(films, selection.part, card.findings, model.path.name)
    # Before what takes minutes, for they may be none.
    measured_sisters = tuple(measure_sister(path, selection.data, card) for path in sisters)

    answers = answers_of_model(model, films, film_bar)
    refused = measure_refused(model, answers)
    reader = reader_of_model(model)
    _, cached, _ = read_films(answers.films, reader, film_bar, "preparing films")
    sample = some_films(answers.films, cached, n_robustness)
    both = {
        name: present
        for name in answers.judged
        if 0 < (present := answers.of(name)[0]).sum() < len(present)
    }
    return Dossier(
        card=card,
        file=model.path.name,
        sha256=model.sha256,
        provider=model.provider,
        part=selection.part,
        n_aside=n_aside,
        n_learned_from=(
            len(films)
            if digest_of(films) == card.training_data.digest
            else n_learned_from(films, selection.split_path)
        ),
        partitions=partitions(selection.used_split),
        films=films,
        evaluation=evaluate_answers(answers),
        sisters=measured_sisters,
        hidden={
            name: measure_blackout(reader, answers.films, cached, hide)
            for name, hide in _HIDDEN.items()
        },
        robustness=measure_robustness(model, reader, *sample),
        strata=measure_strata(answers),
        refused=refused,
        unsure=measure_unsure(answers, card.unsure),
        decision={
            name: decision_curve(present, answers.of(name)[1], answers.patients)
            for name, present in both.items()
        },
    )
