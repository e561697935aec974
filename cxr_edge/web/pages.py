"""The pages as one router: the worklist, films, the model, the site, and the entrance."""

from fastapi import APIRouter, Depends

from . import about_pages, entrance, film_pages, worklist
from .rendering import error_page, spoken

__all__ = ["error_page", "router"]

router = APIRouter(include_in_schema=False, dependencies=[Depends(spoken)])
for _part in (worklist, film_pages, about_pages, entrance):
    router.include_router(_part.router)
