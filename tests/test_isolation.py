"""One film that crashes its reader, takes forever or needs too much memory ends alone."""

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from made import dicom, film

from cxr_edge import isolation, load_model, predict, session
from cxr_edge.errors import RadiographError, RefusedError, UnreadableError
from cxr_edge.heatmap import Overlay
from cxr_edge.isolation import IsolatedReader, Limits
from cxr_edge.model import Model
from cxr_edge.radiograph import corrupt, is_out_of_memory, read_radiograph
from cxr_edge.reader_process import DRAWN, FAILED, IDENTIFIED, JUDGED, OPENED
from cxr_edge.reading import predict_result
from cxr_edge.result import Finding, Identifiers
from cxr_edge.terms import Terms
from cxr_edge.watch.claim import birth_of
from tests.conftest import BROKEN, ROOT, make_film, until
from tests.tiny_model import write_tiny_model

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux")


@pytest.fixture
def reader(tiny_model: Model) -> Iterator[IsolatedReader]:
    reader = IsolatedReader(tiny_model)
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def drawing_model(tiny_model_path: Path) -> Model:
    return load_model(tiny_model_path, "cpu", 1, heatmaps=True)


def runs(pid: int) -> bool:
    if sys.platform == "win32":
        return birth_of(pid) is not None
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def code_of(reader: IsolatedReader, path: Path) -> str:
    with pytest.raises(RadiographError) as info:
        reader.read(path)
    return info.value.code


class Reading(threading.Thread):
    """A read in a thread of its own, and its error."""

    def __init__(self, reader: IsolatedReader, path: Path) -> None:
        super().__init__(daemon=True)
        self.reader, self.path = reader, path
        self.code = ""
        self.start()

    def run(self) -> None:
        try:
            self.reader.read(self.path)
        except RadiographError as exc:
            self.code = exc.code

    def ended(self) -> str:
        self.join(20)
        assert not self.is_alive()
        return self.code


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_film_is_what_it_is_in_this_process(reader, tiny_model, tmp_path):
    path = make_film(tmp_path / "fílm with spaces.png")
    answer = reader.read(path)
    assert answer.findings == predict(path, tiny_model)
    assert answer.overlays == ()
    assert reader.sha256 == sha256(path)
    assert reader.pid != os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode elsewhere")
def test_a_name_that_is_not_utf_8_is_no_matter(reader, tmp_path):
    path = tmp_path / "r\udcf6ntgen.png"
    make_film(path)
    reader.read(path)
    assert reader.sha256 == sha256(path)


def test_a_relative_path_is_taken_from_where_the_caller_is_now(reader, tmp_path, monkeypatch):
    reader.start()
    make_film(tmp_path / "film.png")
    monkeypatch.chdir(tmp_path)
    reader.read(Path("film.png"))


def test_the_findings_are_drawn_where_that_is_wanted(drawing_model, tmp_path):
    path = make_film(tmp_path / "film.png")
    here = predict_result(path, drawing_model, draw=True)
    reader = IsolatedReader(drawing_model, draw=True)
    there = reader.read(path)
    reader.close()
    assert there.overlays == here.overlays
    assert [one.finding for one in there.overlays] == ["pneumonia"]


def test_several_findings_come_in_their_order(tmp_path):
    names = ("effusion", "pneumonia", "nodule")
    model = load_model(
        write_tiny_model(tmp_path / "three.onnx", findings=names, n_outputs=3), "cpu", 1
    )
    path = make_film(tmp_path / "film.png", 60)
    terms = Terms({"nodule": 0.001})
    reader = IsolatedReader(model, terms)
    answer = reader.read(path)
    reader.close()
    assert answer.findings == predict(path, model, terms)
    assert not answer.findings[1].positive
    assert answer.findings[0].name == "nodule"


@pytest.mark.parametrize("path", sorted(BROKEN.iterdir()), ids=lambda path: path.name)
def test_what_is_wrong_with_a_film_is_said_as_in_this_process(reader, tiny_model, path):
    with pytest.raises(RadiographError) as here:
        predict(path, tiny_model)
    with pytest.raises(RadiographError) as there:
        reader.read(path)
    assert type(there.value) is type(here.value)
    assert str(there.value) == str(here.value)
    assert reader.sha256 == (sha256(path) if path.stat().st_size else "")


