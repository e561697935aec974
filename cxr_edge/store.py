"""The models that this PC has: those shipped with cxr-edge, and those installed beside them.

    FOLDER/manifest.json            what is installed, and what is used
    FOLDER/NAME/VERSION/NAME.onnx   with NAME.onnx.sig and NAME.fp32.onnx where there are such, and
                                    the NAME.evidence.json of either
    FOLDER/keys/*.pub               public keys that are trusted, beside the shipped ones

The manifest alone says what is installed, and is replaced in one step, last: whatever a power cut
leaves behind, the state before it stands.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ModelError
from .evidence import evidence_path, load_evidence
from .model_file import (
    MANIFEST_NAME,
    MODELS_FOLDER,
    ModelFile,
    read_manifest,
    read_model_file,
    shipped_models,
    signature_path,
    twin_path,
)
from .strict import from_data

if TYPE_CHECKING:
    from .signature import PublicKey

logger = logging.getLogger(__name__)

DEFAULT_NAME = "pneumonia-children"
KEYS_NAME = "keys"
# They become folders and files, on Windows too.
_SAFE_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?<!\.)"
_RESERVED = r"(?i)(keys|con|prn|aux|nul|com\d|lpt\d)(\..*)?"


@dataclass(frozen=True)
class Entry:
    """A model that can be named. version: "" where only the file itself says it.

    sha256: what the file's must be, "" where nobody vouches for it. signer: who signed it, "" for
    none. installed_at: when, "" for a shipped one.
    """

    name: str
    version: str
    path: Path
    sha256: str
    signer: str = ""
    installed_at: str = ""

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name

    @property
    def shipped(self) -> bool:
        return self.path.parent == MODELS_FOLDER


@dataclass(frozen=True)
class _Installed:
    """An installed model, as the manifest tells it; see Entry."""

    name: str
    version: str
    sha256: str
    signer: str
    installed_at: str


@dataclass(frozen=True)
class _Manifest:
    """default: the name that no --model means. used: the version that a name alone means."""

    default: str = DEFAULT_NAME
    used: Mapping[str, str] = field(default_factory=dict)
    models: tuple[_Installed, ...] = ()


def user_models_folder() -> Path:
    """Where this user's installed models are; the environment's CXR_EDGE_MODELS goes first."""
    import click

    chosen = os.environ.get("CXR_EDGE_MODELS")
    return Path(chosen) if chosen else Path(click.get_app_dir("cxr-edge")) / "models"


def user_cache_folder() -> Path | None:
    """Where this system keeps what can be made anew, as models made faster (session.open_session);
    None for a user without a home."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")) / "cxr-edge" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "cxr-edge"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "cxr-edge"


