"""What a gate does on images that it was not fitted on: the figures of its card."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cxr_edge.gate import distance
from cxr_edge.interpret import to_probability
from cxr_edge.model_card import READABLE, SOFTMAX, Figure, Gate
from cxr_edge.proportion import wilson
from train.negatives import HELD_OUT

from .fit import FittedGate, Looked
from .images import AS_THEY_ARE

ON_UNSEEN_PATIENTS = "made of films of patients that the gate was not fitted on"


def refused_by(
    conditions: NDArray[np.float32], features: NDArray[np.float32], gate: Gate
) -> NDArray[np.str_]:
    """The code that each of N images is refused with, "" where it is accepted; see gate.py."""
    probability = to_probability(conditions, SOFTMAX, 1.0)
    codes = np.array(gate.conditions)[1 + probability[:, 1:].argmax(1)]
    far = np.array(distance(features, gate)) > gate.max_distance
    sure = probability[:, 0] >= gate.min_readable
    return np.where(sure, np.where(far, "unlike_training", ""), codes)


def figures_of(fitted: FittedGate, images: Looked) -> tuple[Figure, ...]:
    """Part of the films of each source that is accepted, and of the images of each kind that is
    refused; intervals after Wilson."""
    refused = refused_by(*fitted.answer(images.taps), fitted.gate) != ""
    readable = images.code == READABLE
    figures = [
        _part("accepted", f"films of {source}, as they are", ~refused[of_source])
        for source in sorted(set(images.source.tolist()))
        for of_source in [(images.kind == AS_THEY_ARE) & (images.source == source)]
    ]
    hardened = readable & (images.kind != AS_THEY_ARE)
    unseen = np.isin(images.kind, sorted(HELD_OUT))
    where = "films changed as other hospitals' may look"
    figures.append(_part("accepted", where, ~refused[hardened]))
    for title, chosen in (
        ("all kinds together", ~readable),
        ("kinds that the gate was not fitted on", ~readable & unseen),
        *((code, images.code == code) for code in sorted(set(images.code[~readable].tolist()))),
    ):
        figures.append(_part("refused", title, refused[chosen]))
    return tuple(figures)


def lines_of(fitted: FittedGate, images: Looked) -> list[str]:
    """What became of each kind, as text."""
    codes = refused_by(*fitted.answer(images.taps), fitted.gate)
    lines = []
    for kind in sorted(set(images.kind.tolist()), key=images.kind.tolist().index):
        of_kind = images.kind == kind
        code = str(images.code[of_kind][0])
        right = codes[of_kind] == code
        what = "refused" if code != READABLE else "refused wrongly"
        said = f"{kind:24} {code:17} {what} {np.mean(codes[of_kind] != ''):6.1%}"
        if code != READABLE:
            said += f", with that code {right.mean():6.1%}"
        lines.append(said + ("   (kind not fitted on)" if kind in HELD_OUT else ""))
    return lines


def _part(verb: str, what: str, happened: Sequence[bool] | NDArray[np.bool_]) -> Figure:
    n, k = len(happened), int(np.sum(happened))
    low, high = wilson(k / n, n)
    return Figure(f"{verb}: {what}", k / n, low, high, n, ON_UNSEEN_PATIENTS)
