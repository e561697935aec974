"""Every setting of a run, as one frozen value that is written beside its result."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxr_edge.model_card import InputSpec

from .augment import Augmentation
from .errors import TrainError

AVERAGED = "averaged.json"  # in a run folder that holds a mean: the settings of its runs


def default_input_spec(size_px: int = 224) -> InputSpec:
    """One grey channel with the mean over ImageNet's three channels.

    The darkest and brightest percent of each film become 0 and 1: sites differ in exposure and
    window settings, and those must not speak for or against a finding.
    """
    return InputSpec(
        width_px=size_px,
        height_px=size_px,
        channels=1,
        resize="squash",
        black_percentile=1.0,
        white_percentile=99.0,
        mean=(0.449,),
        std=(0.226,),
    )


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    frozen_stages: how many of the network's first stages keep their initial weights.
    label_smoothing: labels become this much less certain; some films are mislabelled.
    ema_decay: of the running mean of the weights, per step; that mean is what is kept.
    patience: epochs without a better validation figure before stopping (see fit.EpochReport).
    """

    network: str = "mobilenet_v2"
    init: str = ""
    epochs: int = 14
    batch_size: int = 32
    learning_rate: float = 6e-4
    weight_decay: float = 0.02
    warmup_epochs: float = 0.5
    frozen_stages: int = 0
    label_smoothing: float = 0.03
    class_weights: bool = True
    ema_decay: float = 0.997
    patience: int = 6
    seed: int = 1
    input: InputSpec = field(default_factory=default_input_spec)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> "TrainConfig":
        """Raises TrainError where the file is not one that to_json wrote."""
        return _read(path)[0]


def settings_of(folder: Path) -> list[TrainConfig]:
    """The settings of a run folder: one run's, or those of each run that it is the mean of.

    Raises TrainError where the folder does not hold them.
    """
    averaged = folder / AVERAGED
    return _read(averaged if averaged.exists() else folder / "config.json")


def _read(path: Path) -> list[TrainConfig]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return [_config(one) for one in ([data] if isinstance(data, dict) else data)]
    except (OSError, ValueError, TypeError, KeyError) as exc:
        raise TrainError(
            f"{path} is not the configuration of a run ({exc}).",
            "Name a run folder that `python -m train` made.",
        ) from exc


def _config(data: dict[str, Any]) -> TrainConfig:
    spec = data.pop("input")
    for name in ("mean", "std"):
        spec[name] = tuple(spec[name])
    augmentation = Augmentation(**data.pop("augmentation"))
    return TrainConfig(input=InputSpec(**spec), augmentation=augmentation, **data)
