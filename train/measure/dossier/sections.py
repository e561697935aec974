"""The sections of the evidence page: what was measured, as parts of HTML."""

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from ..blackout import THUMBNAIL_PX, Blackout
from ..markup import bullets, paragraph, picture, table
from ..report import data_json, draw_pictures, draw_worst, slug
from ..report_page import EXPLANATION, figure_tables, tables_by
from .claim import FILLED, fill
from .dossier import Dossier
from .pictures import plot_decision_curve, plot_robustness
from .plain_words import plain_words
from .provenance import Provenance
from .refusal import UNSURE_FIGURES, Unsure
from .sisters import Sister

_NET_BENEFIT_AT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
_RELIABILITY = "Reliability"


def purpose(dossier: Dossier) -> Iterator[str]:
    yield bullets(plain_words(dossier))


def data(dossier: Dossier) -> Iterator[str]:
    facts = data_json(dossier.films)
    yield paragraph(
        f"The {dossier.part} films of the data: {facts['n_films']} films of "
        f"{facts['n_patients']} patients. {dossier.n_aside} others were left aside: lateral, "
        "ignored, copies or contradicting."
    )
    if dossier.n_learned_from:
        yield paragraph(f"{dossier.n_learned_from} of them were trained on or chosen with.")
    counts = Counter((film.source, label) for film in dossier.films for label in film.labels)
    patients: dict[tuple[str, str], set[str]] = {}
    for film in dossier.films:
        for label in film.labels:
            patients.setdefault((film.source, label), set()).add(film.group)
    yield table(
        ("source", "label", "films", "patients"),
        ((*key, n, len(patients[key])) for key, n in sorted(counts.items())),
    )
    if dossier.partitions:
        yield table(
            ("part", "films", "patients, before those who share a film count as one"),
            ((part, *numbers) for part, numbers in dossier.partitions.items()),
            "the split",
        )
    yield paragraph(f"Digest of the films and their labels: {facts['digest']}")


def figures(dossier: Dossier, pictures: Mapping[str, Path]) -> Iterator[str]:
    yield paragraph(
        f"By the model file, the way a film goes at a site. Measured on {_measured(dossier)}."
    )
    yield paragraph(EXPLANATION)
    yield from figure_tables(dossier.evaluation)
    yield "<h3>By source</h3>"
    if dossier.evaluation.by_source:
        yield from tables_by("source", dossier.evaluation.by_source)
    else:
        yield paragraph("All films come from one source.")
    for title, path in pictures.items():
        if not title.startswith(_RELIABILITY):
            yield picture(title, path, small=True)


def left_out(dossier: Dossier) -> Iterator[str]:
    yield paragraph(
        "What a model makes of films from a place that it never saw, nobody can ask the model "
        "itself once it has learned from all places. A sister run can be asked: one with the same "
        "settings that left a source out, or a batch of one. It is as good a witness as its "
        "settings are the model's own."
    )
    if not dossier.sisters:
        yield paragraph(
            "No sister run was given, so that this is not known. These commands make one, and show "
            "it here:"
        )
        yield (
            "<pre>python -m train RECIPE --data FILMS --out runs/sister --leave-source-out SOURCE\n"
            "python -m train RECIPE --data FILMS --out runs/sister --leave-out PATTERN\n"
            "python -m train evidence MODEL FILMS --sister runs/sister/checkpoint.pt</pre>"
        )
    for sister in dossier.sisters:
        yield from _sister(sister)


def _sister(sister: Sister) -> Iterator[str]:
    kind = "One source left out" if sister.whole_sources else "One batch left out"
    films = ", ".join(f"{n} {label} of {source}" for (source, label), n in sister.films.items())
    beside = ", ".join(f"{n} {label}" for label, n in sister.joined.items())
    yield f"<h3>{kind} of the run {escape(sister.name)}</h3>"
    yield paragraph(
        f"Left out: {films}."
        + (f" Beside them, of that run's validation films: {beside}." if beside else "")
    )
    yield from tables_by("rule", {"the run's own": sister.measured})
    if sister.at_sensitivity:
        yield table(
            ("finding", "at a sensitivity of", "specificity", "AUROC"),
            (
                (finding, f"{target:.3f}", found["specificity"], found["auroc"])
                for finding, (target, found) in sister.at_sensitivity.items()
            ),
            "where the threshold gives the sensitivity of the model's operating point",
        )


