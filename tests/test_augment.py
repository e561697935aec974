"""Each step of the augmentation changes what its name says, and nothing is changed without it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from train.augment import NO_AUGMENTATION, Augmentation, augment


def some_films(n: int = 6, height: int = 48, width: int = 40) -> Tensor:
    """Smooth made films, none symmetric, each with its own range of grey values."""
    y = torch.linspace(0, 1, height)[:, None]
    x = torch.linspace(0, 1, width)[None]
    films = [
        60 + 12 * i + (100 - 10 * i) * (0.6 * x + 0.4 * y * torch.sin(3 * y)) for i in range(n)
    ]
    return torch.stack(films)[:, None].round().to(torch.uint8)


def only(**settings: float) -> Augmentation:
    return replace(NO_AUGMENTATION, **settings)


def drawn(films: Tensor, settings: Augmentation, seed: int = 0) -> Tensor:
    return augment(films, settings, torch.Generator().manual_seed(seed))


def test_without_augmentation_the_films_are_only_scaled() -> None:
    films = some_films()
    assert torch.allclose(drawn(films, NO_AUGMENTATION), films / 255, atol=1e-6)


def test_the_films_themselves_are_left_as_they_are() -> None:
    films = some_films()
    before = films.clone()
    drawn(films, Augmentation())
    assert torch.equal(films, before)


def test_all_together_give_float_films_of_the_same_size_from_black_to_white() -> None:
    films = torch.randint(0, 256, (16, 1, 37, 52), dtype=torch.uint8)
    strong = Augmentation(*([0.9] * 4), 30.0, *([0.5] * 8))
    for settings in (Augmentation(), strong):
        x = drawn(films, settings)
        assert x.shape == films.shape
        assert x.dtype == torch.float32
        assert x.min() >= 0
        assert x.max() <= 1


def test_the_generator_alone_decides_the_draw() -> None:
    films = some_films()
    torch.manual_seed(1)
    first = drawn(films, Augmentation(), seed=5)
    torch.manual_seed(2)
    assert torch.equal(first, drawn(films, Augmentation(), seed=5))
    assert not torch.equal(first, drawn(films, Augmentation(), seed=6))


@pytest.mark.parametrize(
    "settings",
    [
        only(tone_transfer=1.0),
        only(gamma=0.6),
        only(contrast=0.25),
        only(brightness=0.1),
        only(rotation_deg=15.0),
        only(zoom=0.25),
        only(stretch=0.15),
        only(shear=0.1),
        only(shift=0.08),
        only(flip=1.0),
        only(sharpness=1.0),
        only(noise=0.04),
        only(erase=1.0),
    ],
    ids=str,
)
def test_each_step_alone_changes_the_films_and_keeps_their_size(settings: Augmentation) -> None:
    films = some_films()
    x = drawn(films, settings)
    assert x.shape == films.shape
    changed = (x - films / 255).abs().amax((1, 2, 3)) > 1e-3
    assert changed.float().mean() > 0.5


def test_flip_mirrors_left_and_right() -> None:
    films = some_films()
    assert torch.allclose(drawn(films, only(flip=1.0)), films.flip(3) / 255, atol=1e-4)


def test_flip_takes_about_its_part_of_the_films() -> None:
    films = some_films(1).repeat(200, 1, 1, 1)
    x = drawn(films, only(flip=0.25))
    mirrored = (x - films.flip(3) / 255).abs().amax((1, 2, 3)) < 1e-3
    same = (x - films / 255).abs().amax((1, 2, 3)) < 1e-3
    assert (mirrored | same).all()
    assert 30 <= mirrored.sum() <= 70


def test_brightness_adds_the_same_to_every_pixel() -> None:
    films = some_films()
    added = drawn(films, only(brightness=0.1)) - films / 255
    assert torch.allclose(added, added.mean((2, 3), keepdim=True).expand_as(added), atol=1e-5)
    assert added.abs().max() <= 0.1 + 1e-6
    assert added.mean((1, 2, 3)).unique().numel() == len(films)  # each film its own


def test_contrast_changes_the_distance_from_middle_grey() -> None:
    films = some_films()
    x = films / 255
    gain = (drawn(films, only(contrast=0.25)) - 0.5) / (x - 0.5)
    for film in range(len(films)):
        of_film = gain[film][(x[film] - 0.5).abs() > 0.05]
        assert of_film.min() >= 0.75 - 1e-3
        assert of_film.max() <= 1.25 + 1e-3
        assert of_film.max() - of_film.min() < 1e-3


def test_gamma_keeps_black_white_and_the_order_between() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(5, 1, 1, 1)
    x = drawn(ramp, only(gamma=0.6)).flatten(1)
    assert torch.allclose(x[:, 0], torch.zeros(5))
    assert torch.allclose(x[:, -1], torch.ones(5))
    assert (x.diff(dim=1) > 0).all()
    exponent = x[:, 128].log2() / torch.tensor(128 / 255).log2()
    assert ((exponent >= 2**-0.6 - 1e-4) & (exponent <= 2**0.6 + 1e-4)).all()


def test_tone_transfer_moves_a_film_towards_the_other_ones_grey_values() -> None:
    generator = torch.Generator().manual_seed(3)
    dark = torch.randint(10, 60, (1, 1, 64, 64), generator=generator, dtype=torch.uint8)
    bright = torch.randint(190, 240, (1, 1, 64, 64), generator=generator, dtype=torch.uint8)
    films = torch.cat([dark, bright])
    means = films.float().div(255).mean((1, 2, 3))
    moved = 0
    for seed in range(10):
        x = drawn(films, only(tone_transfer=1.0), seed).mean((1, 2, 3))
        assert x[0] >= means[0] - 0.01  # dark moves only towards bright
        assert x[1] <= means[1] + 0.01  # and bright only towards dark
        moved += bool(x[0] > means[0] + 0.05 and x[1] < means[1] - 0.05)
    assert moved >= 2  # half of the draws pair each film with itself


def test_tone_transfer_keeps_the_order_of_grey_values() -> None:
    films = some_films()
    x = drawn(films, only(tone_transfer=1.0))
    for before, after in zip(films.flatten(1), x.flatten(1), strict=True):
        assert (after[before.argsort(stable=True)].diff() >= -1e-6).all()


def test_shift_moves_the_film_by_at_most_its_part_and_leaves_black_behind() -> None:
    films = torch.full((20, 1, 50, 50), 255, dtype=torch.uint8)
    x = drawn(films, only(shift=0.08))
    black = x[:, 0] < 0.01
    columns, rows = black.all(1).sum(1), black.all(2).sum(1)  # of each film
    assert columns.max() <= 4 and rows.max() <= 4  # 8 % of 50
    assert columns.max() >= 2 and rows.max() >= 2


def test_rotation_keeps_the_centre_and_turns_the_rest() -> None:
    films = torch.zeros(12, 1, 61, 61, dtype=torch.uint8)
    films[:, :, 30] = 255  # a horizontal line through the centre
    x = drawn(films, only(rotation_deg=15.0))[:, 0]
    assert (x[:, 30, 30] > 0.9).all()
    height = x[:, :, 55].argmax(1) - 30  # 25 px from the centre
    assert height.abs().max() <= 7  # 25 px times the tangent of 15 degrees
    assert height.min() < -2 and height.max() > 2  # both ways


def test_zoom_looks_closer_or_farther() -> None:
    films = torch.zeros(40, 1, 64, 64, dtype=torch.uint8)
    films[:, :, 24:40, 24:40] = 255
    area = (drawn(films, only(zoom=0.25)) > 0.5).sum((1, 2, 3)) / 256
    assert area.max() > 1.3
    assert area.min() < 0.95


def test_sharpness_changes_edges_and_leaves_plain_grey() -> None:
    films = torch.full((8, 1, 40, 40), 80, dtype=torch.uint8)
    films[..., 20:] = 160
    change = (drawn(films, only(sharpness=1.0)) - films / 255).abs()
    assert change[..., 5:-5, 5:15].max() < 1e-5
    assert change[..., 5:-5, 18:22].amax((1, 2, 3)).median() > 0.01


def test_noise_is_spread_about_the_film_within_its_limit() -> None:
    films = torch.full((30, 1, 64, 64), 128, dtype=torch.uint8)
    x = drawn(films, only(noise=0.04))
    spread = x.std((1, 2, 3))
    assert spread.max() < 0.045
    assert spread.max() > 0.02
    assert (x.mean((1, 2, 3)) - 128 / 255).abs().max() < 0.005


def test_erase_covers_at_most_two_plain_rectangles() -> None:
    films = some_films(1, 50, 50).repeat(60, 1, 1, 1)
    x = drawn(films, only(erase=0.5))
    changed = (x - films / 255).abs()[:, 0] > 1e-6
    n_once = 0
    for film, where in zip(x[:, 0], changed, strict=True):
        greys = film[where].unique()
        assert len(greys) <= 2
        assert where.float().mean() <= 2 * 0.3 * 0.3
        if len(greys) == 1:
            n_once += 1
            rows, columns = where.any(1).nonzero(), where.any(0).nonzero()
            box = film[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert torch.allclose(box, greys)  # the whole rectangle, in one grey
    assert n_once >= 15  # half of 60 are expected once
    assert 5 <= (~changed.any(2).any(1)).sum() <= 25  # a quarter not at all
