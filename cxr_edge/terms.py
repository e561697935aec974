"""On what terms a site has its films judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .profile import SiteProfile


@dataclass(frozen=True)
class Terms:
    """thresholds: by finding, in place of the model card's operating points; such a finding has no
    unsure band. accepted: the codes of refusals that the site overrules (refusals.ACCEPTABLE).
    profile: what was found out about the model at this site; its probabilities, operating points
    and bands take the place of the card's, and `thresholds` are on its probabilities.
    """

    thresholds: Mapping[str, float] | None = None
    accepted: frozenset[str] = frozenset()
    profile: "SiteProfile | None" = None

    @property
    def profile_label(self) -> str:
        """As rows name it; "" where there is none."""
        return "" if self.profile is None else self.profile.label


STANDARD_TERMS = Terms()
