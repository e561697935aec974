"""Export judges a model on films of the sources that it is for."""

from pathlib import Path
from typing import Any

import pytest

from export.errors import ExportError
from export.run import Run, judged_on
from train.data.films import Film
from train.data.split import TEST, TRAIN, VALIDATION, Split


def film(source: str, number: int) -> Film:
    name = f"{source}-{number}"
    return Film(Path(f"{name}.png"), "pneumonia", name, name, name, source)


def run_of(**sources: tuple[str, ...]) -> Run:
    """A run with a film of each of these sources in each part."""
    films = {part: tuple(map(film, of_part, range(9))) for part, of_part in sources.items()}
    nothing: Any = None
    return Run(nothing, nothing, Split(films), {})


RUN = run_of(train=("here", "there"), validation=("here", "there"), test=("here", "there", "here"))


def test_validation_and_test_films_are_of_these_sources_and_train_films_of_all():
    split = judged_on(RUN, ("here",)).split
    assert [one.source for one in split[VALIDATION]] == ["here"]
    assert [one.source for one in split[TEST]] == ["here", "here"]
    assert split[TRAIN] == RUN.split[TRAIN]
    assert judged_on(RUN, ()) is RUN


def test_a_source_without_films_to_judge_by_is_said():
    run = run_of(train=("here", "there"), validation=("here",), test=("here", "there"))
    with pytest.raises(ExportError, match=r"no validation films of there.*Sources: here"):
        judged_on(run, ("there",))
