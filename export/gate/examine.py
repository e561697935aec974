"""What a gate does on images that it was not fitted on: the figures of its card."""

import numpy as np
from numpy.typing import NDArray

from cxr_edge.gate import UNLIKE_TRAINING, distance
from cxr_edge.interpret import to_probability
from cxr_edge.model_card import READABLE, SOFTMAX, Figure, Gate
from cxr_edge.proportion import wilson
from train.negatives import HELD_OUT

from .fit import Looked
from .images import AS_THEY_ARE

ON_UNSEEN_PATIENTS = "made of films of patients that the gate was not fitted on"


def refused_by(
    conditions: NDArray[np.float32], features: NDArray[np.float32], gate: Gate
) -> NDArray[np.str_]:
    """The code that each of N images is refused with, "" where it is accepted, as cxr_edge/gate.py
    refuses one; conditions: (N, G), features: (N, D)."""
    probability = to_probability(conditions, SOFTMAX, 1.0)
    codes = np.array(gate.conditions)[1 + probability[:, 1:].argmax(1)]
    far = np.array(distance(features, gate)) > gate.max_distance
    sure = probability[:, 0] >= gate.min_readable
    return np.where(sure, np.where(far, UNLIKE_TRAINING, ""), codes)


def figures_of(codes: NDArray[np.str_], images: Looked) -> tuple[Figure, ...]:
    """Part of the films of each source that is accepted, and of the images of each kind that is
    refused; intervals after Wilson. codes: see refused_by."""
    refused = codes != ""
    readable = images.code == READABLE
    as_it_is = images.kind == AS_THEY_ARE
    unseen = np.isin(images.kind, sorted(HELD_OUT))
    sources, unreadable = sorted(set(images.source.tolist())), sorted(set(images.code[~readable]))
    accepted = {
        **{f"films of {one}, as they are": as_it_is & (images.source == one) for one in sources},
        "films changed as other hospitals' may look": readable & ~as_it_is,
    }
    refusals = {
        "all kinds together": ~readable,
        "kinds that the gate was not fitted on": ~readable & unseen,
        **{str(code): images.code == code for code in unreadable},
    }
    return (
        *(_part(f"accepted: {what}", ~refused[which]) for what, which in accepted.items()),
        *(_part(f"refused: {what}", refused[which]) for what, which in refusals.items()),
    )


def lines_of(codes: NDArray[np.str_], images: Looked) -> list[str]:
    """What became of each kind, as a table; codes: see refused_by."""
    lines = [f"{'kind':25} {'deserved code':17} {'images':>6} {'refused':>8} {'with it':>8}"]
    for kind in dict.fromkeys(images.kind.tolist()):
        of_kind = images.kind == kind
        given, deserved = codes[of_kind], str(images.code[of_kind][0])
        unseen = "*" if kind in HELD_OUT else ""
        line = f"{kind + unseen:25} {deserved:17} {len(given):6} {np.mean(given != ''):8.1%}"
        if deserved != READABLE:
            line += f" {np.mean(given == deserved):8.1%}"
        lines.append(line)
    return [*lines, "* a kind that the gate was not fitted on"]


def _part(name: str, happened: NDArray[np.bool_]) -> Figure:
    n, k = len(happened), int(happened.sum())
    return Figure(name, k / n, *wilson(k / n, n), n, ON_UNSEEN_PATIENTS)
