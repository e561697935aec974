"""Films that anybody sends are decoded in a process that may die, and that is never believed."""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import SPEC, dicom, encode, film

from cxr_edge import isolation
from cxr_edge.decoder_process import PICTURE, PICTURE_HEAD, PREPARED, PREPARED_HEAD, THUMBNAIL
from cxr_edge.decoding import IsolatedDecoder, Limits
from cxr_edge.display import picture, thumbnail
from cxr_edge.errors import RadiographError, RefusedError
from cxr_edge.preprocess import min_side_px, prepare
from cxr_edge.radiograph import open_radiograph, read_radiograph
from cxr_edge.reader_process import FAILED, OPENED
from cxr_edge.result import Identifiers
from tests.conftest import BROKEN, SAMPLES, make_film, until

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux")

FILM = film()


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    decoder = IsolatedDecoder(SPEC)
    yield decoder
    decoder.close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def error_of(decode: Callable[[Path], object], path: Path) -> RadiographError:
    with pytest.raises(RadiographError) as info:
        decode(path)
    return info.value


def in_a_thread(decode: Callable[[Path], object], path: Path) -> Callable[[], str]:
    """Begin with a film; what comes back waits for it, and says the code of its error."""
    codes = []

    def run() -> None:
        try:
            decode(path)
        except RadiographError as exc:
            codes.append(exc.code)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def ended() -> str:
        thread.join(20)
        assert not thread.is_alive()
        return codes[0] if codes else ""

    return ended


def films() -> list[Path]:
    return sorted(path for path in SAMPLES.iterdir() if path.suffix in (".jpg", ".png", ".dcm"))


def is_picture(one, other) -> bool:
    numbers = ("low", "high", "white", "slope", "intercept", "windowed", "full_shape")
    return (
        np.array_equal(one.pixels, other.pixels)
        and one.pixels.dtype == other.pixels.dtype
        and all(getattr(one, name) == getattr(other, name) for name in numbers)
    )


@pytest.mark.parametrize("path", films(), ids=lambda path: path.name)
def test_a_film_is_what_it_is_in_this_process(decoder, path):
    radiograph = read_radiograph(path, min_side_px(SPEC))
    prepared = decoder.prepare(path)
    np.testing.assert_array_equal(prepared.inputs, prepare(radiograph, SPEC))
    assert prepared.inputs.dtype == np.float32
    assert prepared.full_shape == radiograph.full_shape
    assert decoder.sha256 == radiograph.sha256
    file = open_radiograph(path)
    assert decoder.thumbnail(path) == thumbnail(file, SPEC, 160)
    for long_side_px in (2048, 300):
        shown = decoder.picture(path, long_side_px)
        assert is_picture(shown, picture(file, SPEC, long_side_px))
        assert max(shown.pixels.shape) <= long_side_px
    assert decoder.sha256 == radiograph.sha256


def test_one_process_decodes_film_after_film(decoder, tmp_path):
    path = make_film(tmp_path / "film.png")
    decoder.prepare(path)
    pid = decoder.pid
    assert pid not in (None, os.getpid())
    assert error_of(decoder.prepare, BROKEN / "truncated.jpg").code == "corrupt"
    assert error_of(decoder.picture, tmp_path / "none.png").code == "missing"
    decoder.thumbnail(path)
    decoder.picture(path)
    assert decoder.pid == pid


@linux
def test_the_process_has_no_model_to_run(decoder):
    decoder.start()
    maps = Path(f"/proc/{decoder.pid}/maps").read_text()
    assert "cv2" in maps
    assert "onnxruntime" not in maps


@pytest.mark.parametrize("path", sorted(BROKEN.iterdir()), ids=lambda path: path.name)
def test_what_is_wrong_with_a_film_is_said_as_in_this_process(decoder, path):
    with pytest.raises(RadiographError) as here:
        prepare(read_radiograph(path, min_side_px(SPEC)), SPEC)
    there = error_of(decoder.prepare, path)
    assert type(there) is type(here.value)
    assert str(there) == str(here.value)
    assert decoder.sha256 == (sha256(path) if path.stat().st_size else "")


