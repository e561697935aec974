"""One film that crashes its decoder, takes forever or needs too much memory ends alone."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from made import SPEC, dicom, film
from PIL import Image

from cxr_edge import isolation
from cxr_edge.decoder_process import DECODED, FAILED, IDENTIFIED, OPENED, SHOWN
from cxr_edge.errors import RadiographError, RefusedError, UnreadableError
from cxr_edge.isolation import Decoder, Limits
from cxr_edge.preprocess import min_side_px, prepare
from cxr_edge.radiograph import corrupt, is_out_of_memory, read_radiograph
from cxr_edge.result import Identifiers
from cxr_edge.watch.claim import birth_of
from tests.conftest import BROKEN, ROOT, make_film

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux")


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(SPEC)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def endless_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small JPEG that takes half a minute: its last scan again and again, over 16 megapixels."""
    grey = np.tile(np.linspace(0, 255, 4000, dtype=np.uint8), (4000, 1))
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", progressive=True, quality=10)
    data = buffer.getvalue()
    scan, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    path = tmp_path_factory.mktemp("endless") / "film.jpg"
    path.write_bytes(data[:end] + 4000 * data[scan:end] + data[end:])
    return path


def until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def runs(pid: int) -> bool:
    if sys.platform == "win32":
        return birth_of(pid) is not None
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def code_of(decoder: Decoder, path: Path) -> str:
    with pytest.raises(RadiographError) as info:
        decoder.read(path)
    return info.value.code


class Reading(threading.Thread):
    """A read in a thread of its own, and its error."""

    def __init__(self, decoder: Decoder, path: Path) -> None:
        super().__init__(daemon=True)
        self.decoder, self.path = decoder, path
        self.code = ""
        self.start()

    def run(self) -> None:
        try:
            self.decoder.read(self.path)
        except RadiographError as exc:
            self.code = exc.code

    def ended(self) -> str:
        self.join(20)
        assert not self.is_alive()
        return self.code


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_film_is_what_it_is_in_this_process(decoder, tmp_path):
    path = make_film(tmp_path / "fílm with spaces.png")
    expected = prepare(read_radiograph(path, min_side_px(SPEC)), SPEC)
    decoded = decoder.read(path)
    assert decoded.inputs.dtype == np.float32
    assert np.array_equal(decoded.inputs, expected)
    assert decoded.sha256 == sha256(path)
    assert decoded.radiograph is None
    assert decoder.pid != os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_name_that_is_not_utf_8_is_no_matter(decoder, tmp_path):
    path = tmp_path / "r\udcf6ntgen.png"
    make_film(path)
    assert decoder.read(path).sha256 == sha256(path)


def test_a_relative_path_is_taken_from_where_the_caller_is_now(decoder, tmp_path, monkeypatch):
    decoder.start()
    make_film(tmp_path / "film.png")
    monkeypatch.chdir(tmp_path)
    decoder.read(Path("film.png"))


@pytest.mark.parametrize(("dtype", "scale"), [("u1", 1), ("u2", 257), ("f4", 0.5)])
def test_the_radiograph_comes_along_where_it_is_wanted(tmp_path, dtype, scale):
    path = tmp_path / "film.tif"
    Image.fromarray((film(300, 200) * float(scale)).astype(dtype)).save(path)
    here = read_radiograph(path, min_side_px(SPEC))
    decoder = Decoder(SPEC, with_radiograph=True)
    there = decoder.read(path).radiograph
    decoder.close()
    assert there is not None
    assert there.pixels.dtype == here.pixels.dtype
    assert np.array_equal(there.pixels, here.pixels)
    for name in ("white", "bits_stored", "photometric", "source", "sha256", "full_shape"):
        assert getattr(there, name) == getattr(here, name)