def test_one_process_reads_film_after_film(reader, tmp_path):
    pids = set()
    for i in range(20):
        if i % 5 == 4:
            assert code_of(reader, BROKEN / "truncated.jpg") == "corrupt"
        reader.read(make_film(tmp_path / f"{i}.png", 50 + 5 * i))
        pids.add(reader.pid)
    assert len(pids) == 1


def test_a_header_says_whose_film_it_is(tiny_model, tmp_path):
    path = tmp_path / "film.dcm"
    with pytest.warns(UserWarning, match="maximum length of 64"):
        path.write_bytes(dicom(film(), PatientID="P\t1 " + 80 * "x", StudyInstanceUID="1.2.3"))
    reader = IsolatedReader(tiny_model, with_identifiers=True)
    reader.read(path)
    found = reader.identifiers
    assert found.patient == "P1 " + 61 * "x"
    assert found.study == "1.2.3"
    assert found.instance.startswith("1.2.826")
    reader.read(make_film(tmp_path / "film.png"))
    assert reader.identifiers == Identifiers()
    path.write_bytes(dicom(film(), PatientID="P2", Modality="MR"))
    assert code_of(reader, path) == "not_a_radiograph"
    assert reader.identifiers.patient == "P2"
    reader.close()


def test_nobody_is_named_where_nobody_asked(reader, tmp_path):
    path = tmp_path / "film.dcm"
    path.write_bytes(dicom(film(), PatientID="P1"))
    reader.read(path)
    assert reader.identifiers == Identifiers()


@posix
def test_a_film_that_crashes_its_reader_ends_alone(reader, endless_film, tmp_path):
    reading = Reading(reader, endless_film)
    until(lambda: reader.sha256)  # it is opened, and now decoded
    crashed = reader.pid
    os.kill(crashed, signal.SIGSEGV)
    assert reading.ended() == "reader_crashed"
    assert reader.sha256 == sha256(endless_film)
    reader.read(make_film(tmp_path / "film.png"))
    assert reader.pid != crashed


@posix
def test_a_film_is_not_blamed_for_what_an_earlier_one_left_behind(reader, tmp_path):
    first, second = make_film(tmp_path / "1.png", 90), make_film(tmp_path / "2.png", 120)
    reader.read(first)
    os.kill(reader.pid, signal.SIGSTOP)
    reading = Reading(reader, second)
    os.kill(reader.pid, signal.SIGSEGV)
    os.kill(reader.pid, signal.SIGCONT)
    assert reading.ended() == ""
    assert reader.sha256 == sha256(second)


@posix
def test_a_process_that_died_between_two_films_is_replaced(reader, tmp_path):
    path = make_film(tmp_path / "film.png")
    reader.read(path)
    died = reader.pid
    os.kill(died, signal.SIGKILL)
    until(lambda: not reader._child.lives)
    reader.read(path)
    assert reader.pid != died


@posix
@pytest.mark.parametrize(
    ("number", "code"),
    [
        ("SIGKILL", "out_of_memory"),  # nobody here sent it: it was the system
        ("SIGTERM", "stopped"),
        ("SIGABRT", "reader_crashed"),
    ],
)
def test_how_it_died_says_why(reader, endless_film, number, code):
    reading = Reading(reader, endless_film)
    until(lambda: reader.sha256)
    os.kill(reader.pid, getattr(signal, number))
    assert reading.ended() == code


@pytest.mark.skipif(sys.platform != "win32", reason="exit codes of Windows")
@pytest.mark.parametrize(("exit_code", "code"), [(1, "stopped"), (3, "reader_crashed")])
def test_how_it_ended_says_why_on_windows(reader, endless_film, exit_code, code):
    """1: the Task Manager's; 3: that of a library that calls abort()."""
    reading = Reading(reader, endless_film)
    until(lambda: reader.sha256)
    import _winapi  # os.kill takes 1 for Ctrl-Break

    process = _winapi.OpenProcess(1, False, reader.pid)  # PROCESS_TERMINATE
    _winapi.TerminateProcess(process, exit_code)
    _winapi.CloseHandle(process)
    assert reading.ended() == code