class Store:
    """The models of a folder, and those shipped with cxr-edge."""

    def __init__(self, folder: Path) -> None:
        """folder: may be missing; it is made when something is installed."""
        self.folder = folder

    def entries(self) -> list[Entry]:
        """Every model, the shipped ones first."""
        return [
            *(self._shipped(name) for name in shipped_models()),
            *(self._entry(one) for one in self._read().models),
        ]

    def find(self, name: str | None = None) -> Entry:
        """The model that a name means: NAME, NAME@VERSION, a file's path, or None for the default.

        Raises ModelError where the manifest is damaged, or NAME has no such VERSION.
        """
        manifest = self._read()
        name = name or manifest.default
        bare, _, version = name.partition("@")
        installed = {one.version: one for one in manifest.models if one.name == bare}
        if bare not in (*shipped_models(), *(one.name for one in manifest.models)):
            return Entry(name, "", Path(name), "")
        version = version or manifest.used.get(bare, "")
        if version in installed:
            return self._entry(installed[version])
        if bare not in shipped_models():
            if "@" not in name:
                return self._entry(list(installed.values())[-1])
        elif "@" not in name or _version(self._shipped(bare)) == version:
            return self._shipped(bare)
        raise ModelError(f"There is no {name} here.", "See `cxr-edge model list`.")

    def trusted_keys(self) -> "list[PublicKey]":
        """The public keys that are trusted here."""
        from .signature import read_public_keys

        folders = (MODELS_FOLDER / KEYS_NAME, self.folder / KEYS_NAME)
        return [key for folder in folders for key in read_public_keys(folder)]

    def trust(self, key: "PublicKey") -> None:
        """Trust a public key from now on. Raises ModelError where the folder cannot be written."""
        from .signature import public_key_text

        path = self.folder / KEYS_NAME / f"{key.key.hex()[:16]}.pub"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_text(public_key_text(key), encoding="utf-8")
            partial.replace(path)
        except OSError as exc:
            raise ModelError(
                f"{path} cannot be written ({exc.strerror}).", "Check permission and free space."
            ) from exc

    def install(
        self, path: Path, keys: "Sequence[PublicKey]", sha256: str = "", unsigned: bool = False
    ) -> Entry:
        """Take a model into the folder; its name alone then means this version.

        It must be signed with one of `keys`, or have this sha256, or be `unsigned` on purpose, and
        its golden vectors must hold on this PC. Earlier versions stay; see `use`.
        Raises ModelError: any of that fails, or the folder cannot be written. Nothing has changed
        then.
        """
        file = read_model_file(path, sha256.lower())
        signer = "" if sha256 or unsigned else _signer_of(file, keys)
        _refuse_unsafe(file)
        manifest = self._read()
        name, version = file.card.name, file.card.version
        for entry in self.entries():
            if entry.name != name or (entry.version or _version(entry)) != version:
                continue
            if entry.sha256 != file.sha256:
                raise ModelError(
                    f"There is a {entry.label} already, with other content.",
                    f"Run `cxr-edge model remove {entry.label}` first, or give the model another "
                    "version.",
                )
        _refuse_drift(file)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        one = _Installed(name, version, file.sha256, signer, now)
        others = tuple(m for m in manifest.models if (m.name, m.version) != (name, version))
        try:
            self._copy(file)
            self._write(
                replace(manifest, models=(*others, one), used={**manifest.used, name: version})
            )
        except OSError as exc:
            raise ModelError(
                f"{file.card.label} cannot be installed in {self.folder} ({exc.strerror}).",
                "Check permission and free space; what was installed before is untouched.",
            ) from exc
        return self._entry(one)

    def use(self, name: str) -> Entry:
        """Make a model the default, and this version the one that its name alone means."""
        entry = self.find(name)
        if not entry.shipped and not entry.version:
            raise _unknown(name)
        read_model_file(entry.path, entry.sha256)
        manifest = self._read()
        used = dict(manifest.used)
        if "@" in name:
            used[entry.name] = name.partition("@")[2]
        self._write_or_say(replace(manifest, default=entry.name, used=used))
        return self.find(name)

    def remove(self, name: str) -> Entry:
        """Forget an installed model and delete its files."""
        entry = self.find(name)
        if entry.shipped:
            raise ModelError(f"{entry.name} is shipped with cxr-edge.", "It stays.")
        if not entry.version:
            raise _unknown(name)
        manifest = self._read()
        models = tuple(
            m for m in manifest.models if (m.name, m.version) != (entry.name, entry.version)
        )
        used = {n: v for n, v in manifest.used.items() if (n, v) != (entry.name, entry.version)}
        names = (*shipped_models(), *(m.name for m in models))
        default = manifest.default if manifest.default in names else DEFAULT_NAME
        self._write_or_say(_Manifest(default, used, models))
        import shutil

        shutil.rmtree(entry.path.parent, ignore_errors=True)
        return entry

    def _shipped(self, name: str) -> Entry:
        path = MODELS_FOLDER / f"{name}.onnx"
        return Entry(name, "", path, read_manifest(MODELS_FOLDER).get(path.name, ""))

    def _entry(self, one: _Installed) -> Entry:
        path = self.folder / one.name / one.version / f"{one.name}.onnx"
        return Entry(one.name, one.version, path, one.sha256, one.signer, one.installed_at)

    def _read(self) -> _Manifest:
        path = self.folder / MANIFEST_NAME
        try:
            manifest = from_data(_Manifest, json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return _Manifest()
        except (OSError, ValueError, TypeError) as exc:
            raise ModelError(
                f"{path} cannot be read ({exc}).",
                "Delete it and install your models again; the shipped ones need none.",
            ) from exc
        # A name that leads out of the folder was not written by `install`.
        if not all(_safe(m.name) and _safe(m.version) for m in manifest.models):
            raise ModelError(f"{path} names models that cannot be.", "Delete it and install again.")
        return manifest

    def _write(self, manifest: _Manifest) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{MANIFEST_NAME}.partial"
        _write_durably(partial, json.dumps(asdict(manifest), indent=1).encode())
        partial.replace(self.folder / MANIFEST_NAME)
        _sync_folder(self.folder)

    def _write_or_say(self, manifest: _Manifest) -> None:
        try:
            self._write(manifest)
        except OSError as exc:
            raise ModelError(
                f"{self.folder} cannot be written ({exc.strerror}).",
                "Check permission and free space.",
            ) from exc

    def _copy(self, file: ModelFile) -> None:
        """The model, its signature, its twin and their evidence, in one step."""
        import tempfile

        place = self.folder / file.card.name / file.card.version
        files = _files_of(file)
        if all(_holds(place / name, data) for name, data in files.items()):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".installing-") as folder:
            made, old = Path(folder) / "new", Path(folder) / "old"
            made.mkdir()
            for name, data in files.items():
                _write_durably(made / name, data)
            if place.exists():  # damaged, or of an install that was cut short
                place.replace(old)
            made.replace(place)
        _sync_folder(place.parent)


