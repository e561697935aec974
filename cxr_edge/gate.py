"""GATE: whether a film may be judged at all, by its header and by what the network itself made of
it on the way to its answer."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .errors import RefusedError
from .interpret import to_probability
from .model_card import SOFTMAX, Gate, ModelCard
from .radiograph import Header
from .refusals import Refusals

_SEND_A_CHEST_FILM = "Send a frontal chest radiograph (PA or AP)."
_TURN = "Turn it upright where it was made, and export it again."
# What is told for each condition of a gate but "readable": the sentence, and the next step.
TOLD: Mapping[str, tuple[str, str]] = {
    "not_a_chest_film": ("This does not look like a chest radiograph.", _SEND_A_CHEST_FILM),
    "lateral": ("This looks like a lateral view.", "Send the frontal view (PA or AP)."),
    "inverted": (
        "Black and white are exchanged: this looks like a negative.",
        "Export the radiograph again with white bones.",
    ),
    "rotated_90": ("The film lies turned by 90 degrees clockwise.", _TURN),
    "rotated_180": ("The film stands upside down.", _TURN),
    "rotated_270": ("The film lies turned by 90 degrees counter-clockwise.", _TURN),
    "lungs_cut_off": (
        "Parts of the lungs are cut off.",
        "Export the whole radiograph, or take it again.",
    ),
    "overexposed": (
        "The film is overexposed: the lungs are black, and show nothing.",
        "Check the exposure and the window, and export or take it again.",
    ),
    "underexposed": (
        "The film is underexposed: too white or too noisy to show the lungs.",
        "Check the exposure and the window, and export or take it again.",
    ),
    "photographed": (
        "This looks like a photograph of a screen or a light box.",
        "Export the radiograph itself, as DICOM, PNG or JPEG.",
    ),
}
UNLIKE_TRAINING = "unlike_training"
# The rows of a frontal film as it should hang run to the patient's left, its columns to the feet:
# LF (DICOM PS3.3 C.7.6.1.1.1). Others, and what became of the film.
_LIES: Mapping[str, str] = {
    "HL": "rotated_90",
    "RH": "rotated_180",
    "FR": "rotated_270",
    "RF": "mirrored",
    "LH": "mirrored",
    "HR": "mirrored",
    "FL": "mirrored",
    "AF": "lateral",
    "PF": "lateral",
}
# View Positions of a chest that are neither frontal nor lateral (DICOM CID 4010 and its kin). What
# is typed by hand is let through.
_OTHER_VIEWS = frozenset({"PA", "AP", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE"})


def check_header(header: Header, card: ModelCard, refusals: Refusals) -> None:
    """Refuses (age, view, mirrored, rotated_90, rotated_180, rotated_270) a film whose header says
    that the model is not for it."""
    youngest, oldest = card.age_range_years
    # A child of five years and eleven months is five years old.
    age = header.age_years
    if age is not None and not youngest <= math.floor(age + 1e-9) <= oldest:
        refusals.refuse(
            RefusedError(
                "age",
                f"The patient is {age:.3g} years old; this model is for {youngest:g} to "
                f"{oldest:g} years.",
                "Have this film read by a person, or by a model for this age.",
            )
        )
    if header.view in _OTHER_VIEWS and header.view not in card.views:
        refusals.refuse(
            RefusedError(
                "view",
                f"The view is {header.view}; this model is for {', '.join(card.views)}.",
                _SEND_A_CHEST_FILM,
            )
        )
    if code := _LIES.get(header.orientation):
        said, next_step = TOLD.get(
            code, ("Left and right are exchanged.", "Export the radiograph again, not mirrored.")
        )
        refusals.refuse(RefusedError(code, f"By its header: {said}", next_step))


def check_outputs(
    conditions: NDArray[np.float32],
    features: NDArray[np.float32],
    gate: Gate,
    refusals: Refusals,
) -> float:
    """Refuses a film that the network does not take for a readable one of the kind that it learned
    from; returns its `distance`.

    conditions: (G,), features: (D,); see model_card.Gate.
    """
    probability = to_probability(conditions[None], SOFTMAX, 1.0)[0]
    # This way round, what is no number is refused too.
    if not probability[0] >= gate.min_readable:
        code = gate.conditions[1 + int(probability[1:].argmax())]
        refusals.refuse(RefusedError(code, *TOLD[code]))
    far = distance(features[None], gate)[0]
    if not far <= gate.max_distance:
        refusals.refuse(
            RefusedError(
                UNLIKE_TRAINING,
                f"This film is unlike all that the model learned from (distance {far:.2f}, at most "
                f"{gate.max_distance:.2f}).",
                "Have it read by a person. Where many are refused so, ask for a model for them.",
            )
        )
    return far


def distance(features: NDArray[np.float32], gate: Gate) -> list[float]:
    """How far N films (N, D) lie from those that the model learned from: the root of the mean
    square of what parts them from the nearest centre. Films like those lie around 1.

    The features are whitened, so that this is the Mahalanobis distance (Lee et al. 2018,
    arXiv:1807.03888) over the root of D.
    """
    centres = np.asarray(gate.centres, np.float64)
    apart = features[:, None].astype(np.float64) - centres  # (N, C, D)
    nearest = np.square(apart).mean(2).min(1)
    return [float(value) for value in np.sqrt(nearest)]