@posix
def test_ctrl_c_is_for_the_parent_alone(reader, tmp_path):
    reader.start()
    pid = reader.pid
    os.kill(pid, signal.SIGINT)
    reader.read(make_film(tmp_path / "film.png"))
    assert reader.pid == pid


def test_a_film_that_takes_forever_ends_alone(tiny_model, endless_film, tmp_path):
    reader = IsolatedReader(tiny_model, limits=Limits(film_s=1))
    reader.start()
    started = time.monotonic()
    assert code_of(reader, endless_film) == "took_too_long"
    assert 1 <= time.monotonic() - started < 10
    assert reader.sha256 == sha256(endless_film)
    reader.read(make_film(tmp_path / "film.png"))
    reader.close()


@posix
def test_a_share_that_hangs_stalls_one_film(tiny_model, tmp_path):
    path = make_film(tmp_path / "film.png")
    reader = IsolatedReader(tiny_model, limits=Limits(film_s=0.5))
    reader.start()
    os.kill(reader.pid, signal.SIGSTOP)  # as in a system call that does not return
    assert code_of(reader, path) == "stalled"
    assert reader.sha256 == ""
    reader.read(path)
    reader.close()


@posix
def test_a_process_that_cannot_be_killed_is_the_only_one_that_hangs(
    tiny_model, tmp_path, monkeypatch
):
    path = make_film(tmp_path / "film.png")
    monkeypatch.setattr(isolation, "_END_S", 0.2)
    reader = IsolatedReader(tiny_model, limits=Limits(film_s=0.3))
    reader.start()
    hanging = reader.pid
    os.kill(hanging, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(isolation._Child, "kill", lambda self: None)
        assert code_of(reader, path) == "stalled"
        assert code_of(reader, path) == "stalled"
        assert reader.pid == hanging
    os.kill(hanging, signal.SIGKILL)
    reader.read(path)
    assert reader.pid != hanging
    reader.close()


@posix
def test_a_machine_that_slept_blames_no_film(reader, tmp_path, monkeypatch):
    reader._limits = Limits(film_s=0.3)
    reader.start()
    monkeypatch.setattr(isolation, "_OVERSLEPT_S", -1)  # as if each waking up came too late
    os.kill(reader.pid, signal.SIGSTOP)
    reading = Reading(reader, make_film(tmp_path / "film.png"))
    reading.join(1)
    assert reading.is_alive()
    os.kill(reader.pid, signal.SIGCONT)
    assert reading.ended() == ""


@linux
def test_a_film_that_needs_too_much_memory_ends_alone(tiny_model, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((8900, 8900, 3), np.uint8))[1].tobytes())
    reader = IsolatedReader(tiny_model, limits=Limits(memory_bytes=64 * 1024**2))
    assert code_of(reader, path) == "out_of_memory"
    assert reader.sha256 == sha256(path)
    reader.read(make_film(tmp_path / "film.png"))
    reader.close()


def test_opencv_too_can_say_that_memory_is_missing():
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.StsNoMem
    assert is_out_of_memory(error)
    assert not is_out_of_memory(cv2.error("(-215:Assertion failed)"))
    with pytest.raises(MemoryError):
        corrupt(error)


def test_a_fault_of_this_program_is_said_with_the_films_digest(tiny_model, tmp_path, caplog):
    path = make_film(tmp_path / "private name.png")
    reader = IsolatedReader(tiny_model, Terms({"pneumonia": "no number"}))
    with pytest.raises(UnreadableError, match="TypeError") as info:
        reader.read(path)
    assert info.value.code == "internal_error"
    assert reader.sha256 == sha256(path)
    assert "result.py" in caplog.text
    assert "private" not in caplog.text
    reader.close()


def test_closing_ends_the_film_in_hand(reader, endless_film):
    reading = Reading(reader, endless_film)
    until(lambda: reader.sha256)
    reader.close()
    assert reading.ended() == "stopped"
    assert reader.pid is None
    assert code_of(reader, endless_film) == "stopped"


def test_a_process_that_cannot_be_started_is_no_fault_of_the_film(reader, tmp_path, monkeypatch):
    path = make_film(tmp_path / "film.png")
    with monkeypatch.context() as patch:
        patch.setattr(isolation, "READY", b"else")
        assert code_of(reader, path) == "no_reader"
    reader.read(path)


