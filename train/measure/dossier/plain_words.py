"""What a model is for and where it fails, in sentences that its figures make."""

from collections.abc import Iterator

import numpy as np

from cxr_edge.model_card import NO_FINDING

from ..metrics import Interval
from .dossier import BORDER, WITHOUT_LUNGS, Dossier
from .robustness import worst

# From here on a film without lungs still tells a finding, not by chance alone.
_TELLS = 0.55


def plain_words(dossier: Dossier) -> list[str]:
    """A sentence or two each: its purpose, its errors, its worst source, and what shakes it."""
    return [
        *_purpose(dossier),
        *_errors(dossier),
        *_worst_source(dossier),
        *_new_source(dossier),
        *_beside_the_lungs(dossier),
        *_disturbed(dossier),
        *_stated(dossier),
        *_unanswered(dossier),
    ]


def _purpose(dossier: Dossier) -> Iterator[str]:
    card = dossier.card
    low, high = card.age_range_years
    yield (
        f"What it is for: {card.intended_use.rstrip('.')}. Ages {low:g} to {high:g} years, views "
        f"{' and '.join(card.views) or 'not stated'}."
    )
    if dossier.n_learned_from:
        yield (
            f"{dossier.n_learned_from} of these films were trained on or chosen with: the figures "
            "flatter."
        )


def _errors(dossier: Dossier) -> Iterator[str]:
    measured = dossier.evaluation.measured
    for finding, figures in measured.findings.items():
        n_present = measured.n_present[finding]
        n_absent = measured.n_films - n_present
        parts = []
        if n_present:
            missed = round(n_present * (1 - figures["sensitivity"].value))
            parts.append(f"of {n_present} films with it, it misses {missed}")
        else:
            parts.append("no film here has it, so that nothing is known of what it misses")
        if n_absent:
            called = round(n_absent * (1 - figures["specificity"].value))
            parts.append(f"of {n_absent} without it, it takes {called} for it")
        else:
            parts.append("every film here has it, so that nothing is known of false alarms")
        yield f"{_named(finding)}: {'; '.join(parts)}."


def _worst_source(dossier: Dossier) -> Iterator[str]:
    for finding in dossier.evaluation.measured.findings:
        for figure in ("sensitivity", "specificity"):
            known = [
                (source, part.findings[finding][figure])
                for source, part in dossier.evaluation.by_source.items()
                if not np.isnan(part.findings[finding][figure].value)
            ]
            if len(known) > 1:
                source, lowest = min(known, key=lambda pair: pair[1].value)
                yield f"{_named(finding)}: its {figure} is lowest on films of {source}: {lowest}."


def _new_source(dossier: Dossier) -> Iterator[str]:
    if not dossier.sisters:
        yield (
            "No run that left a source or a batch out was given, so that nothing here says what it "
            "makes of films from elsewhere. Expect less than the figures on this page."
        )
    for sister in dossier.sisters:
        what = "a source" if sister.whole_sources else "a batch"
        for finding, figures in sister.measured.findings.items():
            yield (
                f"{_named(finding)}, on {what} that a sister run never saw "
                f"({', '.join(sister.sources)}): sensitivity {figures['sensitivity']}, specificity "
                f"{figures['specificity']}, by its own rule."
            )


def _beside_the_lungs(dossier: Dossier) -> Iterator[str]:
    shown = {WITHOUT_LUNGS: "the lungs painted over", BORDER: "only the outer border left"}
    for kind, words in shown.items():
        for finding, figures in dossier.hidden[kind].measured.findings.items():
            auroc = figures["auroc"]
            if np.isnan(auroc.value):
                continue
            told = (
                "it tells films apart by something else than lungs"
                if _tells(auroc)
                else "as it should be, it tells next to nothing"
            )
            yield f"{_named(finding)}: with {words} its AUROC is {auroc}; {told}."
    hidden = dossier.hidden[WITHOUT_LUNGS]
    if hidden.from_answers is not None:
        yield (
            f"From its answers to films without lungs a probe tells their source, one of "
            f"{len(hidden.sources)}, with a balanced accuracy of {hidden.from_answers}; guessing "
            f"has {hidden.chance:.3f}."
        )


def _tells(auroc: Interval) -> bool:
    return auroc.low > _TELLS or auroc.high < 1 - _TELLS


def _disturbed(dossier: Dossier) -> Iterator[str]:
    curves = dossier.robustness
    for finding in dossier.evaluation.measured.findings:
        parts = []
        for figure in ("sensitivity", "specificity"):
            where, lowest = worst(curves, finding, figure)
            if where:
                before = curves[0].untouched.measured.findings[finding][figure].value
                parts.append(f"{figure} from {before:.3f} to {lowest} by {where}")
        if parts:
            yield f"{_named(finding)}: of all disturbances tried the worst take {', '.join(parts)}."


def _stated(dossier: Dossier) -> Iterator[str]:
    for finding, figures in dossier.evaluation.measured.findings.items():
        yield (
            f"{_named(finding)}: its stated probability is off by {figures['ece']} on the mean "
            "(expected calibration error), at the prevalence of these films."
        )


def _unanswered(dossier: Dossier) -> Iterator[str]:
    n = len(dossier.evaluation.answers.unanswered)
    codes = ", ".join(f"{k} {code}" for code, k in dossier.refused.codes.items())
    yield (
        f"It gives no answer to {n} of {len(dossier.films)} films ({codes})."
        if n
        else f"It has an answer to each of {len(dossier.films)} films."
    )
    if dossier.card.gate is None:
        yield (
            "It has no gate: besides what a header or a shape tells, it answers whatever it is "
            "shown, a hand or a photograph too."
        )
    for one in dossier.unsure:
        yield f'{_named(one.band.finding)}: it is "unsure" of {one.n_films} films, {one.part}.'


def _named(finding: str) -> str:
    return finding if finding == NO_FINDING else finding[:1].upper() + finding[1:]
