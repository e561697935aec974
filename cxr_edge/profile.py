"""A site profile: what `cxr-edge calibrate` found out about one model at one site.

It belongs to one model file, or its twin, and to no other. One that was edited by hand is
not used: nobody measured what it promises then.
"""

import hashlib
import json
import math
import re
from bisect import bisect_right
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from .errors import ProfileError, SettingsError
from .evidence import Interval
from .language import Message, why
from .model_card import Reference, UnsureBand
from .proportion import n_needed
from .strict import from_data

SCHEMA_VERSION = 2
AS_IT_IS, TEMPERATURE, ISOTONIC = "as it is", "temperature", "isotonic"
REACH = 0.05  # of an interval that says enough
# What a band was measured on that the site's own films gave.
OWN_FILMS = "films of this site"
_DO_AGAIN = Message("Run `cxr-edge calibrate` again with the labels, or `cxr-edge profile off`.")
# Rows name it: no cell that a spreadsheet would take for a formula.
_NAME = re.compile(r"\w[\w .-]{0,39}(?<! )")
# Nearer to 0 or 1 a probability has no logit that could be told apart.
_NEAREST = 1e-15


@dataclass(frozen=True)
class ProbabilityMap:
    """What turns the model's probability into the site's, by `kind`.

    "as it is": nothing does. "temperature": 1 / (1 + exp(-(logit / temperature + offset))), of the
    logit of the model's probability (Guo et al. 2017, arXiv:1706.04599, with the offset of Platt
    1999). "isotonic": straight lines between knots, pairs of the model's and the site's probability
    that lead from (0, 0) to (1, 1).

    It always rises, so that a threshold divides films on either scale in the same way.
    """

    kind: str
    temperature: float
    offset: float
    knots: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if self.kind not in (AS_IT_IS, TEMPERATURE, ISOTONIC):
            raise ValueError(f"a probability cannot be calibrated {self.kind!r}")
        if not self.temperature > 0:
            raise ValueError("the temperature must be positive")
        if self.kind == ISOTONIC:
            if self.knots[:1] + self.knots[-1:] != ((0.0, 0.0), (1.0, 1.0)):
                raise ValueError("knots must lead from (0, 0) to (1, 1)")
            if any(a[0] >= b[0] or a[1] >= b[1] for a, b in pairwise(self.knots)):
                raise ValueError("knots must rise")

    def __call__(self, probability: float) -> float:
        if self.kind == TEMPERATURE:
            return 1 / (1 + math.exp(-(logit(probability) / self.temperature + self.offset)))
        if self.kind == ISOTONIC:
            after = min(bisect_right(self.knots, (probability, 1.0)), len(self.knots) - 1)
            (x0, y0), (x1, y1) = self.knots[after - 1 : after + 1]
            return y0 + (y1 - y0) * (probability - x0) / (x1 - x0)
        return probability

    def inverse(self, probability: float) -> float:
        """What the model's own was, of a probability of the site's."""
        if self.kind == TEMPERATURE:
            return 1 / (1 + math.exp(-(logit(probability) - self.offset) * self.temperature))
        if self.kind == ISOTONIC:
            after = next(
                (n for n, knot in enumerate(self.knots[1:-1], 1) if knot[1] >= probability), -1
            )
            (x0, y0), (x1, y1) = self.knots[after - 1], self.knots[after]
            return x0 + (x1 - x0) * (probability - y0) / (y1 - y0)
        return probability


UNCHANGED = ProbabilityMap(AS_IT_IS, 1.0, 0.0, ())


def logit(probability: float) -> float:
    """log(p / (1 - p)), of a probability that is kept a hair's breadth from 0 and 1."""
    kept = min(max(probability, _NEAREST), 1 - _NEAREST)
    return math.log(kept / (1 - kept))


