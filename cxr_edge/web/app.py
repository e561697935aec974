"""The page and the API as one application: routes, what errors become, and the guard before all."""

from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from .. import __version__
from ..words import NOT_FOR_DIAGNOSIS
from . import api, pages, problems
from .guard import Guard, Rules
from .serving import Serving

_STATIC = Path(__file__).with_name("static")


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
    )
    app.state.serving = serving
    problems.install(app, page=pages.error_page)
    app.include_router(api.router)
    app.include_router(pages.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return Guard(app, rules, serving.access, pages.error_page)