@pytest.mark.parametrize("path", sorted(BROKEN.iterdir()), ids=lambda path: path.name)
def test_what_is_wrong_with_a_film_is_said_as_in_this_process(decoder, path):
    with pytest.raises(RadiographError) as here:
        prepare(read_radiograph(path, min_side_px(SPEC)), SPEC)
    with pytest.raises(RadiographError) as there:
        decoder.read(path)
    assert type(there.value) is type(here.value)
    assert str(there.value) == str(here.value)
    assert decoder.sha256 == (sha256(path) if path.stat().st_size else "")


def test_one_process_reads_film_after_film(decoder, tmp_path):
    pids = set()
    for i in range(20):
        if i % 5 == 4:
            assert code_of(decoder, BROKEN / "truncated.jpg") == "corrupt"
        decoder.read(make_film(tmp_path / f"{i}.png", 50 + 5 * i))
        pids.add(decoder.pid)
    assert len(pids) == 1


def test_a_header_says_whose_film_it_is(tmp_path):
    path = tmp_path / "film.dcm"
    with pytest.warns(UserWarning, match="maximum length of 64"):
        path.write_bytes(dicom(film(), PatientID="P\t1 " + 80 * "x", StudyInstanceUID="1.2.3"))
    decoder = Decoder(SPEC, with_identifiers=True)
    found = decoder.read(path).identifiers
    assert found.patient == "P1 " + 61 * "x"
    assert found.study == "1.2.3"
    assert found.instance.startswith("1.2.826")
    assert decoder.identifiers == found
    assert decoder.read(make_film(tmp_path / "film.png")).identifiers == Identifiers()
    path.write_bytes(dicom(film(), PatientID="P2", Modality="MR"))
    assert code_of(decoder, path) == "not_a_radiograph"
    assert decoder.identifiers.patient == "P2"
    decoder.close()


def test_nobody_is_named_where_nobody_asked(decoder, tmp_path):
    path = tmp_path / "film.dcm"
    path.write_bytes(dicom(film(), PatientID="P1"))
    assert decoder.read(path).identifiers == Identifiers()


@posix
def test_a_film_that_crashes_the_decoder_ends_alone(decoder, endless_film, tmp_path):
    reading = Reading(decoder, endless_film)
    until(lambda: decoder.sha256)  # it is opened, and now decoded
    crashed = decoder.pid
    os.kill(crashed, signal.SIGSEGV)
    assert reading.ended() == "decoder_crashed"
    assert decoder.sha256 == sha256(endless_film)
    decoder.read(make_film(tmp_path / "film.png"))
    assert decoder.pid != crashed


@posix
def test_a_film_is_not_blamed_for_what_an_earlier_one_left_behind(decoder, tmp_path):
    first, second = make_film(tmp_path / "1.png", 90), make_film(tmp_path / "2.png", 120)
    decoder.read(first)
    os.kill(decoder.pid, signal.SIGSTOP)
    reading = Reading(decoder, second)
    os.kill(decoder.pid, signal.SIGSEGV)
    os.kill(decoder.pid, signal.SIGCONT)
    assert reading.ended() == ""
    assert decoder.sha256 == sha256(second)


@posix
def test_a_process_that_died_between_two_films_is_replaced(decoder, tmp_path):
    path = make_film(tmp_path / "film.png")
    decoder.read(path)
    died = decoder.pid
    os.kill(died, signal.SIGKILL)
    until(lambda: not runs(died))
    decoder.read(path)
    assert decoder.pid != died


@posix
@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("SIGKILL", "out_of_memory"),  # nobody here sent it: it was the system
        ("SIGTERM", "stopped"),
        ("SIGABRT", "decoder_crashed"),
    ],
)
def test_how_it_died_says_why(decoder, endless_film, number, code):
    reading = Reading(decoder, endless_film)
    until(lambda: decoder.sha256)
    os.kill(decoder.pid, getattr(signal, number))
    assert reading.ended() == code


