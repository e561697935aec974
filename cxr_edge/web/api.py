"""The API: the same films and answers for programs. Errors are problem details (RFC 9457)."""

import asyncio
import dataclasses
import shutil
from contextlib import AsyncExitStack
from datetime import date, timedelta
from email.message import Message as EmailMessage
from pathlib import Path
from typing import IO, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from .. import __version__
from ..errors import CxrEdgeError
from ..ledger import Verdict, Wanted, midnight
from .metrics import CONTENT_TYPE
from .problems import Problem
from .schemas import (
    Film,
    FilmDetails,
    GivenVerdict,
    Health,
    LoadedModel,
    Order,
    Predicted,
    ProblemDetails,
    Results,
    ResultsQuery,
    SaidVerdict,
)
from .serving import FilmNumber, Serving, audited, film_of, serving_of, who
from .uploads import cleaned_name

router = APIRouter()

MAX_FILMS = 16  # in one request
_FIELD = "films"
# Below, Starlette keeps an upload in memory, and to write it to the disk's cache takes less time
# than to have another thread do it.
_IN_MEMORY_BYTES = 1 << 20


async def _serving(request: Request) -> Serving:
    # Asynchronous, as FastAPI would have another thread do it otherwise.
    return serving_of(request)


_ServingHere = Annotated[Serving, Depends(_serving)]
_PROBLEM: dict[str, Any] = {
    "model": ProblemDetails,
    "content": {"application/problem+json": {}},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FILMS_BODY = {
    "requestBody": {
        "required": True,
        "description": f"Up to {MAX_FILMS} films in the field `films` of a form, or one film as "
        "the body itself, named by Content-Disposition if it is to have a name.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [_FIELD],
                    "properties": {
                        _FIELD: {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MAX_FILMS,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            },
            "image/*": _BINARY,
            "application/dicom": _BINARY,
            "application/octet-stream": _BINARY,
        },
    }
}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those that any route may answer with, and these."""
    said = {
        400: "It is not as the document says.",
        401: "A token or a login is needed.",
        404: "There is no such film, or it is not there any more.",
        403: "It came from a page of another site.",
        408: "The body did not come in time.",
        409: "Another model read the film.",
        413: "It is too large.",
        415: "It is of another kind.",
        421: "The server has another name.",
        422: "A value is not as the document says.",
        429: "Too many logins failed: again after Retry-After.",
        503: "Too many films wait, or the ledger cannot be used now: again after Retry-After.",
    }
    return {
        status: {**_PROBLEM, "description": said[status]}
        for status in sorted({401, 403, 421, 422, 429, 503, *statuses})
    }


@router.post(
    "/v1/predict",
    tags=["films"],
    response_model=Predicted,
    responses=_problems(400, 408, 413, 415),
    openapi_extra=_FILMS_BODY,
)
async def predict(request: Request, serving: _ServingHere) -> Response:
    """Read films. Each is kept with its result, and has a number; one that was read before by the
    same model has its earlier one."""
    async with AsyncExitStack() as stack:
        _take_places(stack, serving)
        films = await _received(request, serving, stack)
        _take_places(stack, serving, len(films) - 1)
        answers = await asyncio.gather(
            *(_read(path, name, serving) for path, name in films), return_exceptions=True
        )
        failed = [one for one in answers if isinstance(one, BaseException)]
        if failed:
            raise failed[0]
        read = [one for one in answers if isinstance(one, Film)]
        await run_in_threadpool(audited, request, "upload", [film.id for film in read])
        # As it is: FastAPI would check it all over again.
        return Response(Predicted(films=read).model_dump_json(), media_type="application/json")


@router.get("/v1/results", tags=["films"], responses=_problems(400))
def results(
    request: Request, serving: _ServingHere, query: Annotated[ResultsQuery, Query()]
) -> Results:
    """Films of the ledger, each with its last result, a page at a time."""
    wanted = Wanted(
        finding=query.finding,
        status=query.status or "",
        since=midnight(query.since, None) if query.since else None,
        until=_end_of(query.until) if query.until else None,
        verdict=query.verdict or "",
        by_score=query.order is Order.score,
    )
    with serving.ledger() as ledger:
        try:
            page = ledger.page(wanted, query.limit, query.cursor)
        except ValueError as exc:
            raise Problem(
                400, "bad_cursor", "No such page", str(exc), "Start without a cursor."
            ) from exc
    audited(request, "view_list", n_films=len(page.films))
    return Results(films=[Film.of(one) for one in page.films], next=page.next_cursor or None)


@router.get("/v1/films/{number}", tags=["films"], responses=_problems(404))
def film(request: Request, serving: _ServingHere, number: FilmNumber) -> FilmDetails:
    """A film with all that is known of it."""
    with serving.ledger() as ledger:
        found = film_of(ledger, number)
        verdicts = [SaidVerdict.of(one) for one in ledger.verdicts(number)]
        earlier = [one.id for one in ledger.earlier_films(found)]
    audited(request, "view_film", [number])
    heatmaps = {
        one.name: f"/v1/heatmaps/{number}?finding={quote(one.name)}"
        for one in found.result.findings
        if one.threshold is not None
    }
    return FilmDetails(
        **Film.of(found).model_dump(), verdicts=verdicts, heatmaps=heatmaps, earlier_films=earlier
    )


@router.post("/v1/films/{number}/verdicts", tags=["films"], responses=_problems(400, 404))
def say(
    request: Request, serving: _ServingHere, number: FilmNumber, given: GivenVerdict
) -> list[SaidVerdict]:
    """Say whether the model is right. What was said before stays in the ledger, and the last one
    counts; the answer is the last one of each finding."""
    # A verdict without its line in the audit log is taken back.
    with serving.writing() as ledger, ledger.transaction():
        film_of(ledger, number)
        verdict = Verdict(given.finding, given.verdict, given.note, who(request), serving.now())
        try:
            ledger.say(number, verdict)
        except ValueError as exc:
            raise Problem(422, "bad_verdict", "The verdict cannot be kept", str(exc), "") from exc
        audited(request, "verdict", [number])
        return [SaidVerdict.of(one) for one in ledger.verdicts(number)]


@router.get(
    "/v1/heatmaps/{number}",
    tags=["films"],
    responses={
        200: {"content": {"image/png": _BINARY}, "description": "A layer with transparency."},
        **_problems(404, 409),
    },
    response_class=Response,
)
def heatmap(
    request: Request,
    serving: _ServingHere,
    number: FilmNumber,
    finding: Annotated[str, Query(max_length=200, description="The leading one if none.")] = "",
) -> Response:
    """Where on the film a finding comes from: a picture to lay over the film. It says what the
    network leaned on, not where disease is."""
    with serving.ledger() as ledger:
        found = film_of(ledger, number)
    judged = [one.name for one in found.result.findings if one.threshold is not None]
    png = serving.pictures.heatmap(found, finding or next(iter(judged), ""))
    audited(request, "view_heatmap", [number])
    return Response(png, media_type="image/png")


@router.get("/v1/model", tags=["model"], responses=_problems())
def model(serving: _ServingHere) -> LoadedModel:
    """The model that reads the films here, with its card."""
    one = serving.model
    return LoadedModel(
        model=one.card.label,
        model_sha256=one.sha256,
        provider=one.provider,
        card=dataclasses.asdict(one.card),
    )


@router.get("/healthz", tags=["server"], responses={503: {"model": Health}})
def health(serving: _ServingHere, response: Response) -> Health:
    """Whether it works."""
    trouble = serving.watcher_trouble()
    try:
        serving.ledger().close()
    except CxrEdgeError:
        trouble = "The ledger cannot be opened."
    response.status_code = 503 if trouble else 200
    return Health(status=trouble or "ok", version=__version__, n_waiting=serving.queue.n_waiting)


@router.get(
    "/metrics",
    tags=["server"],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **_problems()},
    response_class=Response,
)
def metrics(serving: _ServingHere) -> Response:
    """For Prometheus."""
    return Response(serving.metrics.text(), media_type=CONTENT_TYPE)


def _end_of(day: date) -> Any:
    return midnight(day + timedelta(days=1), None)


def _take_places(stack: AsyncExitStack, serving: Serving, n: int = 1) -> None:
    """For as long as the stack lasts. Raises Problem (503)."""
    if n < 1:
        return
    try:
        stack.enter_context(serving.queue.places(n))
    except Problem:
        serving.metrics.turned_away()
        raise


async def _received(
    request: Request, serving: Serving, stack: AsyncExitStack
) -> list[tuple[Path, str]]:
    """The request's films, as files that last as long as the stack, and what they are called.

    Raises Problem (400, 415) and what Guard raises for a body that is too large or too slow.
    """
    films: list[tuple[Path, str]] = []

    def new_file() -> IO[bytes]:
        file = serving.uploads.new_file()
        stack.callback(serving.uploads.discard, Path(file.name))
        return file

    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0]
    kind = kind.strip().lower()
    try:
        if kind == "multipart/form-data":
            # Other fields are let through, as forms of web pages have some.
            async with request.form(max_files=MAX_FILMS, max_fields=MAX_FILMS) as form:
                for upload in form.getlist(_FIELD):
                    if isinstance(upload, UploadFile):
                        with new_file() as file:
                            if (upload.size or 0) < _IN_MEMORY_BYTES:
                                shutil.copyfileobj(upload.file, file)
                            else:
                                await run_in_threadpool(shutil.copyfileobj, upload.file, file)
                        films.append((Path(file.name), cleaned_name(upload.filename or "")))
        elif kind.startswith("image/") or kind in ("application/dicom", "application/octet-stream"):
            with new_file() as file:
                async for chunk in request.stream():
                    file.write(chunk)
            films.append((Path(file.name), _name_in(request)))
        else:
            raise Problem(
                415,
                "wrong_kind",
                "Not a film",
                "The body is neither a form with films nor an image.",
                "Send multipart/form-data with the field films, or the film itself.",
            )
    except ClientDisconnect as exc:
        raise Problem(400, "cut_short", "Cut short", "The client went away.", "") from exc
    if not films:
        raise Problem(
            400,
            "no_films",
            "No film",
            f"The form has no file in the field {_FIELD}.",
            "Put each film into a field of that name.",
        )
    return films


def _name_in(request: Request) -> str:
    """What Content-Disposition calls the body (RFC 6266)."""
    header = EmailMessage()
    header["Content-Disposition"] = request.headers.get("content-disposition", "")
    return cleaned_name(header.get_filename() or "")


async def _read(path: Path, name: str, serving: Serving) -> Film:
    read = await asyncio.wrap_future(serving.queue.read(path, name))
    serving.metrics.read(read.result)
    number = await asyncio.wrap_future(serving.uploads.record(path, read.result, read.identifiers))
    return Film.told(number, read.result)
