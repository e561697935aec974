"""The commands as a user meets them: what they print, what they write, how they exit."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge import __version__
from cxr_edge.cli import cli
from cxr_edge.model import shipped_models
from cxr_edge.record import COLUMNS
from cxr_edge.session import open_session
from tests.conftest import BROKEN, SAMPLES, make_film
from tests.tiny_model import write_tiny_model


@pytest.fixture
def films(tmp_path) -> Path:
    folder = tmp_path / "Klinik Müller 肺"
    make_film(folder / "dark 1.png", 50)
    make_film(folder / "bright 2.jpg", 200)
    return folder


def invoke(*arguments: object):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def predict(model: Path, *arguments: object):
    return invoke("predict", "--model", model, *arguments)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_gives_a_table_a_summary_and_exit_code_0(films, tiny_model_path):
    outcome = predict(tiny_model_path, films)
    assert outcome.exit_code == 0
    first, *table = outcome.stdout.splitlines()
    assert first.split() == ["file", "finding", "score", "result"]
    assert [line.split()[-1] for line in table] == ["positive", "negative"]
    assert "2 radiographs: 1 positive, 1 negative, 0 unsure, 0 refused, 0 failed." in outcome.stderr
    assert "Not for diagnostic use" in outcome.stderr


@pytest.mark.parametrize(("cores", "threads"), [(1, [1]), (2, [0])])
def test_one_film_gets_no_more_threads_than_there_are_cores(
    tmp_path, tiny_model_path, monkeypatch, cores, threads
):
    """0 is every core of the machine, whether this process may use it or not."""
    seen = []

    def look(file, device, n_threads, cache):
        seen.append(n_threads)
        return open_session(file, device, n_threads, cache)

    monkeypatch.setattr("cxr_edge.reading.n_cores", lambda: cores)
    monkeypatch.setattr("cxr_edge.model.open_session", look)
    assert predict(tiny_model_path, make_film(tmp_path / "film.png")).exit_code == 0
    assert seen == threads


def test_the_columns_of_a_table_stand_under_their_names(films, tmp_path):
    """However long a finding's name is."""
    path = write_tiny_model(
        tmp_path / "m.onnx", n_outputs=2, findings=("bacterial pneumonia", "effusion")
    )
    first, *table = predict(path, films).stdout.splitlines()
    assert any("bacterial pneumonia" in line for line in table)
    column = first.index("result")
    assert {line[column:] for line in table} <= {"positive", "negative"}


def test_a_csv_gets_one_row_per_film(films, tiny_model_path, tmp_path):
    target = tmp_path / "results 1.csv"
    assert predict(tiny_model_path, films, "--csv", target).exit_code == 0
    assert [Path(row["file"]).name for row in rows(target)] == ["bright 2.jpg", "dark 1.png"]
    assert list(rows(target)[0]) == list(COLUMNS)


def test_json_is_an_array_and_nothing_else_on_the_standard_output(films, tiny_model_path):
    data = json.loads(predict(tiny_model_path, films, "--json").stdout)
    assert [item["positive"] for item in data] == [True, False]


def test_bad_films_are_rows_and_exit_code_3_and_stop_nothing(films, tiny_model_path, tmp_path):
    (films / "empty.jpg").write_bytes(b"")
    (films / "text.jpg").write_text("no film")
    target = tmp_path / "r.csv"
    outcome = predict(tiny_model_path, films, films / "gone.png", "--csv", target)
    assert outcome.exit_code == 3
    status = {Path(row["file"]).name: row["reason"].split(":")[0] for row in rows(target)}
    assert status == {
        "bright 2.jpg": "",
        "dark 1.png": "",
        "empty.jpg": "empty",
        "text.jpg": "unsupported_format",
        "gone.png": "missing",
    }
    assert "Traceback" not in outcome.output


def test_a_folder_that_cannot_be_listed_is_a_row(films, tiny_model_path, monkeypatch):
    locked = films / "locked"
    locked.mkdir()
    real = os.scandir

    def scandir(path):
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for folder, n_films in ((films, 2), (locked, 0)):
        data = json.loads(predict(tiny_model_path, folder, "--json").stdout)
        assert len(data) == n_films + 1
        assert data[-1]["reason"].startswith("not_a_file: This is a folder whose files cannot")


def test_however_many_workers_the_rows_are_the_same(films, tiny_model_path, tmp_path):
    for i in range(30):
        make_film(films / f"film {i:02}.png", 30 + 7 * i)
    (films / "film 11.png").write_bytes(b"cut short")
    told = []
    for n_workers in (1, 2, 7):
        csv_path = tmp_path / f"{n_workers}.csv"
        options = ("--csv", csv_path, "--workers", n_workers)
        assert predict(tiny_model_path, films, *options).exit_code == 3
        varying = {"duration_ms": "", "processed_at": ""}
        told.append([row | varying for row in rows(csv_path)])
    assert len(told[0]) == 32
    assert told[0] == told[1] == told[2]


