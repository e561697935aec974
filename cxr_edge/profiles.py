"""Where this PC keeps its site profiles, and which of them its models are judged by.

FOLDER/used.json        which profile each model is judged by
FOLDER/DIGEST.json      a profile with its sha256; earlier ones stay
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ProfileError
from .language import Message
from .model_card import ModelCard
from .strict import from_data

if TYPE_CHECKING:
    from .profile import SiteProfile

_N_DIGITS = 16  # of its digest, in the name of a profile's file
_USED_NAME = "used.json"


def user_profiles_folder() -> Path:
    """Where this user's profiles are: beside the installed models (store.user_models_folder), if
    the environment's CXR_EDGE_PROFILES names no other folder."""
    from .store import user_models_folder

    chosen = os.environ.get("CXR_EDGE_PROFILES")
    return Path(chosen) if chosen else user_models_folder().with_name("profiles")


class Profiles:
    """The site profiles of a folder."""

    def __init__(self, folder: Path) -> None:
        """folder: may be missing; it is made when a profile is kept."""
        self.folder = folder

    def active(self, card: ModelCard, model_sha256: str) -> "SiteProfile | None":
        """The profile that this model is to be judged by; None where none was chosen for its name.

        Raises ProfileError: it was made for another file of that name, or cannot be read.
        """
        digest = self.used().get(card.name)
        if digest is None:
            return None
        from .profile import read_profile

        profile = read_profile(self._path(digest), digest)
        if not profile.fits(model_sha256):
            raise ProfileError(
                Message(
                    "The site profile {label} was made for {old} ({old_sha256}), and the films "
                    "would be read by {new} ({new_sha256}).",
                    label=profile.label,
                    old=f"{profile.model} {profile.model_version}",
                    old_sha256=profile.model_sha256[:12],
                    new=card.label,
                    new_sha256=model_sha256[:12],
                ),
                Message(
                    "Run `cxr-edge calibrate` again with the labels, `cxr-edge profile off "
                    "{name}`, or read without it: --no-profile.",
                    name=card.name,
                ),
            )
        return profile

    def used(self) -> dict[str, str]:
        """The digest of the profile in use, by the model's name. Raises ProfileError."""
        path = self.folder / _USED_NAME
        try:
            return dict(from_data(_Used, json.loads(path.read_bytes())).used)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, TypeError, ValueError, RecursionError) as exc:
            raise ProfileError(
                Message("{path} cannot be read ({why}).", path=path, why=exc),
                Message("Delete it, and choose with `cxr-edge profile use`."),
            ) from exc

    def paths(self) -> list[Path]:
        """The files with profiles."""
        return sorted(set(self.folder.glob("*.json")) - {self.folder / _USED_NAME})

    def find(self, wanted: str) -> "SiteProfile":
        """The profile of that label, name, or beginning of the digest; of several the one that was
        made last. Raises ProfileError: there is none, or it cannot be used."""
        from .profile import read_profile

        found = []
        for path in self.paths():
            try:
                profile = read_profile(path)
            except ProfileError:
                if wanted and path.stem.startswith(wanted[:_N_DIGITS]):
                    raise
                continue
            names = (profile.label, profile.name)
            if wanted in names or (len(wanted) >= 4 and profile.digest.startswith(wanted)):
                found.append(profile)
        if not found:
            raise ProfileError(
                Message("There is no site profile {name} here.", name=wanted),
                Message("See `cxr-edge profile list`."),
            )
        return max(found, key=lambda profile: profile.made_at)

    def keep(self, profile: "SiteProfile") -> Path:
        """Store it and use it from now on; where it lies. Raises RecordError."""
        path = self._path(profile.digest)
        self._write(path, profile.to_json())
        self.use(profile)
        return path

    def use(self, profile: "SiteProfile") -> None:
        """Judge its model by it from now on. Raises ProfileError, RecordError."""
        self._set({**self.used(), profile.model: profile.digest})

    def off(self, model: str = "") -> list[str]:
        """Judge that model, or ("") every one, as its card says; the names of those that it makes a
        difference to. Raises ProfileError, RecordError."""
        used = self.used()
        left = {name: digest for name, digest in used.items() if model not in ("", name)}
        self._set(left)
        return sorted(used.keys() - left.keys())

    def remove(self, profile: "SiteProfile") -> None:
        """Delete it, and use it no more. Raises ProfileError, RecordError."""
        if self.used().get(profile.model) == profile.digest:
            self.off(profile.model)
        self._path(profile.digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest[:_N_DIGITS]}.json"

    def _set(self, used: Mapping[str, str]) -> None:
        self._write(self.folder / _USED_NAME, json.dumps(asdict(_Used(used)), indent=1) + "\n")

    def _write(self, path: Path, text: str) -> None:
        from .csv_export import whole_file
        from .record import cannot_be_written

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise cannot_be_written(self.folder, exc) from exc
        with whole_file(path) as file:
            file.write(text.encode())


@dataclass(frozen=True)
class _Used:
    """By the model's name, the digest of the profile that it is judged by."""

    used: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # One that leads out of the folder was not written here.
        if any(not re.fullmatch("[0-9a-f]{64}", digest) for digest in self.used.values()):
            raise ValueError("a digest must be 64 hexadecimal digits")
