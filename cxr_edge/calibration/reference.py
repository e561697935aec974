"""What later weeks at a site are compared with: its own labelled films."""

from dataclasses import replace

from ..bins import deciles, score_counts
from ..drift.comparison import MIN_FILMS
from ..model_card import FindingScores, Reference
from .films import Answered, LabelledFilms


def site_reference(
    answered: Answered, of_card: Reference | None, measured_on: str
) -> Reference | None:
    """The card's, with this site's scores and distances in place of its own; None where the films
    are too few for either.

    Findings that nobody labelled here keep the card's scores. So does the part that is refused: who
    labels films picks such as can be read.
    """
    labelled = {films.finding: _scores(films) for films in answered.films if _says_enough(films)}
    has_distances = len(answered.distances) >= MIN_FILMS
    if not labelled and not has_distances:
        return None
    reference = of_card or Reference(measured_on, 0, 0, (), (), ())
    others = [one for one in reference.scores if one.finding not in labelled]
    edges, distances = (
        deciles(answered.distances)
        if has_distances
        else (reference.distance_edges, reference.distances)
    )
    return replace(
        reference,
        measured_on=measured_on,
        scores=(*labelled.values(), *others),
        distance_edges=edges,
        distances=distances,
    )


def _says_enough(films: LabelledFilms) -> bool:
    return len(films.present) >= MIN_FILMS and 0 < films.present.sum() < len(films.present)


def _scores(films: LabelledFilms) -> FindingScores:
    return FindingScores(
        films.finding,
        score_counts(films.probability[films.present]),
        score_counts(films.probability[~films.present]),
    )
