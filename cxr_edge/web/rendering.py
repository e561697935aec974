"""Pages are made here: templates, in the language of whoever asks."""

import functools
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import __version__
from ..heatmap import legend_colours
from ..language import language, languages, preferred_language, speaking, told
from ..words import (
    LANGUAGES,
    NOT_FOR_DIAGNOSIS,
    OUTCOMES,
    REASONS,
    UPLOAD_PROBLEMS,
    VERDICTS,
    VIEWER_PROBLEMS,
    finding_told,
)
from .charts import bar, interval
from .problems import Problem
from .serving import serving_of, who
from .view import figure_told, number_told, percent_told, sentence_told

LANGUAGE_COOKIE = "cxr_edge_language"
STATIC = Path(__file__).with_name("static")
_TEMPLATES = Path(__file__).with_name("templates")


def asked_language(request: Request) -> str:
    """The one that was chosen on a page, or else that of the browser, or of the site."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    if chosen == "en" or chosen in languages():
        return chosen
    accepted = request.headers.get("accept-language", "")
    return preferred_language(accepted, serving_of(request).language)


async def spoken(request: Request) -> AsyncIterator[None]:
    """For routes: `Depends(spoken)` has them told in the language of whoever asks.

    Asynchronous, as only then what is set here holds in the route's own thread.
    """
    with speaking(asked_language(request)):
        yield


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page, made while `speaking` says in which language."""
    access = serving_of(request).access
    html = (
        _environment()
        .get_template(template)
        .render(
            **values,
            language=language(),
            who=who(request),
            logs_in=access is not None,
            path=_own_path(request),
        )
    )
    return Response(html, status, {"Content-Language": language()}, "text/html; charset=utf-8")


def error_page(request: Request, problem: Problem) -> Response:
    """What a person is shown in place of a page."""
    with speaking(asked_language(request)):
        response = page(request, "error.html", problem.status, problem=problem)
    response.headers.update(problem.headers)
    return response


def _own_path(request: Request) -> str:
    """Where a person is, for the way back; what was posted is not in it."""
    if request.method != "GET":
        return request.url.path.removesuffix("/verdict")
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    # In the old style, a text without fields may hold a percent sign.
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        told, lambda one, many, n: told(one if n == 1 else many), newstyle=False
    )
    environment.filters.update(
        told=told,
        finding=finding_told,
        figure=figure_told,
        number=number_told,
        percent=percent_told,
        sentence=sentence_told,
    )
    environment.globals.update(
        version=__version__,
        languages=_language_names(),
        legend=legend_colours(),
        bar=bar,
        interval=interval,
        not_for_diagnosis=NOT_FOR_DIAGNOSIS,
        outcome_words=lambda: _told_all(OUTCOMES),
        verdict_words=lambda: _told_all(VERDICTS),
        upload_problems=lambda: _told_all(UPLOAD_PROBLEMS),
        viewer_problems=lambda: _told_all(REASONS | VIEWER_PROBLEMS),
    )
    return environment


def _told_all(words: Mapping[str, str]) -> dict[str, str]:
    """For the scripts of a page; the API's own answers are in English."""
    return {word: told(said) for word, said in words.items()}


def _language_names() -> Mapping[str, str]:
    """Of those that there are, as those who speak them call them."""
    return {name: LANGUAGES.get(name, name) for name in sorted({"en", *languages()})}
