"""Recipes: every one that is shipped is valid, and what is wrong in one's own is named."""

import dataclasses
from pathlib import Path

import pytest

from train.config import TrainConfig
from train.errors import TrainError
from train.learn.augment import NO_AUGMENTATION, Augmentation
from train.recipe import read_recipe, recipe_names, recipe_path

PROJECTS = {
    "six-findings",
    "tuberculosis",
    "covid",
    "pneumonia",
    "pneumonia-resplit",
    "five-findings",
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_and_every_variant_is_valid(name: str) -> None:
    path = recipe_path(name)
    assert path is not None
    recipe = read_recipe(path)  # checks the variants too
    assert recipe.title
    assert all(recipe.variants.values()), "a variant says what it is"
    for variant in recipe.variants:
        assert read_recipe(path, [variant]).config != recipe.config


def test_each_project_has_its_recipe() -> None:
    assert set(recipe_names()) >= PROJECTS
    for name in PROJECTS:
        path = recipe_path(name)
        assert path is not None
        assert read_recipe(path).original, name


def test_the_tuberculosis_recipe_is_the_projects() -> None:
    path = recipe_path("tuberculosis")
    assert path is not None
    config = read_recipe(path).config
    assert (config.network, config.head) == ("resnet50", "dense128")
    assert (config.split.validation, config.split.test) == (0.16, 0.2)
    assert config.tuning.last_layers == 0
    how = config.optimisation
    assert (how.optimizer, how.learning_rate, how.schedule) == ("adam", 1e-3, "constant")
    assert config.augmentation == dataclasses.replace(NO_AUGMENTATION, rotation_deg=36.0, shift=0.1)
    tuned = {
        read_recipe(path, [name]).config.network: read_recipe(path, [name]).config.tuning
        for name in read_recipe(path).variants
        if name.endswith("-tuned")
    }
    assert {name: tuning.last_layers for name, tuning in tuned.items()} == {
        "resnet50": 4,
        "resnet101": 4,
        "vgg16": 7,
        "vgg19": 7,
        "densenet201": 5,
    }


def test_what_a_recipe_does_not_say_is_the_default(tmp_path: Path) -> None:
    config = read_recipe(written(tmp_path, 'title = "x"\n[optimisation]\nepochs = 3\n')).config
    default = TrainConfig()
    expected = dataclasses.replace(default.optimisation, epochs=3)
    assert config == dataclasses.replace(default, optimisation=expected)


def test_variants_and_settings_change_it_in_that_order(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[optimisation]\nepochs = 3\nseed = 4\n"
        "[variants.long]\noptimisation = { epochs = 30 }\n"
        '[variants.deep]\nnetwork = "resnet50"\n',
    )
    config = read_recipe(path, ["long", "deep"], ["optimisation.epochs=31", "head=dense128"]).config
    assert (config.optimisation.epochs, config.optimisation.seed) == (31, 4)
    assert (config.network, config.head) == ("resnet50", "dense128")
    assert read_recipe(path, ["long"]).config.optimisation.epochs == 30


def test_only_turns_every_other_augmentation_off(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[augmentation]\nonly = true\nzoom = 0.1\n"
        "[variants.plain]\naugmentation = { only = true }\n"
        "[variants.full]\naugmentation = { only = false, noise = 0.01 }\n",
    )
    assert read_recipe(path).config.augmentation == dataclasses.replace(NO_AUGMENTATION, zoom=0.1)
    assert read_recipe(path, ["plain"]).config.augmentation == NO_AUGMENTATION
    assert read_recipe(path, ["full"]).config.augmentation == Augmentation(noise=0.01)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epochs = 3\n", "unknown epochs"),
        ("[optimisation]\nepocs = 3\n", "optimisation has unknown epocs"),
        ('[optimisation]\nepochs = "3"\n', "optimisation.epochs should be int"),
        ("[optimisation]\nepochs = 0\n", "must be at least 1"),
        ("[optimisation]\nsmall_px = 64\nsmall_epochs = 14\n", "leave epochs at full size"),
        ('[optimisation]\nschedule = "linear"\n', "optimisation.schedule is 'linear'"),
        ('[balance]\nsampling = "smote"\n', "balance.sampling is 'smote'"),
        ("[augmentation]\nerase = 2.0\n", "augmentation.erase"),
        ("[split]\ntest = 1.0\n", "split.validation and split.test"),
        ('[labels]\nfindings = ["no finding", "tuberculosis"]\n', "exclusive = true"),
        ('network = "resnet19"\n', "unknown network, resnet19"),
        ('head = "dense"\n', "unknown head, dense"),
        ("network = \n", "is not valid TOML"),
        ("[variants.a]\ncolour = 1\n", "unknown colour"),
        ('[balance]\nsampling = "weighted"\nweighted_loss = true\n', "choose one"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(TrainError, match=named):
        read_recipe(written(tmp_path, text))


def test_unknown_variants_settings_and_files_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "[variants.long]\noptimisation = { epochs = 30 }\n")
    with pytest.raises(TrainError, match=r"no variant short.*Its variants: long"):
        read_recipe(path, ["short"])
    with pytest.raises(TrainError, match="is no setting"):
        read_recipe(path, [], ["epochs"])
    with pytest.raises(TrainError, match="unknown epocs"):
        read_recipe(path, [], ["optimisation.epocs=1"])
    with pytest.raises(TrainError, match="cannot be read"):
        read_recipe(tmp_path / "nowhere.toml")
    assert recipe_path("seven-findings") is None
