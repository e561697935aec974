"""The whole server as one application, with real decoders and a tiny model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.testclient import TestClient

from cxr_edge.decoding import IsolatedDecoder
from cxr_edge.evidence import Evidence
from cxr_edge.ledger import Ledger
from cxr_edge.model import Model
from cxr_edge.refusals import ACCEPTABLE
from cxr_edge.terms import STANDARD_TERMS, Terms
from cxr_edge.web.access import Access
from cxr_edge.web.app import build_app
from cxr_edge.web.audit import Audit
from cxr_edge.web.guard import Rules
from cxr_edge.web.metrics import Metrics
from cxr_edge.web.pictures import Pictures
from cxr_edge.web.reading_queue import Decoders, ReadingQueue
from cxr_edge.web.serving import Serving
from cxr_edge.web.uploads import Uploads

HOST = "localhost:8717"


@dataclass
class Server:
    """client: a browser or program that asks it. trouble: of the watcher beside it."""

    serving: Serving
    client: TestClient
    folder: Path
    trouble: str = ""

    @property
    def audit_lines(self) -> list[str]:
        path = self.folder / "audit.log"
        return path.read_text().splitlines() if path.exists() else []


@contextmanager
def running(
    folder: Path,
    model: Model,
    *,
    access: Access | None = None,
    n_places: int = 8,
    n_workers: int = 1,
    max_body_bytes: int = 10_000_000,
    with_identifiers: bool = True,
    evidence: Evidence | None = None,
    terms: Terms = STANDARD_TERMS,
) -> Iterator[Server]:
    """A server with its files in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger_path = folder / "ledger.db"
    Ledger(ledger_path).close()

    def decoders(n: int, accepted: frozenset[str]) -> Decoders:
        return Decoders(
            lambda: IsolatedDecoder(
                model.card.input, accepted=accepted, with_identifiers=with_identifiers
            ),
            n,
        )

    uploads = Uploads(folder / "uploads", ledger_path)
    queue = ReadingQueue(model, terms, decoders(n_workers, terms.accepted), n_workers, n_places)
    pictures = Pictures(ledger_path, model, decoders(1, ACCEPTABLE))
    serving = Serving(
        ledger_path,
        model,
        queue,
        uploads,
        pictures,
        Metrics(model, lambda: queue.n_waiting, n_places),
        Audit(folder / "audit.log"),
        access,
        evidence,
        "en",
        lambda: server.trouble,
        lambda: datetime.now(UTC),
    )
    rules = Rules(8717, max_body_bytes=max_body_bytes)
    try:
        with TestClient(build_app(serving, rules), base_url=f"http://{HOST}") as client:
            server = Server(serving, client, folder)
            yield server
    finally:
        queue.close()
        pictures.close()
        uploads.close()
