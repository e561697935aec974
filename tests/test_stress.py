"""The disturbances do what their names say."""

import numpy as np
import pytest
import torch

from train.measure.stress import STRESSES, brightened, framed, noisy, sharpened, turned


@pytest.fixture
def films() -> torch.Tensor:
    """Two films of a bright square, 16 of 32 px, with soft noise around it."""
    films = 0.2 + 0.1 * torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    films[:, :, 8:24, 8:24] = 0.8
    return films


def bright_part(films: torch.Tensor) -> float:
    return float((films > 0.5).float().mean())


def test_the_first_stress_is_none(films: torch.Tensor) -> None:
    name, stress = next(iter(STRESSES.items()))
    assert name == "as they are"
    torch.testing.assert_close(stress(films), films, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", list(STRESSES)[1:])
def test_every_other_stress_changes_the_films_and_keeps_their_shape(
    films: torch.Tensor, name: str
) -> None:
    stressed = STRESSES[name](films)
    assert stressed.shape == films.shape
    assert (stressed - films).abs().mean() > 0.005


def test_a_closer_frame_shows_the_middle_larger(films: torch.Tensor) -> None:
    assert bright_part(films) == 0.25
    assert bright_part(framed(films, 1.0, 0.5)) == pytest.approx(0.5, abs=0.02)
    assert bright_part(framed(films, 0.5, 0.5)) == pytest.approx(1.0, abs=0.07)
    assert bright_part(framed(films, 2.0, 1.0)) == pytest.approx(0.125, abs=0.02)


def test_a_quarter_turn_is_one_counter_clockwise(films: torch.Tensor) -> None:
    by_numpy = np.rot90(films.numpy(), 1, axes=(2, 3))
    np.testing.assert_allclose(turned(films, 90.0), by_numpy, atol=1e-4)


def test_tone_sharpness_and_noise_go_the_way_they_are_named(films: torch.Tensor) -> None:
    assert brightened(films, 0.7).mean() > films.mean() > brightened(films, 1.4).mean()
    assert sharpened(films, 1.0).std() > films.std() > sharpened(films, -0.8).std()
    assert float((noisy(films, 0.04) - films).std()) == pytest.approx(0.04, rel=0.1)
