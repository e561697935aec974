"""Every setting of a run, as one frozen value: a recipe says it, a run folder keeps it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxr_edge.model_card import NO_FINDING, SIGMOID, SOFTMAX, InputSpec
from cxr_edge.strict import from_data

from .errors import TrainError
from .learn.augment import Augmentation

AVERAGED = "averaged.json"  # in a run folder that holds a mean: the settings of its runs
SCHEDULES = ("cosine", "one-cycle", "constant")
OPTIMIZERS = ("adamw", "adam", "sgd")
SAMPLINGS = ("all", "weighted", "oversample", "undersample")
OTHERS = "*"  # in Labels.rename: every finding that is not named


@dataclass(frozen=True)
class Labels:
    """What a run tells apart.

    findings: the network's outputs in order; empty takes every finding of the data, sorted.
    exclusive: each film has one label, so that "no finding" is an output too (the first, if it is
    not named) and the probabilities add up to 1; otherwise each finding is judged by itself.
    rename: from a manifest's finding to a label; "*" takes the findings that are not named.
    ignore: findings whose films are left aside.
    """

    findings: tuple[str, ...] = ()
    exclusive: bool = False
    rename: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.findings)) != len(self.findings):
            raise ValueError("labels.findings names one twice")
        if NO_FINDING in self.findings and not self.exclusive:
            raise ValueError(f"labels.findings has {NO_FINDING!r}, which needs exclusive = true")

    @property
    def activation(self) -> str:
        return SOFTMAX if self.exclusive else SIGMOID


@dataclass(frozen=True)
class SplitRule:
    """How films are dealt out: parts of the films, by patient.

    official: films keep the side that their data set gave them, and the parts are dealt from the
    rest; where the official validation films are fewer than the part, training films fill it up.
    """

    validation: float = 0.1
    test: float = 0.1
    official: bool = True

    def __post_init__(self) -> None:
        if min(self.validation, self.test) <= 0 or self.validation + self.test >= 1:
            raise ValueError("split.validation and split.test must leave films to train on")


@dataclass(frozen=True)
class Subset:
    """A random part of the data for a quick run, whole patients, before they are split.

    part: of the films of each label. films: so many in all, the same number of each label as far as
    there are so many (a balanced subset); 0 takes all.
    """

    part: float = 1.0
    films: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.part <= 1 or self.films < 0:
            raise ValueError("subset.part must lie between 0 and 1, subset.films must not be below")


@dataclass(frozen=True)
class Tuning:
    """Which layers learn, and how fast.

    frozen_stages: so many of the network's first stages keep their initial weights.
    last_layers: only the head and so many of the last layers before it learn; -1 is all, 0 the head
    alone. unfreeze_epochs: the head learns first, then one stage more, from the top, every so many
    epochs; 0 lets all learn from the start. rate_decay: each stage learns at this part of the rate
    of the stage above it.
    """

    frozen_stages: int = 0
    last_layers: int = -1
    unfreeze_epochs: int = 0
    rate_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.frozen_stages < 0 or self.last_layers < -1 or self.unfreeze_epochs < 0:
            raise ValueError("tuning has a negative number")
        if not 0 < self.rate_decay <= 1:
            raise ValueError("tuning.rate_decay must lie between 0 and 1")


@dataclass(frozen=True)
class Balance:
    """What is done about rare labels.

    sampling: "all" takes each film once an epoch; "weighted" draws as many films, each label as
    often as the others; "oversample" repeats the films of rare labels, each time augmented anew,
    until all labels have as many as the most frequent; "undersample" draws, anew each epoch, as
    many of each label as the rarest has. weighted_loss: rare labels weigh more in the loss.
    focal_gamma: of the focal loss (Lin et al. 2017, arXiv:1708.02002); 0 is cross-entropy.
    """

    sampling: str = "all"
    weighted_loss: bool = False
    focal_gamma: float = 0.0

    def __post_init__(self) -> None:
        _one_of("balance.sampling", self.sampling, SAMPLINGS)
        if self.weighted_loss and self.sampling != "all":
            raise ValueError(
                "balance.weighted_loss and balance.sampling would both make up for rare labels; "
                "choose one"
            )
        if self.focal_gamma < 0:
            raise ValueError("balance.focal_gamma must not be negative")


@dataclass(frozen=True)
class Teaching:
    """Learning from another checkpoint's answers beside the labels (Hinton 2015, arXiv:1503.02531).

    weight: of the teacher's probabilities in the target, against the labels; 0 is no teacher.
    """

    weight: float = 0.0
    teacher: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError("teaching.weight must lie between 0 and 1")


@dataclass(frozen=True)
class Optimisation:
    """epochs, rates and stopping.

    batch_size: films per step. batch_parts: so many parts each batch is dealt into, whose gradients
    add up (less memory); processes started by torchrun share them, with the same result.
    schedule: of the learning rate, after a linear warm-up; "one-cycle" is Smith's
    (arXiv:1708.07120). label_smoothing: labels become this much less certain; some are wrong.
    ema_decay: of the running mean of the weights, per step, which is what is kept (over fewer steps
    at first); 0 keeps the weights themselves. patience: epochs without a better validation figure
    before stopping.
    small_px, small_epochs: the first small_epochs see films reduced to small_px, which is quicker.
    """

    epochs: int = 14
    batch_size: int = 32
    batch_parts: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 6e-4
    weight_decay: float = 0.02
    warmup_epochs: float = 0.5
    schedule: str = "cosine"
    label_smoothing: float = 0.03
    ema_decay: float = 0.997
    patience: int = 6
    small_px: int = 0
    small_epochs: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        _one_of("optimisation.optimizer", self.optimizer, OPTIMIZERS)
        _one_of("optimisation.schedule", self.schedule, SCHEDULES)
        if min(self.epochs, self.patience, self.batch_parts) < 1:
            raise ValueError("epochs, patience and batch_parts of optimisation must be at least 1")
        if self.batch_size < 2 * self.batch_parts:
            raise ValueError("optimisation.batch_size must give each part two films or more")
        if not (0 <= self.ema_decay < 1 and 0 <= self.label_smoothing < 1):
            raise ValueError("optimisation.ema_decay and label_smoothing must lie between 0 and 1")
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.warmup_epochs < 0:
            raise ValueError("optimisation has a rate that is not positive")
        if self.small_epochs and self.small_px < 32:
            raise ValueError("optimisation.small_epochs needs small_px of at least 32")
        if self.small_epochs >= self.epochs:
            raise ValueError("optimisation.small_epochs must leave epochs at full size")


def default_input_spec() -> InputSpec:
    """224 px, one grey channel with the mean over ImageNet's three channels.

    The darkest and brightest percent of each film become 0 and 1: sites differ in exposure and
    window settings, and those must not speak for or against a finding.
    """
    return InputSpec(
        width_px=224,
        height_px=224,
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

    network, head: see networks.build. init: the file name of the weights it started from.
    patient_pattern: for folders of label folders, a regular expression for the patient at the start
    of a file name; without it each film is taken for another patient.
    """

    network: str = "mobilenet_v2"
    head: str = "linear"
    init: str = ""
    patient_pattern: str = ""
    labels: Labels = field(default_factory=Labels)
    split: SplitRule = field(default_factory=SplitRule)
    subset: Subset = field(default_factory=Subset)
    input: InputSpec = field(default_factory=default_input_spec)
    augmentation: Augmentation = field(default_factory=Augmentation)
    tuning: Tuning = field(default_factory=Tuning)
    balance: Balance = field(default_factory=Balance)
    teaching: Teaching = field(default_factory=Teaching)
    optimisation: Optimisation = field(default_factory=Optimisation)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "TrainConfig":
        """Raises ValueError or TypeError where it is not what to_json gave."""
        return from_data(cls, json.loads(text))

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
        return [from_data(TrainConfig, one) for one in ([data] if isinstance(data, dict) else data)]
    except (OSError, ValueError, TypeError) as exc:
        raise TrainError(
            f"{path} is not the configuration of a run ({exc}).",
            "Name a run folder that `python -m train` made.",
        ) from exc


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}; it can be {', '.join(known)}")
