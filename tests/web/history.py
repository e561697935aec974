"""A ledger with some months in it: films that a site has read, and what its clinicians said."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from cxr_edge.ledger import Ledger, Verdict
from cxr_edge.result import Finding, Identifiers, Result
from cxr_edge.watch.scan import look_of
from tests.conftest import SAMPLES

FINDING, THRESHOLD, UNSURE = "pneumonia", 0.208, (0.07, 0.3)


@dataclass(frozen=True)
class Shift:
    """From the week on, the films' scores are drawn from another distribution (of Beta: a, b)."""

    week: int
    a: float
    b: float


def write_history(
    ledger_path: Path,
    folder: Path,
    model: tuple[str, str],
    *,
    n_weeks: int = 26,
    n_per_day: int = 6,
    shift: Shift = Shift(20, 1.2, 1.6),
) -> None:
    """folder: for its films, the samples again and again, no two files alike. model: its label and
    sha256."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    until = datetime.now(UTC)
    number = 0
    with Ledger(ledger_path) as ledger, ledger.transaction():
        folder_id = ledger.folder_id(folder)
        for day in range(7 * n_weeks, 0, -1):
            week = n_weeks - day // 7
            for _ in range(rng.poisson(n_per_day)):
                at = until - timedelta(days=day, minutes=float(rng.uniform(0, 500)))
                ill = rng.random() < 0.3
                healthy = (shift.a, shift.b) if week >= shift.week else (0.5, 9.0)
                probability = float(rng.beta(7, 1.5) if ill else rng.beta(*healthy))
                film, sha256 = _film(folder, number, ill)
                result = replace(_result(rng, film, probability, at, model), sha256=sha256)
                look = look_of(film.stat(), keeps_ctime=False)
                file_id = ledger.saw(folder_id, film.name, look)
                who = Identifiers(f"P{number % 97:03}")
                recorded = ledger.record(file_id, look, result, who)
                ledger.finish(file_id, result.status, None, set_aside=False)
                if result.status == "ok" and rng.random() < 0.4:
                    right = (probability >= THRESHOLD) == ill
                    word = "agree" if right else "disagree"
                    ledger.say(recorded.prediction_id, Verdict(FINDING, word, "", "anna", at))
                number += 1


def _film(folder: Path, number: int, ill: bool) -> tuple[Path, str]:
    """A copy of a sample that is like no other, and its sha256."""
    data = (SAMPLES / f"{'pneumonia' if ill else 'normal'}-{(1, 4)[number % 2]}.jpg").read_bytes()
    # JPEG's comment (ITU-T T.81, COM), of six bytes.
    data = data[:2] + b"\xff\xfe\x00\x08" + f"{number:06}".encode() + data[2:]
    path = folder / f"film-{number:04}.jpg"
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def _result(
    rng: np.random.Generator,
    film: Path,
    probability: float,
    at: datetime,
    model: tuple[str, str],
) -> Result:
    refused = rng.random() < 0.03
    reason = "lateral: The view is LL, a lateral. Send the frontal view (PA or AP)."
    return Result(
        source=film,
        status="refused" if refused else "ok",
        reason=reason if refused else "",
        findings=() if refused else (Finding(FINDING, probability, THRESHOLD, *UNSURE),),
        model=model[0],
        model_sha256=model[1],
        provider="CPUExecutionProvider",
        duration_ms=float(rng.uniform(12, 40)),
        processed_at=at,
        sha256="",
        distance=None if refused else float(rng.gamma(25, 0.04)),
    )
