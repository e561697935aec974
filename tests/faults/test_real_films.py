"""Real films, copied into a folder while its watcher is killed again and again."""

import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from cxr_edge import load_model
from cxr_edge.reading import read_results
from tests.test_watch_process import rows, start, stop, wait_for

N_KILLS = 8


def test_each_real_film_has_the_row_that_predict_gives_however_often_watch_is_killed(
    real_films, tmp_path
):
    films = sorted((real_films / "kermany-original-resolution").rglob("*.jpeg"))
    assert len(films) > 50
    folder, table, ledger = tmp_path / "films", tmp_path / "r.csv", tmp_path / "ledger.db"
    folder.mkdir()
    rng = random.Random(5)
    options = (folder, "--csv", table, "--ledger", ledger, "--settle", 0.1, "--poll", 0.1)
    waiting = list(films)
    for kill in range(N_KILLS):
        process = start(*options)
        wait_for(lambda: process.stderr.readline().startswith("Watching"), process)  # noqa: B023
        upto = len(films) * (kill + 1) // N_KILLS
        while len(films) - len(waiting) < upto:
            film = waiting.pop(0)
            shutil.copyfile(film, folder / f"{film.parent.name} {film.name}")
        time.sleep(rng.uniform(0, 1.0))
        process.kill()
        process.communicate()
        with closing(sqlite3.connect(ledger)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    process = start(*options)
    wait_for(lambda: process.stderr.readline().startswith("Watching"), process)
    wait_for(lambda: len(rows(table)) >= len(films), process)
    stop(process)
    model = load_model()
    said = {row["file"]: (row["status"], row["probability"]) for row in rows(table)}
    assert len(rows(table)) == len(said) == len(films)
    for result in read_results([Path(name) for name in said], model, n_workers=2):
        probability = f"{result.findings[0].probability:.6f}" if result.findings else ""
        assert said[str(result.source)] == (result.status, probability)
