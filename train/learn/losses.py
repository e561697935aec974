"""The loss of a batch, or of a part of one: cross-entropy, weighted, focal, smoothed, taught."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_edge.model_card import NO_FINDING

from ..config import Labels, TrainConfig
from ..errors import TrainError


@dataclass(frozen=True)
class Loss:
    """exclusive: a film has one label, and the logits go through softmax instead of sigmoid.

    weights: (K,), of a present finding against an absent one, or, exclusive, of each label.
    focal_gamma, label_smoothing, teacher_weight: see config.Balance, Optimisation, Teaching.
    """

    exclusive: bool
    weights: Tensor
    focal_gamma: float = 0.0
    label_smoothing: float = 0.0
    teacher_weight: float = 0.0

    def __call__(
        self, logits: Tensor, labels: Tensor, n: int, teacher: Tensor | None = None
    ) -> Tensor:
        """The sum of the films' losses, divided by `n`: a scalar.

        n: the number of films in the whole batch, so that its parts, and their gradients, add up.
        logits, labels (1 where present), teacher (probabilities): (B, K), on one device. The loss
        is float32 whatever the logits are.

        The focal loss (Lin et al. 2017, arXiv:1708.02002) weighs the cross-entropy of a label by
        (1 - p)^gamma, p being the probability given to it. A target between 0 and 1 is taken as how
        often the label is so: the loss is the mean of the two sides' focal losses. Its best answer
        is less certain than the target; the temperature, fitted afterwards, makes up for that.
        """
        target = self._target(labels, teacher)
        logits = logits.float()
        weights = self.weights.to(logits.device)
        if self.exclusive:
            of_film = self._side(*_softmax(logits), weights * target).sum(1)
        else:
            present, absent = F.logsigmoid(logits), F.logsigmoid(-logits)
            sides = self._side(present, absent, weights * target)
            sides = sides + self._side(absent, present, 1 - target)
            of_film = sides.mean(1)
        return of_film.sum() / n

    def _target(self, labels: Tensor, teacher: Tensor | None) -> Tensor:
        unknown = 1 / labels.shape[1] if self.exclusive else 0.5
        target = labels + self.label_smoothing * (unknown - labels)
        if not self.teacher_weight:
            return target
        if teacher is None:
            raise ValueError("this loss needs the teacher's probabilities")
        return torch.lerp(target, teacher.to(target), self.teacher_weight)

    def _side(self, log_probability: Tensor, log_rest: Tensor, weight: Tensor) -> Tensor:
        """Of one answer: its log probability, and that of all others together; each (B, K)."""
        # As a power of the logarithm: the gradient stays finite where the rest comes to nothing.
        return -weight * torch.exp(self.focal_gamma * log_rest) * log_probability


def make_loss(labels: Tensor, config: TrainConfig) -> Loss:
    """The loss for training on films with these labels: float (N, K), 1 where present.

    With balance.weighted_loss a finding's films that have it weigh as much as those that have not,
    or, exclusive, each label's films as much as another's.
    Raises TrainError that names a label which no film has: its weight would be infinite.
    """
    n_films, n_outputs = labels.shape
    weights = torch.ones(n_outputs, device=labels.device)
    if config.balance.weighted_loss:
        present = labels.sum(0)
        _need_films(present, config.labels)
        if config.labels.exclusive:
            weights = n_films / (n_outputs * present)
        else:
            weights = (n_films - present) / present
    return Loss(
        config.labels.exclusive,
        weights,
        config.balance.focal_gamma,
        config.optimisation.label_smoothing,
        config.teaching.weight,
    )


def _need_films(present: Tensor, labels: Labels) -> None:
    names = labels.findings
    if labels.exclusive and NO_FINDING not in names:
        names = (NO_FINDING, *names)
    if len(names) != len(present):  # they were taken from the data
        names = tuple(f"output {k + 1} of {len(present)}" for k in range(len(present)))
    if lacking := [name for name, n in zip(names, present.tolist(), strict=True) if n == 0]:
        raise TrainError(
            f"No training film has {' or '.join(lacking)}: a weight in the loss cannot be given.",
            "Add films, name other labels.findings, or set balance.weighted_loss to false.",
        )


def _softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of each label's probability and of all the others' together; each (B, K)."""
    total = logits.logsumexp(1, keepdim=True)
    itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    others = logits[:, None].masked_fill(itself, -torch.inf).logsumexp(2)
    return logits - total, others - total
