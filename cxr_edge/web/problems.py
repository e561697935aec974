"""What went wrong, as a program is told it: problem details (RFC 9457). People get a page.

`type` is "about:blank" where the status says it all, else a relative reference that is made of the
code and stays what it is: "/problems/queue-full" for queue_full. Nothing is to be found there.

Nothing that a client sent, no path and no name of a film or patient is ever in one: of an error of
ours only what is the same each time.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from python_multipart.exceptions import FormParserError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from ..errors import CxrEdgeError, LedgerError, ModelError, RadiographError, RecordError
from ..language import Message, told
from ..words import REASONS

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# What programs ask for, and what a page only shows within itself.
_FOR_PROGRAMS = re.compile(
    r"/(v1|healthz|metrics|openapi\.json|live)(/.*)?|/films/[^/]*/(thumbnail|pixels)", re.DOTALL
)
_RETRY = {"Retry-After": "5"}
_SEE_LOG = Message("What cxr-edge logs says more.")
# Of other kinds of errors the words hold parts of what was sent.
_SAFE_KINDS = re.compile(
    r"missing|extra_forbidden|json_invalid|enum|literal_error|[a-z_]+_type|finite_number|"
    r"((bool|int|float|date|datetime|date_from_datetime|datetime_from_date)_parsing)|multiple_of|"
    r"([a-z]+_)?too_(long|short)|(greater|less)_than(_equal)?|string_pattern_mismatch"
)


class Problem(Exception):
    """Why a request has no other answer.

    code: a stable word for programs. title: the same for every problem of its code; the status'
    own if empty. detail: of this one. next_step: the reader's. headers: of the answer. errors:
    what is wrong where, with several.
    """

    def __init__(
        self,
        status: int,
        code: str = "",
        title: str = "",
        detail: str = "",
        next_step: str = "",
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code
        self.title = title or _phrase(status)
        self.detail = detail
        self.next_step = next_step
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

    @property
    def type(self) -> str:
        return f"/problems/{self.code.replace('_', '-')}" if self.code else "about:blank"

    def to_json(self) -> dict[str, Any]:
        """Always type, title and status; the others where they say something."""
        said = {
            "detail": self.detail,
            "code": self.code,
            "next_step": self.next_step,
            "errors": list(self.errors),
        }
        return {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            **{name: value for name, value in said.items() if value},
        }


Page = Callable[[Request, Problem], Response]


def install(app: Starlette, page: Page | None = None) -> None:
    """Have every error of an application answered as a problem.

    page: makes HTML of it for a person. Middleware that is to see these answers is added after it.
    """

    async def answered(request: Request, error: Exception) -> Response:
        return answer(request, problem_of(error), page)

    # By these types Starlette finds the handlers of all that come from them.
    for kind in (Problem, HTTPException, RequestValidationError, CxrEdgeError, FormParserError):
        app.add_exception_handler(kind, answered)
    app.add_middleware(_Faults, page=page)


def answer(request: Request, problem: Problem, page: Page | None = None) -> Response:
    """The response: JSON for programs, `page` for people."""
    if is_for_programs(request.scope["path"]):
        return JSONResponse(
            problem.to_json(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
        )
    if page is not None:
        try:
            response = page(request, problem)
        except Exception as exc:
            log_fault(exc)
        else:
            response.status_code = problem.status
            response.headers.update(problem.headers)
            return response
    said = (problem.title, problem.detail, problem.next_step)
    text = "\n".join(told(part) for part in said if part)
    return PlainTextResponse(text, problem.status, headers=problem.headers)


def is_for_programs(path: str) -> bool:
    """Whether what is at a path is no page."""
    return _FOR_PROGRAMS.fullmatch(path) is not None


def problem_of(error: Exception) -> Problem:
    """What is told of an error. One of ours and one that nobody expected is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return Problem(
            422,
            "invalid",
            Message("A value is not as it should be"),
            errors=[_told_error(one) for one in error.errors()],
        )
    if isinstance(error, FormParserError):
        return Problem(400, "bad_form", Message("The form cannot be understood"))
    if isinstance(error, HTTPException):
        title = Message("There is nothing at this address") if error.status_code == 404 else ""
        detail = str(error.detail) if error.detail != _phrase(error.status_code) else ""
        return Problem(error.status_code, "", title, detail, headers=error.headers)
    log_fault(error)
    if isinstance(error, CxrEdgeError):
        return _of_ours(error)
    return Problem(500, "internal_error", detail=REASONS["internal_error"], next_step=_SEE_LOG)


def log_fault(error: BaseException) -> None:
    """Log where an error came from and its type, but not its message, which may hold what was sent
    or the name of a film."""
    logger.error("A request failed: %s.", type(error).__name__, exc_info=_bare(error))


class _Faults:
    """ASGI middleware: what nobody expected becomes a problem, too.

    A handler for Exception would do so only to raise it again, and then the server logs all of it.
    """

    def __init__(self, app: ASGIApp, page: Page | None = None) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(event: Event) -> None:
            nonlocal begun
            begun = True
            await send(event)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            pass  # nobody is left to be answered
        except Exception as exc:
            problem = problem_of(exc)
            # A response that stays without its end has the server cut the connection.
            if not begun:
                response = answer(Request(scope), problem, self._page)
                await response(scope, receive, send)


def _of_ours(error: CxrEdgeError) -> Problem:
    if isinstance(error, RadiographError):
        return Problem(
            422,
            error.code,
            Message("The film cannot be used"),
            REASONS.get(error.code, ""),
        )
    if isinstance(error, LedgerError):
        title = Message("The ledger cannot be used now")
        return Problem(503, "ledger_unusable", title, "", _next_step(error), _RETRY)
    if isinstance(error, RecordError):
        title = Message("This cannot be recorded now, and was not done")
        return Problem(503, "not_recorded", title, "", _next_step(error), _RETRY)
    if isinstance(error, ModelError):
        title = Message("The model cannot be used")
        return Problem(503, "model_unusable", title, "", _next_step(error))
    kind = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    title = Message("The program cannot do this now")
    return Problem(503, kind, title, "", _next_step(error))


def _next_step(error: CxrEdgeError) -> str:
    """The error's own, where it holds no facts: those may be paths."""
    step = error.next_step
    return step if isinstance(step, Message) and not step.fields else _SEE_LOG


def _told_error(error: Mapping[str, Any]) -> dict[str, str]:
    """Where and what; without what was sent, which a key that nobody knows is, too."""
    kind, where = str(error["type"]), list(error["loc"])
    if kind == "extra_forbidden":
        where[-1] = "*"
    what = str(error["msg"]) if _SAFE_KINDS.fullmatch(kind) else "This is not valid."
    return {
        "where": ".".join(
            str(part) if re.fullmatch(r"\*|\w{1,40}", str(part)) else "?" for part in where
        ),
        "what": what,
        "kind": kind,
    }


def _bare(error: BaseException) -> BaseException:
    """An exception of the same name and stack, without its message."""
    kind = type(type(error).__name__, (Exception,), {"__module__": type(error).__module__})
    bare: BaseException = kind().with_traceback(error.__traceback__)
    if cause := error.__cause__ or error.__context__:
        bare.__cause__ = _bare(cause)
    return bare


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