@pytest.mark.parametrize("code", ["lateral", "colour", "too_small", "odd_shape", "blank"])
def test_what_no_model_may_judge_can_be_looked_at(decoder, tmp_path, code):
    path = tmp_path / "film"
    colours = np.dstack([FILM, FILM[::-1], 255 - FILM])
    data = {
        "lateral": dicom(FILM, ViewPosition="LL"),
        "colour": encode(colours, "PNG"),
        "too_small": encode(FILM[:10, :10], "PNG"),
        "odd_shape": encode(np.tile(FILM, (1, 5)), "PNG"),
        "blank": encode(np.full((90, 90), 99, np.uint8), "PNG"),
    }[code]
    path.write_bytes(data)
    error = error_of(decoder.prepare, path)
    assert isinstance(error, RefusedError)
    assert error.code == code
    shown = decoder.picture(path)
    assert decoder.sha256 == sha256(path)
    small = cv2.imdecode(np.frombuffer(decoder.thumbnail(path, 64), np.uint8), cv2.IMREAD_UNCHANGED)
    assert max(small.shape) == 64
    assert shown.pixels.shape == shown.full_shape


def test_a_header_says_whose_film_it_is_where_that_is_asked(decoder, tmp_path):
    path = tmp_path / "film.dcm"
    path.write_bytes(dicom(FILM, PatientID="P1", StudyInstanceUID="1.2.3"))
    decoder.prepare(path)
    assert decoder.identifiers == Identifiers()
    asking = IsolatedDecoder(SPEC, with_identifiers=True)
    asking.prepare(path)
    assert (asking.identifiers.patient, asking.identifiers.study) == ("P1", "1.2.3")
    asking.thumbnail(make_film(tmp_path / "film.png"))
    assert asking.identifiers == Identifiers()
    asking.close()


def test_the_process_outlives_the_thread_that_asked_first(tmp_path):
    """A web server's threads come and go."""
    path = make_film(tmp_path / "film.png")
    decoder = IsolatedDecoder(SPEC)
    assert in_a_thread(decoder.prepare, path)() == ""
    pid = decoder.pid
    time.sleep(0.1)
    assert in_a_thread(decoder.prepare, path)() == ""
    assert decoder.pid == pid
    decoder.close()


def test_two_decode_at_the_same_time(decoder, endless_film, tmp_path):
    path = make_film(tmp_path / "film.png")
    other = IsolatedDecoder(SPEC, Limits(film_s=60))
    ended = in_a_thread(other.prepare, endless_film)
    until(lambda: other.sha256)
    decoder.prepare(path)
    other.close()
    assert ended() == "stopped"
    assert error_of(other.prepare, path).code == "stopped"


@posix
@pytest.mark.parametrize(
    ("number", "code"), [("SIGSEGV", "reader_crashed"), ("SIGKILL", "out_of_memory")]
)
def test_a_film_that_crashes_its_process_ends_alone(endless_film, tmp_path, number, code):
    decoder = IsolatedDecoder(SPEC)
    ended = in_a_thread(decoder.picture, endless_film)
    until(lambda: decoder.sha256)  # it is opened, and now decoded
    crashed = decoder.pid
    os.kill(crashed, getattr(signal, number))
    assert ended() == code
    assert decoder.sha256 == sha256(endless_film)
    decoder.prepare(make_film(tmp_path / "film.png"))
    assert decoder.pid != crashed
    decoder.close()


@posix
def test_a_film_is_not_blamed_for_what_an_earlier_one_left_behind(decoder, tmp_path):
    first, second = make_film(tmp_path / "1.png", 90), make_film(tmp_path / "2.png", 120)
    decoder.prepare(first)
    os.kill(decoder.pid, signal.SIGSTOP)
    ended = in_a_thread(decoder.prepare, second)
    os.kill(decoder.pid, signal.SIGSEGV)
    os.kill(decoder.pid, signal.SIGCONT)
    assert ended() == ""
    assert decoder.sha256 == sha256(second)


