"""The part of a model card that a person writes, as a TOML file."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from .errors import ExportError


@dataclass(frozen=True)
class DataText:
    name: str
    licence: str
    attribution: str


@dataclass(frozen=True)
class CardText:
    name: str
    version: str
    intended_use: str
    age_range_years: tuple[float, float]
    views: tuple[str, ...]
    licence: str
    training_data: DataText


def read_card_text(path: Path) -> CardText:
    """Raises ExportError: unreadable, not TOML, or a fact missing or unknown."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        low, high = data.pop("age_range_years")
        training_data = DataText(**data.pop("training_data"))
        return CardText(
            age_range_years=(float(low), float(high)),
            views=tuple(data.pop("views")),
            training_data=training_data,
            **data,
        )
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise ExportError(
            f"{path} is not a usable card text ({exc}).",
            "See export/cards/pneumonia-children.toml for what it must say.",
        ) from exc
