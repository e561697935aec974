"""On what terms a site has its films judged."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """thresholds: by finding, in place of the model card's operating points; such a finding has no
    unsure band. accepted: the codes of refusals that the site overrules (errors.ACCEPTABLE).
    """

    thresholds: Mapping[str, float] | None = None
    accepted: frozenset[str] = frozenset()


STANDARD_TERMS = Terms()
