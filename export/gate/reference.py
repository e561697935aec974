"""What a site's films are compared with: the model's answers on films of unseen patients."""

from collections.abc import Sequence

import numpy as np

from cxr_edge.bins import deciles, score_counts
from cxr_edge.model import Model
from cxr_edge.model_card import FindingScores, Reference
from cxr_edge.reading import predict_result
from train.commands import film_bar
from train.data.films import Film

from ..errors import ExportError


def reference_of(model: Model, films: Sequence[Film], measured_on: str) -> Reference:
    """By the runtime's own way; films that cannot be read at all are left out.

    Raises ExportError where no film has an answer.
    """
    results = [predict_result(film.path, model) for film in film_bar(films, "reading films")]
    read = [
        (film, result) for film, result in zip(films, results, strict=True) if result.status == "ok"
    ]
    n_refused = sum(result.status == "refused" for result in results)
    if not read:
        raise ExportError(
            f"{model.path.name} with its gate answers none of {len(films)} test films "
            f"({n_refused} are refused).",
            "Give --films and --images more, or check that the split is of this model's data.",
        )
    scores = []
    for point in model.card.operating_points:
        present = np.array([point.finding in film.labels for film, _ in read])
        probability = np.array(
            [
                finding.probability
                for _, result in read
                for finding in result.findings
                if finding.name == point.finding
            ]
        )
        counts = score_counts(probability[present]), score_counts(probability[~present])
        scores.append(FindingScores(point.finding, *counts))
    far = np.array([result.distance for _, result in read if result.distance is not None])
    edges, distances = deciles(far) if len(far) else ((), ())
    n_films = len(read) + n_refused
    return Reference(measured_on, n_films, n_refused, tuple(scores), edges, distances)