PROPER = OPENED + 64 * b"0"
NAN = float("nan")
JUDGES = JUDGED + struct.pack("<dd", 0.5, NAN)  # a model without a gate tells no distance
DRAWS = DRAWN + b"\0\0" + isolation._PNG


def judges(*probabilities: float, distance: float = NAN, codes: bytes = b"") -> bytes:
    numbers = (*probabilities, distance)
    return JUDGED + struct.pack(f"<{len(numbers)}d", *numbers) + codes


@pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"nonsense"],
        [OPENED + b"0" * 63 + b"g"],
        [PROPER, PROPER],
        [JUDGES],
        [PROPER, judges()],
        [PROPER, judges(0.5, 0.5)],
        [PROPER, judges(-0.1)],
        [PROPER, judges(1.1)],
        [PROPER, judges(NAN)],
        [PROPER, judges(0.5, distance=1.0)],
        [PROPER, judges(0.5, codes=b"age")],
        [PROPER, judges(0.5, codes=b"\xff")],
        [PROPER, JUDGES[:-1]],
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
        [PROPER, DRAWN, JUDGES],
        [PROPER, DRAWN + b"\0\1" + isolation._PNG, JUDGES],
        [PROPER, DRAWN + b"\0\0MZ", JUDGES],
        [PROPER, DRAWS, DRAWS, JUDGES],
    ],
)
def test_nothing_that_the_process_sends_is_believed(messages, drawing_model, tmp_path, monkeypatch):
    """A film that has taken it over may send anything."""
    path = make_film(tmp_path / "film.png")
    monkeypatch.setattr(isolation, "_END_S", 0.1)
    reader = IsolatedReader(drawing_model, draw=True, with_identifiers=True)
    with monkeypatch.context() as patch:
        sent = iter(messages)

        def receive(self, max_bytes):
            message = next(sent)
            if len(message) > max_bytes:  # as recv_bytes does it
                raise OSError("bad message length")
            return message

        patch.setattr(isolation._Child, "receive", receive)
        assert code_of(reader, path) == "reader_crashed"
    reader.read(path)
    reader.close()


def test_a_proper_answer_is_taken_where_the_others_are_not(drawing_model, tmp_path, monkeypatch):
    reader = IsolatedReader(drawing_model, draw=True, with_identifiers=True)
    sent = iter([PROPER, DRAWS, JUDGES])
    monkeypatch.setattr(isolation._Child, "receive", lambda self, max_bytes: next(sent))
    answer = reader.read(make_film(tmp_path / "film.png"))
    assert reader.sha256 == 64 * "0"
    assert answer.findings == (Finding("pneumonia", 0.5, 0.5),)
    reader.close()


@pytest.mark.parametrize("draw", [False, True])
def test_a_picture_is_taken_where_it_was_asked_for(drawing_model, tmp_path, monkeypatch, draw):
    reader = IsolatedReader(drawing_model, draw=draw)
    sent = iter([PROPER, DRAWS, JUDGES])
    monkeypatch.setattr(isolation._Child, "receive", lambda self, max_bytes: next(sent))
    path = make_film(tmp_path / "film.png")
    if draw:
        assert reader.read(path).overlays == (Overlay("pneumonia", isolation._PNG),)
    else:
        assert code_of(reader, path) == "reader_crashed"
    reader.close()


def test_a_model_that_was_changed_meanwhile_is_said(tmp_path):
    model = load_model(write_tiny_model(tmp_path / "tiny.onnx"), "cpu", 1)
    path = make_film(tmp_path / "film.png")
    reader = IsolatedReader(model)
    write_tiny_model(model.path, bias=-4.0)
    with pytest.raises(
        UnreadableError, match=r"cannot be started: .*changed.*Start cxr-edge anew"
    ) as info:
        reader.read(path)
    assert info.value.code == "no_reader"
    reader.close()


