"""The packaged program's page: all that it is made of is there, and a film goes its whole way."""

import json
import re
import urllib.request
from pathlib import Path

from tests.bundle.program import Program, wait_until
from tests.bundle.watching import Watcher
from tests.conftest import SAMPLES

FILM = SAMPLES / "pneumonia-1.jpg"


def answers(address: str) -> bool:
    try:
        asked(f"{address}/healthz")
    except OSError:
        return False
    return True


def asked(address: str, body: bytes | None = None) -> bytes:
    headers = {} if body is None else {"Content-Type": "image/jpeg"}
    request = urllib.request.Request(address, body, headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


def test_a_film_is_uploaded_read_and_shown(program: Program, clinic: Path) -> None:
    words = ("serve", "--port", 0, "--ledger", clinic / "ledger.db")
    with Watcher(program, *words) as serving:
        wait_until(lambda: b"/ in the browser" in serving.said, "the address is said")
        found = re.search(rb"http://127\.0\.0\.1:\d+", serving.said)
        assert found, serving.said
        address = found[0].decode()
        wait_until(lambda: answers(address), "the page answers")
        (film,) = json.loads(asked(f"{address}/v1/predict", FILM.read_bytes()))["films"]
        assert (film["status"], film["positive"]) == ("ok", True)
        page = asked(f"{address}{film['page']}").decode()
        parts = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
        assert {Path(part.partition("?")[0]).suffix for part in parts} >= {".js", ".css"}
        for part in parts:
            assert asked(address + part)
        assert asked(f"{address}{film['page']}/thumbnail").startswith(b"\xff\xd8\xff")
        assert serving.stop() == 0
