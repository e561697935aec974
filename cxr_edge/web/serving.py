"""What the routes need, passed in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Path as InPath
from fastapi import Request

from ..evidence import Evidence
from ..language import Message
from ..ledger import Ledger, Prediction
from ..model import Model
from ..profile import SiteProfile
from .access import Access
from .audit import Audit
from .problems import Problem

if TYPE_CHECKING:
    from .metrics import Metrics
    from .pictures import Pictures
    from .reading_queue import ReadingQueue
    from .uploads import Uploads

# SQLite's numbers end there.
FilmNumber = Annotated[int, InPath(ge=1, le=(1 << 63) - 1, description="The film's number.")]


@dataclass(frozen=True, eq=False)
class Serving:
    """One running `cxr-edge serve`.

    access: None where nobody has to log in. evidence: behind the model's card, None where there is
    none beside the model. language: of those whose browser names none that there is a catalog of.
    watcher_trouble: what keeps the watcher that runs beside it from its work; "" for nothing.
    profile: of this site, that films are judged by; None where they are by the card alone.
    """

    ledger_path: Path
    model: Model
    queue: "ReadingQueue"
    uploads: "Uploads"
    pictures: "Pictures"
    metrics: "Metrics"
    audit: Audit
    access: Access | None
    evidence: Evidence | None
    language: str
    watcher_trouble: Callable[[], str]
    now: Callable[[], datetime]
    profile: SiteProfile | None = None

    def ledger(self) -> Ledger:
        """The ledger, for looking. Raises LedgerError."""
        return Ledger(self.ledger_path, read_only=True)

    def writing(self) -> Ledger:
        """The same, to be written to. Raises LedgerError."""
        return Ledger(self.ledger_path)


def film_of(ledger: Ledger, number: int) -> Prediction:
    """Raises Problem (404)."""
    found = ledger.film(number)
    if found is None:
        raise Problem(
            404,
            "no_film",
            Message("No such film"),
            Message("The ledger has no film of that number."),
        )
    return found


def who(request: Request) -> str:
    """The name that the request is logged in by; "" where nobody has to."""
    return str(request.scope.get("cxr_edge.who", ""))


def audited(
    request: Request, action: str, films: Iterable[int] = (), n_films: int | None = None
) -> None:
    """Write into the audit log what is about to be shown or was done. Raises RecordError: it
    cannot be written, and then nothing is to be shown."""
    serving = serving_of(request)
    address = request.client.host if request.client else ""
    for film in films:
        serving.audit.say(action, who=who(request), address=address, film=film)
    if n_films is not None:
        serving.audit.say(action, who=who(request), address=address, n_films=n_films)


def serving_of(request: Request) -> Serving:
    """For routes: `Depends(serving_of)`."""
    serving: Serving = request.app.state.serving
    return serving
