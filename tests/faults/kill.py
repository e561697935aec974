"""`kill -9` at random moments while films arrive."""

import random
import time
from pathlib import Path

from .arrivals import Arrivals
from .outcome import Outcome, Scale
from .pictures import sha256
from .site import Site, copy_ledger, integrity_trouble_of

FAULT = "`kill -9` at a random moment while films arrive"


def run(scale: Scale) -> Outcome:
    n_kills, n_films = scale.of(10, 500), scale.of(120, 2000)
    rng = random.Random(scale.seed)
    site = Site(scale.folder)
    moving = ("--after", "move", "--moved-to", scale.folder / "moved")
    arrivals = Arrivals(site.folder, n_films, rng.randrange(2**32))
    n_bad, n_orphans, n_read = 0, 0, []
    copies = site.base / "copies"
    copies.mkdir()
    for kill in range(n_kills):
        at_once = rng.random() < 0.5
        if at_once:
            arrivals.come((kill + 1) / n_kills)
        # A film stays or moves as chance has it: both are to survive.
        running = site.start(*moving if rng.random() < 0.5 else ())
        if kill:
            n_bad += bool(integrity_trouble_of(copies / "ledger.db"))
        # Half of the moments are amid what comes while it watches, others while it starts.
        if at_once:
            time.sleep(rng.uniform(0.05, 2.0))
        else:
            running.wait_until_it_watches()
            arrivals.come((kill + 1) / n_kills)
            time.sleep(rng.uniform(0, scale.of(1.5, 3.0)))
        family = running.family()
        running.kill()
        n_orphans += not running.leaves_nobody()
        n_read.append(len(running.told()))
        assert family or not Path("/proc").exists()
        for path in copies.iterdir():
            path.unlink()
        copy_ledger(site.ledger, copies / "ledger.db")
        scale.say(kill + 1, n_kills, "kills")
    n_bad += bool(integrity_trouble_of(copies / "ledger.db"))
    arrivals.come(1.0)
    arrivals.end()
    with site.start(*moving) as running:
        site.wait_for_films(arrivals.films, running)
        code, _ = running.end()
    wrongs = site.wrongs(arrivals.films)
    wrongs += [f"exit code {code}"] if code else []
    places = [*site.folder.rglob("film*"), *(scale.folder / "moved").rglob("film*")]
    wrongs += [f"{len(places)} files are left of {n_films}"] if len(places) != n_films else []
    damaged = [path for path in places if sha256(path.read_bytes()) not in arrivals.films]
    wrongs += [f"{len(damaged)} films were changed"] if damaged else []
    wrongs += [f"{n_bad} damaged ledgers"] if n_bad else []
    wrongs += [f"{n_orphans} times processes were left"] if n_orphans else []
    busy = sum(n > 0 for n in n_read)
    figures = (
        f"{n_kills} kills ({busy} of them after it had begun to read), {n_films:,} films: "
        + ("; ".join(wrongs) or "each one row in ledger and CSV, every ledger sound, no process")
        + ("" if wrongs else " left")
    )
    return Outcome(FAULT, figures, not wrongs)
