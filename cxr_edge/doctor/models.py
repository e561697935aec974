"""Which provider serves, and whether every model says here what it said where it was made."""

from collections.abc import Iterator, Sequence
from typing import get_args

from ..errors import DeviceError, ModelError, ProfileError
from ..golden import MAX_DRIFT, holds
from ..model import Model, load_model, open_model
from ..model_file import ModelFile, read_model_file, signature_path
from ..profiles import Profiles, user_profiles_folder
from ..session import CPU, CUDA, DEVICE_OF, DML, Device, import_onnxruntime
from ..signature import PublicKey, read_signature, verify
from ..store import Entry, Store
from .check import Check


def checks(store: Store) -> Iterator[Check]:
    """Raises ModelError where not even the list of models can be had."""
    built_in = import_onnxruntime().get_available_providers()
    serving: Device = "cpu"
    for device in get_args(Device):
        is_built_in = {"cuda": CUDA, "dml": DML}.get(device, CPU) in built_in
        check = check_device(store, device, is_built_in)
        if device == "auto" and check.verdict == "ok":
            serving = DEVICE_OF[check.found]
        yield check
    for entry in store.entries():
        yield from check_model(entry, store.trusted_keys(), serving)


def check_device(store: Store, device: Device, is_built_in: bool) -> Check:
    """The provider that really serves with this --device. is_built_in: this onnxruntime was built
    for it, so that it should."""
    name = f"--device {device}"
    try:
        entry = store.find()
        model = load_model(entry.path, device, threads=1, sha256=entry.sha256)
        return Check(name, "ok", model.provider)
    except DeviceError as exc:
        if not is_built_in:
            return Check(name, "ok", exc.message)
        return Check(name, "warning", exc.message, exc.next_step)
    except ModelError as exc:
        return Check(name, "warning", exc.message, exc.next_step)


def check_model(entry: Entry, keys: Sequence[PublicKey], device: Device = "cpu") -> Iterator[Check]:
    """Its bytes, its card, its signature and site profile where there is one, and all its golden
    vectors."""
    name = f"model {entry.label}"
    try:
        file = read_model_file(entry.path, entry.sha256)
        known = entry.sha256 or signature_path(entry.path).is_file()
        sha256 = f"sha256 {file.sha256[:12]}... {'as it must be' if known else 'found'}"
        yield Check(name, "ok", f"{file.card.label}, {file.card.precision}, {sha256}")
        if signature_path(entry.path).is_file():
            signer = verify(read_signature(signature_path(entry.path)), keys)
            yield Check(f"{name}, signature", "ok", f"signed by {signer}")
        yield from _check_profile(name, file)
        model = open_model(file, device)
        yield _check_golden(name, model, entry)
    except (DeviceError, ModelError) as exc:
        yield Check(name, "failed", exc.message, exc.next_step)


def _check_profile(name: str, file: ModelFile) -> Iterator[Check]:
    try:
        profile = Profiles(user_profiles_folder()).active(file.card, file.sha256)
    except ProfileError as exc:
        yield Check(f"{name}, site profile", "failed", exc.message, exc.next_step)
        return
    if profile is not None:
        yield Check(f"{name}, site profile", "ok", f"judged by {profile.label}")


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