@pytest.mark.skipif(sys.platform != "win32", reason="exit codes of Windows")
@pytest.mark.parametrize(("exit_code", "code"), [(1, "stopped"), (3, "decoder_crashed")])
def test_how_it_ended_says_why_on_windows(decoder, endless_film, exit_code, code):
    """1: the Task Manager's; 3: that of a library that calls abort()."""
    reading = Reading(decoder, endless_film)
    until(lambda: decoder.sha256)
    import _winapi  # os.kill takes 1 for Ctrl-Break

    process = _winapi.OpenProcess(1, False, decoder.pid)  # PROCESS_TERMINATE
    _winapi.TerminateProcess(process, exit_code)
    _winapi.CloseHandle(process)
    assert reading.ended() == code


@posix
def test_ctrl_c_is_for_the_parent_alone(decoder, tmp_path):
    decoder.start()
    pid = decoder.pid
    os.kill(pid, signal.SIGINT)
    decoder.read(make_film(tmp_path / "film.png"))
    assert decoder.pid == pid


def test_a_film_that_takes_forever_ends_alone(endless_film, tmp_path):
    decoder = Decoder(SPEC, Limits(film_s=1))
    decoder.start()
    started = time.monotonic()
    assert code_of(decoder, endless_film) == "took_too_long"
    assert 1 <= time.monotonic() - started < 10
    assert decoder.sha256 == sha256(endless_film)
    decoder.read(make_film(tmp_path / "film.png"))
    decoder.close()


@posix
def test_a_share_that_hangs_stalls_one_film(tmp_path):
    path = make_film(tmp_path / "film.png")
    decoder = Decoder(SPEC, Limits(film_s=0.5))
    decoder.start()
    os.kill(decoder.pid, signal.SIGSTOP)  # as in a system call that does not return
    assert code_of(decoder, path) == "stalled"
    assert decoder.sha256 == ""
    decoder.read(path)
    decoder.close()


@posix
def test_a_process_that_cannot_be_killed_is_the_only_one_that_hangs(tmp_path, monkeypatch):
    path = make_film(tmp_path / "film.png")
    monkeypatch.setattr(isolation, "_END_S", 0.2)
    decoder = Decoder(SPEC, Limits(film_s=0.3))
    decoder.start()
    hanging = decoder.pid
    os.kill(hanging, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(isolation._Child, "kill", lambda self: None)
        assert code_of(decoder, path) == "stalled"
        assert code_of(decoder, path) == "stalled"
        assert decoder.pid == hanging
    os.kill(hanging, signal.SIGKILL)
    decoder.read(path)
    assert decoder.pid != hanging
    decoder.close()


@posix
def test_a_machine_that_slept_blames_no_film(decoder, tmp_path, monkeypatch):
    decoder._limits = Limits(film_s=0.3)
    decoder.start()
    monkeypatch.setattr(isolation, "_OVERSLEPT_S", -1)  # as if each waking up came too late
    os.kill(decoder.pid, signal.SIGSTOP)
    reading = Reading(decoder, make_film(tmp_path / "film.png"))
    reading.join(1)
    assert reading.is_alive()
    os.kill(decoder.pid, signal.SIGCONT)
    assert reading.ended() == ""


@linux
def test_a_film_that_needs_too_much_memory_ends_alone(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((8900, 8900, 3), np.uint8))[1].tobytes())
    decoder = Decoder(SPEC, Limits(memory_bytes=64 * 1024**2))
    assert code_of(decoder, path) == "out_of_memory"
    assert decoder.sha256 == sha256(path)
    decoder.read(make_film(tmp_path / "film.png"))
    decoder.close()


def test_opencv_too_can_say_that_memory_is_missing():
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.StsNoMem
    assert is_out_of_memory(error)
    assert not is_out_of_memory(cv2.error("(-215:Assertion failed)"))
    with pytest.raises(MemoryError):
        corrupt(error)


def test_a_fault_of_this_program_is_said_with_the_films_digest(tmp_path, caplog):
    from dataclasses import replace

    path = make_film(tmp_path / "private name.png")
    spec = replace(SPEC)
    object.__setattr__(spec, "white_percentile", 200.0)  # beyond the last pixel
    decoder = Decoder(spec)
    with pytest.raises(UnreadableError, match=r"IndexError|ValueError") as info:
        decoder.read(path)
    assert info.value.code == "internal_error"
    assert decoder.sha256 == sha256(path)
    assert "preprocess.py" in caplog.text
    assert "private" not in caplog.text
    decoder.close()


