"""Refusals that a site overrules.

Whatever finds a reason to refuse a film tells it to `Refusals`, which raises it, or notes its code
where the site wants an answer all the same; the film's row then names it.
"""

from collections.abc import Collection

from .errors import RefusedError

# Not among them are those after which nothing is left to be judged: several_frames, invalid_pixels,
# blank.
ACCEPTABLE = frozenset(
    {
        "age",
        "colour",
        "inverted",
        "lateral",
        "lungs_cut_off",
        "mirrored",
        "not_a_chest_film",
        "not_a_radiograph",
        "odd_shape",
        "overexposed",
        "photographed",
        "rotated_180",
        "rotated_270",
        "rotated_90",
        "too_small",
        "underexposed",
        "unlike_training",
        "view",
    }
)


class Refusals:
    """What would keep one film from being judged."""

    def __init__(self, accepted: Collection[str] = (), overruled: Collection[str] = ()) -> None:
        """accepted: the codes that are overruled. overruled: those that were, on the way so far."""
        self._accepted = accepted
        self._overruled = dict.fromkeys(overruled)

    def refuse(self, error: RefusedError) -> None:
        """Raises it, but where its code is accepted."""
        if error.code not in self._accepted:
            raise error
        self._overruled[error.code] = None

    @property
    def overruled(self) -> tuple[str, ...]:
        """The codes that were, each once, in the order in which they were met."""
        return tuple(self._overruled)
