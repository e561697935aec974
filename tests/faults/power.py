"""Power cuts: the ledger and the CSV as they may lie on the disk when it was not yet all written.

What the disk must have by then is known from the order of the writing: each commit of the ledger is
on it before the next one begins (synchronous=FULL), and the CSV's bytes are before a commit says
how large it is. Of all that came later any part may be there: it is cut off at random, or put as
zeros, old bytes or nonsense, as file systems and disks leave it.
"""

import random
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .arrivals import Arrivals
from .outcome import CannotRunError, Outcome, Scale
from .site import Running, Site, asked, integrity_trouble

FAULT = "power loss: writes that were not yet synced are dropped at random"
_PAGE = 4096


def run(scale: Scale) -> Outcome:
    if sys.platform == "win32":
        raise CannotRunError("a process cannot be held on Windows")
    n_cuts, n_films = scale.of(6, 200), scale.of(100, 2000)
    rng = random.Random(scale.seed)
    site = Site(scale.folder)
    arrivals = Arrivals(site.folder, n_films, rng.randrange(2**32))
    wrongs: list[str] = []
    n_dropped = {"ledger": 0, "CSV": 0}
    for cut in range(n_cuts):
        with site.start() as running:
            running.wait_until_it_watches()
            arrivals.come((cut + 1) / n_cuts)
            before, after = _last_moments(site, running, rng)
        n_dropped["ledger"] += _drop_of_ledger(site, before, after, rng)
        n_dropped["CSV"] += _drop_of_csv(site, after, rng)
        if trouble := integrity_trouble(site.ledger, site.base):
            wrongs.append(f"cut {cut}: {trouble}")
        known = {Path(str(row[0])).name for row in asked(site.ledger, _SOURCES)}
        if lost := before.told - known:
            wrongs.append(f"cut {cut}: {len(lost)} films that were told of are lost")
        scale.say(cut + 1, n_cuts, "cuts")
    arrivals.come(1.0)
    arrivals.end()
    with site.start() as running:
        site.wait_for_films(arrivals.films, running)
        running.end()
    wrongs += site.wrongs(arrivals.films)
    figures = (
        f"{n_cuts} cuts (the ledger lost a commit or its end {n_dropped['ledger']} times, the CSV "
        f"bytes {n_dropped['CSV']} times), {n_films:,} films: "
        + ("; ".join(wrongs) or "nothing told of was lost, no half row, each film one row")
    )
    return Outcome(FAULT, figures, not wrongs)


_SOURCES = "SELECT CAST(source AS TEXT) FROM predictions"


@dataclass(frozen=True)
class _Snapshot:
    """told: the films whose results had been told by then."""

    ledger: bytes
    log: bytes
    csv: bytes
    told: frozenset[str]


def _last_moments(site: Site, running: Running, rng: random.Random) -> tuple[_Snapshot, _Snapshot]:
    """What lay there shortly before the end, and at the end: if it happens to come soon, one at
    which the CSV has bytes that the ledger does not know of."""
    time.sleep(rng.uniform(0, 1.0))
    after = _Snapshot(b"", b"", b"", frozenset())
    for attempt in reversed(range(rng.randint(2, 30))):
        before = after
        with running.held():
            after = _snapshot(site, running)
            if not attempt or (before.told and _known_size(site) < len(after.csv)):
                running.kill()
                return before, after
        time.sleep(rng.uniform(0, 0.03))
    raise AssertionError("unreachable")


def _snapshot(site: Site, running: Running) -> _Snapshot:
    def bytes_of(path: Path) -> bytes:
        return path.read_bytes() if path.exists() else b""

    return _Snapshot(
        bytes_of(site.ledger),
        bytes_of(site.ledger.with_name(f"{site.ledger.name}-wal")),
        bytes_of(site.csv),
        frozenset(Path(line.partition(": ")[0]).name for line in running.told()),
    )


def _known_size(site: Site) -> int:
    """Up to where the ledger knows the CSV."""
    rows = asked(site.ledger, "SELECT size_bytes FROM csv_files")
    return int(str(rows[0][0])) if rows else 0


def _drop_of_ledger(site: Site, before: _Snapshot, after: _Snapshot, rng: random.Random) -> bool:
    """Put the ledger as a disk may have it; whether anything is missing."""
    log = site.ledger.with_name(f"{site.ledger.name}-wal")
    commits = _commits(after.log)
    last = commits[-1] if commits else 0  # none: what came before is in the ledger
    # All but the last one are on the disk, and so is what was before this last moment.
    keep = commits[-2] if len(commits) > 1 else 0
    if _known_size(site) < len(after.csv):  # rows are written once their films' commit is there
        keep = last
    ledger = after.ledger
    if before.log[:32] == after.log[:32]:
        keep = max([keep, *_commits(before.log)[-1:]])
        if before.ledger != after.ledger:
            # What is copied from the log into the ledger is in the log, until both are on the disk.
            keep = last
            pages = [ledger[i : i + _PAGE] for i in range(0, len(ledger), _PAGE)]
            for number, page in enumerate(pages):
                old = before.ledger[number * _PAGE : (number + 1) * _PAGE]
                pages[number] = rng.choice([page, old]) if len(old) == _PAGE else page
            ledger = b"".join(pages)
    cut = rng.randint(keep, max(keep, last))
    site.ledger.write_bytes(ledger)
    # Never synced, and made anew by whoever opens the ledger first.
    site.ledger.with_name(f"{site.ledger.name}-shm").write_bytes(rng.randbytes(_PAGE))
    log.write_bytes(_torn(after.log, cut, before.log[cut:], rng))
    return cut < last


def _drop_of_csv(site: Site, after: _Snapshot, rng: random.Random) -> bool:
    cut = rng.randint(min(_known_size(site), len(after.csv)), len(after.csv))
    rest = b"" if rng.random() < 0.5 else bytes(len(after.csv) - cut)
    if after.csv:
        site.csv.write_bytes(after.csv[:cut] + rest)
    return cut < len(after.csv)


def _torn(data: bytes, cut: int, old: bytes, rng: random.Random) -> bytes:
    rest = len(data) - cut
    ends = (b"", bytes(rest), (old + bytes(rest))[:rest], rng.randbytes(min(rest, 512)))
    return data[:cut] + rng.choice(ends)


def _commits(log: bytes) -> list[int]:
    """Where in a write-ahead log each commit of its present round ends.

    https://www.sqlite.org/fileformat.html#the_write_ahead_log
    """
    if len(log) < 32:
        return []
    page_bytes, salts = struct.unpack(">I", log[8:12])[0], log[16:24]
    ends = []
    for start in range(32, len(log) - 24 - page_bytes + 1, 24 + page_bytes):
        if log[start + 8 : start + 16] != salts:
            break
        if log[start + 4 : start + 8] != bytes(4):
            ends.append(start + 24 + page_bytes)
    return ends
