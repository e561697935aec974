"""What a site's films are compared with: the model's answers on films of unseen patients."""

from collections.abc import Sequence

import numpy as np

from cxr_edge.model import Model
from cxr_edge.model_card import N_DISTANCE_BINS, N_SCORE_BINS, FindingScores, Reference
from cxr_edge.reading import predict_result
from train.commands import film_bar
from train.data.films import Film

from ..errors import ExportError


def reference_of(model: Model, films: Sequence[Film], measured_on: str) -> Reference:
    """By the runtime's own way. Raises ExportError where no film has an answer."""
    results = [predict_result(film.path, model) for film in film_bar(films, "reading films")]
    read = [
        (film, result) for film, result in zip(films, results, strict=True) if result.status == "ok"
    ]
    if not read:
        raise ExportError("The model refuses all of its own test films.", "Check the gate's data.")
    scores = []
    for point in model.card.operating_points:
        counts = {True: [0] * N_SCORE_BINS, False: [0] * N_SCORE_BINS}
        for film, result in read:
            (found,) = (one for one in result.findings if one.name == point.finding)
            place = min(int(found.probability * N_SCORE_BINS), N_SCORE_BINS - 1)
            counts[point.finding in film.labels][place] += 1
        scores.append(FindingScores(point.finding, tuple(counts[True]), tuple(counts[False])))
    far = np.array([result.distance for _, result in read if result.distance is not None])
    parts = np.arange(1, N_DISTANCE_BINS) / N_DISTANCE_BINS
    edges = np.quantile(far, parts) if len(far) else np.empty(0)
    counted = np.bincount(np.digitize(far, edges), minlength=N_DISTANCE_BINS) if len(far) else ()
    return Reference(
        measured_on,
        len(films),
        sum(result.status == "refused" for result in results),
        tuple(scores),
        tuple(round(float(edge), 5) for edge in edges),
        tuple(int(n) for n in counted),
    )
