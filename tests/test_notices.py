"""Notices: what they hold and never hold, when they are given, and what a deaf server does."""

import base64
import json
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cxr_edge.errors import SettingsError
from cxr_edge.watch import notices
from cxr_edge.watch.notices import (
    MAX_DELAY_S,
    MAX_NAMES,
    MAX_WAITING,
    Notice,
    Notices,
    Outbox,
    PiledUp,
    Positives,
    send_mail,
    show_on_desktop,
)
from cxr_edge.watch.settings import NoticeSettings
from tests.conftest import ROOT

AT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
A_NOTICE = Notice("positive", AT, 1, "1 film positive: pneumonia 1", (("pneumonia", 1),))


def until(true, deadline_s: float = 10.0) -> None:
    ends_s = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


class Webhook(ThreadingHTTPServer):
    """Answers with `status` and keeps what it was sent."""

    def __init__(self) -> None:
        self.status, self.location = 200, ""
        self.received: list[dict] = []
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Hook)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(f"{self.command} {self.path}")
        if self.server.status == 200:
            assert self.headers["Content-Type"] == "application/json"
            self.server.received.append(json.loads(body))
        self.send_response(self.server.status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.end_headers()

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def webhook():
    server = Webhook()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def opened():
    """Notices that are closed in the end."""
    made = []

    def opened(**options) -> Notices:
        gather_s = options.pop("gather_s", 30.0)
        made.append(Notices(NoticeSettings(**options), gather_s=gather_s))
        return made[-1]

    yield opened
    for one in made:
        one.close()


def test_what_a_person_has_to_decide_is_told_as_such():
    positives = Positives(with_names=True)
    positives.add("a.png", ["pneumonia"])
    positives.add("b.png", ["pneumonia", "effusion"], ["effusion"])
    notice = positives.take(0.0, AT)
    assert notice.title == "2 films positive or unsure: pneumonia 2, effusion (unsure) 1"
    assert "b.png: pneumonia, effusion (unsure)" in notice.text
    positives.add("c.png", ["pneumonia"])
    assert positives.take(100.0, AT).title == "1 film positive: pneumonia 1"


def test_the_first_positive_is_told_of_at_once_and_the_next_ones_together():
    positives = Positives()
    positives.add("a.png", ["pneumonia"])
    first = positives.take(100.0, AT)
    assert first.title == "1 film positive: pneumonia 1"
    for _ in range(6):
        positives.add("b.png", ["pneumonia"])
    positives.add("c.png", ["effusion", "pneumonia"])
    assert positives.take(129.9, AT) is None
    assert positives.due_s() == 130.0
    notice = positives.take(130.0, AT)
    assert notice.title == "7 films positive: pneumonia 7, effusion 1"
    assert notice.findings == (("pneumonia", 7), ("effusion", 1))
    assert positives.take(1000.0, AT) is None
    assert positives.due_s() is None


def test_a_notice_of_a_finding_says_that_it_is_not_for_diagnosis_and_names_no_film():
    positives = Positives()
    positives.add("DOE^JANE.dcm", ["pneumonia"])
    notice = positives.take(0.0, AT)
    assert notice.text.endswith("Not for diagnostic use.")
    assert "DOE" not in notice.text + json.dumps(notice.to_json())
    assert notice.text.startswith("2024-05-06 07:08 UTC: 1 film positive: pneumonia 1.")
    assert set(notice.to_json()) == {"kind", "time", "films", "findings", "text"}


def test_with_names_it_names_some_and_counts_the_rest():
    positives = Positives(with_names=True)
    for number in range(MAX_NAMES + 13):
        positives.add(f"film-{number}.png", ["pneumonia"])
    notice = positives.take(0.0, AT)
    assert len(notice.names) == MAX_NAMES
    assert "  film-0.png: pneumonia\n" in notice.text
    assert "  and 13 more\n" in notice.text


def test_a_films_name_can_neither_add_a_line_nor_break_the_mail():
    positives = Positives(with_names=True)
    positives.add("a\nAll films: normal\udcff.png", ["pneumonia"])
    text = positives.take(0.0, AT).text
    text.encode("utf-8")
    assert len(text.splitlines()) == 3


def test_films_that_pile_up_are_said_once_and_again_only_after_sinking_below_half():
    piled_up = PiledUp(n_films=50, for_s=600.0)
    assert not piled_up.says(80, 0.0)
    assert not piled_up.says(80, 599.0)
    assert piled_up.says(90, 600.0)
    assert not piled_up.says(500, 5000.0)
    assert not piled_up.says(30, 5001.0)  # below the limit, and not below half of it
    assert not piled_up.says(80, 6000.0)
    assert not piled_up.says(80, 7000.0)
    assert not piled_up.says(24, 7001.0)
    assert not piled_up.says(80, 8000.0)
    assert piled_up.says(80, 8600.0)


def test_a_short_burst_is_no_pile_and_zero_turns_it_off():
    piled_up = PiledUp(n_films=50, for_s=600.0)
    assert not piled_up.says(80, 0.0)
    assert not piled_up.says(49, 300.0)
    assert not piled_up.says(80, 700.0)
    assert not PiledUp(n_films=0, for_s=0.0).says(10**6, 10.0)


def test_a_deaf_channel_is_tried_again_later_and_later_and_keeps_few_notices():
    outbox = Outbox()
    for number in range(MAX_WAITING + 5):
        outbox.add(Notice("positive", AT, number, ""))
    assert len(outbox) == MAX_WAITING
    assert outbox.due(0.0).n_films == 5  # the oldest were dropped
    now_s, pauses_s = 0.0, []
    for _ in range(12):
        outbox.failed(now_s)
        assert outbox.due(outbox.due_s() - 0.01) is None
        pauses_s.append(outbox.due_s() - now_s)
        now_s = outbox.due_s()
    assert pauses_s[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses_s[-1] == MAX_DELAY_S
    outbox.said()
    assert outbox.due(now_s).n_films == 6
    outbox.failed(now_s)
    assert outbox.due_s() == now_s + 1.0


def test_unless_asked_for_there_is_no_thread_and_nothing_for_the_network_is_loaded():
    code = (
        "import sys, threading; from cxr_edge.watch.notices import Notices\n"
        "from cxr_edge.watch.settings import NoticeSettings\n"
        "told = Notices(NoticeSettings()); told.positive('a', ['pneumonia'])\n"
        "told.waiting(10**6, 1e9); told.close()\n"
        "print(threading.active_count(), sorted({'socket', 'ssl', 'smtplib', 'urllib.request',"
        " 'http.client', 'email'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == "1 []"


def test_a_webhook_gets_counts_findings_and_the_time(webhook, opened):
    told = opened(webhook=webhook.address)
    told.positive("DOE^JANE.dcm", ["pneumonia"])
    until(lambda: webhook.received)
    (notice,) = webhook.received
    assert notice["kind"] == "positive"
    assert notice["films"] == 1
    assert notice["findings"] == {"pneumonia": 1}
    assert datetime.fromisoformat(notice["time"]).utcoffset().total_seconds() == 0
    assert notice["text"].endswith("Not for diagnostic use.")
    assert "DOE" not in json.dumps(notice)


def test_what_was_gathered_is_given_when_the_watcher_ends(webhook, opened):
    told = opened(webhook=webhook.address)
    told.positive("a", ["pneumonia"])
    until(lambda: webhook.received)
    for _ in range(7):
        told.positive("b", ["pneumonia"])
    told.close()
    assert [notice["films"] for notice in webhook.received] == [1, 7]


def test_films_that_wait_are_told_of_through_the_webhook(webhook, opened):
    told = opened(webhook=webhook.address, piled_up=10, piled_up_for_s=60.0, positive=False)
    told.positive("a", ["pneumonia"])
    told.waiting(12, 0.0)
    told.waiting(12, 61.0)
    until(lambda: webhook.received)
    assert [notice["kind"] for notice in webhook.received] == ["piled_up"]
    assert webhook.received[0]["text"].endswith("12 films waiting to be read.")


def test_a_webhook_that_fails_is_logged_once_and_gets_the_notice_when_it_works_again(
    webhook, opened, caplog, monkeypatch
):
    monkeypatch.setattr(notices, "MAX_DELAY_S", 0.05)
    webhook.status = 503
    with caplog.at_level(logging.WARNING):
        told = opened(webhook=webhook.address)
        told.positive("a", ["pneumonia"])
        until(lambda: len(webhook.asked) >= 3)
        assert [record.getMessage() for record in caplog.records] == [
            "Notices by webhook cannot be given (HTTPError 503)."
        ]
        webhook.status = 200
        until(lambda: webhook.received)
        told.close()
    assert caplog.records[-1].getMessage() == "Notices by webhook are given again."
    assert len(caplog.records) == 2
    assert len(webhook.received) == 1
    assert webhook.address not in caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(webhook, opened, status):
    webhook.status, webhook.location = status, webhook.address.replace("/hook", "/elsewhere")
    told = opened(webhook=webhook.address)
    told.positive("a", ["pneumonia"])
    until(lambda: webhook.asked)
    told.close()
    assert set(webhook.asked) == {"POST /hook"}


def test_a_server_that_is_not_there_holds_nobody_up(opened, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with caplog.at_level(logging.WARNING):
        told = opened(webhook=address, gather_s=0.0)
        for number in range(10_000):
            told.positive(f"{number}", ["pneumonia"])
        until(lambda: caplog.records)
        told.close()
    assert "ConnectionRefusedError" in caplog.text
    assert all(len(channel.outbox) <= MAX_WAITING for channel in told._channels)
    assert not told._thread.is_alive()


def test_a_server_that_never_answers_does_not_keep_the_watcher_from_ending(opened):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = opened(webhook=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        told.positive("a", ["pneumonia"])
        started_s = time.monotonic()
        told.close(timeout_s=0.2)
        assert time.monotonic() - started_s < 5.0
    told._thread.join()


class MailServer:
    """One conversation of SMTP (RFC 5321) with STARTTLS (RFC 3207)."""

    def __init__(self, certificate, offers_tls: bool = True) -> None:
        self.said: list[str] = []
        self.mail = ""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._offers_tls = offers_tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        connection = self._listening.accept()[0]
        self._listening.close()
        lines = self._speak(connection, b"220 hello\r\n")
        try:
            for line in lines:
                command = line.split()[0].upper()
                self.said.append(line)
                if command == "EHLO":
                    tls = isinstance(connection, ssl.SSLSocket)
                    offer = "AUTH PLAIN" if tls else "STARTTLS" if self._offers_tls else "HELP"
                    connection.sendall(f"250-localhost\r\n250 {offer}\r\n".encode())
                elif command == "STARTTLS":
                    connection.sendall(b"220 go\r\n")
                    connection = self._context.wrap_socket(connection, server_side=True)
                    lines = self._speak(connection)
                    self._rest(connection, lines)
                    return
                else:
                    self._answer(connection, command, lines)
        except OSError:
            self.said.append("gone")
        finally:
            connection.close()

    def _rest(self, connection, lines) -> None:
        for line in lines:
            self.said.append(line)
            if line.upper().startswith("EHLO"):
                connection.sendall(b"250-localhost\r\n250 AUTH PLAIN\r\n")
            else:
                self._answer(connection, line.split()[0].upper(), lines)

    def _answer(self, connection, command: str, lines) -> None:
        answers = {"AUTH": b"235 yes\r\n", "QUIT": b"221 bye\r\n", "DATA": b"354 go on\r\n"}
        connection.sendall(answers.get(command, b"250 fine\r\n"))
        if command == "DATA":
            for line in lines:
                if line == ".":
                    break
                self.mail += line + "\n"
            connection.sendall(b"250 taken\r\n")

    @staticmethod
    def _speak(connection, greeting: bytes = b""):
        if greeting:
            connection.sendall(greeting)
        with connection.makefile("r", encoding="utf-8", newline="\r\n") as file:
            for line in file:
                yield line.rstrip("\r\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of this test's own for "localhost"."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def mail_settings(tmp_path):
    password = tmp_path / "password"
    password.write_text("s3cret\n")

    def mail_settings(port: int) -> NoticeSettings:
        return NoticeSettings(
            email_to="reading@example.org, night@example.org",
            email_from="cxr-edge@example.org",
            smtp_host="localhost",
            smtp_port=port,
            smtp_user="cxr",
            smtp_password_file=password,
        )

    return mail_settings


def test_a_mail_goes_over_tls_with_the_password_from_its_file(
    certificate, mail_settings, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    server = MailServer(certificate)
    told = Notices(mail_settings(server.port))
    told.positive("DOE^JANE.dcm", ["pneumonia"])
    until(lambda: not server.thread.is_alive())
    told.close()
    commands = [line.split()[0].upper() for line in server.said]
    assert commands.index("STARTTLS") < commands.index("AUTH") < commands.index("MAIL")
    (auth,) = (line for line in server.said if line.startswith("AUTH"))
    assert base64.b64decode(auth.split()[-1]) == b"\0cxr\0s3cret"
    assert sum(line.upper().startswith("RCPT TO") for line in server.said) == 2
    assert "Subject: cxr-edge: 1 film positive: pneumonia 1" in server.mail
    assert "Not for diagnostic use." in server.mail
    assert "DOE" not in server.mail


def test_neither_password_nor_mail_goes_to_a_server_whose_certificate_is_not_trusted(
    certificate, mail_settings, monkeypatch
):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    server = MailServer(certificate)
    with pytest.raises(ssl.SSLCertVerificationError):
        send_mail(mail_settings(server.port), A_NOTICE)
    server.thread.join()
    assert not any(line.startswith(("AUTH", "MAIL", "mail")) for line in server.said)


def test_nor_to_a_server_without_tls(certificate, mail_settings):
    server = MailServer(certificate, offers_tls=False)
    with pytest.raises(OSError, match="STARTTLS"):
        send_mail(mail_settings(server.port), A_NOTICE)
    server.thread.join()
    assert not any(line.upper().startswith(("AUTH", "MAIL")) for line in server.said)


posix_desktop = pytest.mark.skipif(
    sys.platform in ("win32", "darwin"), reason="the desktop of Linux"
)


@posix_desktop
def test_the_desktop_gets_the_text_as_one_argument_with_its_markup_escaped(tmp_path, monkeypatch):
    tool = tmp_path / "notify-send"
    tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/said"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    show_on_desktop(
        Notice("positive", AT, 1, "1 film positive", names=("<b>$(id)</b>.png: effusion",))
    )
    said = (tmp_path / "said").read_text().splitlines()
    assert said[:3] == ["--app-name=cxr-edge", "--", "cxr-edge"]
    assert "  &lt;b&gt;$(id)&lt;/b&gt;.png: effusion" in said
    assert said[-1] == "Not for diagnostic use."


@posix_desktop
def test_a_desktop_without_the_program_is_logged_once(tmp_path, monkeypatch, opened, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="no notify-send"):
        show_on_desktop(A_NOTICE)
    with caplog.at_level(logging.WARNING):
        told = opened(desktop=True, gather_s=0.0)
        told.positive("a", ["pneumonia"])
        until(lambda: caplog.records)
        told.positive("b", ["pneumonia"])
        told.close()
    assert [record.getMessage() for record in caplog.records] == [
        "Notices by desktop cannot be given (there is no notify-send)."
    ]
