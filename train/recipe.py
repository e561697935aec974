"""A recipe: one TOML file with every setting of a run, and its named variants."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_edge.strict import from_data

from .config import TrainConfig
from .errors import TrainError
from .learn.augment import NO_AUGMENTATION
from .networks import HEADS, NETWORKS

FOLDER = Path(__file__).with_name("recipes")


@dataclass(frozen=True)
class Recipe:
    """title, about, original: what it is, for whom, and what the project it repeats reported.

    variants: what each is, by name.
    """

    title: str
    about: str
    original: str
    variants: Mapping[str, str]
    config: TrainConfig


def recipe_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def recipe_path(name: str) -> Path | None:
    """The file of a recipe of this project, or of the user's own (a path that ends in .toml)."""
    if name.endswith(".toml"):
        return Path(name)
    return FOLDER / f"{name}.toml" if name in recipe_names() else None


def read_recipe(path: Path, variants: Sequence[str] = (), settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe; variants and settings change it, in that order.

    What a recipe does not say is TrainConfig's default; an [augmentation] with `only = true` does
    nothing that it does not say. settings: KEY=VALUE, KEY with dots for its
    tables ("optimisation.epochs=3"), VALUE as TOML, or text.
    Raises TrainError: unreadable, a key or value that no recipe can have, an unknown variant.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise TrainError(
            f"The recipe {path} cannot be read ({exc.strerror}).",
            f"Recipes of this project: {', '.join(recipe_names())}.",
        ) from exc
    except ValueError as exc:
        raise TrainError(f"The recipe {path} is not valid TOML ({exc}).") from exc
    texts = {name: str(data.pop(name, "")).strip() for name in ("title", "about", "original")}
    changes = data.pop("variants", {})
    if unknown := sorted(set(variants) - set(changes)):
        raise TrainError(
            f"The recipe has no variant {', '.join(unknown)}.",
            f"Its variants: {', '.join(changes) or 'none'}.",
        )
    about = {name: str(change.pop("about", "")) for name, change in changes.items()}
    # All variants are checked, also those that were not asked for.
    for change in changes.values():
        _config(path, _changed(data, change))
    for name in variants:
        data = _changed(data, changes[name])
    for setting in settings:
        data = _changed(data, _setting(setting))
    return Recipe(variants=about, config=_config(path, data), **texts)


def _config(path: Path, data: Mapping[str, Any]) -> TrainConfig:
    defaults = dataclasses.asdict(TrainConfig())
    augmentation = dict(data.get("augmentation", {}))
    if augmentation.pop("only", False):
        defaults["augmentation"] = dataclasses.asdict(NO_AUGMENTATION)
    data = {**data, "augmentation": augmentation}
    try:
        config = from_data(TrainConfig, _as_json(_merged(defaults, data)))
    except (TypeError, ValueError) as exc:
        raise TrainError(
            f"The recipe {path} is not valid: {exc}.",
            "See train/config.py for every key and what it means.",
        ) from exc
    for what, value, known in (
        ("network", config.network, NETWORKS),
        ("head", config.head, HEADS),
    ):
        if value not in known:
            raise TrainError(
                f"The recipe {path} names an unknown {what}, {value}.",
                f"This version knows {', '.join(known)}.",
            )
    return config


def _setting(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise TrainError(f"{text} is no setting.", "Write KEY=VALUE: optimisation.epochs=3.")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *tables, name = key.strip().split(".")
    change: dict[str, Any] = {name: parsed}
    for table in reversed(tables):
        change = {table: change}
    return change


def _changed(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """base with the change; an [augmentation] that says `only` replaces the whole of the other."""
    if "only" in change.get("augmentation", {}):
        base = {name: value for name, value in base.items() if name != "augmentation"}
    return _merged(base, change)


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """base with the values of change; tables are merged, everything else is replaced."""
    merged = dict(base)
    for name, value in change.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(old, value)
        merged[name] = value
    return merged


def _as_json(value: Any) -> Any:
    """Tuples as lists, as from_data expects them."""
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list | tuple) else value
