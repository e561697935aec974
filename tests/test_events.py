"""The system tells of films that come or change, and of nothing that this program does itself."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxr_edge.watch.events import Events

pytestmark = pytest.mark.skipif(
    sys.platform not in ("linux", "win32"), reason="where events are used and known to work"
)


class Listening:
    """Events of a folder, with somebody who waits for them."""

    def __init__(self, folder: Path) -> None:
        self._woken = threading.Event()
        self.events = Events(folder, True, self._woken.set)
        self.events.start()
        self.heard: set[Path] = set()

    def until_heard(self, path: Path) -> set[Path]:
        """All that was heard of until that one was."""
        while path not in self.heard:
            assert self._woken.wait(20), f"nothing heard of {path}"
            self._woken.clear()
            paths, overflowed = self.events.take()
            assert not overflowed
            self.heard |= paths
        return self.heard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    (folder / "sub").mkdir(parents=True)
    (folder / "old.png").write_bytes(b"film")
    return folder


@pytest.fixture
def listening(folder: Path) -> Iterator[Listening]:
    listening = Listening(folder)
    yield listening
    listening.events.stop()


def written(folder: Path) -> Path:
    path = folder / "new.png"
    path.write_bytes(b"film")
    return path


def rewritten(folder: Path) -> Path:
    path = folder / "old.png"
    path.write_bytes(b"another film")
    return path


def moved_in(folder: Path) -> Path:
    outside = folder.parent / "outside.png"
    outside.write_bytes(b"film")
    return outside.rename(folder / "sub" / "moved.png")


def renamed(folder: Path) -> Path:
    return (folder / "old.png").rename(folder / "renamed.png")


@pytest.mark.parametrize("change", [written, rewritten, moved_in, renamed])
def test_a_film_that_comes_or_changes_is_heard_of(
    listening: Listening, folder: Path, change: Callable[[Path], Path]
) -> None:
    path = change(folder)
    assert path in listening.until_heard(path)


@pytest.mark.skipif(sys.platform != "linux", reason="a folder's films are told of one by one there")
def test_a_folder_that_is_moved_in_is_heard_of_by_its_films(
    listening: Listening, folder: Path
) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "film.png").write_bytes(b"film")
    outside.rename(folder / "inside")
    listening.until_heard(folder / "inside" / "film.png")


def test_a_film_that_is_only_read_is_not_heard_of(listening: Listening, folder: Path) -> None:
    """Each film of a backlog is, by this program."""
    assert (folder / "old.png").read_bytes() == b"film"
    assert folder / "old.png" not in listening.until_heard(written(folder))