@dataclass(frozen=True)
class SitePoint:
    """A finding's operating point at this site; every figure has its 95 % interval.

    threshold: on the site's probability, where a film is positive from it on; model_threshold: the
    same on the model's own. target_sensitivity: what it was chosen for. sensitivity, specificity,
    ppv, npv: of films that the threshold was not chosen on (calibration.fit); None where no film
    tells. prevalence: that ppv and npv are for; is_given: by a person, as it is not that of the
    labelled films. n_present, n_absent: films, of so many patients; a film of which nobody knows
    the patient counts as one. unsure: on the site's probability. probability: from the model's to
    the site's. brier_before, brier_after: Brier score of either, cross-validated.
    """

    finding: str
    threshold: Interval
    model_threshold: float
    target_sensitivity: float
    sensitivity: Interval
    specificity: Interval
    ppv: Interval | None
    npv: Interval | None
    prevalence: float
    is_given: bool
    n_present: int
    n_absent: int
    n_patients_present: int
    n_patients_absent: int
    unsure: UnsureBand | None
    probability: ProbabilityMap
    brier_before: Interval
    brier_after: Interval

    def __post_init__(self) -> None:
        if not 0 <= self.model_threshold <= 1:
            raise ValueError(f"the threshold of {self.finding} must lie between 0 and 1")
        if not 0 < self.target_sensitivity < 1 or not 0 < self.prevalence < 1:
            raise ValueError(f"the aim for {self.finding} must lie between 0 and 1")

    @property
    def n_missing(self) -> tuple[int, int]:
        """How many more patients with the finding, and without, it takes for intervals of
        sensitivity and specificity that reach REACH to either side: proportion.n_needed, at the
        target and at the specificity that was found."""
        return (
            max(0, n_needed(self.target_sensitivity, REACH) - self.n_patients_present),
            max(0, n_needed(self.specificity.value, REACH) - self.n_patients_absent),
        )


@dataclass(frozen=True)
class SiteProfile:
    """What one model is at one site, by labelled films.

    name: the site's. model, model_version, model_sha256: what the films were read by; twin_sha256:
    of the fp32 file that may step in for it, or "". made_at: ISO 8601. made_by: version of
    cxr-edge. labels: the file's name, or "verdicts". films_digest: a sha256 over the films' own
    digests and labels. n_films: that were read; n_left_out: that were labelled, and had no answer.
    reference: what later weeks here are compared with (drift/); None where the labelled films are
    too few, and the model's card says it.
    """

    schema_version: int
    name: str
    model: str
    model_version: str
    model_sha256: str
    twin_sha256: str
    made_at: str
    made_by: str
    labels: str
    films_digest: str
    n_films: int
    n_left_out: int
    points: tuple[SitePoint, ...]
    reference: Reference | None

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema version {self.schema_version}, not {SCHEMA_VERSION}")
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a site cannot be called {self.name!r}")
        if len({point.finding for point in self.points}) != len(self.points) or not self.points:
            raise ValueError("each finding must be there once")

    @cached_property
    def digest(self) -> str:
        """A sha256 over everything that it says."""
        said = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()

    @property
    def label(self) -> str:
        """As rows name it."""
        return f"{self.name} {self.digest[:8]}"

    def of(self, finding: str) -> SitePoint | None:
        return next((point for point in self.points if point.finding == finding), None)

    def fits(self, model_sha256: str) -> bool:
        """Whether it was made for that model file, or for its twin."""
        return model_sha256 in (self.model_sha256, self.twin_sha256)

    def to_json(self) -> str:
        stored = {"sha256": self.digest, "profile": asdict(self)}
        return json.dumps(stored, indent=1) + "\n"


def read_profile(path: Path, digest: str = "") -> SiteProfile:
    """digest: that it must have, where that is known. Raises ProfileError: not readable, damaged,
    edited, or of another version."""
    try:
        stored = from_data(_Stored, json.loads(path.read_bytes()))
    except OSError as exc:
        raise ProfileError(
            Message("The site profile {path} cannot be read ({why}).", path=path, why=why(exc)),
            _DO_AGAIN,
        ) from exc
    except (TypeError, ValueError, RecursionError) as exc:
        raise ProfileError(
            Message("{path} is no site profile of this version ({why}).", path=path, why=exc),
            _DO_AGAIN,
        ) from exc
    if stored.profile.digest != stored.sha256 or stored.sha256 != (digest or stored.sha256):
        raise ProfileError(
            Message(
                "The site profile {path} was edited or damaged: nobody has measured what it says "
                "now.",
                path=path,
            ),
            _DO_AGAIN,
        )
    return stored.profile


def check_name(name: str) -> None:
    """Raises SettingsError where a site cannot be called so."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            Message("A site cannot be called {name}.", name=repr(name)),
            Message("Use up to 40 letters, digits, blanks and . _ -, a letter or digit first."),
        )


@dataclass(frozen=True)
class _Stored:
    """A profile's file. sha256: the profile's own."""

    sha256: str
    profile: SiteProfile
