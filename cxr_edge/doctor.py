"""What works on this PC and what does not: nothing about patients, and a next step for every
trouble."""

import contextlib
import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from . import __version__
from .cpu import cpu_name, has_avx2, has_vnni
from .errors import DeviceError, ModelError
from .golden import MAX_DRIFT, holds
from .model import Model, load_model, open_model
from .model_file import read_model_file, signature_path
from .session import CUDA, Device
from .signature import PublicKey, read_signature, verify
from .store import Entry, Store

Verdict = Literal["ok", "warning", "failed"]
# They overwrite each other's files: onnxruntime #26996.
FLAVOURS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
)
MIN_FREE_BYTES = 500_000_000


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. "failed": a model that must not be used here.

    next_step: "" where there is nothing to do.
    """

    name: str
    verdict: Verdict
    found: str
    next_step: str = ""


def examine(store: Store, folder: Path) -> Iterator[Check]:
    """Look at this PC. folder: where the user works, so that results can be written there.

    Raises ModelError where not even the list of models can be had.
    """
    system = f"cxr-edge {__version__}, {platform.platform()}, Python {platform.python_version()}"
    yield Check("system", "ok", system)
    yield check_processor()
    flavours = installed_flavours()
    yield check_onnxruntime(flavours)
    serving: Device = "cpu"
    for device in get_args(Device):
        check = check_device(store, device, wants_cuda="onnxruntime-gpu" in flavours)
        serving = "cuda" if (device, check.found) == ("auto", CUDA) else serving
        yield check
    for entry in store.entries():
        yield from check_model(entry, store.trusted_keys(), serving)
    yield check_writing(folder)
    yield check_free_space(folder)


def check_processor() -> Check:
    said = {True: "yes", False: "no", None: "not known"}
    avx2, vnni = has_avx2(), has_vnni()
    found = f"{cpu_name()}, AVX2 {said[avx2]}, VNNI {said[vnni]}"
    if avx2 is False and platform.machine().lower() in ("x86_64", "amd64"):
        return Check("processor", "warning", found, "Without AVX2 films are read slowly.")
    return Check("processor", "ok", found)


def installed_flavours() -> dict[str, str]:
    """The distributions of onnxruntime that are installed, with their versions."""
    found = {}
    for name in FLAVOURS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def check_onnxruntime(flavours: Mapping[str, str]) -> Check:
    """flavours: see installed_flavours."""
    found = ", ".join(f"{name} {version}" for name, version in flavours.items())
    if len(flavours) > 1:
        return Check(
            "onnxruntime",
            "warning",
            f"{found}: they overwrite each other's files",
            f"Run `pip uninstall {' '.join(flavours)}`, then install cxr-edge[cpu] or "
            "cxr-edge[gpu].",
        )
    return Check("onnxruntime", "ok", found or "not installed as a package of its own")


def check_device(store: Store, device: Device, wants_cuda: bool = False) -> Check:
    """The provider that really serves with this --device. wants_cuda: it should be there."""
    name = f"--device {device}"
    try:
        entry = store.find()
        model = load_model(entry.path, device, threads=1, sha256=entry.sha256)
        return Check(name, "ok", model.provider)
    except DeviceError as exc:
        if device == "cuda" and not wants_cuda:
            return Check(name, "ok", exc.message)
        return Check(name, "warning", exc.message, exc.next_step)
    except ModelError as exc:
        return Check(name, "warning", exc.message, exc.next_step)


def check_model(entry: Entry, keys: Sequence[PublicKey], device: Device = "cpu") -> Iterator[Check]:
    """Its bytes, its card, its signature where there is one, and all its golden vectors."""
    name = f"model {entry.label}"
    try:
        file = read_model_file(entry.path, entry.sha256)
        known = entry.sha256 or signature_path(entry.path).is_file()
        sha256 = f"sha256 {file.sha256[:12]}... {'as it must be' if known else 'found'}"
        yield Check(name, "ok", f"{file.card.label}, {file.card.precision}, {sha256}")
        if signature_path(entry.path).is_file():
            signer = verify(read_signature(signature_path(entry.path)), keys)
            yield Check(f"{name}, signature", "ok", f"signed by {signer}")
        model = open_model(file, device)
        yield _check_golden(name, model, entry)
    except (DeviceError, ModelError) as exc:
        yield Check(name, "failed", exc.message, exc.next_step)


def check_writing(folder: Path) -> Check:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        return Check(
            "writing here",
            "warning",
            f"{folder} cannot be written to ({exc.strerror})",
            "Name a result file in another folder.",
        )
    return Check("writing here", "ok", str(folder))


def check_free_space(folder: Path) -> Check:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as exc:
        return Check("free space", "warning", f"not known ({exc.strerror})")
    found = f"{free / 1e9:.1f} GB"
    if free < MIN_FREE_BYTES:
        return Check("free space", "warning", found, "Make room, or results may not be written.")
    return Check("free space", "ok", found)


def _check_golden(name: str, model: Model, entry: Entry) -> Check:
    drifted = model.drift()
    found = (
        f"drift {drifted:.3f} of at most {MAX_DRIFT} on {len(model.golden)} golden vectors, "
        f"{model.provider}"
    )
    if holds(drifted):
        return Check(f"{name}, golden vectors", "ok", found)
    try:
        twin = load_model(entry.path, sha256=entry.sha256)
    except ModelError as exc:
        return Check(f"{name}, golden vectors", "failed", found, exc.next_step)
    if twin.sha256 == model.sha256 or not holds(twin.drift()):
        step = "Do not use this model here; `cxr-edge model list` names the others."
        return Check(f"{name}, golden vectors", "failed", found, step)
    return Check(
        f"{name}, golden vectors",
        "warning",
        f"{found}; its fp32 twin holds and is used in its place",
        "Nothing need be done, but films are read more slowly; `cxr-edge benchmark` may know a "
        "better model for this PC.",
    )
