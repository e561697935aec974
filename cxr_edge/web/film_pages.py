"""A film: its page, its pictures, its report, and what a clinician says of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unicodedata import category

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from ..language import Message, told
from ..ledger import VERDICTS, Prediction, Verdict
from ..ledger.verdicts import MAX_BY_LENGTH, MAX_NOTE_LENGTH
from ..words import VERDICTS as VERDICT_WORDS
from .forms import Form
from .rendering import page
from .serving import FilmNumber, Serving, audited, film_of, serving_of, who
from .view import FilmShown, VerdictShown, minute_told, summed_up

router = APIRouter()

_N_EARLIER = 5


@router.get("/films/{number}")
def film(request: Request, number: FilmNumber, saved: str = "") -> Response:
    return _shown(request, number, "film.html", "view_film", saved=saved == "1", wrong="", given={})


@router.get("/films/{number}/report")
def report(request: Request, number: FilmNumber) -> Response:
    """One page for the printer."""
    printed_at = serving_of(request).now()
    return _shown(request, number, "report.html", "view_report", printed_at=minute_told(printed_at))


@router.post("/films/{number}/verdict")
def say(request: Request, number: FilmNumber, form: Form) -> Response:
    """Keep the verdicts of the form, one per finding, each with its note."""
    serving = serving_of(request)
    note = _plain(form.get("note", ""), "\n")[:MAX_NOTE_LENGTH]
    by = who(request) or _plain(form.get("by", ""))[:MAX_BY_LENGTH]
    with serving.writing() as ledger:
        prediction = film_of(ledger, number)
        given = _given(prediction, form)
        if given:
            at = serving.now()
            before = {replace(one, at=at) for one in ledger.verdicts(number)}
            said = [Verdict(name, word, note, by, at) for name, word in given.items()]
            # What was said already is not said again by pressing the button twice.
            new = [one for one in said if one not in before]
            # Without their line in the audit log they are taken back.
            with ledger.transaction():
                for one in new:
                    ledger.say(number, one)
                audited(request, "verdict", [number] if new else [])
            return RedirectResponse(f"/films/{number}?saved=1#verdict", 303)
    wrong = told(Message("Choose agree, disagree or unsure first."))
    return _shown(
        request, number, "film.html", "view_film", 422, saved=False, wrong=wrong, given=form
    )


@router.get("/films/{number}/thumbnail")
def thumbnail(request: Request, number: FilmNumber) -> Response:
    serving = serving_of(request)
    # Who sees one sees the list or the film that it is part of, which is in the audit log.
    picture = serving.pictures.thumbnail(_found(serving, number))
    return Response(picture, media_type="image/jpeg")


@router.get("/films/{number}/pixels")
def pixels(request: Request, number: FilmNumber) -> Response:
    """Rows of grey values, little-endian, for the viewer, which windows them itself."""
    serving = serving_of(request)
    picture = serving.pictures.picture(_found(serving, number))
    audited(request, "view_picture", [number])
    height, width = picture.pixels.shape
    bits = 8 * picture.pixels.dtype.itemsize
    facts = {
        "Width": width,
        "Height": height,
        "Bits": bits,
        "Low": picture.low,
        "High": picture.high,
        "White": picture.white,
        "Slope": picture.slope,
        "Intercept": picture.intercept,
    }
    return Response(
        picture.pixels.astype(f"<u{bits // 8}", copy=False).tobytes(),
        media_type="application/octet-stream",
        headers={f"X-{name}": f"{value:.9g}" for name, value in facts.items()},
    )


def _found(serving: Serving, number: int) -> Prediction:
    with serving.ledger() as ledger:
        return film_of(ledger, number)


def _shown(
    request: Request, number: int, template: str, action: str, status: int = 200, **values: Any
) -> Response:
    serving = serving_of(request)
    with serving.ledger() as ledger:
        prediction = film_of(ledger, number)
        verdicts = {one.finding: VerdictShown.of(one) for one in ledger.verdicts(number)}
        earlier = [
            (FilmShown.of(one), summed_up(ledger.verdicts(one.id)))
            for one in ledger.earlier_films(prediction, _N_EARLIER)
        ]
        is_latest = ledger.is_latest(number)
    audited(request, action, [number])
    shown = FilmShown.of(prediction)
    return page(
        request,
        template,
        status,
        film=shown,
        verdicts=verdicts,
        verdict_words={word: told(VERDICT_WORDS[word]) for word in VERDICTS},
        earlier=earlier,
        is_latest=is_latest,
        model_sha256=serving.model.sha256,
        model_label=serving.model.card.label,
        **values,
    )


def _given(prediction: Prediction, form: Mapping[str, str]) -> dict[str, str]:
    """The form's verdicts by finding; those of a film without an answer are of it as a whole."""
    judged = [one.name for one in prediction.result.findings if one.threshold is not None]
    names = judged or [""]
    words = {name: form.get(f"verdict-{place}", "") for place, name in enumerate(names)}
    return {name: word for name, word in words.items() if word in VERDICTS}


def _plain(text: str, kept: str = "") -> str:
    """Text without control characters, but for those that are kept."""
    lines = text.replace("\r\n", "\n")
    return "".join(one for one in lines if one in kept or category(one) != "Cc").strip()