def beside_the_lungs(dossier: Dossier) -> Iterator[str]:
    yield paragraph(
        "Hospitals film their sick in other ways than their well, and public sets are put together "
        "from several: a network may read that instead of the lungs. So a box over both lungs is "
        "painted over, and then all but the outer 5 % of each side. A good model then knows "
        "nothing: an AUROC of 0.5. Films are prepared first, and rounded to 8 bits."
    )
    names = list(dossier.evaluation.measured.findings)
    yield table(
        ("what is left", *(f"AUROC, {name}" for name in names)),
        (
            (kind, *(hidden.measured.findings[name]["auroc"] for name in names))
            for kind, hidden in dossier.hidden.items()
        ),
        "what the model tells",
    )
    yield from _told_sources(dossier.hidden)


def _told_sources(hidden: Mapping[str, Blackout]) -> Iterator[str]:
    first = next(iter(hidden.values()))
    if first.from_films is None:
        yield paragraph(
            "The source cannot be told from the films: too few patients come from a second one."
        )
        return
    yield table(
        ("what is left", f"by thumbnails of {THUMBNAIL_PX} px", "by the model's logits"),
        ((kind, one.from_films, one.from_answers) for kind, one in hidden.items()),
        f"which of {len(first.sources)} sources a film comes from, told by a linear probe: "
        f"balanced accuracy, {first.chance:.3f} by chance",
    )


def robustness(dossier: Dossier, folder: Path) -> Iterator[str]:
    n = dossier.robustness[0].untouched.measured
    yield paragraph(
        f"Prepared films, {n.n_films} of {n.n_patients} patients, made worse in one way at a time. "
        "The threshold stays, and nothing is refused; where the model has a gate, the part of the "
        "films that it would refuse is told. What preparing puts right, such as a film's overall "
        "contrast, comes on top here."
    )
    gated = any(one.refused for curve in dossier.robustness for one in curve.levels)
    for finding in dossier.evaluation.measured.findings:
        path = folder / f"robustness-{slug(finding)}.png"
        plot_robustness(dossier.robustness, finding, path)
        yield picture(finding, path)
        yield table(
            (
                "disturbance",
                "level",
                "AUROC",
                "sensitivity",
                "specificity",
                *(["refused"] if gated else []),
            ),
            (
                (
                    curve.disturbance.name,
                    curve.disturbance.told(one.level)
                    + (" (as it is)" if one.level == curve.disturbance.untouched else ""),
                    *(
                        one.measured.findings[finding][name]
                        for name in ("auroc", "sensitivity", "specificity")
                    ),
                    *([one.refused] if gated else []),
                )
                for curve in dossier.robustness
                for one in curve.levels
            ),
            finding,
        )


def strata(dossier: Dossier) -> Iterator[str]:
    for kind in ("age", "sex", "view"):
        if kind in dossier.strata:
            yield f"<h3>By {kind}</h3>"
            yield from tables_by(kind, dossier.strata[kind])
        else:
            yield paragraph(f"By {kind}: not known of any of these films.")


def calibration(dossier: Dossier, pictures: Mapping[str, Path]) -> Iterator[str]:
    yield paragraph(
        "Whether of the films with a stated probability of 0.8 eight in ten have the finding. It "
        "holds for the prevalence of these films; at another one it has to be fitted anew "
        "(cxr-edge calibrate)."
    )
    measured = dossier.evaluation.measured
    yield table(
        ("finding", "prevalence here", "Brier score", "ECE"),
        (
            (
                finding,
                f"{measured.n_present[finding] / measured.n_films:.3f}",
                found["brier"],
                found["ece"],
            )
            for finding, found in measured.findings.items()
        ),
    )
    for title, path in pictures.items():
        if title.startswith(_RELIABILITY):
            yield picture(title, path, small=True)


def refusal(dossier: Dossier) -> Iterator[str]:
    refused, evaluation = dossier.refused, dossier.evaluation
    if not refused.reasons:
        yield paragraph("Every film has an answer: nothing was refused, and all could be read.")
    else:
        yield paragraph(
            f"{sum(refused.reasons.values())} of {len(dossier.films)} films have no answer."
        )
        yield table(
            ("code", "label", "films"),
            ((*key, n) for key, n in refused.reasons.items()),
            "films without an answer",
        )
    if refused.forced is not None:
        yield paragraph(
            "What refusing does to the answers that remain: the figures without those films, and "
            "with an answer to them all the same (--accept)."
        )
        both = {"answered": evaluation.measured, "all, by force": refused.forced}
        yield from tables_by("films", both)
    yield "<h3>Unsure</h3>"
    if not dossier.unsure:
        yield paragraph("The model has no unsure band: each of its answers is yes or no.")
    for one in dossier.unsure:
        yield from _unsure(one, evaluation.measured.findings[one.band.finding])


