"""Notices, where they are asked for: a finding reaches its operating point, or films pile up.

What is said and when is decided by pure code with an injected clock (Positives, PiledUp, Outbox);
one thread around it talks to the desktop, the webhook and the mail server. Without any of them
there is neither a thread nor a socket. A notice holds counts, findings and the time; the name of a
film only where asked for, and nothing else of a patient ever.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from .settings import NoticeSettings

logger = logging.getLogger(__name__)
NOT_FOR_DIAGNOSIS = "Not for diagnostic use."
GATHER_S = 30.0
MAX_NAMES = 20
# Kept for a channel that is down; then the oldest are dropped.
MAX_WAITING = 20
MAX_DELAY_S = 300.0
NETWORK_S = 10.0
_DESKTOP_S = 30.0
# Said to PowerShell as it is: what changes from one notice to the next comes in by the environment.
_BALLOON = """\
Add-Type -AssemblyName System.Windows.Forms, System.Drawing
$icon = New-Object System.Windows.Forms.NotifyIcon
$icon.Icon = [System.Drawing.SystemIcons]::Information
$icon.Visible = $true
$icon.ShowBalloonTip(10000, $env:CXR_EDGE_TITLE, $env:CXR_EDGE_TEXT, 'Info')
Start-Sleep -Seconds 10
$icon.Dispose()"""
_MAC = """\
on run argv
display notification (item 2 of argv) with title (item 1 of argv)
end run"""


@dataclass(frozen=True)
class Notice:
    """kind: "positive" or "piled_up". findings: how many films of each; names: where asked for."""

    kind: str
    at: datetime
    n_films: int
    title: str
    findings: tuple[tuple[str, int], ...] = ()
    names: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        lines = [f"{self.at:%Y-%m-%d %H:%M} UTC: {self.title}."]
        lines += [f"  {name}" for name in self.names]
        if self.names and (more := self.n_films - len(self.names)):
            lines.append(f"  and {more} more")
        if self.kind == "positive":
            lines.append(NOT_FOR_DIAGNOSIS)
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """What a webhook gets; "text" alone is what chat programs show."""
        return {
            "kind": self.kind,
            "time": self.at.isoformat(timespec="seconds"),
            "films": self.n_films,
            "findings": dict(self.findings),
            **({"names": list(self.names)} if self.names else {}),
            "text": self.text,
        }


class Positives:
    """Positive films gathered: the first is told of at once, those of the next while together."""

    def __init__(self, with_names: bool = False, gather_s: float = GATHER_S) -> None:
        self._with_names, self._gather_s = with_names, gather_s
        self._next_s = float("-inf")
        self._n_films = self._n_unsure = 0
        self._findings: Counter[str] = Counter()
        self._names: list[str] = []

    def add(self, name: str, findings: Sequence[str], unsure: Collection[str] = ()) -> None:
        findings = [f"{one} (unsure)" if one in unsure else one for one in findings]
        self._n_films += 1
        self._n_unsure += len(unsure)
        self._findings.update(findings)
        if self._with_names and len(self._names) < MAX_NAMES:
            # A file's name may hold line breaks, and bytes that no mail can carry.
            shown = "".join(letter if letter.isprintable() else "?" for letter in name)
            self._names.append(f"{shown}: {', '.join(findings)}")

    def due_s(self) -> float | None:
        """When there is something to be told; None: nothing is."""
        return self._next_s if self._n_films else None

    def take(self, now_s: float, at: datetime) -> Notice | None:
        """What has been gathered, once it is due."""
        if not self._n_films or now_s < self._next_s:
            return None
        findings = tuple(self._findings.most_common())
        word = "positive or unsure" if self._n_unsure else "positive"
        notice = Notice(
            kind="positive",
            at=at,
            n_films=self._n_films,
            title=f"{_films(self._n_films)} {word}: "
            + ", ".join(f"{finding} {count}" for finding, count in findings),
            findings=findings,
            names=tuple(self._names),
        )
        self._n_films, self._n_unsure, self._names = 0, 0, []
        self._findings.clear()
        self._next_s = now_s + self._gather_s
        return notice


class PiledUp:
    """Whether to say that films pile up: once, and again only after they were below half."""

    def __init__(self, n_films: int, for_s: float) -> None:
        self._n_films, self._for_s = n_films, for_s
        self._since_s: float | None = None
        self._said = False

    def says(self, n_waiting: int, now_s: float) -> bool:
        if not self._n_films:
            return False
        if n_waiting < self._n_films:
            self._since_s = None
            self._said = self._said and 2 * n_waiting >= self._n_films
            return False
        if self._since_s is None:
            self._since_s = now_s
        if self._said or now_s - self._since_s < self._for_s:
            return False
        self._said = True
        return True


class Outbox:
    """What one channel has still to say, the oldest first; after a failure it waits longer each
    time, up to MAX_DELAY_S."""

    def __init__(self) -> None:
        self._notices: deque[Notice] = deque(maxlen=MAX_WAITING)
        self._next_s = float("-inf")
        self._delay_s = 1.0

    def __len__(self) -> int:
        return len(self._notices)

    def add(self, notice: Notice) -> None:
        self._notices.append(notice)

    def due_s(self) -> float | None:
        return self._next_s if self._notices else None

    def due(self, now_s: float) -> Notice | None:
        return self._notices[0] if self._notices and now_s >= self._next_s else None

    def said(self) -> None:
        self._notices.popleft()
        self._next_s, self._delay_s = float("-inf"), 1.0

    def hurry(self) -> None:
        self._next_s = float("-inf")

    def failed(self, now_s: float) -> None:
        self._next_s = now_s + self._delay_s
        self._delay_s = min(2 * self._delay_s, MAX_DELAY_S)


class _Channel:
    """One way to say a notice, and what waits for it. A failure is logged once until it works."""

    def __init__(self, name: str, send: Callable[[Notice], None], retries: bool = True) -> None:
        self.outbox = Outbox()
        self._name, self._send, self._retries = name, send, retries
        self._works = True

    def say(self, clock: Callable[[], float]) -> None:
        """Say what is due, until it is said or fails."""
        while (notice := self.outbox.due(clock())) is not None:
            reason = self._try(notice)
            if reason and self._works:
                logger.warning("Notices by %s cannot be given (%s).", self._name, reason)
            elif not reason and not self._works:
                logger.warning("Notices by %s are given again.", self._name)
            self._works = not reason
            if reason and self._retries:
                self.outbox.failed(clock())
            else:
                self.outbox.said()

    def _try(self, notice: Notice) -> str:
        """Why it failed, in words that hold no address and no name; empty: it did not."""
        from http.client import HTTPException

        try:
            self._send(notice)
        except SettingsError as exc:
            return exc.message
        # SMTPException, URLError and TLS's own are OSErrors; ValueError: a name no network takes.
        except (OSError, HTTPException, ValueError, subprocess.SubprocessError) as exc:
            code = getattr(exc, "code", None) or getattr(exc, "smtp_code", None)
            inner = getattr(exc, "reason", None)
            kind = type(inner if isinstance(inner, OSError) else exc).__name__
            return f"{kind} {code}" if code else kind
        return ""


class Notices:
    """Tells whoever asked for it, from a thread of its own; nobody ever waits for it.

    Without anyone to tell it does nothing. `close` gives what is at hand a last chance.
    """

    def __init__(
        self,
        notice: NoticeSettings,
        clock: Callable[[], float] = time.monotonic,
        gather_s: float = GATHER_S,
    ) -> None:
        self._settings, self._clock = notice, clock
        self._positives = Positives(notice.with_names, gather_s)
        self._piled_up = PiledUp(notice.piled_up, notice.piled_up_for_s)
        self._channels = _channels(notice)
        self._new: deque[Notice] = deque(maxlen=MAX_WAITING)
        self._changed = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        if self._channels:
            self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
            self._thread.start()

    def positive(self, name: str, findings: Sequence[str], unsure: Collection[str] = ()) -> None:
        """A film was recorded with these findings that reach their operating points, some of them
        unsure; name: as it may be told of."""
        if self._thread and self._settings.positive and findings:
            with self._changed:
                self._positives.add(name, findings, unsure)
                self._changed.notify()

    def waiting(self, n: int, now_s: float) -> None:
        """So many films wait to be read; now_s: on a clock that nobody sets back."""
        if self._thread and self._piled_up.says(n, now_s):
            with self._changed:
                self._new.append(
                    Notice("piled_up", datetime.now(UTC), n, f"{_films(n)} waiting to be read")
                )
                self._changed.notify()

    def close(self, timeout_s: float = 3.0) -> None:
        if self._thread:
            with self._changed:
                self._closing = True
                self._changed.notify()
            self._thread.join(timeout_s)

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                if not self._new and not self._closing:
                    self._changed.wait(self._pause_s())
                closing = self._closing
                now_s = float("inf") if closing else self._clock()
                notices = [*self._new, self._positives.take(now_s, datetime.now(UTC))]
                self._new.clear()
            for channel in self._channels:
                for notice in notices:
                    if notice is not None:
                        channel.outbox.add(notice)
                if closing:
                    channel.outbox.hurry()
                channel.say(self._clock)

    def _pause_s(self) -> float | None:
        """Until something is due; None: until something happens."""
        due = [self._positives.due_s(), *(channel.outbox.due_s() for channel in self._channels)]
        times = [at_s for at_s in due if at_s is not None]
        return max(0.0, min(times) - self._clock()) if times else None


def _films(n: int) -> str:
    return "1 film" if n == 1 else f"{n} films"


def _channels(notice: NoticeSettings) -> list[_Channel]:
    channels = []
    if notice.desktop:
        # A balloon that comes late is of no use; and a service has no desktop at all.
        channels.append(_Channel("desktop", show_on_desktop, retries=False))
    if notice.webhook:
        channels.append(_Channel("webhook", lambda told: post(notice.webhook, told)))
    if notice.email_to:
        channels.append(_Channel("e-mail", lambda told: send_mail(notice, told)))
    return channels


def show_on_desktop(notice: Notice) -> None:
    """Raises OSError, SubprocessError; SettingsError: the program for it is not installed."""
    title, text = "cxr-edge", notice.text
    environment = dict(os.environ)
    if sys.platform == "win32":
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32")
        program = str(system / "WindowsPowerShell" / "v1.0" / "powershell.exe")
        command = [program, "-NoProfile", "-NonInteractive", "-Command", _BALLOON]
        environment |= {"CXR_EDGE_TITLE": title, "CXR_EDGE_TEXT": text}
        flags = subprocess.CREATE_NO_WINDOW
    elif sys.platform == "darwin":
        command, flags = ["/usr/bin/osascript", "-e", _MAC, title, text], 0
    else:
        from html import escape

        # The text is markup: https://specifications.freedesktop.org/notification-spec
        text = escape(text, quote=False)
        command, flags = ["notify-send", "--app-name=cxr-edge", "--", title, text], 0
    try:
        subprocess.run(
            command,
            check=True,
            timeout=_DESKTOP_S,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=flags,
        )
    except FileNotFoundError as exc:
        raise SettingsError(f"there is no {command[0]}") from exc


def post(address: str, notice: Notice) -> None:
    """POST it as JSON. A redirect is a failure: it would carry the notice to who knows where.

    Raises OSError (URLError, HTTPError among them), HTTPException, ValueError.
    """
    import json
    import urllib.error
    import urllib.request

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    request = urllib.request.Request(
        address,
        json.dumps(notice.to_json()).encode(),
        {"Content-Type": "application/json", "User-Agent": "cxr-edge"},
    )
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=NETWORK_S):
            pass
    except urllib.error.HTTPError as exc:
        exc.close()
        raise


def send_mail(notice_settings: NoticeSettings, notice: Notice) -> None:
    """Mail it, over TLS whose certificate is checked or not at all.

    Raises OSError (SMTPException among them), ValueError; SettingsError: no password.
    """
    import smtplib
    import ssl
    from email.message import EmailMessage
    from email.utils import format_datetime, make_msgid

    mail = EmailMessage()
    mail["Subject"] = f"cxr-edge: {notice.title}"
    mail["From"] = notice_settings.email_from
    mail["To"] = notice_settings.email_to
    mail["Date"] = format_datetime(notice.at)
    mail["Message-ID"] = make_msgid(domain=notice_settings.email_from.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"  # so that no absence note answers (RFC 3834)
    mail.set_content(notice.text)
    host, port = notice_settings.smtp_host, notice_settings.smtp_port
    tls = ssl.create_default_context()
    server: smtplib.SMTP
    if port == 465:  # TLS from the start (RFC 8314)
        server = smtplib.SMTP_SSL(host, port, timeout=NETWORK_S, context=tls)
    else:
        server = smtplib.SMTP(host, port, timeout=NETWORK_S)
    with server:
        if port != 465:
            server.starttls(context=tls)
        if notice_settings.smtp_password_file:
            server.login(notice_settings.smtp_user, _password(notice_settings.smtp_password_file))
        server.send_message(mail)


def _password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip("\r")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"the password file {path} cannot be read") from exc
