"""The evidence page: its sections in their order, in one file."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from ..markup import document, paragraph
from . import sections
from .card_tables import card_tables
from .dossier import Dossier
from .provenance import Provenance


def page(dossier: Dossier, provenance: Provenance, folder: Path, worst: bool) -> str:
    """The page as text. folder: for pictures on their way into it. worst: with the films that were
    judged worst, which are patients'.
    """
    drawn = sections.draw(dossier, folder)
    parts: dict[str, Iterable[str]] = {
        "What it is for, and where it fails": sections.purpose(dossier),
        "The model card": card_tables(dossier),
        "The data": sections.data(dossier),
        "Figures": sections.figures(dossier, drawn),
        "A source or a batch left out": sections.left_out(dossier),
        "What it reads besides the lungs": sections.beside_the_lungs(dossier),
        "Robustness": sections.robustness(dossier, folder),
        "Age, sex and view": sections.strata(dossier),
        "Calibration of the probability": sections.calibration(dossier, drawn),
        "Refused and unsure": sections.refusal(dossier),
        "Decision curve": sections.decision(dossier, folder),
        "Worst errors": sections.worst_errors(dossier, folder, worst),
        "The CLAIM checklist": sections.claim(dossier, provenance),
        "How to make this page again": sections.again(provenance),
    }
    contents = "".join(
        f'<li><a href="#section-{i}">{escape(title)}</a></li>' for i, title in enumerate(parts, 1)
    )
    body = [
        paragraph(f"{dossier.file}, measured on {provenance.date} on {dossier.part} films."),
        f"<nav><ol>{contents}</ol></nav>",
    ]
    for i, (title, html) in enumerate(parts.items(), 1):
        body += [f'<h2 id="section-{i}">{i}. {escape(title)}</h2>', *html]
    return document(f"{dossier.card.label}: evidence", body)