def _unsure(one: Unsure, of_all: Mapping[str, object]) -> Iterator[str]:
    band = one.band
    yield paragraph(
        f'{band.finding}: "unsure" from a probability of {band.low:.3f} on and below '
        f"{band.high:.3f}. It promises that at least {band.coverage:.3f} of the films with the "
        "finding, and of those without, are answered rightly or with unsure."
    )
    yield table(
        ("", "here"),
        (
            ("films that are unsure", f"{one.n_films}: {one.part}"),
            ("kept of films with the finding", one.of_present),
            ("kept of films without", one.of_absent),
        ),
    )
    yield table(
        ("films", *UNSURE_FIGURES),
        (
            ("all, decided by the threshold", *(of_all[name] for name in UNSURE_FIGURES)),
            (
                "without those that are unsure",
                *(one.decided.get(name, "not determined") for name in UNSURE_FIGURES),
            ),
        ),
    )


def decision(dossier: Dossier, folder: Path) -> Iterator[str]:
    yield paragraph(
        "Whoever acts at a low probability already fears a missed finding more than acting for "
        "nothing. The net benefit of acting from such a threshold on: films rightly acted on, less "
        "films acted on for nothing, which weigh as the threshold implies, per film (Vickers & "
        "Elkin 2006, 10.1177/0272989X06295361). A model is of use where it lies above acting on "
        "all films and on none. All this holds for the prevalence of these films."
    )
    if not dossier.decision:
        yield paragraph("These films all have the findings or all lack them: there is no curve.")
    thresholds = dossier.evaluation.answers.thresholds
    for finding, curve in dossier.decision.items():
        path = folder / f"decision-{slug(finding)}.png"
        plot_decision_curve(curve, finding, thresholds.get(finding), path)
        yield picture(finding, path)
        places = [curve.at(threshold) for threshold in _NET_BENEFIT_AT]
        yield table(
            ("acting from", "by the model", "on all films", "on none"),
            (
                (
                    f"{curve.thresholds[i]:.2f}",
                    f"{curve.model[i]:.3f} ({curve.low[i]:.3f} to {curve.high[i]:.3f})",
                    f"{curve.everyone[i]:.3f}",
                    "0.000",
                )
                for i in places
            ),
            f"net benefit, {finding}",
        )


def worst_errors(dossier: Dossier, folder: Path, shown: bool) -> Iterator[str]:
    answers = dossier.evaluation.answers
    wrong = Counter(
        (true, said)
        for film, true, said in zip(answers.films, answers.true, answers.decided, strict=True)
        if said not in film.labels
    )
    yield table(
        ("labelled", "decided", "films"),
        ((*pair, n) for pair, n in wrong.most_common()) if wrong else (("none is wrong",),),
    )
    if not shown:
        yield paragraph(
            "The films themselves are left out of this page, for they are patients'. Without "
            "--no-worst the page has them, for those who may see them."
        )
    elif draw_worst(answers, dossier.card.input, folder / "worst.jpg"):
        title = "Worst errors (patients' films: keep this page where they may be)"
        yield picture(title, folder / "worst.jpg")


def claim(dossier: Dossier, provenance: Provenance) -> Iterator[str]:
    filled = fill(dossier, provenance)
    counts = Counter(one.status for one in filled)
    yield paragraph(
        "The Checklist for Artificial Intelligence in Medical Imaging, 2024 update (Tejani et al., "
        "Radiology: Artificial Intelligence, 10.1148/ryai.240300), its items in few words. "
        f"{', '.join(f'{n} {status}' for status, n in counts.items())}. "
        f'"{FILLED}": the run knows it by itself; whether that suffices, a reader judges.'
    )
    yield table(
        ("no.", "section", "item", "state", "what is said to it"),
        (
            (one.item.number, one.item.section, one.item.text, one.status, one.said)
            for one in filled
        ),
    )


def again(provenance: Provenance) -> Iterator[str]:
    yield paragraph(
        f"Measured on {provenance.date} with "
        f"{', '.join(f'{name} {version}' for name, version in provenance.versions.items())}."
    )
    yield f"<pre>{escape(provenance.command)}</pre>"


def draw(dossier: Dossier, folder: Path) -> dict[str, Path]:
    """The pictures of the figures and of their calibration, by title."""
    return draw_pictures(dossier.evaluation.answers, folder)


def _measured(dossier: Dossier) -> str:
    measured = dossier.evaluation.measured
    without = len(dossier.evaluation.answers.unanswered)
    return (
        f"{measured.n_films} films of {measured.n_patients} patients; {without} films without an "
        "answer"
    )