def test_closing_ends_the_film_in_hand(decoder, endless_film):
    reading = Reading(decoder, endless_film)
    until(lambda: decoder.sha256)
    decoder.close()
    assert reading.ended() == "stopped"
    assert decoder.pid is None
    assert code_of(decoder, endless_film) == "stopped"


def test_a_process_that_cannot_be_started_is_no_fault_of_the_film(decoder, tmp_path, monkeypatch):
    path = make_film(tmp_path / "film.png")
    with monkeypatch.context() as patch:
        patch.setattr(isolation, "READY", b"else")
        assert code_of(decoder, path) == "no_decoder"
    decoder.read(path)


PROPER = OPENED + 64 * b"0"
GREY = DECODED + bytes(4 * SPEC.height_px * SPEC.width_px)
SHOWS = {
    "shape": [2, 2],
    "dtype": "uint8",
    "white": 255.0,
    "bits_stored": 8,
    "photometric": "MONOCHROME2",
    "full_shape": [2, 2],
}


def shows(**changed: object) -> bytes:
    return SHOWN + json.dumps(SHOWS | changed).encode()


@pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"nonsense"],
        [OPENED + b"0" * 63 + b"g"],
        [PROPER, PROPER],
        [GREY],
        [PROPER, GREY[:-4]],
        [PROPER, GREY],  # without the radiograph that was asked for
        [PROPER, bytes(10_000_000)],
        [FAILED + b"{"],
        [FAILED + b"[" * 50_000],
        [FAILED + b"{}"],
        [FAILED + json.dumps(dict(status="ok", code="a", message="", next_step="")).encode()],
        [
            FAILED
            + json.dumps(dict(status="failed", code="=1+1", message="", next_step="")).encode()
        ],
        [IDENTIFIED + json.dumps({"patient": 65 * "x"}).encode()],
        [IDENTIFIED + json.dumps({"patient": "a\nb"}).encode()],
        [IDENTIFIED + json.dumps({"patient": "\ud800"}).encode()],
        [PROPER, shows(), bytes(3), GREY],
        [PROPER, shows(), bytes(5), GREY],
        [PROPER, shows(dtype="object"), bytes(32), GREY],
        [PROPER, shows(shape=[0, 2]), b"", GREY],
        [PROPER, shows(shape=[-2, -2]), bytes(4), GREY],
        [PROPER, shows(shape=[1 << 40, 1 << 40]), bytes(4), GREY],
        [PROPER, shows(white=float("nan")), bytes(4), GREY],
        [PROPER, shows(white=-1.0), bytes(4), GREY],
        [PROPER, shows(), bytes(4), shows(), bytes(4), GREY],
    ],
)
def test_nothing_that_the_process_sends_is_believed(messages, tmp_path, monkeypatch):
    """A film that has taken it over may send anything."""
    path = make_film(tmp_path / "film.png")
    monkeypatch.setattr(isolation, "_END_S", 0.1)
    decoder = Decoder(SPEC, with_radiograph=True, with_identifiers=True)
    with monkeypatch.context() as patch:
        sent = iter(messages)

        def receive(self, max_bytes):
            message = next(sent)
            if len(message) > max_bytes:  # as recv_bytes does it
                raise OSError("bad message length")
            return message

        patch.setattr(isolation._Child, "receive", receive)
        assert code_of(decoder, path) == "decoder_crashed"
    decoder.read(path)
    decoder.close()


def test_a_proper_answer_is_taken_where_the_others_are_not(tmp_path, monkeypatch):
    decoder = Decoder(SPEC, with_radiograph=True, with_identifiers=True)
    sent = iter([PROPER, shows(), bytes(4), GREY])
    monkeypatch.setattr(isolation._Child, "receive", lambda self, max_bytes: next(sent))
    assert decoder.read(make_film(tmp_path / "film.png")).sha256 == 64 * "0"
    decoder.close()


