"""Fitting a gate: made images in, the head and what the card says of it out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxr_edge.gate import distance
from cxr_edge.interpret import to_probability
from cxr_edge.model_card import READABLE, SOFTMAX, Gate

from .head import N_FEATURES, Effort, Head
from .train_head import answers_of, train_head

MAX_REFUSED = 0.003
# No gate is so sure that this would not be too strict.
_MOST_READABLE = 0.5
# A film of another hospital may lie so much farther than any that is known.
_MARGIN = 1.15
_SHRINKAGE = 1e-3


@dataclass(frozen=True, eq=False)
class Looked:
    """Images with their taps. taps: (N, C, 7, 7). code, kind, source, of each: what it deserves,
    what it was made as, and where its film comes from."""

    taps: NDArray[np.float16]
    code: NDArray[np.str_]
    kind: NDArray[np.str_]
    source: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.taps)


@dataclass(frozen=True, eq=False)
class FittedGate:
    """n_resolutions: of the maps that head takes. whitening: (E, D), from what the head embeds to
    the features. gate: without figures."""

    n_resolutions: int
    head: Head
    whitening: NDArray[np.float32]
    gate: Gate

    def answer(self, taps: NDArray[np.float16]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Conditions (N, G) and features (N, D), as the model will give them."""
        conditions, embedded = answers_of(self.head, taps)
        return conditions, embedded @ self.whitening


def fit_gate(
    fitted: Looked,
    held: Looked,
    fitted_on: str,
    effort: Effort,
    progress: Callable[[range], Iterable[int]],
    max_refused: float = MAX_REFUSED,
) -> FittedGate:
    """fitted: images of the films that the model learned from. held: of patients that it did not;
    the limits are chosen on the readable ones among them, as they are and made to look like other
    hospitals': at most the part max_refused is refused for its condition, and as many for their
    distance."""
    codes = (READABLE, *sorted(set(fitted.code.tolist()) - {READABLE}))
    condition = np.array([codes.index(code) for code in fitted.code.tolist()])
    kinds = {name: number for number, name in enumerate(sorted(set(fitted.kind.tolist())))}
    kind = np.array([kinds[name] for name in fitted.kind.tolist()])
    head = train_head(fitted.taps, condition, kind, len(codes), effort, progress)

    readable = fitted.code == READABLE
    _, embedded = answers_of(head, fitted.taps)
    whitening, centres = _feature_space(embedded[readable], fitted.source[readable])
    gate = Gate(
        conditions=codes,
        min_readable=_MOST_READABLE,
        centres=tuple(tuple(round(float(x), 4) for x in centre) for centre in centres),
        max_distance=1.0,
        fitted_on=fitted_on,
        figures=(),
    )
    draft = FittedGate(effort.n_resolutions, head, whitening, gate)
    conditions, features = draft.answer(held.taps[held.code == READABLE])
    sure = to_probability(conditions, SOFTMAX, 1.0)[:, 0]
    far = distance(features, gate)
    # Of the films beside the limit the one that is refused less: no more may be.
    least = float(np.quantile(sure, max_refused, method="lower"))
    most = float(np.quantile(far, 1 - max_refused, method="higher"))
    limited = replace(gate, min_readable=min(_MOST_READABLE, least), max_distance=_MARGIN * most)
    return replace(draft, gate=limited)


def _feature_space(
    embedded: NDArray[np.float32], group: NDArray[np.str_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The whitening (E, D) and the centre of each group (S, D) of readable films (N, E).

    What lies within the groups gets a variance of 1 in each of the D directions in which it varies
    most, so that the distance from the nearest centre is Mahalanobis' (Lee et al. 2018).
    """
    means = {name: embedded[group == name].mean(0) for name in sorted(set(group.tolist()))}
    within = embedded - np.stack([means[name] for name in group.tolist()])
    variance, directions = np.linalg.eigh(within.T @ within / len(within))
    scale = np.sqrt(variance + _SHRINKAGE * variance[-1])
    whitening = (directions / scale)[:, -N_FEATURES:].astype(np.float32)
    return whitening, np.stack(list(means.values())) @ whitening
