"""What a checkpoint or a model says of labelled films, and how right it is."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from cxr_edge.errors import RadiographError
from cxr_edge.interpret import to_probability
from cxr_edge.model import Model
from cxr_edge.model_card import NO_FINDING, SIGMOID, SOFTMAX, InputSpec
from cxr_edge.preprocess import min_side_px, normalise, to_grey
from cxr_edge.radiograph import read_radiograph
from cxr_edge.reading import predict_result
from cxr_edge.terms import STANDARD_TERMS, Terms

from ..config import TrainConfig
from ..data.films import Film
from ..data.pixels import Films, Progress, cache_films, infer
from ..errors import TrainError
from ..learn.checkpoint import Checkpoint
from .metrics import Interval, confusion, measure_decisions, measure_labels


@dataclass(frozen=True)
class Unanswered:
    """A film that could not be read or was refused: it has no answer, and is counted."""

    film: Film
    reason: str

    @property
    def code(self) -> str:
        """The stable word that the reason starts with."""
        return self.reason.partition(":")[0]


@dataclass(frozen=True)
class Answers:
    """What was said of N films.

    findings: the K outputs; where they exclude each other, "no finding" is one of them.
    probability: (N, K). positive: bool (N, K), never so for "no finding".
    thresholds: by finding; empty where the most probable output decides.
    """

    films: tuple[Film, ...]
    findings: tuple[str, ...]
    activation: str
    probability: NDArray[np.float64]
    positive: NDArray[np.bool_]
    thresholds: Mapping[str, float]
    unanswered: tuple[Unanswered, ...] = ()

    @property
    def judged(self) -> tuple[str, ...]:
        """The findings, without "no finding"."""
        return tuple(name for name in self.findings if name != NO_FINDING)

    @property
    def labels(self) -> tuple[str, ...]:
        """What a film can be called: the findings and "no finding"."""
        return self.findings if NO_FINDING in self.findings else (NO_FINDING, *self.findings)

    @property
    def true(self) -> tuple[str, ...]:
        """The label of each film; of several findings the one decided, or else the first."""
        return tuple(
            said if said in film.labels else film.labels[0]
            for film, said in zip(self.films, self.decided, strict=True)
        )

    @property
    def decided(self) -> tuple[str, ...]:
        """The leading positive finding of each film, else "no finding": interpret's rule."""
        leading = np.where(self.positive, self.probability, -1).argmax(1)
        return tuple(
            self.findings[k] if positive[k] else NO_FINDING
            for k, positive in zip(leading, self.positive, strict=True)
        )

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(film.group for film in self.films)

    @property
    def by_label(self) -> NDArray[np.float64]:
        """The probability of each of `labels`, (N, L); of "no finding", where it is no output, what
        the most probable finding leaves."""
        if NO_FINDING in self.findings:
            return self.probability
        none = 1 - self.probability.max(1, keepdims=True)
        return np.concatenate([none, self.probability], 1)

    def of(self, finding: str) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether the finding is there, and the probability it was given: both (N,)."""
        present = np.array([finding in film.labels for film in self.films], bool)
        return present, self.probability[:, self.findings.index(finding)]

    def only(self, chosen: NDArray[np.bool_]) -> "Answers":
        """The answers on some of the films."""
        films = tuple(film for film, keep in zip(self.films, chosen, strict=True) if keep)
        return Answers(
            films,
            self.findings,
            self.activation,
            self.probability[chosen],
            self.positive[chosen],
            self.thresholds,
        )


@dataclass(frozen=True)
class Reader:
    """Whatever gives logits on prepared films, and how they become answers.

    thresholds: by finding; empty where the most probable output decides.
    """

    findings: tuple[str, ...]
    activation: str
    temperature: float
    thresholds: Mapping[str, float]
    spec: InputSpec
    logits: Callable[[Films], NDArray[np.float32]] = field(repr=False)

    def judge(
        self,
        films: Sequence[Film],
        logits: NDArray[np.float32],
        unanswered: tuple[Unanswered, ...] = (),
    ) -> Answers:
        """The answers on N films with these logits (N, K)."""
        probability = to_probability(logits, self.activation, self.temperature)
        if self.thresholds:
            # "no finding" has no threshold and is never positive.
            cuts = [self.thresholds.get(name, np.inf) for name in self.findings]
            positive = probability >= cuts
        else:
            positive = probability.argmax(1)[:, np.newaxis] == np.arange(len(self.findings))
            positive &= np.array([name != NO_FINDING for name in self.findings])
        return Answers(
            tuple(films),
            self.findings,
            self.activation,
            probability,
            positive,
            self.thresholds,
            unanswered,
        )


def reader_of_checkpoint(
    checkpoint: Checkpoint, config: TrainConfig, device: torch.device | None = None
) -> Reader:
    """A finding is positive from 0.5 on, or where it is the most probable of those that exclude
    each other; operating points are export's matter.
    """
    network = checkpoint.build().to(device or torch.device("cpu"))
    alone = checkpoint.activation == SIGMOID
    return Reader(
        checkpoint.findings,
        checkpoint.activation,
        1.0,
        dict.fromkeys(checkpoint.findings, 0.5) if alone else {},
        config.input,
        lambda films: infer(network, films, config.input),
    )


def reader_of_model(model: Model) -> Reader:
    """A model on films that were prepared already, for what is done to them in between; whole films
    take the runtime's own way, `answers_of_model`.
    """
    card = model.card

    def logits(films: Films) -> NDArray[np.float32]:
        grey = films.pixels[:, 0].numpy().astype(np.float32) / 255
        return np.concatenate([model.infer(normalise(one[np.newaxis], card.input)) for one in grey])

    thresholds = {point.finding: point.threshold for point in card.operating_points}
    return Reader(card.findings, card.activation, card.temperature, thresholds, card.input, logits)


def answers_of_model(
    model: Model, films: Sequence[Film], progress: Progress, terms: Terms = STANDARD_TERMS
) -> Answers:
    """What the model file says of each film by the runtime's own way, at its operating points.

    Raises TrainError where no film at all has an answer.
    """
    answered, unanswered, rows = [], [], []
    for film in progress(films, "reading films"):
        result = predict_result(film.path, model, terms)
        if result.status != "ok":
            unanswered.append(Unanswered(film, result.reason))
            continue
        found = {finding.name: finding for finding in result.findings}
        answered.append(film)
        rows.append(
            [(found[name].probability, found[name].positive) for name in model.card.findings]
        )
    _require(answered, unanswered)
    table = np.array(rows, float)  # (N, K, 2)
    return Answers(
        tuple(answered),
        model.card.findings,
        model.card.activation,
        table[:, :, 0],
        table[:, :, 1] > 0,
        {point.finding: point.threshold for point in model.card.operating_points},
        tuple(unanswered),
    )


def joined(first: Answers, others: Answers) -> Answers:
    """The answers of one model on its films and on others, those without an answer left aside."""
    return dataclasses.replace(
        first,
        films=(*first.films, *others.films),
        probability=np.concatenate([first.probability, others.probability]),
        positive=np.concatenate([first.positive, others.positive]),
        unanswered=(),
    )


def answers_of_checkpoint(
    checkpoint: Checkpoint, config: TrainConfig, films: Sequence[Film], progress: Progress
) -> Answers:
    """What a checkpoint says of each film; see reader_of_checkpoint.

    Raises TrainError where no film at all has an answer.
    """
    reader = reader_of_checkpoint(checkpoint, config)
    readable, cached, unanswered = read_films(films, reader, progress, "reading films")
    return reader.judge(readable, reader.logits(cached), unanswered)


def read_films(
    films: Sequence[Film], reader: Reader, progress: Progress, title: str
) -> tuple[tuple[Film, ...], Films, tuple[Unanswered, ...]]:
    """The films that can be read, their pixels, and the others with the reason.

    Raises TrainError where none can be read.
    """
    unanswered = []
    try:
        return tuple(films), cache_films(films, reader.findings, reader.spec, progress, title), ()
    except TrainError:
        # Training stops at such films; a measurement counts them. They are rare, so that looking
        # for them with a second reading costs little.
        for film in progress(films, f"{title} again"):
            try:
                to_grey(read_radiograph(film.path, min_side_px(reader.spec)), reader.spec)
            except RadiographError as exc:
                unanswered.append(Unanswered(film, str(exc)))
    without = {fault.film.path for fault in unanswered}
    readable = tuple(film for film in films if film.path not in without)
    _require(readable, unanswered)
    cached = cache_films(readable, reader.findings, reader.spec, progress, title)
    return readable, cached, tuple(unanswered)


def _require(answered: Sequence[Film], unanswered: Sequence[Unanswered]) -> None:
    if not answered:
        reason = f"; the first: {unanswered[0].reason}" if unanswered else ""
        raise TrainError(
            f"None of {len(unanswered)} films could be read{reason}", "Check the data."
        )


@dataclass(frozen=True)
class Measured:
    """How right the answers on some films are.

    n_present: films by finding. findings: by finding, its figures (metrics.FINDING_FIGURES).
    overall: over all labels (metrics.LABEL_FIGURES), where findings exclude each other; else empty.
    confusion: films by true label (rows) and decided label (columns), in the order of `labels`.
    """

    n_films: int
    n_patients: int
    n_present: Mapping[str, int]
    findings: Mapping[str, Mapping[str, Interval]]
    overall: Mapping[str, Interval]
    labels: tuple[str, ...]
    confusion: NDArray[np.int64]


def measure_answers(answers: Answers) -> Measured:
    """All figures, with intervals over resampled patients."""
    patients, labels = answers.patients, answers.labels
    findings = {
        name: measure_decisions(
            *answers.of(name), answers.positive[:, answers.findings.index(name)], patients
        )
        for name in answers.judged
    }
    overall: dict[str, Interval] = {}
    if answers.activation == SOFTMAX:
        place = {label: i for i, label in enumerate(labels)}
        true, decided = (
            np.array([place[label] for label in side]) for side in (answers.true, answers.decided)
        )
        overall = measure_labels(true, decided, answers.by_label, patients)
    return Measured(
        len(answers.films),
        len(set(patients)),
        {name: int(answers.of(name)[0].sum()) for name in answers.judged},
        findings,
        overall,
        labels,
        confusion(answers.true, answers.decided, labels),
    )


def measure_by_source(answers: Answers) -> dict[str, Measured]:
    """The figures of each source's films; none where all films come from one."""
    measured = measure_by([film.source for film in answers.films], answers)
    return measured if len(measured) > 1 else {}


def measure_by(parts: Sequence[str], answers: Answers) -> dict[str, Measured]:
    """The figures of parts of the films, by name; parts: the name of each film's part (N,)."""
    names = np.array(parts)
    return {str(name): measure_answers(answers.only(names == name)) for name in sorted(set(names))}
