"""Thousands of damaged films at once: bits flipped, cut short, with nonsense in their headers."""

import random
import re
import threading
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from tests import made

from .outcome import Outcome, Scale
from .pictures import KINDS, picture, sha256
from .site import Running, Site

FAULT = (
    "mutated films (bit flips, truncations, header fuzz of JPEG, PNG, TIFF, DICOM with JPEG, "
    "JPEG-LS, JPEG 2000 and RLE) put in at once"
)
# What films of other makers hold where a length, a size or an offset stands.
_ODD_NUMBERS = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4), b"\x00\x00\x00\x80")


def run(scale: Scale) -> Outcome:
    n_films = scale.of(200, 5000)
    rng = random.Random(scale.seed)
    site = Site(
        scale.folder,
        "patience_s = 1.0\nretry_for_s = 3.0",
        workers="film_s = 5.0\nmemory_mb = 1024",
    )
    originals = _originals()
    films: dict[str, str] = {}
    for number in range(n_films):
        suffix, data = originals[number % len(originals)]
        changed = _mutated(data, [one for _, one in originals], rng)
        films.setdefault(sha256(changed), site.put(f"film {number:06}.{suffix}", changed))
    with site.start() as running:
        running.wait_until_it_watches()
        processes = _ReadingProcesses(running)
        site.wait_for_films(films, running)
        n_processes = processes.end()
        wrongs = [] if running.lives else [f"it has ended: {running.complained()[-1000:]}"]
        code, _ = running.end()
    wrongs += site.wrongs(films, ("ok", "refused", "failed"))
    wrongs += [f"exit code {code}"] if code else []
    if "Traceback" in running.complained():
        wrongs.append(running.complained()[-1000:])
    bare = [row for row in site.rows() if row["status"] != "ok" and not _has_code(row["reason"])]
    wrongs += [f"{len(bare)} rows without a reason: {bare[:2]}"] if bare else []
    codes = Counter(code or status for _, status, code in site.predictions())
    faults = [row for row in site.rows() if row["reason"].startswith("internal_error")]
    wrongs += [f"{len(faults)} internal errors: {faults[:2]}"] if faults else []
    told = ", ".join(f"{n} {code}" for code, n in codes.most_common())
    figures = (
        f"{n_films:,} films, {len(films):,} of them different: {told}; "
        f"{max(0, n_processes - 2)} reading processes replaced: "
        + ("; ".join(wrongs) or "0 crashes of the daemon, each film one row with its reason")
    )
    return Outcome(FAULT, figures, not wrongs)


def _originals() -> list[tuple[str, bytes]]:
    """Suffix and bytes of sound films of many kinds."""
    found = [(kind, picture(number, kind)[1]) for number, kind in enumerate(KINDS)]
    grey = made.film(56, 48)
    deep = grey.astype(np.uint16) << 8
    found += [
        ("jpg", made.encode(grey, "JPEG", progressive=True)),
        ("jpg", made.encode(made.rgb(grey), "JPEG", quality=90)),
        ("png", made.encode(deep, "PNG")),
        ("png", made.encode(Image.fromarray(grey).convert("P"), "PNG")),
        ("tif", made.encode(grey, "TIFF", compression="tiff_lzw")),
        ("tif", made.encode(grey, "TIFF", compression="tiff_adobe_deflate")),
        ("tif", made.tiff(deep, byte_order=">")),
        ("dcm", made.dicom(deep, 16, syntax=made.DeflatedExplicitVRLittleEndian)),
        ("dcm", made.dicom(deep, 16, syntax=made.ImplicitVRLittleEndian)),
        ("dcm", made.dicom(deep, 16, VOILUTSequence=[made.lut(0, 16, [0, 65535])])),
    ]
    return found


def _mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        in_header = rng.randrange(min(len(changed), 400) + 1)
        way = rng.randrange(8)
        if way == 0:
            del changed[at:]
        elif way == 1:
            for position in (
                rng.choices(range(len(changed)), k=rng.randint(1, 20)) if changed else ()
            ):
                changed[position] ^= 1 << rng.randrange(8)
        elif way == 2:
            n_bytes = rng.randint(1, 8)
            changed[in_header : in_header + n_bytes] = rng.randbytes(n_bytes)
        elif way == 3:
            changed[in_header : in_header + 4] = rng.choice(_ODD_NUMBERS)
        elif way == 4:
            del changed[at : at + rng.randint(1, 200)]
        elif way == 5:
            changed[at:at] = rng.randbytes(rng.randint(1, 200))
        elif way == 6:
            changed[at:] = rng.choice(others)[at:]
        else:
            n_bytes = min(rng.randint(1, 2000), len(changed) - at)
            changed[at : at + n_bytes] = bytes(n_bytes)
    return bytes(changed)


def _has_code(reason: str) -> bool:
    return re.match(r"[a-z_]+: \S", reason) is not None


class _ReadingProcesses:
    """Counts the processes that a watcher starts to decode films, in a thread of its own."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._seen: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return len(self._seen)

    def _look(self) -> None:
        while not self._ended.wait(0.2):
            for pid in self._running.family():
                if pid not in self._seen and b"spawn_main" in _command_of(pid):
                    self._seen.add(pid)


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
