"""Films that come into a folder while something else happens."""

import random
import threading
import time
from pathlib import Path

from .pictures import picture, sha256


class Arrivals:
    """Films that come in a thread of their own: at once, piece by piece, or renamed into place.

    films: the names of those that have come, by sha256.
    """

    def __init__(self, folder: Path, n_films: int, seed: int) -> None:
        self.films: dict[str, str] = {}
        self._folder, self._n_films = folder, n_films
        self._rng = random.Random(seed)
        self._wanted = 0
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def come(self, share: float) -> None:
        """Let so many of them have come before long."""
        with self._changed:
            self._wanted = round(share * self._n_films)
            self._changed.notify()

    def end(self) -> None:
        """Wait for the last one."""
        self._thread.join()
        if self._error:
            raise self._error

    def _write(self) -> None:
        try:
            self._write_all()
        except Exception as exc:
            self._error = exc

    def _write_all(self) -> None:
        for number in range(self._n_films):
            with self._changed:
                while number >= self._wanted:
                    self._changed.wait()
            name, data = picture(number)
            self.films[sha256(data)] = name
            self._one(self._folder / name, data)
            time.sleep(self._rng.uniform(0, 0.05))

    def _one(self, path: Path, data: bytes) -> None:
        way = self._rng.randrange(10)
        if way < 5:
            path.write_bytes(data)
        elif way < 7:
            hidden = path.with_name(f".{path.name}")
            hidden.write_bytes(data)
            hidden.rename(path)
        elif way < 9:
            beside = path.with_name(f"{path.name}.part")
            beside.write_bytes(data)
            beside.rename(path)
        else:
            n_pieces = self._rng.randrange(2, 6)
            size = len(data) // n_pieces + 1
            with path.open("wb", buffering=0) as file:
                for start in range(0, len(data), size):
                    file.write(data[start : start + size])
                    time.sleep(self._rng.uniform(0, 0.3))


class Stream:
    """Films that come one after the other until it is ended.

    films: the names of those that have come, by sha256.
    """

    def __init__(self, folder: Path, pace_s: float = 0.05) -> None:
        self.films: dict[str, str] = {}
        self._folder, self._pace_s = folder, pace_s
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def end(self) -> dict[str, str]:
        """The films, of which no more come."""
        self._ended.set()
        self._thread.join()
        if self._error:
            raise self._error
        return self.films

    def _write(self) -> None:
        try:
            while not self._ended.wait(self._pace_s):
                name, data = picture(len(self.films))
                (self._folder / name).write_bytes(data)
                self.films[sha256(data)] = name
        except Exception as exc:
            self._error = exc
