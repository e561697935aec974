"""Which operating points: chosen on the run's validation films, or on those a sister never saw."""

import numpy as np
import torch
from numpy.typing import NDArray

from cxr_edge.interpret import to_probability
from cxr_edge.model_card import NO_FINDING, SOFTMAX, OperatingPoint
from train.data.split import LEFT_OUT, TEST, TRAIN, VALIDATION
from train.learn.checkpoint import Checkpoint

from .errors import ExportError
from .operating_point import fit_shared_threshold, fit_temperature, fit_threshold
from .run import Run, prepared, present_of


def shifted_points(run: Run, sister: Run, min_sensitivity: float) -> list[OperatingPoint]:
    """Operating points chosen on films of a source that the sister run left out."""
    if sister.checkpoint.findings != run.checkpoint.findings:
        raise ExportError(
            "The sister run has other findings.", "Train it on the same data as the run."
        )
    if not sister.split[LEFT_OUT]:
        raise ExportError("The sister run left nothing out.", "Train it with --leave-out.")
    used = (film.group for name in (TRAIN, VALIDATION, LEFT_OUT) for film in sister.split[name])
    if seen := {film.group for film in run.split[TEST]}.intersection(used):
        raise ExportError(
            f"The sister run saw {len(seen)} of the run's test patients, so that the operating "
            "point would be chosen with films it is to be measured on.",
            "Train the sister with --leave-out and --split of the run.",
        )
    own = sister.split[VALIDATION]
    films = (*own, *sister.split[LEFT_OUT])
    network = sister.checkpoint.build()
    with torch.inference_mode():
        logits = np.concatenate(
            [
                network(torch.from_numpy(x)).numpy()
                for x in prepared(sister, films, "left-out films")
            ]
        )
    present = present_of(films, run.checkpoint.findings)
    activation = sister.checkpoint.activation
    temperature = fit_temperature(logits[: len(own)], present[: len(own)], activation)
    return choose_points(
        sister.checkpoint,
        present,
        to_probability(logits, activation, temperature),
        min_sensitivity,
        "a source left out of a sister run's training, with that run's validation films",
    )


def choose_points(
    checkpoint: Checkpoint,
    present: NDArray[np.bool_],
    probability: NDArray[np.floating],
    min_sensitivity: float,
    where: str,
) -> list[OperatingPoint]:
    findings = checkpoint.findings
    if checkpoint.activation == SOFTMAX:
        shared = fit_shared_threshold(present, probability, findings)
        rule = f"one threshold for all findings, with the highest accuracy, on {where}"
        return [draft_point(name, shared, rule) for name in findings if name != NO_FINDING]
    rule = f"highest specificity with sensitivity of at least {min_sensitivity:g}, on {where}"
    return [
        draft_point(name, fit_threshold(present[:, k], probability[:, k], min_sensitivity), rule)
        for k, name in enumerate(findings)
    ]


def draft_point(finding: str, threshold: float, chosen_by: str = "draft") -> OperatingPoint:
    """One that was not measured yet."""
    return OperatingPoint(finding, threshold, 0.0, 0.0, "not measured yet", chosen_by)
