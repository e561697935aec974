"""What was filled in on a page."""

from typing import Annotated

from fastapi import Depends, Request

_MAX_FIELDS = 200


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a form by name; files are none. Raises FormParserError."""
    async with request.form(max_files=1, max_fields=_MAX_FIELDS) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


Form = Annotated[dict[str, str], Depends(_form_of)]