@pytest.mark.parametrize("what", ["prepare", "thumbnail", "picture"])
def test_a_film_that_takes_forever_ends_alone(endless_film, tmp_path, what):
    decoder = IsolatedDecoder(SPEC, Limits(film_s=0.7))
    decoder.start()
    started = time.monotonic()
    assert error_of(getattr(decoder, what), endless_film).code == "took_too_long"
    assert time.monotonic() - started < 10
    decoder.prepare(make_film(tmp_path / "film.png"))
    decoder.close()


@linux
@pytest.mark.parametrize("what", ["prepare", "thumbnail", "picture"])
def test_a_film_that_needs_too_much_memory_ends_alone(tmp_path, what):
    path = tmp_path / "large.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((8900, 8900, 3), np.uint8))[1].tobytes())
    decoder = IsolatedDecoder(SPEC, Limits(memory_bytes=64 * 1024**2))
    assert error_of(getattr(decoder, what), path).code == "out_of_memory"
    decoder.prepare(make_film(tmp_path / "film.png"))
    decoder.close()


SHAPE = (1, SPEC.channels, SPEC.height_px, SPEC.width_px)
PROPER = OPENED + 64 * b"0"
BESIDE = {"header": {"age_years": 3.5, "view": "AP", "orientation": "LF"}, "overruled": []}


def prepared(
    height: int = 96,
    width: int = 80,
    inputs: np.ndarray | None = None,
    beside: bytes | None = None,
) -> bytes:
    inputs = np.zeros(SHAPE, np.float32) if inputs is None else inputs
    beside = json.dumps(BESIDE).encode() if beside is None else beside
    return PREPARED + PREPARED_HEAD.pack(height, width) + inputs.tobytes() + beside


def with_one(value: float) -> np.ndarray:
    inputs = np.zeros(SHAPE, np.float32)
    inputs[0, 1, 2, 3] = value
    return inputs


def pictured(
    *head: float, n_bytes: int = 1, n_pixels: int = 96 * 80, numbers=(0.0, 255.0, 1.0, 0.0)
) -> bytes:
    height, width, windowed, white = head or (96, 80, 0, 255)
    packed = PICTURE_HEAD.pack(height, width, n_bytes, windowed, white, *numbers)
    return PICTURE + packed + bytes(max(n_bytes, 1) * n_pixels)


