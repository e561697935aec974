"""What befalls the CSV: locked, read-only, deleted, edited by hand, another in its place."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from .arrivals import Stream
from .mounts import read_only, unwritable
from .outcome import CannotRunError, Outcome, Scale
from .site import Running, Site

FAULT = "CSV locked, read-only, deleted, edited by hand, replaced by another header"
# The CSV is tried again at most so much later, by loop.py.
_CATCHES_UP_S = 60.0


def run(scale: Scale) -> Outcome:
    site = Site(scale.folder)
    wrongs: list[str] = []
    undone: list[str] = []
    latest_s = 0.0
    with Stream(site.folder, scale.of(0.05, 0.2)) as stream, site.start() as running:
        running.wait_until(lambda: len(site.rows()) >= 3, "rows")
        for name, trouble, seconds in (
            ("locked", lambda: _unwritable(site, running), scale.of(2.0, 180.0)),
            ("read-only", lambda: _read_only(site, running), scale.of(2.0, 60.0)),
            ("deleted", lambda: nullcontext(site.csv.unlink()), scale.of(0.5, 10.0)),
            ("edited", lambda: _edited(site, running), scale.of(1.0, 10.0)),
            ("other header", lambda: _others(site, running), scale.of(2.0, 60.0)),
        ):
            try:
                latest_s = max(latest_s, _during(trouble, seconds, site, stream, running))
            except CannotRunError as exc:
                undone.append(f"{name}: {exc}")
            except AssertionError as exc:
                wrongs.append(f"{name}: {exc}")
        films = stream.end()
        site.wait_for_films(films, running)
        code, _ = running.end()
    wrongs += site.wrongs(films) + ([f"exit code {code}"] if code else [])
    figures = f"{len(films)} films came meanwhile, all rows there after {latest_s:.1f} s at most: "
    figures += "; ".join(wrongs) or "each film one row, and every byte of the user's as it was"
    return Outcome(FAULT, figures, not wrongs, "; ".join(undone))


def _during(
    trouble: Callable[[], AbstractContextManager[object]],
    seconds: float,
    site: Site,
    stream: Stream,
    running: Running,
) -> float:
    """Seconds from the end of the trouble until every row is there."""
    with trouble():
        time.sleep(seconds)
    came, ended_s = set(stream.films), time.monotonic()
    running.wait_until(
        lambda: came <= {row.get("sha256") for row in site.rows()}, "all rows", _CATCHES_UP_S
    )
    return time.monotonic() - ended_s


@contextmanager
def _unwritable(site: Site, running: Running) -> Iterator[None]:
    with unwritable(site.csv):
        yield from _said(running)


@contextmanager
def _read_only(site: Site, running: Running) -> Iterator[None]:
    with read_only(site.results):
        yield from _said(running)


def _said(running: Running) -> Iterator[None]:
    """The trouble is on the error stream before it ends."""
    n_before = _n_said(running)
    yield
    running.wait_until(lambda: _n_said(running) > n_before, "that the rows wait")


def _n_said(running: Running) -> int:
    return running.complained().count("The rows wait in the ledger.")


@contextmanager
def _edited(site: Site, running: Running) -> Iterator[None]:
    """A remark in one cell, a row moved to the top, and a line below without an end."""
    with running.held() if sys.platform != "win32" else nullcontext():
        first, *lines = site.csv.read_bytes().splitlines(keepends=True)
        lines[1] = lines[1].replace(b",ok,,", ',ok,"seen by Müller, ""fine""",'.encode(), 1)
        lines.insert(0, lines.pop(2))
        edited = b"".join([first, *lines, "Übertrag".encode()])
        beside = site.csv.with_suffix(".edited")
        beside.write_bytes(edited)
        beside.replace(site.csv)
    yield
    running.wait_until(lambda: site.csv.stat().st_size > len(edited), "rows below the edited ones")
    assert site.csv.read_bytes().startswith(edited), "what the user wrote is not as it was"
    # The line that is no row goes again, so that it is not counted as one.
    with running.held() if sys.platform != "win32" else nullcontext():
        text = site.csv.read_bytes()
        site.csv.write_bytes(text.replace("Übertrag\n".encode(), b"", 1))


@contextmanager
def _others(site: Site, running: Running) -> Iterator[None]:
    """Somebody's own table under that name, until it is moved away."""
    own = b"name;remark\r\nA. Huber;call back\r\n"
    beside = site.csv.with_suffix(".own")
    beside.write_bytes(own)
    beside.replace(site.csv)
    yield from _said(running)
    assert site.csv.read_bytes() == own, "somebody's table was written to"
    site.csv.rename(beside)
