"""The CLAIM checklist (2024 update), filled with what the run knows, and the rest marked."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..report import SOURCE_FIGURES, title_of
from .dossier import Dossier
from .provenance import Provenance

RUN, PART, AUTHORS, NOBODY = "run", "part", "authors", "nobody"
FILLED, IN_PART, OPEN, NOT_APPLICABLE = "filled", "in part", "open", "not applicable"
_LIST = Path(__file__).with_name("claim.toml")


@dataclass(frozen=True)
class Item:
    """by: who can fill it: RUN, PART (the run a part of it), AUTHORS, or NOBODY for this reason."""

    number: int
    section: str
    text: str
    by: str
    reason: str = ""


@dataclass(frozen=True)
class Filled:
    """An item with what is said to it; status: FILLED, IN_PART, OPEN or NOT_APPLICABLE."""

    item: Item
    status: str
    said: str


def checklist() -> tuple[Item, ...]:
    items = tomllib.loads(_LIST.read_text(encoding="utf-8"))["item"]
    return tuple(Item(**item) for item in items)


def fill(dossier: Dossier, provenance: Provenance) -> tuple[Filled, ...]:
    """What the run does not know of an item that it could fill stays with the authors."""
    return tuple(_filled(item, dossier, provenance) for item in checklist())


def _filled(item: Item, dossier: Dossier, provenance: Provenance) -> Filled:
    if item.by == NOBODY:
        return Filled(item, NOT_APPLICABLE, item.reason)
    said = _SAY[item.number](dossier, provenance) if item.number in _SAY else ""
    if not said:
        return Filled(item, OPEN, "To be filled by the authors.")
    return Filled(item, FILLED if item.by == RUN else IN_PART, said)


def _intended_use(dossier: Dossier, _: Provenance) -> str:
    return f"Intended use: {dossier.card.intended_use.rstrip('.')}."


def _sources(dossier: Dossier, _: Provenance) -> str:
    data = dossier.card.training_data
    sources = ", ".join(sorted({film.source for film in dossier.films} - {""})) or "not named"
    return (
        f"Measured on films of {sources} (section 3). Learned from {data.name}: "
        f"{data.attribution.rstrip('.')}. Licence: {data.licence}."
    )


def _criteria(dossier: Dossier, _: Provenance) -> str:
    return (
        "Frontal films with a label, each once; films with two labels for the same bytes never; "
        f"{dossier.n_aside} others were left aside. Films that the model refuses have no answer "
        "(section 10). The sources' own criteria are for the authors."
    )


def _preprocessing(dossier: Dossier, _: Provenance) -> str:
    spec = dossier.card.input
    return (
        f"The whole film is resized to {spec.width_px} x {spec.height_px} px, whatever its aspect "
        f"({spec.resize}); the percentiles {spec.black_percentile:g} and "
        f"{spec.white_percentile:g} of its grey values become black and white; mean and standard "
        "deviation as in section 2."
    )


def _subset(dossier: Dossier, _: Provenance) -> str:
    n = dossier.robustness[0].untouched.measured.n_films
    return (
        f"The part of the data that is called {dossier.part!r}, all of it; for the robustness "
        f"curves {n} films by lot, whole patients, each source and label in the same part."
    )


def _missing(dossier: Dossier, _: Provenance) -> str:
    return (
        f"{len(dossier.evaluation.answers.unanswered)} films without an answer are counted and "
        "left out of the figures; ages, sexes and views that are not stated are a stratum "
        '"not known". Nothing was imputed.'
    )


def _acquisition(dossier: Dossier, _: Provenance) -> str:
    views = sorted({film.view for film in dossier.films} - {""})
    return f"Views as the data state them: {', '.join(views)}." if views else ""


def _reference(*_: object) -> str:
    return (
        "Labels as the data give them: a column, a folder's name or a table; names were changed "
        "as the command in section 14 says. How they came about is for the authors."
    )


def _partitions(dossier: Dossier, _: Provenance) -> str:
    parts = [
        f"{name} {n_films} films of {n_patients} patients"
        for name, (n_films, n_patients) in dossier.partitions.items()
    ]
    return f"By the run's split.csv: {'; '.join(parts)}." if parts else ""


def _disjoint(dossier: Dossier, _: Provenance) -> str:
    if not dossier.partitions:
        return ""
    return (
        "Patients: none stands on two sides, and patients who share a film, to the byte or nearly, "
        "count as one; reading the split checks it."
    )


def _model(dossier: Dossier, _: Provenance) -> str:
    recipe = dossier.card.recipe
    if "network" not in recipe:
        return ""
    return (
        f"{recipe['network']}, head {recipe.get('head', 'not stated')}, {dossier.card.precision}; "
        f"{', '.join(dossier.card.findings)}; {dossier.card.activation} with a temperature of "
        f"{dossier.card.temperature:.3g}. Its file: section 2."
    )


def _software(_: Dossier, provenance: Provenance) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    return f"Measured with {versions}. Of training, the authors."


def _initial(dossier: Dossier, _: Provenance) -> str:
    init = dossier.card.recipe.get("init")
    return "" if init is None else f"Initial weights: {init or 'none, from scratch'}."


def _training(dossier: Dossier, _: Provenance) -> str:
    n = len(dossier.card.recipe)
    return f"All {n} settings of the recipe are in section 2." if n else ""


def _selected(dossier: Dossier, _: Provenance) -> str:
    chosen = {point.chosen_by for point in dossier.card.operating_points}
    return f"Operating points: {'; '.join(sorted(chosen))}."


def _ensemble(dossier: Dossier, _: Provenance) -> str:
    recipe = dossier.card.recipe
    return f"Weights: {recipe.get('weights', 'of one run')}; one network answers." if recipe else ""


def _measures(*_: object) -> str:
    shown = ", ".join(title_of(name) for name in SOURCE_FIGURES)
    return f"{shown}, and others in section 4; net benefit in section 11."


def _uncertainty(*_: object) -> str:
    return (
        "95 % intervals from 1,000 resamples of the patients (percentiles); those of the "
        "reliability after Wilson. No tests of significance."
    )


def _robustness(dossier: Dossier, _: Provenance) -> str:
    names = ", ".join(curve.disturbance.name for curve in dossier.robustness)
    return f"{names} (section 7); lungs hidden, border alone (section 6)."


def _explained(*_: object) -> str:
    return (
        "Section 6 asks what is read besides the lungs. Heatmaps, where the model file gives them, "
        "were not measured."
    )


def _internal(dossier: Dossier, _: Provenance) -> str:
    if not dossier.partitions:
        return ""
    return f"Section 4, if the split is that of the model's run: its {dossier.part} films."


def _external(dossier: Dossier, _: Provenance) -> str:
    if not dossier.sisters:
        return ""
    return (
        "Section 5, by sister runs that never saw these films; the model itself was not tested so."
    )


def _included(dossier: Dossier, _: Provenance) -> str:
    measured = dossier.evaluation.measured
    return (
        f"{len(dossier.films)} films taken, {dossier.n_aside} left aside; "
        f"{measured.n_films} films of {measured.n_patients} patients have an answer, "
        f"{len(dossier.evaluation.answers.unanswered)} have none."
    )


def _characteristics(dossier: Dossier, _: Provenance) -> str:
    if not dossier.strata:
        return ""
    return f"By {', '.join(dossier.strata)} in section 8, of the films measured."


def _performance(dossier: Dossier, _: Provenance) -> str:
    return f"Of the {dossier.part} films: section 4. Of other partitions: the authors."


def _estimates(*_: object) -> str:
    return "Section 4, by finding and by source; section 9 for the probabilities."


def _failures(*_: object) -> str:
    return "Sections 1, 4 (confusion matrix), 8 and 10; the worst errors: section 12."


def _limitations(*_: object) -> str:
    return "What the figures tell: section 1."


def _details(*_: object) -> str:
    return "Section 2 has the recipe, section 14 the command."


def _availability(dossier: Dossier, _: Provenance) -> str:
    card = dossier.card
    return (
        f"The model's licence: {card.licence}; that of its training data: "
        f"{card.training_data.licence}. Software: cxr-edge."
    )


_SAY: Mapping[int, Callable[[Dossier, Provenance], str]] = {
    3: _intended_use,
    7: _sources,
    8: _criteria,
    9: _preprocessing,
    10: _subset,
    12: _missing,
    13: _acquisition,
    14: _reference,
    19: _partitions,
    20: _disjoint,
    22: _model,
    23: _software,
    24: _initial,
    25: _training,
    26: _selected,
    27: _ensemble,
    28: _measures,
    29: _uncertainty,
    30: _robustness,
    31: _explained,
    32: _internal,
    33: _external,
    35: _included,
    36: _characteristics,
    37: _performance,
    38: _estimates,
    39: _failures,
    40: _limitations,
    41: _intended_use,
    42: _details,
    43: _availability,
}