NAN, INF = float("nan"), float("inf")
NONSENSE = {
    "prepare": [
        [b""],
        [b"nonsense"],
        [prepared()],  # of no film that was opened
        [PROPER, PROPER],
        [PROPER, PREPARED],
        [PROPER, prepared()[:-1]],
        [PROPER, prepared(beside=b"")],
        [PROPER, prepared(beside=b"{}")],
        [PROPER, prepared(beside=json.dumps(BESIDE).encode() + b"\0")],
        [PROPER, prepared(beside=json.dumps(BESIDE | {"overruled": ["age"]}).encode())],
        [PROPER, prepared(beside=json.dumps(BESIDE | {"header": {"age_years": "x"}}).encode())],
        [PROPER, prepared(inputs=np.zeros(SHAPE, np.float64))],
        [PROPER, prepared(inputs=with_one(NAN))],
        [PROPER, prepared(inputs=with_one(INF))],
        [PROPER, prepared(0, 80)],
        [PROPER, prepared(1 << 20, 1 << 20)],
        [PROPER, PICTURE + prepared()[4:]],
        [PROPER, THUMBNAIL + b"\xff\xd8\xff"],
        [PROPER, bytes(10_000_000)],
        [FAILED + b"{"],
        [FAILED + json.dumps(dict(status="ok", code="a", message="", next_step="")).encode()],
    ],
    "thumbnail": [
        [PROPER, THUMBNAIL],
        [PROPER, THUMBNAIL + b"<svg>"],
        [PROPER, prepared()],
        [PROPER, THUMBNAIL + b"\xff\xd8\xff" + bytes(1_000_000)],
    ],
    "picture": [
        [PROPER, PICTURE],
        [PROPER, pictured()[:-1]],
        [PROPER, pictured() + b"\0"],
        [PROPER, pictured(n_bytes=0)],
        [PROPER, pictured(n_bytes=4)],
        [PROPER, pictured(n_bytes=2, n_pixels=96 * 40)],
        [PROPER, pictured(96, 81, 0, 255)],
        [PROPER, pictured(0, 80, 0, 255, n_pixels=0)],
        [PROPER, pictured(1 << 31, 1 << 31, 0, 255, n_pixels=200 * 200)],
        [PROPER, pictured(300, 200, 0, 255, n_pixels=300 * 200)],  # more than was asked for
        [PROPER, pictured(96, 80, 2, 255)],
        [PROPER, pictured(96, 80, 0, 0)],
        [PROPER, pictured(96, 80, 0, 256)],
        [PROPER, pictured(96, 80, 0, 9)[:-1] + b"\x0a"],  # brighter than white
        *(
            [PROPER, pictured(numbers=numbers)]
            for numbers in [
                (NAN, 255.0, 1.0, 0.0),
                (0.0, INF, 1.0, 0.0),
                (0.0, 255.0, NAN, 0.0),
                (0.0, 255.0, 0.0, 0.0),
                (0.0, 255.0, 1.0, -INF),
                (9.0, 9.0, 1.0, 0.0),
                (9.0, 3.0, 1.0, 0.0),
            ]
        ),
        [PROPER, bytes(10_000_000)],
    ],
}


def ask(decoder: IsolatedDecoder, what: str, path: Path) -> object:
    if what == "prepare":
        return decoder.prepare(path)
    return decoder.thumbnail(path, 200) if what == "thumbnail" else decoder.picture(path, 200)


def sends(monkeypatch: pytest.MonkeyPatch, messages: list[bytes]) -> None:
    """The process is given the film, and others answer for it."""
    sent = iter(messages)

    def receive(self: object, max_bytes: int) -> bytes:
        message = next(sent)
        if len(message) > max_bytes:  # as recv_bytes does it
            raise OSError("bad message length")
        return message

    monkeypatch.setattr(isolation._Child, "receive", receive)


@pytest.mark.parametrize(
    ("what", "messages"), [(what, messages) for what in NONSENSE for messages in NONSENSE[what]]
)
def test_nothing_that_the_process_sends_is_believed(what, messages, tmp_path, monkeypatch):
    """A film that has taken it over may send anything."""
    path = make_film(tmp_path / "film.png")
    monkeypatch.setattr(isolation, "_END_S", 0.1)
    decoder = IsolatedDecoder(SPEC)
    with monkeypatch.context() as patch:
        sends(patch, messages)
        error = error_of(lambda path: ask(decoder, what, path), path)
    assert error.code == "reader_crashed"
    ask(decoder, what, path)
    decoder.close()


def test_a_proper_answer_is_taken_where_the_others_are_not(decoder, tmp_path, monkeypatch):
    path = make_film(tmp_path / "film.png")
    for what, message in [
        ("prepare", prepared()),
        ("thumbnail", THUMBNAIL + b"\xff\xd8\xff\xd9"),
        ("picture", pictured()),
        ("picture", pictured(400, 100, 1, 65535, n_bytes=2, n_pixels=200 * 50)),
    ]:
        with monkeypatch.context() as patch:
            sends(patch, [PROPER, message])
            ask(decoder, what, path)
        assert decoder.sha256 == 64 * "0"
        decoder._child.kill()  # its own answer still waits to be read
        until(lambda: not decoder._child.lives)
