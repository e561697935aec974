"""`cxr-edge serve`, as it is typed."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge.cli import cli
from tests.conftest import SAMPLES
from tests.web.served import served


def run(*arguments: str, typed: str | None = None):
    return CliRunner().invoke(cli, ["serve", *arguments], input=typed)


def answer(address: str, token: str = "", context: ssl.SSLContext | None = None):
    request = urllib.request.Request(address)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30, context=context) as said:
        return json.load(said)


def test_help_says_how_to_put_tls_in_front():
    said = run("--help")
    assert said.exit_code == 0
    assert "--certificate" in said.output
    assert "reverse-proxy" in said.output


def test_others_reach_it_only_where_somebody_has_to_log_in(tmp_path):
    for options in (("--host", "0.0.0.0"), ("--public-name", "xray.clinic.example")):
        said = run("--ledger", str(tmp_path / "ledger.db"), *options)
        assert said.exit_code == 2
        assert "--set-password" in said.output


def test_a_list_of_names_that_is_not_there_lets_nobody_in(tmp_path):
    said = run("--ledger", str(tmp_path / "ledger.db"), "--access", str(tmp_path / "none.toml"))
    assert said.exit_code == 2
    assert "--set-password" in said.output


def test_a_port_that_is_taken_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = run("--ledger", str(tmp_path / "ledger.db"), "--port", port)
    assert said.exit_code == 2
    assert f"port {port}" in said.output
    assert "--port" in said.output


@pytest.mark.parametrize(
    "options", [("--csv", "results.csv"), ("--certificate", __file__), ("--key", __file__)]
)
def test_half_an_option_is_wrong_usage(tmp_path, options):
    assert run("--ledger", str(tmp_path / "ledger.db"), *options).exit_code == 2


def test_a_certificate_that_is_none_is_said(tmp_path):
    said = run("--ledger", str(tmp_path / "l.db"), "--certificate", __file__, "--key", __file__)
    assert said.exit_code == 2
    assert "PEM" in said.output


def test_a_certificate_with_the_key_of_another_is_said(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    certificate, _ = made_certificate(tmp_path / "one")
    _, key = made_certificate(tmp_path / "other")
    said = run(
        *("--ledger", str(tmp_path / "l.db"), "--certificate", str(certificate), "--key", str(key))
    )
    assert said.exit_code == 2
    assert "PEM" in said.output


def test_who_may_come_in_is_kept_in_a_file_and_no_secret_is(tmp_path):
    access = tmp_path / "access.toml"
    said = run("--access", str(access), "--set-password", "anna", typed="long enough\n" * 2)
    assert said.exit_code == 0, said.output
    token = run("--access", str(access), "--new-token", "archive").output.splitlines()[0]
    assert token.startswith("cxre_")
    kept = access.read_text(encoding="utf-8")
    assert "anna" in kept
    assert "archive" in kept
    assert "long enough" not in kept
    assert token not in kept
    assert run("--access", str(access), "--remove", "anna").exit_code == 0
    assert "anna" not in access.read_text(encoding="utf-8")


def test_what_is_watched_is_shown_and_what_is_sent_is_not_lost(tmp_path):
    scans, folder = tmp_path / "scans", tmp_path / "served"
    scans.mkdir()
    shutil.copy(SAMPLES / "normal-1.jpg", scans)
    csv = tmp_path / "results.csv"
    with served(folder, "--watch", str(scans), "--csv", str(csv)) as address:
        films = wait_for_films(address, 1)
        assert films[0]["file"] == str(scans / "normal-1.jpg")
        shutil.copy(SAMPLES / "pneumonia-1.jpg", scans / "later.jpg")
        assert {one["positive"] for one in wait_for_films(address, 2)} == {True, False}
        with urllib.request.urlopen(f"{address}/films/1/thumbnail", timeout=30) as picture:
            assert picture.read(2) == b"\xff\xd8"
        until_s = time.monotonic() + 30
        while csv.read_bytes().count(b"\n") < 3 and time.monotonic() < until_s:
            time.sleep(0.1)
    assert csv.read_bytes().count(b"\n") == 3
    assert "Stopped" in (folder / "said.txt").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say what is open")
def test_a_large_film_on_its_way_lies_in_the_folder_for_uploads_alone(tmp_path):
    """The system's folder for temporary files may lie in memory."""
    large = (SAMPLES / "normal-1.jpg").read_bytes() + bytes(3_000_000)
    head = b'--b\r\nContent-Disposition: form-data; name="films"; filename="f.jpg"\r\n\r\n'
    body = head + large + b"\r\n--b--\r\n"
    with served(tmp_path / "served") as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(
                f"POST /v1/predict HTTP/1.1\r\nHost: {host}:{port}\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body[:2_500_000]
            )
            places = wait_for_temporary_files(tmp_path / "served")
            client.sendall(body[2_500_000:])
            said = b"".join(iter(lambda: client.recv(65536), b""))
        incoming = tmp_path / "served" / "uploads" / "incoming"
        assert {place.parent for place in places} == {incoming}
        assert list(incoming.iterdir()) == []
    assert b'"status":"ok"' in said