def test_a_reason_is_one_line_that_every_database_takes(tmp_path, monkeypatch):
    decoder = Decoder(SPEC)
    said = dict(status="refused", code="colour", message="a\nb\0\ud800" + 9000 * "x", next_step="")
    sent = iter([FAILED + json.dumps(said).encode()])
    monkeypatch.setattr(isolation._Child, "receive", lambda self, max_bytes: next(sent))
    with pytest.raises(RefusedError) as info:
        decoder.read(make_film(tmp_path / "film.png"))
    assert info.value.message.startswith("a b??x")
    assert len(info.value.message) == 2000
    decoder.close()


@posix
def test_half_an_answer_does_not_outlast_the_time(tmp_path, monkeypatch):
    """A process that was taken over may send a message's length, and then nothing."""
    from cxr_edge import decoder_process

    monkeypatch.setattr(decoder_process, "serve", send_half_a_message)
    decoder = Decoder(SPEC, Limits(film_s=0.5))
    assert code_of(decoder, make_film(tmp_path / "film.png")) == "stalled"
    decoder.close()


def send_half_a_message(requests, answers, *_):
    answers.send_bytes(isolation.READY)
    requests.recv_bytes()
    os.write(answers.fileno(), b"\0\0\1\0half")
    time.sleep(60)


SCRIPT = """
import sys
from pathlib import Path
from cxr_edge.isolation import Decoder
from cxr_edge.model_card import InputSpec
spec = InputSpec(32, 32, 1, "squash", 1.0, 99.0, (0.0,), (1.0,))
if __name__ == "__main__":
    decoder = Decoder(spec)
    decoder.start()
    print(decoder.pid, flush=True)
    for name in sys.argv[1:]:
        decoder.read(Path(name))
    sys.stdin.read()
"""


def script(tmp_path: Path, *arguments: object, **env: str) -> "subprocess.Popen[str]":
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(path), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="Linux and Windows")
@pytest.mark.parametrize("busy", [False, True])
def test_the_process_ends_with_a_parent_that_is_killed(tmp_path, endless_film, busy):
    with script(tmp_path, *([endless_film] if busy else [])) as parent:
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
    until(lambda: not runs(pid))


def test_no_socket_is_opened(tmp_path):
    """Asked of every Python that is started: this audit hook is in all of them."""
    seen = tmp_path / "seen"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def say(text):\n"
        f"    with open({str(seen)!r}, 'a') as file: file.write(text + '\\n')\n"
        "say('started')\n"
        "sys.addaudithook(lambda e, _: e.startswith('socket.') and say(e))\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with script(tmp_path, make_film(tmp_path / "film.png"), PYTHONPATH=path) as parent:
        parent.communicate(timeout=60)
    assert parent.returncode == 0
    lines = seen.read_text().split()
    assert lines.count("started") >= 2
    assert set(lines) == {"started"}


@linux
def test_a_damaged_film_says_nothing_on_stderr(tmp_path, capfd):
    decoder = Decoder(SPEC)
    data = bytearray(cv2.imencode(".jpg", film(400, 400))[1].tobytes())
    data[-400:-300] = bytes(100)
    path = tmp_path / "film.jpg"
    path.write_bytes(data)
    read_radiograph(path)
    assert "Corrupt JPEG data" in capfd.readouterr().err
    decoder.read(path)
    decoder.close()
    assert capfd.readouterr().err == ""


@linux
def test_nothing_is_left_of_many_processes(tmp_path):
    path = make_film(tmp_path / "film.png")
    decoder = Decoder(SPEC)
    decoder.read(path)

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = held()
    for _ in range(10):
        died = decoder.pid
        os.kill(died, signal.SIGKILL)
        until(lambda died=died: not runs(died))
        decoder.read(path)
    assert held() == before
    decoder.close()
