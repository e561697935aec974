"""Nothing is collected while the program starts, and everything as usual afterwards."""

import gc
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from cxr_edge.cli import cli
from cxr_edge.reading import predict_result
from cxr_edge.starting import starting
from tests.conftest import make_film


@pytest.fixture(autouse=True)
def unfrozen():
    yield
    gc.unfreeze()


def test_no_garbage_is_collected_while_the_program_starts() -> None:
    with starting():
        n_before = gc.get_stats()[0]["collections"]
        cycles = [[] for _ in range(10_000)]
        for cycle in cycles:
            cycle.append(cycle)
        assert gc.get_stats()[0]["collections"] == n_before
    assert gc.isenabled()


def test_it_is_collected_again_after_a_start_that_failed() -> None:
    with pytest.raises(OSError), starting():
        raise OSError
    assert gc.isenabled()


def test_garbage_is_collected_while_films_are_read(tmp_path, tiny_model_path, monkeypatch):
    film = make_film(tmp_path / "film.png", 200)
    seen = []

    def look(*arguments):
        seen.append(gc.isenabled())
        return predict_result(*arguments)

    monkeypatch.setattr("cxr_edge.reading.predict_result", look)
    arguments = ["predict", "--model", str(tiny_model_path), str(film)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert seen == [True]


def test_the_command_that_is_installed_is_the_module_that_is_run() -> None:
    text = (Path(__file__).parents[1] / "setup.cfg").read_text()
    (line,) = (line for line in text.splitlines() if line.strip().startswith("cxr-edge = "))
    name, value = (part.strip() for part in line.split("="))
    main = EntryPoint(name, value, "console_scripts").load()
    assert main.__module__ == "cxr_edge.cli"