def test_ctrl_c_ends_predict_with_whole_rows_and_exit_code_1(films, tiny_model_path, tmp_path):
    film = make_film(tmp_path / "large.png", side=1500)
    for i in range(1500):  # a quarter of a minute's work
        os.link(film, films / f"{i:04}.png")
    csv_path = tmp_path / "results.csv"
    options = ("--csv", csv_path, "--workers", "2", "--model", tiny_model_path)
    # What a shell starts in the background passes over Ctrl-C, and so do its children.
    heeds = {} if os.name == "nt" else {"preexec_fn": heed_ctrl_c}
    process = run_module("predict", films, *options, **heeds)
    n_rows = len(wait_for_rows(csv_path, 3, process))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert n_rows <= len(rows(csv_path)) < 1502
    assert all(row["status"] == "ok" for row in rows(csv_path))


def test_patterns_are_expanded_where_the_shell_does_not(films, tiny_model_path):
    data = json.loads(predict(tiny_model_path, f"{films}/*.png", "--json").stdout)
    assert [Path(item["file"]).name for item in data] == ["dark 1.png"]


def test_a_film_named_twice_is_read_once(films, tiny_model_path):
    data = json.loads(predict(tiny_model_path, films, films / "dark 1.png", "--json").stdout)
    assert len(data) == 2


def test_the_threshold_can_be_moved(films, tiny_model_path):
    data = json.loads(predict(tiny_model_path, films, "--json", "--threshold", "0.001").stdout)
    assert [item["positive"] for item in data] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["predict"], 2, "Missing argument"),
        (["predict", "film.png", "--threshold", "2"], 2, "not in the range"),
        (["predict", "film.png", "--device", "tpu"], 2, "not one of"),
        (["predict", "film.png", "--model", "none.onnx"], 4, "none.onnx cannot be read"),
        (["predict", "empty folder"], 2, "No radiograph in"),
        (["predict", "film.png", "--csv", "none/r.csv"], 6, "There is no folder"),
        (["predict", "film.png", "--csv", "foreign.csv"], 6, "not a result file"),
        (["watch", "no folder", "--csv", "r.csv"], 2, "does not exist"),
        (["watch", "."], 2, "Missing option '--csv'"),
        (["watch", ".", "--csv", "r.csv"], 2, "lies inside"),
        (["watch"], 2, "Name the FOLDER to watch, or a --config file"),
        (["watch", "empty folder", "--csv", "none/r.csv"], 6, "There is no folder"),
        (["watch", "empty folder", "--csv", "foreign.csv"], 6, "not a result file"),
        (["watch", "--config", "wrong.toml"], 2, "unknown colour"),
    ],
)
def test_a_users_mistake_is_a_message_and_an_exit_code(
    tmp_path, monkeypatch, tiny_model_path, arguments, exit_code, message
):
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "film.png")
    (tmp_path / "empty folder").mkdir()
    (tmp_path / "foreign.csv").write_text("name\nA\n")
    (tmp_path / "wrong.toml").write_text("folder = 'films'\ncolour = 'red'\n")
    outcome = invoke(*arguments)
    assert outcome.exit_code == exit_code
    assert message in outcome.stderr
    assert "Traceback" not in outcome.output


def test_an_onnx_file_without_a_card_is_refused_with_exit_code_4(films, tmp_path):
    outcome = predict(write_tiny_model(tmp_path / "m.onnx", card=None), films)
    assert outcome.exit_code == 4
    assert "no model card" in outcome.stderr


@pytest.mark.parametrize("command", [(), ("predict",), ("watch",)])
def test_help_shows_an_example_and_the_exit_codes(command):
    text = invoke(*command, "--help").stdout
    assert "Usage: " in text
    if command:
        assert "Example" in text
        assert f"cxr-edge {command[0]} " in text
        assert "Exit codes:" in text


@pytest.mark.parametrize("name", shipped_models())
@pytest.mark.parametrize("command", ["predict", "watch"])
def test_help_names_every_shipped_model(command, name):
    text = "".join(invoke(command, "--help").stdout.split())  # lines break at hyphens too
    assert re.search(rf"[:,]{name}[,.(]", text)


def test_the_version_is_told():
    assert invoke("--version").stdout == f"cxr-edge {__version__}\n"


def run_module(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "cxr_edge", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        **options,
    )


def heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_rows(path: Path, n: int, process: subprocess.Popen) -> list[dict[str, str]]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and len(found := rows(path)) >= n:
            return found
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"no {n} rows in {path}: {process.communicate()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_reads_what_comes_and_stops_cleanly_on_a_signal(
    films, tmp_path, tiny_model_path, number
):
    target = tmp_path / "r.csv"
    process = run_module(
        "watch", films, "--csv", target, "--model", tiny_model_path, "--settle", 0.1, "--poll", 0.1
    )
    wait_for_rows(target, 2, process)
    make_film(films / "late 3.png", 100)
    wait_for_rows(target, 3, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "late 3.png: negative for pneumonia, score" in out
    assert "Stopped." in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="closes its streams as POSIX does")
def test_watch_needs_no_streams(films, tmp_path, tiny_model_path):
    """A service of Windows has none, and Python then has None in their place."""
    target = tmp_path / "r.csv"
    process = run_module(
        *("watch", films, "--csv", target, "--model", tiny_model_path, "--settle", 0.1),
        preexec_fn=lambda: [os.close(number) for number in (0, 1, 2)],
    )
    wait_for_rows(target, 2, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_killed_watch_loses_and_repeats_nothing(films, tmp_path, tiny_model_path):
    for i in range(40):
        make_film(films / f"{i:02}.png", 100 + i, side=256)
    target = tmp_path / "r.csv"
    command = ("watch", films, "--csv", target, "--model", tiny_model_path)
    for n in (5, 20, 42):
        process = run_module(*command, "--settle", 0, "--poll", 0.05)
        wait_for_rows(target, n, process)
        process.kill()
        process.communicate()
    names = sorted(Path(row["file"]).name for row in rows(target))
    assert names == sorted(path.name for path in films.glob("[!.]*"))


def test_the_samples_give_what_they_gave_when_they_were_made(tmp_path):
    """Other CPUs round int8 otherwise, so that probabilities may differ a little."""
    target = tmp_path / "r.csv"
    assert invoke("predict", SAMPLES, "--csv", target).exit_code == 0
    found = {Path(row["file"]).name: row for row in rows(target)}
    expected = {row["file"]: row for row in rows(SAMPLES / "expected.csv")}
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        assert found[name]["status"] == "ok"
        assert found[name]["sha256"] == row["sha256"], name
        assert found[name]["positive"] == row["positive"], name
        probability = float(found[name]["probability"])
        assert probability == pytest.approx(float(row["probability"]), abs=0.05), name


def test_no_sample_is_read_as_the_opposite_of_what_it_was_drawn_as():
    items = json.loads(invoke("predict", SAMPLES, "--json").stdout)
    for item in items:
        drawn = "positive" if Path(item["file"]).name.startswith("pneumonia") else "negative"
        assert item["answer"] in (drawn, "unsure"), item
    assert sum(item["answer"] == "unsure" for item in items) <= 2


def test_each_broken_film_is_refused_for_its_own_reason(tiny_model_path):
    data = json.loads(predict(tiny_model_path, BROKEN, "--json").stdout)
    reasons = {
        Path(item["file"]).name: (item["status"], item["reason"].split(":")[0]) for item in data
    }
    assert reasons == {
        "animated.png": ("refused", "several_frames"),
        "colour.dcm": ("refused", "colour"),
        "multi-frame.dcm": ("refused", "several_frames"),
        "photo.jpg": ("refused", "colour"),
        "text.jpg": ("failed", "unsupported_format"),
        "truncated.dcm": ("failed", "corrupt"),
        "truncated.jpg": ("failed", "corrupt"),
        "truncated.png": ("failed", "corrupt"),
        "two-pages.tif": ("refused", "several_frames"),
        "zero-bytes.jpg": ("failed", "empty"),
    }
    for item in data:
        assert item["probability"] is None
        assert item["reason"].endswith("."), "the next step is a sentence"


def test_predict_survives_a_closed_pipe(films, tiny_model_path):
    process = run_module("predict", films, "--model", tiny_model_path)
    assert process.stdout and process.stderr
    process.stdout.close()
    with process, process.stderr as errors:
        assert "Traceback" not in errors.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_standard_output_is_said(films, tiny_model_path):
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "cxr_edge", "predict", films, "--model", tiny_model_path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            check=False,
        )
    assert process.returncode == 6
    assert "Error: The output cannot be written" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_command_is_completed_in_a_shell():
    def completed(words: str) -> list[str]:
        process = subprocess.run(
            [sys.executable, "-c", "from cxr_edge.cli import main; main()"],
            env={
                **os.environ,
                "_CXR_EDGE_COMPLETE": "bash_complete",
                "COMP_WORDS": words,
                "COMP_CWORD": str(len(words.split()) - 1),
            },
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
        return process.stdout.split()

    assert completed("cxr-edge pre") == ["plain,predict"]
    assert completed("cxr-edge model in") == ["plain,install"]
