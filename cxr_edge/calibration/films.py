"""Labels and what the model says, put together: the films that a site's figures are made of."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingsError
from ..language import Message
from ..result import Result
from .labels import Label

_N_SHOWN = 5


@dataclass(frozen=True, eq=False)
class LabelledFilms:
    """Films that are labelled for one finding, none of them twice.

    present: (N,) bool. probability: (N,) float, the model's own. patient: (N,) int, from 0 on; a
    film of which nobody knows the patient has one of its own.
    """

    finding: str
    present: NDArray[np.bool_]
    probability: NDArray[np.float64]
    patient: NDArray[np.intp]


@dataclass(frozen=True)
class LeftOut:
    """A labelled film without an answer. reason: as its row would say."""

    film: Path
    reason: str


@dataclass(frozen=True, eq=False)
class Answered:
    """films: by finding, in the order in which they were labelled. left_out: labelled films without
    an answer. n_copies: further names of the same films. n_films: different ones with an answer.
    distances: (M,) of those of which the model tells how far they lie from what it learned from.
    digest: a sha256 over the films' own digests and labels."""

    films: tuple[LabelledFilms, ...]
    left_out: tuple[LeftOut, ...]
    n_copies: int
    n_films: int
    distances: NDArray[np.float64]
    digest: str


def put_together(labels: Sequence[Label], results: Iterable[Result]) -> Answered:
    """results: of each labelled film once, by the card's own terms, without a site profile.

    Raises SettingsError: the same film has contradicting labels, or no film that is labelled for a
    finding has an answer.
    """
    by_film = {result.source: result for result in results}
    left_out = {}
    seen: dict[tuple[str, str], Label] = {}
    contradictions = []
    n_copies = 0
    for label in labels:
        result = by_film[label.film]
        if reason := _why_not(label, result):
            left_out[label.film] = LeftOut(label.film, reason)
            continue
        first = seen.setdefault((result.sha256, label.finding), label)
        if first is not label:
            n_copies += 1
            if first.present != label.present:
                contradictions.append((first, label))
    if contradictions:
        raise _contradicting(contradictions)
    findings = dict.fromkeys(label.finding for label in labels)
    answered = {label.finding for label in seen.values()}
    if unanswered := [finding for finding in findings if finding not in answered]:
        why = next(iter(left_out.values()))
        raise SettingsError(
            Message(
                "No film that is labelled for {findings} has an answer; the first, {film}: "
                "{reason}",
                findings=", ".join(unanswered),
                film=why.film,
                reason=why.reason,
            ),
            Message("`cxr-edge predict` tells of each film why."),
        )
    different = {sha256: by_film[label.film] for (sha256, _), label in seen.items()}
    said = sorted(f"{sha} {one.finding} {one.present}" for (sha, _), one in seen.items())
    return Answered(
        tuple(_of_finding(finding, seen, by_film) for finding in findings),
        tuple(left_out.values()),
        n_copies,
        len(different),
        np.array([one.distance for one in different.values() if one.distance is not None], float),
        hashlib.sha256("\n".join(said).encode()).hexdigest(),
    )


def _why_not(label: Label, result: Result) -> str:
    if result.status != "ok":
        return result.reason
    if label.sha256 and label.sha256 != result.sha256:
        return "changed: Another film lies there now than the one that was judged."
    return ""


def _of_finding(
    finding: str, seen: dict[tuple[str, str], Label], by_film: dict[Path, Result]
) -> LabelledFilms:
    labels = [label for (_, name), label in seen.items() if name == finding]
    probability = [
        next(one.probability for one in by_film[label.film].findings if one.name == finding)
        for label in labels
    ]
    # No patient's number is the path of a film.
    patients = [label.patient or f"/{number}" for number, label in enumerate(labels)]
    return LabelledFilms(
        finding,
        np.array([label.present for label in labels], bool),
        np.array(probability, float),
        np.unique(patients, return_inverse=True)[1],
    )


def _contradicting(pairs: Sequence[tuple[Label, Label]]) -> SettingsError:
    shown = [
        Message(
            "{first} and {second} are the same film, once with {finding} and once without.",
            first=first.film,
            second=second.film,
            finding=first.finding,
        )
        for first, second in pairs[:_N_SHOWN]
    ]
    if (n_more := len(pairs) - len(shown)) > 0:
        shown.append(Message("And {n} more such pairs.", n=n_more))
    return SettingsError(Message.joined(shown), Message("Find out which label is right."))
