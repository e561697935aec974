"""No space is left for the ledger, the CSV, the heatmaps or the log, and then there is again."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .arrivals import Stream
from .mounts import full, small_disk
from .outcome import Outcome, Scale
from .site import Running, Site

FAULT = "disk full during ledger, CSV, heatmap and log writes (a small tmpfs)"
_LOST = "lines could not be written and are lost"


def run(scale: Scale) -> Outcome:
    wrongs: list[str] = []
    told: list[str] = []
    targets = (
        ("ledger", "state", 8.0, "ledger"),
        ("CSV", "results ü", 0.5, "The rows wait in the ledger."),
        ("heatmaps", "heatmaps", scale.of(64.0, 256.0), "Heatmaps cannot be written"),
        ("log", "log", 0.25, ""),
    )
    # At the same time, each at a site of its own: it is waiting for the most part.
    with ThreadPoolExecutor(len(targets)) as pool:
        waiting = [(target[0], pool.submit(_fill_up, scale, *target)) for target in targets]
        for what, future in waiting:
            try:
                told.append(f"{what} {future.result():.1f} s")
            except AssertionError as exc:
                wrongs.append(f"{what}: {exc}")
    figures = f"it says so and recovers by itself (full for, in turn: {', '.join(told)}): "
    figures += "; ".join(wrongs) or "each film one row, each heatmap whole"
    return Outcome(FAULT, figures, not wrongs)


def _fill_up(scale: Scale, what: str, folder: str, size_mb: float, word: str) -> float:
    """For how many seconds the disk was full. Raises AssertionError."""
    base = scale.folder / what
    heatmaps, log = base / "heatmaps", base / "log"
    site = Site(base, heatmaps=f"folder = '{heatmaps}'", log=f"file = '{log / 'log.jsonl'}'")
    heatmaps.mkdir()
    log.mkdir()
    disk = base / folder
    with small_disk(disk, size_mb), site.start() as running:
        with Stream(site.folder, scale.of(0.05, 0.1)) as stream:
            running.wait_until(lambda: len(site.rows()) >= 5, "rows")
            with full(disk):
                since_s = time.monotonic()
                running.wait_until(_says(running, word), f"that the disk is full ({word})")
                # The watcher's state is written into the ledger every ten seconds.
                time.sleep(scale.of(1.0, 25.0))
                # The log's last page takes some dozen lines more, one per film.
                n_rows = len(site.rows()) + (60 if what == "log" else 0)
                running.wait_until(lambda: what != "log" or len(site.rows()) > n_rows, "rows")
                if scale.full or what == "ledger":
                    _ask_status(site)
                lasted_s = time.monotonic() - since_s
            n_then = len(stream.films)
            running.wait_until(lambda: len(stream.films) > n_then + 5, "more films")
            films = stream.end()
        site.wait_for_films(films, running)
        assert running.lives, f"it has ended: {running.complained()[-500:]}"
        wrongs = site.wrongs(films)
        if what == "log":
            running.wait_until(lambda: _LOST in _text(log / "log.jsonl"), "the lost lines' number")
        if what == "heatmaps":
            whole = [path for path in heatmaps.glob("*.png") if b"IEND" in path.read_bytes()[-12:]]
            if len(whole) != len(films):
                wrongs.append(f"{len(whole)} whole heatmaps of {len(films)}")
        code, _ = running.end()
        wrongs += [f"exit code {code}: {running.complained()[-300:]}"] if code else []
    assert not wrongs, "; ".join(wrongs)
    return lasted_s


def _says(running: Running, word: str) -> Callable[[], bool]:
    n_before = running.complained().count(word)
    return lambda: not word or running.complained().count(word) > n_before


def _ask_status(site: Site) -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "cxr_edge", "status", "--ledger", str(site.ledger)],
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode in (1, 2), f"status ends with {asked.returncode}: {asked.stdout}"
    assert "Traceback" not in asked.stderr, f"status: {asked.stderr}"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
