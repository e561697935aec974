"""A day's films and many more, one after the other: nothing grows, nothing slows down."""

import statistics
import sys
import threading
import time
from dataclasses import dataclass
from itertools import pairwise

from .outcome import CannotRunError, Outcome, Scale
from .pictures import quick_picture, sha256
from .site import Running, Site, rows_of

FAULT = "24 h imitated: 100,000 arrivals with a tiny model"
# So many wait at most: the watcher always has something to do, and the folder stays small.
_N_WAITING = 300
_MOST_MB, _LEAST_RATE = 5.0, 0.95


@dataclass(frozen=True)
class _Sample:
    """How it was doing when so many films had been read."""

    n_read: int
    at_s: float
    memory_mb: float
    n_handles: int
    n_threads: int
    cpu_s: float


def run(scale: Scale) -> Outcome:
    if sys.platform != "linux":
        raise CannotRunError("memory is counted in Linux's /proc")
    n_films = scale.of(2000, 100_000)

    site = Site(scale.folder, after="success = 'delete'", log=f"file = '{scale.folder}/log.jsonl'")
    samples: list[_Sample] = []
    with site.start() as running:
        running.wait_until_it_watches()
        feeder = _Feeder(site, n_films)
        n_read = 0
        with running.out.open("rb") as told:
            while n_read < n_films and running.lives:
                n_read += told.read().count(b"\n")
                feeder.n_read = n_read
                if not samples or n_read - samples[-1].n_read >= n_films // 100:
                    samples.append(_sample(running, n_read))
                    if len(samples) % 10 == 0:
                        print(_line(samples[-1]), file=sys.stderr, flush=True)
                if time.monotonic() - samples[-1].at_s > 120:
                    break
                time.sleep(0.02)
        feeder.end()
        deadline = time.monotonic() + 60
        while len(rows_of(site.csv)) < n_films and time.monotonic() < deadline:
            time.sleep(0.5)
        code, _ = running.end()
    wrongs = [f"exit code {code}: {running.complained()[-500:]}"] if code else []
    wrongs += site.wrongs(feeder.films)
    left = [path for path in site.folder.iterdir() if path.name.startswith("film")]
    wrongs += [f"{len(left)} films are left"] if left else []
    return _outcome(scale, n_films, samples, wrongs)


def _outcome(scale: Scale, n_films: int, samples: list[_Sample], wrongs: list[str]) -> Outcome:
    def among(first: float, last: float) -> list[_Sample]:
        return [one for one in samples if first * n_films <= one.n_read <= last * n_films]

    def median(name: str, of: list[_Sample]) -> float:
        return statistics.median(getattr(one, name) for one in of)

    # The first tenth is after what is loaded and filled once.
    early, late = among(0.1, 0.2), among(0.9, 1.0)
    grown_mb = median("memory_mb", late) - median("memory_mb", early)
    handles = median("n_handles", early), median("n_handles", late)
    threads = median("n_threads", early), median("n_threads", late)
    rates = _rate(early, "at_s"), _rate(late, "at_s")
    of_cpu = _rate(late, "cpu_s") / _rate(early, "cpu_s")
    if scale.full:
        wrongs += [f"memory grew by more than {_MOST_MB:g} MB"] if grown_mb > _MOST_MB else []
        wrongs += ["it slowed down"] if rates[1] / rates[0] < _LEAST_RATE else []
    wrongs += ["handles grew"] if handles[1] > handles[0] + 1 else []
    wrongs += ["threads grew"] if threads[1] > threads[0] else []
    figures = (
        f"{n_films:,} films, deleted once recorded; from the second tenth to the last (medians): "
        f"memory of all its processes {grown_mb:+.1f} MB of {median('memory_mb', early):.0f}, "
        f"handles {handles[0]:.0f} to {handles[1]:.0f}, threads {threads[0]:.0f} to "
        f"{threads[1]:.0f}, {rates[0]:.0f} to {rates[1]:.0f} films/s "
        f"({100 * rates[1] / rates[0]:.0f} %; per second of processor time {100 * of_cpu:.0f} %): "
        + ("; ".join(wrongs) or "each film one row")
    )
    return Outcome(FAULT, figures, not wrongs)


def _rate(samples: list[_Sample], clock: str) -> float:
    """Films per second of that clock, the median of those between one sample and the next."""
    return statistics.median(
        (b.n_read - a.n_read) / (getattr(b, clock) - getattr(a, clock))
        for a, b in pairwise(samples)
        if getattr(b, clock) > getattr(a, clock)
    )


def _sample(running: Running, n_read: int) -> _Sample:
    return _Sample(
        n_read,
        time.monotonic(),
        running.resident_mb(),
        running.n_handles(),
        running.n_threads(),
        running.cpu_s(),
    )


def _line(one: _Sample) -> str:
    return (
        f"{one.n_read} films, {one.memory_mb:.1f} MB, {one.n_handles} handles, "
        f"{one.n_threads} threads, at {one.at_s:.0f} s"
    )


class _Feeder:
    """Puts films into the folder, a bounded number ahead of what was read."""

    def __init__(self, site: Site, n_films: int) -> None:
        self.films: dict[str, str] = {}
        self.n_read = 0
        self._site, self._n_films = site, n_films
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        for number in range(self._n_films):
            while number - self.n_read > _N_WAITING:
                if self._ended.wait(0.01):
                    return
            name, data = quick_picture(number)
            hidden = self._site.folder / f".{name}"
            hidden.write_bytes(data)
            hidden.rename(self._site.folder / name)
            self.films[sha256(data)] = name
