"""A model card as tables, nothing of it left out but the numbers that only programs read."""

from collections.abc import Iterator, Mapping, Sequence

from cxr_edge.model_card import Figure, ModelCard

from ..markup import table
from ..metrics import Interval
from .dossier import Dossier


def card_tables(dossier: Dossier) -> Iterator[str]:
    card = dossier.card
    yield table(("", ""), _facts(dossier).items(), "the model")
    yield table(("", ""), _data(card).items(), "training data")
    yield table(("", ""), _input(card).items(), "input")
    yield table(
        ("finding", "threshold", "sensitivity", "specificity", "measured on", "chosen by"),
        (
            (
                point.finding,
                f"{point.threshold:.3f}",
                f"{point.sensitivity:.3f}",
                f"{point.specificity:.3f}",
                point.measured_on,
                point.chosen_by,
            )
            for point in card.operating_points
        ),
        "operating points",
    )
    if card.unsure:
        yield table(
            ("finding", "from", "below", "coverage", "films with it, without it", "fitted on"),
            (
                (
                    band.finding,
                    f"{band.low:.3f}",
                    f"{band.high:.3f}",
                    f"{band.coverage:.3f}",
                    f"{band.n_present}, {band.n_absent}",
                    band.measured_on,
                )
                for band in card.unsure
            ),
            "unsure bands",
        )
    else:
        yield table(("", ""), [("none", "it is never unsure")], "unsure bands")
    yield table(("", ""), _gate(card).items(), "gate")
    if card.gate is not None:
        yield from _figures("what the gate refuses", card.gate.figures)
    yield table(("", ""), _reference(card).items(), "reference for drift")
    yield from _figures("figures of the card", card.figures)
    yield table(("", ""), card.recipe.items() or (("none stated",),), "recipe of training")
    yield table(("", ""), card.quantization.items() or (("none stated",),), "quantization")


def _figures(title: str, figures: Sequence[Figure]) -> Iterator[str]:
    """A table for each choice of films that they were measured on."""
    for where in dict.fromkeys(one.measured_on for one in figures):
        yield table(
            ("figure", "value (95 % interval)", "films"),
            (
                (one.name, Interval(one.value, one.low, one.high), one.n_films)
                for one in figures
                if one.measured_on == where
            ),
            f"{title}, on {where}",
        )


def _facts(dossier: Dossier) -> Mapping[str, object]:
    card = dossier.card
    low, high = card.age_range_years
    return {
        "name": card.name,
        "version": card.version,
        "file": dossier.file,
        "sha256": dossier.sha256,
        "findings": ", ".join(card.findings),
        "intended use": card.intended_use,
        "age range": f"{low:g} to {high:g} years",
        "views": ", ".join(card.views) or "not stated",
        "activation": card.activation,
        "temperature": f"{card.temperature:.4f}",
        "precision": card.precision,
        "sha256 of the fp32 twin": card.twin_sha256 or "no twin",
        "licence": card.licence,
        "schema version of the card": card.schema_version,
    }


def _data(card: ModelCard) -> Mapping[str, object]:
    data = card.training_data
    return {
        "name": data.name,
        "films": data.n_films,
        "patients": data.n_patients,
        "digest": data.digest,
        "licence": data.licence,
        "attribution": data.attribution,
    }


def _input(card: ModelCard) -> Mapping[str, object]:
    spec = card.input
    return {
        "size": f"{spec.width_px} x {spec.height_px} px, {spec.channels} channel(s)",
        "resize": spec.resize,
        "percentiles that become black and white": f"{spec.black_percentile:g}, "
        f"{spec.white_percentile:g}",
        "mean": ", ".join(f"{value:g}" for value in spec.mean),
        "standard deviation": ", ".join(f"{value:g}" for value in spec.std),
    }


def _gate(card: ModelCard) -> Mapping[str, object]:
    gate = card.gate
    if gate is None:
        return {"none": "it refuses by a film's header and shape alone"}
    return {
        "conditions": ", ".join(gate.conditions),
        "refused where readable is below": f"{gate.min_readable:.3f}",
        "centres of what it learned from": f"{len(gate.centres)}, each of "
        f"{len(gate.centres[0])} features",
        "refused where farther than": f"{gate.max_distance:.3f}",
        "fitted on": gate.fitted_on,
    }


def _reference(card: ModelCard) -> Mapping[str, object]:
    reference = card.reference
    if reference is None:
        return {"none": "a site's films cannot be compared with the training's"}
    return {
        "measured on": reference.measured_on,
        "films": reference.n_films,
        "refused": reference.n_refused,
        "scores of": ", ".join(scores.finding for scores in reference.scores),
        "distances": "stated" if reference.distances else "none",
    }