def _files_of(file: ModelFile) -> dict[str, bytes]:
    """The bytes of a model's files by the names that they get."""
    model = Path(f"{file.card.name}.onnx")
    files = {model.name: file.data, **_evidence_of(file, model)}
    if signature_path(file.path).is_file():
        files[signature_path(model).name] = signature_path(file.path).read_bytes()
    if file.card.twin_sha256 and twin_path(file.path).is_file():
        twin = read_model_file(twin_path(file.path), file.card.twin_sha256)
        files[twin_path(model).name] = twin.data
        files |= _evidence_of(twin, twin_path(model))
    elif file.card.twin_sha256:
        logger.warning(
            "%s is not there, so that nothing can take over where %s drifts.",
            twin_path(file.path),
            file.card.label,
        )
    return files


def _evidence_of(file: ModelFile, model: Path) -> dict[str, bytes]:
    """What a model's pictures are drawn from, by the name that it gets; left behind where it is
    another model's or damaged, as the model reads without."""
    try:
        evidence = load_evidence(file.path, file.sha256)
    except ModelError as exc:
        logger.warning("%s is installed without its evidence: %s", file.card.label, exc)
        return {}
    return {} if evidence is None else {evidence_path(model).name: evidence.to_json().encode()}


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _version(entry: Entry) -> str:
    """As the file says. Raises ModelError where it cannot be used."""
    return read_model_file(entry.path, entry.sha256).card.version


def _signer_of(file: ModelFile, keys: "Sequence[PublicKey]") -> str:
    from .signature import read_signature, verify

    path = signature_path(file.path)
    if not path.is_file():
        raise ModelError(
            f"{file.path} has no signature ({path.name}) beside it.",
            "Get it from the model's source, or give the file's sha256 from a source you trust "
            "with --sha256, or say --unsigned.",
        )
    signature = read_signature(path)
    signer = verify(signature, keys)
    if (signature.name, signature.version) != (file.card.name, file.card.version):
        raise ModelError(
            f"{path} was made for {signature.name} {signature.version}, and the file is "
            f"{file.card.label}.",
            "Get both again from their source.",
        )
    return signer


def _refuse_drift(file: ModelFile) -> None:
    """Put all golden vectors to it, here and on the CPU; see load_model for what may follow."""
    from .golden import MAX_DRIFT, holds
    from .model import load_model

    model = load_model(file.path, "cpu", sha256=file.sha256)
    drifted = model.drift()
    if not holds(drifted):
        raise ModelError(
            f"{model.path} drifts by {drifted:.2f} on this machine, more than {MAX_DRIFT}.",
            "Use another model; this CPU rounds it to other findings.",
        )


def _refuse_unsafe(file: ModelFile) -> None:
    for text in (file.card.name, file.card.version):
        if not _safe(text):
            raise ModelError(
                f"A model named {file.card.label!r} cannot be installed.",
                "Its name and version may have letters, digits, '.', '_' and '-'.",
            )


def _safe(text: str) -> bool:
    return bool(re.fullmatch(_SAFE_NAME, text)) and not re.fullmatch(_RESERVED, text)


def _unknown(name: str) -> ModelError:
    return ModelError(f"There is no model {name} here.", "See `cxr-edge model list`.")


def _write_durably(path: Path, data: bytes) -> None:
    """On the disk, not only in its cache."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """So that a rename survives a power cut; Windows does that by itself."""
    if os.name == "posix":
        at = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(at)
        finally:
            os.close(at)