def wait_for_temporary_files(folder: Path) -> list[Path]:
    """Files without a name that the server of a folder has open."""
    until_s = time.monotonic() + 30
    found: list[Path] = []
    while not found and time.monotonic() < until_s:
        for task in Path("/proc/self/task").glob("*/children"):
            for pid in task.read_text().split():
                with suppress(FileNotFoundError):  # closed while it is looked at
                    if os.fsencode(folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
                        links = [path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()]
                        found += [link for link in links if link.name.endswith("(deleted)")]
        time.sleep(0.02)
    return found


def wait_for_films(address: str, n: int) -> list[dict]:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        films = answer(f"{address}/v1/results")["films"]
        if len(films) == n:
            return films
        time.sleep(0.1)
    raise AssertionError(f"{len(films)} films, not {n}")


def test_a_second_watcher_of_the_folder_ends_at_once(tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    with served(tmp_path / "served", "--watch", str(scans)):
        said = subprocess.run(
            [
                *(sys.executable, "-m", "cxr_edge", "serve", "--watch", str(scans)),
                *("--ledger", str(tmp_path / "served" / "ledger.db"), "--port", "0"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert said.returncode == 7
    assert "Traceback" not in said.stderr


def test_a_page_that_is_served_already_is_only_opened(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("click.launch", opened.append)
    with served(tmp_path / "served") as address:
        said = run("--open", "--port", address.rpartition(":")[2])
    assert said.exit_code == 0
    assert opened == [f"{address}/"]


def test_another_program_at_the_port_is_not_opened(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("click.launch", opened.append)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        port = str(other.server_port)
        said = run("--open", "--ledger", str(tmp_path / "ledger.db"), "--port", port)
    assert said.exit_code == 2
    assert opened == []


def test_with_a_certificate_it_speaks_tls_and_asks_who_is_there(tmp_path):
    certificate, key = made_certificate(tmp_path)
    access = tmp_path / "access.toml"
    token = run("--access", str(access), "--new-token", "archive").output.splitlines()[0]
    context = ssl.create_default_context(cafile=certificate)
    options = ("--certificate", str(certificate), "--key", str(key), "--access", str(access))
    with served(tmp_path / "served", *options, trusts=certificate) as address:
        assert address.startswith("https://127.0.0.1:")
        assert answer(f"{address}/v1/results", token, context)["films"] == []
        with pytest.raises(urllib.error.HTTPError) as caught:
            answer(f"{address}/v1/results", context=context)
    assert caught.value.code == 401
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    caught.value.close()


def test_behind_a_server_with_tls_the_audit_log_says_who_asked(tmp_path):
    access = tmp_path / "access.toml"
    token = run("--access", str(access), "--new-token", "archive").output.splitlines()[0]
    options = ("--public-name", "xray.clinic.example", "--access", str(access))
    with served(tmp_path / "served", *options) as address:
        request = urllib.request.Request(f"{address}/v1/results")
        request.add_header("Host", "xray.clinic.example")
        request.add_header("X-Forwarded-For", "192.0.2.7")
        request.add_header("Authorization", f"Bearer {token}")
        urllib.request.urlopen(request, timeout=30).close()
    last = (tmp_path / "served" / "audit.log").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last)["from"] == "192.0.2.7"


def made_certificate(folder: Path) -> tuple[Path, Path]:
    """For 127.0.0.1, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
