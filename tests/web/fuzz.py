"""Thousands of requests made from the API's own document: `python -m tests.web.fuzz`.

Schemathesis sends what the document allows, and what it does not; no answer may be a server error
or other than the document says.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import make_film
from tests.web.served import served

# "ignored_auth" and the like are for documents that ask for a login.
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def fuzz(
    address: str, n_examples: int, seed: int, folder: Path
) -> "subprocess.CompletedProcess[str]":
    """Schemathesis against a server. folder: for what it leaves behind."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{address}/openapi.json"),
            *("--checks", ",".join(_CHECKS), "--max-examples", str(n_examples)),
            *("--seed", str(seed), "--workers", "2", "--no-color"),
            *("--request-timeout", "30", "--generation-database", "none"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.web.fuzz", description=__doc__)
    arguments.add_argument("--examples", type=int, default=1000, help="of each route and phase")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(folder) as address:
            put_some_films(folder, address)
            done = fuzz(address, given.examples, given.seed, folder)
    print(done.stdout + done.stderr)
    sys.exit(done.returncode)


def put_some_films(folder: Path, address: str) -> None:
    """So that some numbers are those of films."""
    import httpx

    for n in range(3):
        film = make_film(folder / f"{n}.png", brightness=100 + n, side=256)
        answer = httpx.post(f"{address}/v1/predict", files={"films": film.read_bytes()})
        assert answer.status_code == 200, answer.text


if __name__ == "__main__":
    main()
