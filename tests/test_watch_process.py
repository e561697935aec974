"""`cxr-edge watch` as a process: what it opens, what it says, how it is configured."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import make_film
from tests.tiny_model import gated_film, write_gated_model

# In every process that inherits it: a socket that is made leaves a line in a file.
_AUDIT = """
import os, sys
def hook(event, arguments):
    if event.startswith("socket."):
        with open(os.environ["AUDIT_FILE"], "a") as file:
            file.write(event + "\\n")
sys.addaudithook(hook)
"""

# Windows sends Ctrl-Break to a group of processes.
_OWN_GROUP = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0


@pytest.fixture
def folder(tmp_path) -> Path:
    for n in range(4):
        make_film(tmp_path / "films" / f"MÜLLER^ANNA {n}.png", 40 * n + 20, side=128)
    return tmp_path / "films"


def start(*arguments: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "cxr_edge", "watch", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
        creationflags=_OWN_GROUP,
    )


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def wait_for(what, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not what():
        if time.monotonic() > deadline or process.poll() is not None:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.05)


def stop(process: subprocess.Popen) -> str:
    process.send_signal(signal.CTRL_BREAK_EVENT if sys.platform == "win32" else signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out + err


def written(tmp_path: Path, folder: Path, model: Path, /, **sections: str) -> Path:
    """A configuration file in which every output lies in tmp_path."""
    config = tmp_path / "cxr-edge.toml"
    top = {"csv": "path = 'r.csv'", "model": f"name = '{model}'", "log": "file = 'log.json'"}
    text = f"folder = '{folder}'\nledger = 'ledger.db'\nsettle_s = 0.1\npoll_interval_s = 0.1\n"
    for name in top | sections:
        lines = (top.get(name, ""), sections.get(name, ""))
        text += f"[{name}]\n" + "\n".join(line for line in lines if line) + "\n"
    config.write_text(text, encoding="utf-8")
    return config


@pytest.mark.skipif(sys.platform == "win32", reason="asyncio's own socket pair is made there")
def test_no_socket_is_made_unless_asked(folder, tmp_path, tiny_model_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_AUDIT)
    made = tmp_path / "sockets"
    path = os.pathsep.join([str(tmp_path / "site"), *sys.path])
    config = written(tmp_path, folder, tiny_model_path)
    process = start("--config", config, PYTHONPATH=path, AUDIT_FILE=str(made))
    wait_for(lambda: len(rows(tmp_path / "r.csv")) == 4, process)
    stop(process)
    assert not made.exists(), made.read_text()


def test_neither_log_nor_ledger_nor_csv_names_a_patient_where_pseudonyms_are_asked_for(
    folder, tmp_path, tiny_model_path
):
    (folder / "MÜLLER^ANNA 9.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    privacy = "pseudonymise = true\nidentifiers = 'pseudonym'"
    done = tmp_path / "failed"
    config = written(
        tmp_path, folder, tiny_model_path, privacy=privacy, after=f"failed_to = '{done}'"
    )
    config.write_text("patience_s = 0.5\n" + config.read_text("utf-8"), "utf-8")
    process = start("--config", config)
    wait_for(lambda: len(rows(tmp_path / "r.csv")) == 5, process)
    said = stop(process)
    for file in (tmp_path / "log.json", tmp_path / "r.csv", tmp_path / "ledger.db"):
        assert "LLER" not in file.read_bytes().decode("latin-1"), file
    assert "LLER" not in said
    names = {row["file"] for row in rows(tmp_path / "r.csv")}
    assert len(names) == 5
    assert all(name.startswith("film-") and name.endswith(".png") for name in names)
    again = start("--config", config)
    make_film(folder / "new.png", 250, side=128)
    wait_for(lambda: len(rows(tmp_path / "r.csv")) == 6, again)
    stop(again)
    assert len(rows(tmp_path / "r.csv")) == 6


def test_the_log_names_films_by_their_number_alone(folder, tmp_path, tiny_model_path):
    config = written(tmp_path, folder, tiny_model_path, log="level = 'debug'")
    process = start("--config", config)
    wait_for(lambda: len(rows(tmp_path / "r.csv")) == 4, process)
    stop(process)
    lines = (tmp_path / "log.json").read_text("utf-8").splitlines()
    assert {1, 2, 3, 4} <= {json.loads(line).get("film") for line in lines}
    assert not any("LLER" in line for line in lines)


def test_a_second_watcher_of_a_folder_says_so_and_stops(folder, tmp_path, tiny_model_path):
    config = written(tmp_path, folder, tiny_model_path)
    first = start("--config", config)
    wait_for(lambda: len(rows(tmp_path / "r.csv")) == 4, first)
    second = start("--config", config)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 7
    assert str(first.pid) in err
    assert "Traceback" not in err
    other = start(folder, "--csv", tmp_path / "o.csv", "--ledger", tmp_path / "other.db")
    _, err = other.communicate(timeout=60)
    assert other.returncode == 7
    stop(first)


def test_two_watchers_share_a_folder_where_both_are_told_to(folder, tmp_path, tiny_model_path):
    for n in range(60):
        make_film(folder / f"{n}.png", n + 60, side=256)
    config = written(tmp_path, folder, tiny_model_path)
    both = [start("--config", config, "--share") for _ in range(2)]
    wait_for(lambda: len(rows(tmp_path / "r.csv")) == 64, both[0])
    for process in both:
        stop(process)
    found = rows(tmp_path / "r.csv")
    assert len(found) == 64, [row for row in found if row["status"] != "ok"]
    assert len({row["sha256"] for row in found}) == 64


def test_options_override_the_file_and_check_starts_nothing(folder, tmp_path, tiny_model_path):
    config = written(tmp_path, folder, tiny_model_path)
    target = tmp_path / "other.csv"
    process = start("--config", config, "--csv", target, "--csv-dialect", "excel", "--check")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "right to start" in err
    assert rows(target) == []
    assert target.read_bytes().startswith(b"\xef\xbb\xbffile,")


def test_a_refusal_is_overruled_by_the_file_or_the_command_line_and_the_row_says_so(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    for condition in ("lateral", "inverted", "readable"):
        film = Image.fromarray(gated_film(condition))
        film.save(folder / f"{condition}.png")
    model = write_gated_model(tmp_path / "gated.onnx")
    config = written(tmp_path, folder, model, model="accept = ['inverted']")
    for options, reasons in (
        ([], {"inverted": "accepted: inverted", "lateral": "lateral: "}),
        (["--accept", "lateral"], {"inverted": "inverted: ", "lateral": "accepted: lateral"}),
    ):
        target = tmp_path / f"{len(options)}.csv"
        ledger = tmp_path / f"{len(options)}.db"
        process = start("--config", config, "--csv", target, "--ledger", ledger, *options)
        wait_for(lambda target=target: len(rows(target)) == 3, process)
        said = stop(process)
        found = {Path(row["file"]).stem: row["reason"] for row in rows(target)}
        assert found["readable"] == ""
        assert all(found[name].startswith(reason) for name, reason in reasons.items())
        for name, reason in reasons.items():
            if reason.startswith("accepted"):
                assert f"read although it would be refused: {name}" in said
    log = (tmp_path / "log.json").read_text(encoding="utf-8")
    messages = [json.loads(line)["message"] for line in log.splitlines()]
    assert any(message.endswith(": accepted: lateral") for message in messages)


def test_films_that_the_file_would_move_stay_where_the_command_line_says_so(
    folder, tmp_path, tiny_model_path
):
    after = f"success = 'move'\nmoved_to = '{tmp_path / 'done'}'"
    config = written(tmp_path, folder, tiny_model_path, after=after)
    process = start("--config", config, "--after", "leave", "--check")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_heatmaps_are_drawn_and_are_no_part_of_the_folder(folder, tmp_path, tiny_model_path):
    pictures = tmp_path / "pictures"
    config = written(tmp_path, folder, tiny_model_path, heatmaps=f"folder = '{pictures}'")
    process = start("--config", config)
    wait_for(lambda: len(rows(tmp_path / "r.csv")) == 4, process)
    stop(process)
    assert len(list(pictures.glob("*.png"))) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--after", "move"], "moved_to"),
        (["--heatmap", "films/pictures"], "inside"),
        (["--settle", "-1"], "--settle"),
        (["--model", "none.onnx"], "none.onnx"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_read(
    folder, tmp_path, tiny_model_path, monkeypatch, options, message
):
    config = written(tmp_path, folder, tiny_model_path)
    options = [str(tmp_path / part) if "/" in part else part for part in options]
    process = start("--config", config, *options)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (2, 4)
    assert message in err
    assert "Traceback" not in err
    assert out == ""
