"""A packaged `cxr-edge watch` that runs while a test goes on; stopped as a person stops it."""

import os
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests.bundle.program import NATIVE_WINDOWS, PATIENCE_S, Program


class Watcher:
    """args: "watch" and its own, or whatever else watches.

    Stopped by Ctrl-Break on Windows, Ctrl-C on Linux. Under Wine, whose GenerateConsoleCtrlEvent
    does not serve without a screen, Ctrl-C is typed into a terminal of its own.
    """

    def __init__(self, program: Program, *args: str | float | Path) -> None:
        command = program.command(*args)
        self._in_terminal = program.under_wine
        if self._in_terminal:
            command = [
                "script",
                "--quiet",
                "--return",
                "--command",
                shlex.join(command),
                "/dev/null",
            ]
        self.process = subprocess.Popen(
            command,
            cwd=program.user,
            env=program.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            creationflags=subprocess.CREATE_NEW_PROCESS_GROUP if NATIVE_WINDOWS else 0,
        )
        self.said = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        while part := os.read(self.process.stdout.fileno(), 65536):
            self.said += part

    def stop(self) -> int:
        """The exit code."""
        if self._in_terminal:
            self._type(b"\x03")
            deadline = time.monotonic() + PATIENCE_S
            # Enter, too: a program that has a terminal to itself keeps it open to be read.
            while self.process.poll() is None and time.monotonic() < deadline:
                self._type(b"\r")
                time.sleep(1)
        else:
            self.process.send_signal(signal.CTRL_BREAK_EVENT if NATIVE_WINDOWS else signal.SIGINT)
        return self.process.wait(PATIENCE_S)

    def _type(self, keys: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._listener.join(PATIENCE_S)
