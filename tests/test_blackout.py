"""Without lungs nothing of them may be left to read, and what is left is told honestly."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_edge.model_card import SIGMOID
from train.config import TrainConfig
from train.data.films import Film
from train.data.pixels import Films
from train.measure.answers import Reader, measure_answers
from train.measure.blackout import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    black_out_lungs,
    blackout_lines,
    measure_blackout,
    tell_source,
)

SIDE_PX = 40


def some_pixels(n: int = 4, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 1, SIDE_PX, SIDE_PX), generator=generator, dtype=torch.uint8)


def inside() -> torch.Tensor:
    box = torch.zeros(SIDE_PX, SIDE_PX, dtype=torch.bool)
    box[
        round(TOP * SIDE_PX) : round(BOTTOM * SIDE_PX),
        round(LEFT * SIDE_PX) : round(RIGHT * SIDE_PX),
    ] = True
    return box


def test_the_lungs_become_one_grey_and_the_rest_stays() -> None:
    pixels = some_pixels()
    before = pixels.clone()
    painted = black_out_lungs(pixels)
    assert torch.equal(pixels, before)
    assert torch.equal(painted[:, :, ~inside()], pixels[:, :, ~inside()])
    for film in painted:
        assert len(film[:, inside()].unique()) == 1


def test_nothing_of_the_lungs_is_left_not_even_their_mean() -> None:
    first, second = some_pixels(), some_pixels()
    second[:, :, inside()] = 255
    assert torch.equal(black_out_lungs(first), black_out_lungs(second))


def films_of(sources: list[str], labels: list[str]) -> list[Film]:
    return [
        Film(Path(f"{i}.png"), label, f"p{i}", f"p{i}", str(i), source)
        for i, (source, label) in enumerate(zip(sources, labels, strict=True))
    ]


def made(n: int, marker: bool, lungs: bool) -> tuple[list[Film], Films]:
    """n films of two sources, half of each with pneumonia.

    marker: one source marks its films in the corner. lungs: pneumonia brightens the lungs.
    """
    rng = np.random.default_rng(0)
    sources = [("east", "west")[i % 2] for i in range(n)]
    labels = [("no finding", "pneumonia")[i // 2 % 2] for i in range(n)]
    pixels = rng.integers(40, 60, (n, 1, SIDE_PX, SIDE_PX)).astype(np.uint8)
    for i in range(n):
        if marker and sources[i] == "west":
            pixels[i, 0, :4, :8] = 250
        if lungs and labels[i] == "pneumonia":
            pixels[i, 0, 10:30, 10:30] = 200
    films = films_of(sources, labels)
    truth = torch.tensor([[float(label == "pneumonia")] for label in labels])
    patients = tuple(film.group for film in films)
    return films, Films(torch.from_numpy(pixels), truth, patients, tuple(sources))


def reader(logits: Callable[[Films], np.ndarray]) -> Reader:
    spec = TrainConfig().input
    return Reader(("pneumonia",), SIGMOID, 1.0, {"pneumonia": 0.5}, spec, logits)


def of_middle(films: Films) -> np.ndarray:
    """Looks at the lungs alone."""
    return films.pixels[:, :, 12:28, 12:28].float().mean((1, 2, 3))[:, None].numpy() / 50 - 2


def of_all(films: Films) -> np.ndarray:
    return films.pixels.float().mean((1, 2, 3))[:, None].numpy() / 50 - 2


def test_a_reader_of_lungs_is_lost_without_them() -> None:
    films, cached = made(80, marker=False, lungs=True)
    sees = reader(of_middle)
    whole = measure_answers(sees.judge(films, sees.logits(cached)))
    blackout = measure_blackout(sees, films, cached)
    assert whole.findings["pneumonia"]["auroc"].value == 1
    auroc = blackout.measured.findings["pneumonia"]["auroc"]
    assert auroc.low < 0.5 < auroc.high
    (first, *_) = blackout_lines(blackout, whole)
    assert first == f"pneumonia: AUROC {auroc} without lungs, 1.000 (1.000 to 1.000) with them"


def test_a_mark_at_the_border_gives_the_source_away() -> None:
    films, cached = made(80, marker=True, lungs=False)
    blackout = measure_blackout(reader(of_all), films, cached)
    assert blackout.sources == ("east", "west")
    assert blackout.chance == 0.5
    assert blackout.from_films is not None and blackout.from_films.value > 0.95
    assert blackout.from_answers is not None and blackout.from_answers.value > 0.95


def test_sources_that_look_alike_are_not_told_apart() -> None:
    films, cached = made(80, marker=False, lungs=True)
    blackout = measure_blackout(reader(of_middle), films, cached)
    assert blackout.from_films is not None and blackout.from_answers is not None
    for interval in (blackout.from_films, blackout.from_answers):
        assert interval.low < 0.62 and interval.value < 0.7


def test_the_probe_never_sees_the_patients_it_is_measured_on() -> None:
    """Features that name the patient, and nothing else, tell nothing of other patients."""
    sources = [("east", "west")[i // 3 % 2] for i in range(60)]
    films = [
        dataclasses.replace(film, group=f"p{i // 3}")
        for i, film in enumerate(films_of(sources, ["no finding"] * 60))
    ]
    features = np.repeat(np.eye(20), 3, axis=0)
    assert tell_source(features, films, ("east", "west")).value == pytest.approx(0.5, abs=0.2)


def test_a_small_source_does_not_make_up_for_a_large_one() -> None:
    """Chance is 1 in 2 however many films each source has."""
    sources = ["east"] * 400 + ["west"] * 100
    films = films_of(sources, ["no finding"] * 500)
    noise = np.random.default_rng(0).normal(size=(500, 3))
    assert tell_source(noise, films, ("east", "west")).value == pytest.approx(0.5, abs=0.07)


def test_one_source_leaves_nothing_to_tell() -> None:
    films, cached = made(40, marker=False, lungs=True)
    alone = [dataclasses.replace(film, source="east") for film in films]
    blackout = measure_blackout(reader(of_middle), alone, cached)
    assert blackout.from_films is None and blackout.from_answers is None
    assert "none to tell" in blackout_lines(blackout, blackout.measured)[-1]
