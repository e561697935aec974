"""The page and the API as one application: routes, what errors become, and the guard before all."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from .. import __version__
from ..words import NOT_FOR_DIAGNOSIS
from . import api, pages, problems
from .guard import Guard, Rules
from .serving import Serving

_STATIC = Path(__file__).with_name("static")
_NO_TELEMETRY: Any = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


class _Static(StaticFiles):
    """Files that are the same for everybody: kept by the browser, which asks whether they are still
    the same."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def build_app(serving: Serving, rules: Rules) -> ASGIApp:
    """serving: what the routes need. rules: who may ask, and what of."""
    app = FastAPI(
        title="cxr-edge",
        version=__version__,
        summary="Reads chest X-rays offline.",
        description=str(NOT_FOR_DIAGNOSIS),
        # They would load their pages from a network that may not be there.
        docs_url=None,
        redoc_url=None,
        # Whatever else is installed here is told nothing of requests.
        telemetry=_NO_TELEMETRY,
    )
    app.state.serving = serving
    problems.install(app, page=pages.error_page)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", _Static(directory=_STATIC), name="static")
    return Guard(app, rules, serving.access, pages.error_page)
