"""SIGTERM while hundreds of films wait."""

import random
import time

from .outcome import Outcome, Scale
from .pictures import picture, quick_picture, sha256
from .site import Site

FAULT = "SIGTERM under load"
_MOST_S = 10.0


def run(scale: Scale) -> Outcome:
    n_times, n_waiting = scale.of(3, 40), 500
    rng = random.Random(scale.seed)
    site = Site(scale.folder)
    films: dict[str, str] = {}
    wrongs: list[str] = []
    longest_s = 0.0
    for number in range(n_times):
        n_read = len(site.predictions())
        while len(films) - n_read < n_waiting:
            _put(site, films)
        with site.start() as running:
            running.wait_until_it_watches()
            # Within this time its reading processes start and most of the backlog is read.
            time.sleep(rng.uniform(0, 2.5))
            code, took_s = running.end()
            longest_s = max(longest_s, took_s)
            if code or "Traceback" in running.complained():
                wrongs.append(f"exit code {code}: {running.complained()[-500:]}")
            if not running.leaves_nobody():
                wrongs.append("processes are left")
        scale.say(number + 1, n_times, "ends")
    with site.start() as running:
        site.wait_for_films(films, running)
        running.end()
    wrongs += site.wrongs(films)
    wrongs += [f"one end took {longest_s:.1f} s"] if longest_s > _MOST_S else []
    figures = (
        f"{n_times} times with {n_waiting} films waiting: it ends within {longest_s:.1f} s, "
        + ("; ".join(wrongs) or f"exit code 0; then each of {len(films):,} films one row")
    )
    return Outcome(FAULT, figures, not wrongs)


def _put(site: Site, films: dict[str, str]) -> None:
    """One more film; every fiftieth takes long to be decoded."""
    number = len(films)
    if number % 50 == 49:
        name, data = picture(number, "j2k.dcm", 1000, 1000)
    else:
        name, data = quick_picture(number)
    films[sha256(data)] = site.put(name, data)
