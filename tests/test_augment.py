"""Each step of the augmentation changes what its name says, and nothing is changed without it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from train.learn.augment import NO_AUGMENTATION, Augmentation, augment
from train.learn.randaugment import MOST, OPERATIONS, rand_augment


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
    strong = Augmentation(*([0.9] * 4), 30.0, *([0.5] * 8), randaugment_n=3, randaugment_m=MOST)
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


def test_the_default_recipe_draws_what_the_shipped_models_were_trained_on() -> None:
    generator = torch.Generator().manual_seed(0)
    x = augment(some_films(), Augmentation(), generator)
    pixels = [0.3092744, 0.5015859, 0.5847459, 0.4361477, 0.4129413, 0.4914088]
    means = [0.2876807, 0.4546650, 0.5866089, 0.3827848, 0.3917462, 0.4429229]
    assert torch.allclose(x[:, 0, 20, 17], torch.tensor(pixels), atol=1e-5)
    assert torch.allclose(x.mean((1, 2, 3)), torch.tensor(means), atol=1e-5)
    # No step has drawn more numbers, or fewer: what follows is the same too.
    assert torch.rand(1, generator=generator).item() == pytest.approx(0.3542, abs=5e-5)


@pytest.mark.parametrize("settings", [Augmentation(), only(randaugment_n=6)])
def test_films_stay_on_their_device(settings: Augmentation) -> None:
    """The meta device refuses, as a GPU does, to be mixed with tensors on the CPU."""
    films = some_films(16).to("meta")
    x = drawn(films, settings)
    assert x.device == films.device
    assert x.shape == films.shape


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tone_transfer", 1.1),
        ("contrast", 1.5),
        ("rotation_deg", 181.0),
        ("zoom", -0.1),
        ("shift", 2.0),
        ("flip", -0.5),
        ("noise", math.nan),
        ("erase", 2.0),
        ("randaugment_n", -1),
        ("randaugment_m", 31.0),
    ],
)
def test_a_setting_out_of_its_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"augmentation\.{name} "):
        Augmentation(**{name: value})


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
        only(randaugment_n=3),
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


def operate(name: str, film: Tensor, magnitude: float) -> Tensor:
    """One RandAugment operation on one film (H, W); a negative magnitude goes the other way."""
    films = film.to(torch.uint8)[None, None]
    done = OPERATIONS[name](films, torch.tensor([magnitude / MOST]))
    assert done.dtype == torch.uint8
    assert done.shape == films.shape
    return done[0, 0].int()


def ramp() -> Tensor:
    """Greys 50 to 177, darkest at the top left, 32 of each."""
    return torch.arange(50, 178).repeat_interleave(32).view(64, 64).int()


def column(at: int) -> Tensor:
    film = torch.zeros(30, 40)
    film[:, at] = 200
    return film


def test_randaugment_gives_grey_films_of_the_same_kind_and_leaves_the_given_ones() -> None:
    films = some_films(24)
    before = films.clone()
    for magnitude in (0.0, 9.0, MOST):
        x = rand_augment(films, 2, magnitude, torch.Generator().manual_seed(1))
        assert x.shape == films.shape
        assert x.dtype == torch.uint8
    assert torch.equal(films, before)
    assert not torch.equal(x, films)


def test_randaugment_draws_for_each_film_by_itself_and_by_the_generator_alone() -> None:
    films = some_films(1).repeat(40, 1, 1, 1)
    settings = only(randaugment_n=1, randaugment_m=20.0)
    torch.manual_seed(1)
    x = drawn(films, settings, seed=3)
    torch.manual_seed(2)
    assert torch.equal(x, drawn(films, settings, seed=3))
    # Identity gives one picture, three operations that have no direction too, the other eight two.
    assert 10 <= len(x.flatten(1).unique(dim=0)) <= 1 + 3 + 2 * 8


def test_randaugment_uses_every_operation_as_often_as_another() -> None:
    films = some_films(1, 8, 8).repeat(1200, 1, 1, 1)
    x = rand_augment(films, 1, 0.0, torch.Generator().manual_seed(0))
    # At magnitude 0 only two operations change a film: 2 of 12, 200 of 1200 (deviation 13).
    changed = (x != films).any(3).any(2).any(1).sum()
    assert abs(int(changed) - 200) < 5 * 13


def test_without_operations_randaugment_is_off_and_draws_nothing() -> None:
    films = some_films()
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    assert torch.equal(rand_augment(films, 0, 9.0, generator), films)
    assert torch.equal(generator.get_state(), state)
    assert NO_AUGMENTATION.randaugment_n == 0
    assert torch.equal(drawn(films, Augmentation()), drawn(films, Augmentation(randaugment_m=3.0)))


@pytest.mark.parametrize("name", OPERATIONS.keys() - {"autocontrast", "equalize"})
def test_a_randaugment_operation_of_magnitude_0_changes_nothing(name: str) -> None:
    film = torch.randint(0, 256, (30, 40), generator=torch.Generator().manual_seed(0))
    assert torch.equal(operate(name, film, 0.0), film.int())


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_film_of_one_grey_survives_every_operation(name: str) -> None:
    done = operate(name, torch.full((30, 40), 128), 9.0)
    inside = done[12:18, 16:24]
    assert len(inside.unique()) == 1
    assert 80 < inside[0, 0] < 180


@pytest.mark.parametrize(("magnitude", "px"), [(10.0, 6), (-10.0, -6), (30.0, 18)])
def test_translate_x_moves_a_column_and_leaves_black_behind(magnitude: float, px: int) -> None:
    # 0.45 of 40 px at the largest magnitude
    assert torch.equal(operate("translate x", column(20), magnitude), column(20 + px).int())


def test_translate_y_moves_a_row_by_its_part_of_the_height() -> None:
    moved = operate("translate y", column(10).T, 10.0)
    assert torch.equal(moved, column(16).T.int())


def test_shear_x_moves_rows_in_proportion_to_their_height() -> None:
    done = operate("shear x", column(20), 20.0)  # 0.2 px per row
    at = (done * torch.arange(40)).sum(1) / done.sum(1)
    assert torch.allclose(at.diff().abs(), torch.full((29,), 0.2), atol=0.02)
    assert at[14:16].mean() == pytest.approx(20, abs=0.02)
    across = operate("shear y", column(20).T, 20.0)
    assert (across - done.T).abs().max() <= 1


@pytest.mark.parametrize("sign", [-1, 1])
def test_rotate_turns_a_film_that_is_not_square_by_the_angle(sign: int) -> None:
    film = torch.zeros(81, 121)
    film[40] = 200  # a horizontal line through the centre
    done = operate("rotate", film, sign * 20.0)
    rows = torch.arange(81)[:, None]
    at = (done * rows).sum(0) / done.sum(0)
    slope = (at[90] - at[30]) / 60
    assert abs(math.degrees(math.atan(slope))) == pytest.approx(20, abs=0.5)
    assert at[60] == pytest.approx(40, abs=0.1)


def test_autocontrast_reaches_from_black_to_white_in_a_straight_line() -> None:
    done = operate("autocontrast", ramp(), 9.0)
    straight = (ramp() - 50) * 255 / 127
    assert (done - straight).abs().max() <= 0.5


def test_equalize_flattens_the_histogram() -> None:
    dark = (torch.linspace(0, 1, 4096) ** 3 * 200).view(64, 64)  # most of it nearly black
    before = torch.histc(dark, 8, 0, 256)
    after = torch.histc(operate("equalize", dark, 9.0).float(), 8, 0, 256)
    assert before.max() > 2000
    assert after[1:].max() < 1.5 * 4096 / 8
    assert after[1:].min() > 0.5 * 4096 / 8
    greys = operate("equalize", ramp(), 9.0)
    assert (
        greys - (ramp() - 50) * 255 / 127
    ).abs().max() <= 0.5  # as many of each: a straight line


@pytest.mark.parametrize(("magnitude", "step"), [(7.5, 2), (-15.0, 4), (30.0, 16)])
def test_posterize_cuts_the_lowest_bits_off(magnitude: float, step: int) -> None:
    done = operate("posterize", ramp(), magnitude)
    assert torch.equal(done, ramp() // step * step)


@pytest.mark.parametrize("magnitude", [-20.0, 10.0, 30.0])
def test_brightness_multiplies_and_contrast_spreads_about_the_mean(magnitude: float) -> None:
    gain, film = 1 + 0.9 * magnitude / MOST, ramp()
    brighter = (film * gain).clamp(0, 255)
    assert (operate("brightness", film, magnitude) - brighter).abs().max() <= 0.51
    mean = film.float().mean()
    spread = ((film - mean) * gain + mean).clamp(0, 255)
    assert (operate("contrast", film, magnitude) - spread).abs().max() <= 0.51


def test_sharpness_steepens_or_softens_an_edge_and_leaves_the_border() -> None:
    film = torch.full((20, 20), 80)
    film[:, 10:] = 160
    soft, sharp = (operate("sharpness", film, m)[10, 8:12] for m in (-MOST, MOST))
    # The smoothed film is 80 + 80 * 3 / 13 left of the edge, of which 0.9 is taken.
    assert soft.tolist() == [80, 97, 143, 160]
    assert sharp.tolist() == [80, 63, 177, 160]
    assert torch.equal(operate("sharpness", film, MOST)[0], film[0].int())


def test_surroundings_come_from_another_film_and_the_lungs_stay() -> None:
    """Films of one grey level each: the middle keeps its own, the border gets another's."""
    films = torch.arange(10, 250, 20, dtype=torch.uint8)[:, None, None, None].repeat(1, 1, 50, 40)
    settings = replace(NO_AUGMENTATION, surround=1.0)
    made = augment(films, settings, torch.Generator().manual_seed(1)).mul(255).round()
    own = films[:, 0, 0, 0].float()
    middle, border = made[:, 0, 10:40, 8:32], made[:, 0, 0, :]
    assert (middle == own[:, None, None]).all()
    assert sorted(border[:, 0].tolist()) == sorted(own.tolist())  # each lends its own once
    assert (border[:, 0] != own).sum() > 6
    assert (border == border[:, :1]).all()
    none = replace(NO_AUGMENTATION, surround=0.0)
    assert torch.equal(augment(films, none, torch.Generator()).mul(255).round(), films.float())
