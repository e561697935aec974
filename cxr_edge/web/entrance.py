"""Logging in and out, and the choice of a language."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from ..language import Message, languages
from .access import cookie_name, forget_session, keep_session
from .forms import Form
from .guard import local_path
from .rendering import LANGUAGE_COOKIE, page
from .serving import serving_of, who

router = APIRouter()

_KEPT_S = 365 * 24 * 3600


@router.get("/login")
def login(request: Request, next: str = "/") -> Response:
    back = local_path(next)
    if serving_of(request).access is None or who(request):
        return RedirectResponse(back, 303)
    return page(request, "login.html", back=back, name="", wrong="")


@router.post("/login")
def log_in(request: Request, form: Form) -> Response:
    access, back = serving_of(request).access, local_path(form.get("next", ""))
    if access is None:
        return RedirectResponse(back, 303)
    name = form.get("name", "")
    session = access.log_in(name, form.get("password", ""), _address(request), _session(request))
    if session is None:
        wrong = Message("There is no such name, or it has another password.")
        return page(request, "login.html", 403, back=back, name=name, wrong=wrong)
    response = RedirectResponse(back, 303)
    keep_session(response, session, _is_secure(request))
    return response


@router.post("/logout")
def log_out(request: Request) -> Response:
    access = serving_of(request).access
    response = RedirectResponse("/login" if access else "/", 303)
    if access is not None:
        forget_session(response, _is_secure(request))
        access.log_out(_session(request), _address(request))
    return response


@router.post("/language")
def choose_language(request: Request, form: Form) -> Response:
    """Keep the choice in the browser: it is of no use to anybody else."""
    response = RedirectResponse(local_path(form.get("back", "")), 303)
    name = form.get("language", "")
    if name == "en" or name in languages():
        response.set_cookie(
            LANGUAGE_COOKIE,
            name,
            max_age=_KEPT_S,
            path="/",
            secure=_is_secure(request),
            httponly=True,
            samesite="strict",
        )
    return response


def _session(request: Request) -> str:
    return request.cookies.get(cookie_name(_is_secure(request)), "")


def _is_secure(request: Request) -> bool:
    return bool(request.scope.get("cxr_edge.secure", False))


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
