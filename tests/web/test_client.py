"""The client that is shown to programmers works as it stands."""

import shutil
import subprocess
import sys

from tests.conftest import SAMPLES
from tests.web.served import served


def test_the_example_client_prints_what_the_server_says(tmp_path):
    film = tmp_path / "Größe 1.jpg"
    shutil.copy(SAMPLES / "pneumonia-1.jpg", film)
    with served(tmp_path / "served") as address:
        text = (SAMPLES / "client.py").read_text(encoding="utf-8")
        (tmp_path / "client.py").write_text(
            text.replace("http://127.0.0.1:8717", address), encoding="utf-8"
        )
        said = subprocess.run(
            [sys.executable, tmp_path / "client.py", film, tmp_path / "client.py"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    first, second = said.splitlines()
    assert first.startswith("Größe 1.jpg ok pneumonia ")
    assert second.startswith("client.py failed unsupported_format: ")