def test_a_reason_is_one_line_that_every_database_takes(tiny_model, tmp_path, monkeypatch):
    reader = IsolatedReader(tiny_model)
    said = dict(status="refused", code="colour", message="a\nb\0\ud800" + 9000 * "x", next_step="")
    sent = iter([FAILED + json.dumps(said).encode()])
    monkeypatch.setattr(isolation._Child, "receive", lambda self, max_bytes: next(sent))
    with pytest.raises(RefusedError) as info:
        reader.read(make_film(tmp_path / "film.png"))
    assert info.value.message.startswith("a b??x")
    assert len(info.value.message) == 2000
    reader.close()


@posix
def test_half_an_answer_does_not_outlast_the_time(tiny_model, tmp_path, monkeypatch):
    """A process that was taken over may send a message's length, and then nothing."""
    from cxr_edge import reader_process

    monkeypatch.setattr(reader_process, "serve", send_half_a_message)
    reader = IsolatedReader(tiny_model, limits=Limits(film_s=0.5))
    assert code_of(reader, make_film(tmp_path / "film.png")) == "stalled"
    reader.close()


def send_half_a_message(requests, answers, task, *_):
    answers.send_bytes(isolation.READY + task.model_sha256.encode())
    requests.recv_bytes()
    os.write(answers.fileno(), b"\0\0\1\0half")
    time.sleep(60)


SCRIPT = """
import sys
from pathlib import Path
from cxr_edge import load_model
from cxr_edge.isolation import IsolatedReader
if __name__ == "__main__":
    reader = IsolatedReader(load_model(sys.argv[1], "cpu", 1))
    reader.start()
    print(reader.pid, flush=True)
    for name in sys.argv[2:]:
        reader.read(Path(name))
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
def test_the_process_ends_with_a_parent_that_is_killed(
    tmp_path, tiny_model_path, endless_film, busy
):
    with script(tmp_path, tiny_model_path, *([endless_film] if busy else [])) as parent:
        pid = int(parent.stdout.readline())
        assert runs(pid)
        parent.kill()
    until(lambda: not runs(pid))


def test_no_socket_is_opened(tmp_path, tiny_model_path):
    """Asked of every Python that is started: this audit hook is in all of them."""
    seen = tmp_path / "seen"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def say(text):\n"
        f"    with open({str(seen)!r}, 'a') as file: file.write(text + '\\n')\n"
        "say('started')\n"
        "silent = 'socket.gethostname'  # Windows is asked for it with the kind of machine\n"
        "sys.addaudithook(lambda e, _: e.startswith('socket.') and e != silent and say(e))\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with script(
        tmp_path, tiny_model_path, make_film(tmp_path / "film.png"), PYTHONPATH=path
    ) as parent:
        parent.communicate(timeout=60)
    assert parent.returncode == 0
    lines = seen.read_text().split()
    assert lines.count("started") >= 2
    assert set(lines) == {"started"}


@linux
def test_a_damaged_film_says_nothing_on_stderr(tiny_model, tmp_path, capfd):
    reader = IsolatedReader(tiny_model)
    data = bytearray(cv2.imencode(".jpg", film(400, 400))[1].tobytes())
    data[-400:-300] = bytes(100)
    path = tmp_path / "film.jpg"
    path.write_bytes(data)
    read_radiograph(path)
    assert "Corrupt JPEG data" in capfd.readouterr().err
    reader.read(path)
    reader.close()
    assert capfd.readouterr().err == ""


@linux
def test_nothing_is_left_of_many_processes(tiny_model, tmp_path):
    path = make_film(tmp_path / "film.png")
    reader = IsolatedReader(tiny_model)
    reader.read(path)

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = held()
    for _ in range(10):
        died = reader.pid
        os.kill(died, signal.SIGKILL)
        until(lambda: not reader._child.lives)
        reader.read(path)
    assert held() == before
    reader.close()


@pytest.mark.parametrize(
    ("provider", "says"), [(session.CUDA, "CUDA cannot be used"), (session.DML, "DirectML cannot")]
)
def test_the_process_asks_for_the_card_that_serves_its_parent(tiny_model, tmp_path, provider, says):
    if provider in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has it")
    on_card = replace(tiny_model, session=replace(tiny_model.session, provider=provider))
    reader = IsolatedReader(on_card)
    with pytest.raises(UnreadableError, match=f"no_reader: .*{says}"):
        reader.read(make_film(tmp_path / "film.png"))
    reader.close()
