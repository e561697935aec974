"""`cxr-edge serve` as a process of its own, as a user starts it."""

import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

_START_S = 60.0


@contextmanager
def served(folder: Path, *options: str, trusts: Path | None = None) -> Iterator[str]:
    """Its address, without a slash at the end; its files are in the folder. trusts: the
    certificate that it shows."""
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / "said.txt"
    with said.open("wb") as stream:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "cxr_edge", "serve", "--port", "0"),
                *("--ledger", str(folder / "ledger.db"), *options),
            ],
            stdout=stream,
            stderr=stream,
        )
    try:
        context = None if trusts is None else ssl.create_default_context(cafile=trusts)
        yield _address(process, said, context)
    finally:
        process.terminate()
        process.wait(30)


def _address(process: "subprocess.Popen[bytes]", said: Path, context: ssl.SSLContext | None) -> str:
    until_s = time.monotonic() + _START_S
    while time.monotonic() < until_s:
        text = said.read_text(encoding="utf-8", errors="replace")
        assert process.poll() is None, text
        found = re.search(r"https?://[^\s/]+", text)
        if found:
            try:
                with urlopen(f"{found[0]}/healthz", timeout=5, context=context):
                    return found[0]
            except URLError:
                pass
        time.sleep(0.05)
    raise AssertionError(f"It has not started within {_START_S:.0f} s: {said.read_text()}")
