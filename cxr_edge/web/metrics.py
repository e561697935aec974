"""What a monitoring system asks for (Prometheus): how many films, how long they took, who waits."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .. import __version__
from ..model import Model
from ..result import Result

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Of one server; nothing in them is of a single film."""

    def __init__(self, model: Model, n_waiting: Callable[[], int], n_places: int) -> None:
        self._registry = CollectorRegistry()
        self._films = Counter(
            "cxr_edge_films",
            "Films that were uploaded, by what became of them.",
            ["status", "code"],
            registry=self._registry,
        )
        self._answers = {
            "positive": Counter(
                "cxr_edge_positive", "Positive findings.", ["finding"], registry=self._registry
            ),
            "unsure": Counter(
                "cxr_edge_unsure",
                "Findings that a person has to decide.",
                ["finding"],
                registry=self._registry,
            ),
        }
        self._film_s = Histogram(
            "cxr_edge_film_seconds",
            "From the network to the answer, without the wait.",
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60),
            registry=self._registry,
        )
        self._turned_away = Counter(
            "cxr_edge_turned_away",
            "Requests that were answered 503 because too many films waited.",
            registry=self._registry,
        )
        waiting = Gauge(
            "cxr_edge_queue_films", "Films that wait or are read now.", registry=self._registry
        )
        waiting.set_function(n_waiting)
        places = Gauge("cxr_edge_queue_places", "How many may.", registry=self._registry)
        places.set(n_places)
        info = Info("cxr_edge", "What runs here.", registry=self._registry)
        info.info(
            {
                "version": __version__,
                "model": model.card.label,
                "model_sha256": model.sha256,
                "provider": model.provider,
            }
        )

    def read(self, result: Result) -> None:
        """A film was read, or could not be."""
        self._films.labels(result.status, result.code).inc()
        self._film_s.observe(result.duration_ms / 1000)
        for finding in result.findings:
            if finding.answer in self._answers:
                self._answers[finding.answer].labels(finding.name).inc()

    def turned_away(self) -> None:
        self._turned_away.inc()

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self._registry)
