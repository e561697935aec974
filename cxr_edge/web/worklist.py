"""The worklist, and the same films as a CSV."""

import io
from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from ..csv_export import write_rows
from ..language import language, told
from ..ledger import Ledger, Prediction, Wanted
from ..record import DIALECTS, Dialect
from ..words import REASONS, finding_told
from .filter_form import Filter, Place
from .forms import Form
from .problems import Problem
from .rendering import page
from .serving import Serving, audited, serving_of
from .view import FilmShown, distinct, summed_up

router = APIRouter()

_N_FILMS = 50
_N_FILMS_OF_CSV = 500
# Counting goes on no further: a worklist is not read to its end.
_COUNTED = 10_000


@router.get("/")
def films(request: Request) -> Response:
    return _listed(request, request.query_params)


@router.post("/")
def filtered_films(request: Request, form: Form) -> Response:
    return _listed(request, form)


@router.get("/live")
def live(request: Request) -> Response:
    """What a page asks every few seconds: whether there is something new to show."""
    serving = serving_of(request)
    with serving.ledger() as ledger:
        last = ledger.last_prediction_id()
    facts = {
        "last": last,
        "waiting": _n_waiting(serving),
        "trouble": told(serving.watcher_trouble()),
    }
    return JSONResponse(facts)


@router.post("/films.csv")
def download(request: Request, form: Form) -> Response:
    """Every film that fits the form, on whatever page the person is."""
    serving, wanted = serving_of(request), Filter.of(form).wanted()
    dialect = DIALECTS.get(form.get("dialect", ""))
    if dialect is None:
        raise Problem(422, "bad_dialect")
    with serving.ledger() as ledger:
        audited(request, "download", n_films=ledger.n_films(wanted, 1_000_000))
    name = f"cxr-edge-{serving.now().astimezone():%Y-%m-%d}.csv"
    return StreamingResponse(
        _csv(serving, wanted, dialect),
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
        media_type="text/csv; charset=utf-8",
    )


def _listed(request: Request, given: Mapping[str, str]) -> Response:
    serving, asked, place = serving_of(request), Filter.of(given), Place.of(given)
    wanted = asked.wanted()
    with serving.ledger() as ledger:
        last = ledger.last_prediction_id()
        try:
            found = ledger.page(wanted, _N_FILMS, place.cursor)
        except ValueError:
            # Of a page of another program, or of another order.
            place = Place()
            found = ledger.page(wanted, _N_FILMS)
        rows = [(FilmShown.of(one), _said_of(ledger, one)) for one in found.films]
        n_films = ledger.n_films(wanted, _COUNTED)
        findings = distinct((*serving.model.card.findings, *ledger.findings(), asked.finding))
    audited(request, "view_list", n_films=len(rows))
    return page(
        request,
        "films.html",
        rows=rows,
        asked=asked,
        place=place,
        next_cursor=found.next_cursor,
        n_films=n_films,
        counted=_COUNTED,
        findings=findings,
        last=last,
        waiting=_n_waiting(serving),
        trouble=serving.watcher_trouble(),
        dialects=list(DIALECTS),
        # As Excel expects it where the decimal mark is a comma.
        own_dialect="excel" if language() == "en" else "excel-semicolon",
        said_findings={name: finding_told(name) for name in findings},
        said_reasons={code: told(meaning) for code, meaning in REASONS.items()},
    )


def _said_of(ledger: Ledger, prediction: Prediction) -> str:
    return summed_up(ledger.verdicts(prediction.id))


def _n_waiting(serving: Serving) -> int:
    return serving.queue.n_waiting


def _csv(serving: Serving, wanted: Wanted, dialect: Dialect) -> Iterator[bytes]:
    """The file's parts, a few hundred rows each."""
    cursor, goes_on = "", True
    with serving.ledger() as ledger:
        header = _rows(ledger, [], dialect)
        yield header
        while goes_on:
            found = ledger.page(wanted, _N_FILMS_OF_CSV, cursor)
            if found.films:
                yield _rows(ledger, found.films, dialect)[len(header) :]
            cursor, goes_on = found.next_cursor, bool(found.next_cursor)


def _rows(ledger: Ledger, films: list[Prediction], dialect: Dialect) -> bytes:
    file = io.BytesIO()
    write_rows(file, films, dialect, verdicts_of=ledger.verdicts)
    return file.getvalue()
