"""What befalls the folder: it is unmounted, its rights are taken, its clock and names are odd."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from cxr_edge import load_model
from tests.watching import Bench

from .arrivals import Stream
from .mounts import bind, small_disk, unmount
from .outcome import CannotRunError, Outcome, Scale
from .pictures import picture, sha256
from .site import Running, Site

FAULT = (
    "folder unmounted and back; permission lost and back; clock set back a day; "
    "300-character and non-UTF-8 names"
)


def run(scale: Scale) -> Outcome:
    wrongs: list[str] = []
    told: list[str] = []
    undone: list[str] = []
    parts = {
        "unmounted": _unmounted,
        "forbidden": _forbidden,
        "clock": _set_back,
        "files' times": _set_back_files,
        "names": _odd_names,
    }
    # At the same time, each at a site of its own: it is waiting for the most part.
    with ThreadPoolExecutor(len(parts)) as pool:
        for name, future in [(name, pool.submit(part, scale)) for name, part in parts.items()]:
            try:
                told.append(future.result())
            except CannotRunError as exc:
                undone.append(f"{name}: {exc}")
            except AssertionError as exc:
                wrongs.append(f"{name}: {exc}")
    figures = f"{'; '.join(told)}: " + ("; ".join(wrongs) or "each film one row")
    return Outcome(FAULT, figures, not wrongs, "; ".join(undone))


def _unmounted(scale: Scale) -> str:
    """A disk in the folder's place goes, with films on it that have no row yet, and comes back with
    more of them."""
    site = Site(scale.folder / "unmounted")
    disk = scale.folder / "disk"
    disk.mkdir()
    n_times, away_s = scale.of(2, 20), scale.of(0.7, 20.0)
    with small_disk(disk, 64):
        bind(disk, site.folder)
        try:
            with Stream(disk, scale.of(0.03, 0.2)) as stream, site.start() as running:
                for time_ in range(n_times):
                    n_then = len(stream.films)
                    running.wait_until(lambda n=n_then: len(site.rows()) > n, "rows")
                    unmount(site.folder)
                    time.sleep(away_s)
                    left = list(site.folder.iterdir())
                    assert not left, f"written into the empty mount point: {left}"
                    # Other systems than this one cannot list a folder that is away.
                    if time_ % 2:
                        site.folder.rmdir()
                        time.sleep(1.0)
                        site.folder.mkdir()
                    bind(disk, site.folder)
                films = stream.end()
                site.wait_for_films(films, running)
                _ends_well(site, films, running)
        finally:
            unmount(site.folder)
    return f"unmounted {n_times} times for {away_s:g} s"


def _forbidden(scale: Scale) -> str:
    """The folder, one of its folders and one film may not be read for a while."""
    site = Site(scale.folder / "forbidden")
    below = site.folder / "ward 3"
    below.mkdir()
    away_s = scale.of(1.0, 60.0)
    with Stream(site.folder) as stream, site.start(through=_bound_by_rights()) as running:
        running.wait_until(lambda: len(site.rows()) >= 5, "rows")
        name, data = picture(10**6)
        (below / name).write_bytes(data)
        single, data_of_single = picture(10**6 + 1)
        hidden = site.folder / f".{single}"
        hidden.write_bytes(data_of_single)
        hidden.chmod(0)
        film = hidden.rename(site.folder / single)
        with _without_rights(below), _without_rights(site.folder):
            time.sleep(away_s)
        time.sleep(away_s)
        film.chmod(0o644)
        films = stream.end() | {sha256(data): name, sha256(data_of_single): single}
        site.wait_for_films(films, running)
        _ends_well(site, films, running)
    return f"folder, sub-folder and film forbidden for {away_s:g} s"


def _set_back(scale: Scale) -> str:
    """The computer's clock, imitated within one process: the real one is everybody's."""
    base = scale.folder / "set back"
    base.mkdir()
    site = Site(base / "model")
    bench = Bench(base, load_model(site.model, "cpu", threads=1))
    films = {}
    for day in range(4):
        for number in range(10):
            name, data = picture(100 * day + number)
            (bench.folder / name).write_bytes(data)
            films[sha256(data)] = name
            bench.rounds(1, 0.3)
        bench.clock.wall_offset -= timedelta(days=1)
    bench.rounds(20)
    bench.stop()
    in_csv = sorted(row["sha256"] for row in bench.rows)
    assert in_csv == sorted(films), f"{len(in_csv)} rows for {len(films)} films"
    return "clock set back 4 times"


def _set_back_files(scale: Scale) -> str:
    """Files whose time is set back by a day, before or after they were read, and new ones from
    yesterday."""
    site = Site(scale.folder / "times")
    films = {}
    yesterday = time.time() - 86400
    with site.start() as running:
        for number in range(scale.of(20, 200)):
            name, data = picture(number)
            films[sha256(data)] = name
            path = site.folder / site.put(name, data)
            if number % 2:
                os.utime(path, (yesterday, yesterday))
            time.sleep(0.02)
        site.wait_for_films(films, running)
        for path in site.folder.glob("film*"):
            os.utime(path, (yesterday, yesterday))
        time.sleep(2.0)
        site.wait_for_films(films, running)
        _ends_well(site, films, running)
    return "files' times set back"


def _odd_names(scale: Scale) -> str:
    if sys.platform != "linux":
        raise CannotRunError("such names are Linux's")
    site = Site(scale.folder / "names")
    films = {}
    names = [
        b"/".join([b"a" * 150, b"b" * 150, b"c" * 240 + b".png"]),
        ("ä" * 125 + ".png").encode(),
        b"\xff\xfe latin \xe9.png",
        b"sub \xe9/\x80.png",
        b"line\nbreak.png",
        b"=cmd.png",
        b'quote" and, comma.png',
        b"tab\tand\x01.png",
        "肺 \U0001fac1 .png".encode(),
        b" two  spaces .png",
        b"-v.png",
    ]
    with site.start() as running:
        for number, name in enumerate(names):
            data = picture(number, "png")[1]
            path = Path(os.fsdecode(os.fsencode(site.folder) + b"/" + name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            films[sha256(data)] = repr(name)
        site.wait_for_films(films, running)
        _ends_well(site, films, running)
    with site.start() as running:  # and they are known again
        running.wait_until_it_watches()
        time.sleep(1.0)
        _ends_well(site, films, running)
    return f"{len(films)} odd names of up to {max(map(len, names))} bytes"


def _ends_well(site: Site, films: dict[str, str], running: Running) -> None:
    code, _ = running.end()
    wrongs = site.wrongs(films) + ([f"exit code {code}"] if code else [])
    if "Traceback" in running.complained():
        wrongs.append(running.complained()[-1000:])
    assert not wrongs, "; ".join(wrongs)


def _bound_by_rights() -> list[str]:
    """How to start a program whom a file's rights bind, as they do not bind root.

    Raises CannotRunError.
    """
    if os.name == "nt":
        raise CannotRunError("rights are another thing on Windows")
    if os.geteuid():
        return []
    none = "-dac_override,-dac_read_search"  # capabilities(7)
    command = ["setpriv", "--bounding-set", none, "--inh-caps", none]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise CannotRunError("setpriv, which takes rights from root, does not work here") from exc
    return command


@contextmanager
def _without_rights(path: Path) -> Iterator[None]:
    mode = path.stat().st_mode & 0o777
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)
