"""Ways of writing a film: 1 KB at a time, renamed into place, overwritten while it is read."""

import random
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tests import made

from .outcome import Outcome, Scale
from .pictures import picture, sha256
from .site import Site

FAULT = "films written 1 KB at a time; renamed into place; overwritten while read"


def run(scale: Scale) -> Outcome:
    rng = random.Random(scale.seed)
    # So that a writer's pauses are as long as what counts as settled, or nearly so.
    settle_s, lasts_s = scale.of(0.3, 2.0), scale.of(6.0, 120.0)
    site = Site(scale.folder, f"settle_s = {settle_s}", workers="film_s = 30.0")
    wrongs: list[str] = []
    films: dict[str, str] = {}  # whose row must be there
    may_be: dict[str, str] = {}  # whose row may be there: it was whole for a while
    with site.start() as running:
        running.wait_until_it_watches()
        # The uncompressed ones look like a film from early on.
        slow = [_film(number, kind) for number, kind in enumerate(("jpg", "png", "tif", "dcm"))]
        threads = [
            threading.Thread(target=_write_slowly, args=(site.folder / name, data, lasts_s))
            for name, data in slow
        ]
        for thread in threads:
            thread.start()
        for number in range(scale.of(10, 100)):
            name, data = picture(100 + number)
            hidden = number % 2
            partial = site.folder / (f".{name}" if hidden else f"{name}.part")
            partial.write_bytes(data[: len(data) // 2])
            time.sleep(rng.uniform(0, 2 * settle_s) if number % 5 == 0 else 0)
            with partial.open("ab") as file:
                file.write(data[len(data) // 2 :])
            partial.rename(site.folder / name)
            films[sha256(data)] = name
        n_overwritten = scale.of(6, 60)
        for number in range(n_overwritten):
            name, first = _large(2 * number, ("png", "jpg")[number % 2])
            second = _large(2 * number + 1, ("png", "jpg")[number % 2])[1]
            path = site.folder / name
            path.write_bytes(first)
            time.sleep(max(0.0, settle_s + rng.uniform(-0.1, 0.15)))
            if number % 3:  # in place: for a moment half of each
                with path.open("r+b", buffering=0) as file:
                    for start in range(0, len(second), 1 << 16):
                        file.write(second[start : start + (1 << 16)])
                    file.truncate(len(second))
            else:
                new = path.with_name(f".{name}")
                new.write_bytes(second)
                new.replace(path)
            films[sha256(second)], may_be[sha256(first)] = name, name
        for thread in threads:
            thread.join()
        films |= {sha256(data): name for name, data in slow}
        site.wait_for_films(films, running)
        code, _ = running.end()
    found = Counter(row["sha256"] for row in site.rows())
    n_before = sum(found[one] for one in may_be)
    films |= {one: name for one, name in may_be.items() if found[one]}
    wrongs += site.wrongs(films) + ([f"exit code {code}"] if code else [])
    figures = (
        f"4 films at 1 KB a time over {lasts_s:g} s (a film settles in {settle_s:g} s), "
        f"{scale.of(10, 100)} renamed into place, {n_overwritten} overwritten ({n_before} of them "
        "after they had been read): " + ("; ".join(wrongs) or "each read once, and whole")
    )
    return Outcome(FAULT, figures, not wrongs)


def _film(number: int, kind: str) -> tuple[str, bytes]:
    """Some 60 KB."""
    side = {"jpg": 420, "png": 280, "tif": 245, "dcm": 175}[kind]
    return picture(number, kind, side, side)


def _large(number: int, kind: str) -> tuple[str, bytes]:
    """It takes a while to decode."""
    small = made.film(250, 250).repeat(8, axis=0).repeat(8, axis=1)
    small[:64, :64] = np.random.default_rng(number).integers(0, 256, (64, 64))
    data = made.encode(small, {"jpg": "JPEG", "png": "PNG"}[kind], **_OPTIONS[kind])
    return f"large {number:04}.{kind}", data


_OPTIONS = {"jpg": {"quality": 95}, "png": {"compress_level": 1}}


def _write_slowly(path: Path, data: bytes, lasts_s: float) -> None:
    pieces = [data[start : start + 1024] for start in range(0, len(data), 1024)]
    with path.open("wb", buffering=0) as file:
        for piece in pieces:
            file.write(piece)
            time.sleep(lasts_s / len(pieces))
