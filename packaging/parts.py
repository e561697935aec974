"""What a bundle is made of: each file and module traced to the part that it comes from.

A file that comes from nowhere known, a part without its licence's text, and a licence that would
bind the whole program are errors, so that nothing gets in unnoticed.
"""

import ast
import importlib.metadata
import platform
import re
import sys
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import license_expression

import cxr_edge
from cxr_edge.errors import ModelError
from cxr_edge.model_file import read_manifest, read_model_file

LICENCES = Path(__file__).with_name("licences")
PROGRAM, PYTHON, BOOTLOADER = "cxr-edge", "CPython", "pyinstaller"
# What notices.py itself writes into the bundle.
NOTICES, SBOM = "THIRD-PARTY-NOTICES.txt", "sbom.cdx.json"
_LICENCE_FILE = re.compile(
    r"(licen[cs]e|copying|notice|copyright|thirdpartynotices)(?!.*\.pyc?$).*", re.IGNORECASE
)
_GPL = re.compile(r"A?GPL-")
# With these, what is merely combined with the part is not bound by its licence.
_FREEING = frozenset({"GCC-exception-3.1", "Bootloader-exception"})
_STDLIB = frozenset(name.lower() for name in sys.stdlib_module_names)
_SPDX = license_expression.get_spdx_licensing()


class BundleError(Exception):
    """The bundle must not be given to anybody as it is; each argument says one reason."""


@dataclass(frozen=True)
class Part:
    """A part of the bundle.

    kind: "program", "distribution" (of Python), "library" or "model". version: "" where its files
    do not say. licence: an SPDX expression; of a model, its card's words. texts: (title, text).
    files: those of the bundle that are of it, by their paths in it with /.
    """

    kind: str
    name: str
    version: str
    licence: str
    texts: tuple[tuple[str, str], ...]
    files: tuple[str, ...] = ()


@dataclass
class _Found:
    """By the name of each part that the bundle holds: its files."""

    named: dict[str, list[str]] = field(default_factory=dict)
    distributions: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def parts_of(bundle: Path, build: Path, site_packages: Path) -> list[Part]:
    """Every part of a bundle, the program first.

    bundle: PyInstaller's folder. build: where it worked. site_packages: of the Python that it was
    made from, which may be a Windows one; nothing of it is imported. This Python must be of the
    same version. Raises BundleError.
    """
    known = tomllib.loads((LICENCES / "parts.toml").read_text(encoding="utf-8"))
    named: dict[str, dict[str, Any]] = {part["name"]: part for part in known["part"]}
    owners = _owners(site_packages)
    found = _Found()
    for path, file, source in _contents(bundle, build):
        _sort_in(found, named, owners, path, file, source)
    errors = [f"{path} comes from no known part." for path in sorted(found.unknown)]
    parts: list[Part] = []
    found.named.setdefault(PROGRAM, [])
    for name in sorted(found.named, key=lambda name: (name != PROGRAM, name.lower())):
        parts.append(_named_part(named[name], tuple(sorted(found.named[name])), bundle))
    for name in sorted(found.distributions, key=str.lower):
        files = tuple(sorted(found.distributions[name]))
        part = _distribution(name, site_packages, known["distribution"].get(name, {}), files)
        parts.append(part)
    errors += [f"{part.name} has no licence text in its wheel." for part in parts if not part.texts]
    errors += [error for part in parts if (error := _licence_error(part))]
    if errors:
        raise BundleError(*errors)
    return parts + _models(bundle)


def is_program_code(path: Path) -> bool:
    """Whether a processor or a network runs it: what a list of parts must give the hash of."""
    with path.open("rb") as file:
        start = file.read(4)
    return start == b"\x7fELF" or start[:2] == b"MZ" or path.suffix in (".onnx", ".zip")


def _contents(bundle: Path, build: Path) -> Iterator[tuple[str, str, str]]:
    """Of each file and pure module: its path in the bundle, its place in it, and its source.

    A module has no path of its own. Source: as PyInstaller found it, with /; "" where it did not
    put the file there.
    """
    collected, modules = (_table(build / name) for name in ("COLLECT-00.toc", "PYZ-00.toc"))
    sources = {place: (source, kind) for place, source, kind in collected}
    for path in sorted(bundle.rglob("*")):
        if path.is_symlink() or path.is_dir() or path.name in (NOTICES, SBOM):
            continue
        name = path.relative_to(bundle).as_posix()
        place = name.removeprefix("_internal/")
        source, kind = sources.get(place, ("", ""))
        yield name, place, BOOTLOADER if kind == "EXECUTABLE" else source
    for module, source, _ in modules:
        if source not in ("", "-"):  # a folder without __init__.py
            yield "", module.replace(".", "/"), source


def _table(path: Path) -> list[tuple[str, str, str]]:
    """One of PyInstaller's tables of contents: (place in the bundle, source, kind)."""
    try:
        table = ast.literal_eval(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise BundleError(
            f"{path} cannot be read ({exc.strerror}): name PyInstaller's work folder with --build."
        ) from exc
    lists = (entry for entry in table if isinstance(entry, list))
    return [(_posix(name), _posix(source), kind) for rows in lists for name, source, kind in rows]


def _posix(path: str) -> str:
    return path.replace("\\", "/")


def _owners(site_packages: Path) -> dict[str, str]:
    """The distribution of each installed file, by the file's path below site-packages."""
    found = {}
    for distribution in importlib.metadata.distributions(path=[str(site_packages)]):
        name = distribution.metadata["Name"].lower()
        found.update((file.as_posix(), name) for file in distribution.files or ())
    if not found:
        raise BundleError(f"{site_packages} holds no installed distributions.")
    return found


def _sort_in(
    found: _Found,
    named: Mapping[str, Mapping[str, Any]],
    owners: Mapping[str, str],
    path: str,
    place: str,
    source: str,
) -> None:
    """Put down what a file or module is part of. For the arguments see _contents."""
    name = place.rpartition("/")[2].lower()
    for part in named.values():
        if path and _matches(name, part.get("inside", ())):
            found.named.setdefault(part["name"], [])
    top = re.split(r"[/.]", place)[0]
    _, installed, below = source.rpartition("/site-packages/")
    if top == "cxr_edge" or place.startswith("cxr_edge-"):
        _add(found.named, PROGRAM, path)
    elif source == BOOTLOADER:
        _add(found.distributions, BOOTLOADER, path)
    elif installed and below in owners:
        _add(found.distributions, owners[below], path)
    elif installed:
        found.unknown.append(path or place)
    elif path and (part := _named_by(name, named)):
        _add(found.named, part, path)
    # Modules of the standard library in C lie in python3.11/lib-dynload, or beside all others.
    elif source and ({name.partition(".")[0], top} & _STDLIB or top.startswith("_sysconfigdata")):
        _add(found.named, PYTHON, path)
    else:
        found.unknown.append(path or place)


def _named_by(name: str, named: Mapping[str, Mapping[str, Any]]) -> str:
    return next((part for part, says in named.items() if _matches(name, says["files"])), "")


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _add(found: dict[str, list[str]], part: str, path: str) -> None:
    files = found.setdefault(part, [])
    if path:
        files.append(path)


def _named_part(says: Mapping[str, Any], files: tuple[str, ...], bundle: Path) -> Part:
    """A part that licences/parts.toml tells of."""
    name = says["name"]
    texts = [_own_text(text) for text in says["texts"]]
    if name == PROGRAM:
        return Part("program", name, cxr_edge.__version__, says["licence"], tuple(texts), files)
    if name == PYTHON:
        texts.insert(0, _python_licence(files))
        version = platform.python_version()
    else:
        version = _version_in(says, bundle)
    return Part("library", name, version, says["licence"], tuple(texts), files)


def _python_licence(files: tuple[str, ...]) -> tuple[str, str]:
    major, minor = sys.version_info[:2]
    mine = (f"python{major}{minor}.dll", f"libpython{major}.{minor}.so")
    if not any(file.rpartition("/")[2].lower().startswith(mine) for file in files):
        raise BundleError(
            f"The bundle is not of Python {major}.{minor}, whose licence is at hand: run this "
            "with a Python of the bundle's version."
        )
    path = Path(sysconfig.get_path("stdlib"), "LICENSE.txt")
    if not path.is_file():
        raise BundleError(f"{path} is not there: run this with a Python that has its licence.")
    return path.name, _text(path)


def _version_in(says: Mapping[str, Any], bundle: Path) -> str:
    if "version" not in says:
        return ""
    patterns = [*says["files"], *says.get("inside", ())]
    paths = (path for path in sorted(bundle.rglob("*")) if _matches(path.name.lower(), patterns))
    matches = (re.search(says["version"].encode(), path.read_bytes()) for path in paths)
    return next((match[1].decode() for match in matches if match), "")


def _distribution(
    name: str, site_packages: Path, says: Mapping[str, Any], files: tuple[str, ...]
) -> Part:
    """A distribution with every licence file of its wheel. says: of it, in licences/parts.toml."""
    (distribution,) = importlib.metadata.distributions(path=[str(site_packages)], name=name)
    metadata = distribution.metadata
    texts: dict[str, str] = {}  # by text: many wheels hold the same one twice
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        if _LICENCE_FILE.fullmatch(file.name) and path.is_file():
            texts.setdefault(_text(path), file.as_posix())
    own = [(title, text) for text, title in texts.items()]
    own += [_own_text(text) for text in says.get("adds", ())]
    licence = says.get("licence") or metadata.get("License-Expression") or metadata.get("License")
    return Part("distribution", name, metadata["Version"], licence or "", tuple(own), files)


def _own_text(name: str) -> tuple[str, str]:
    path = LICENCES / name
    return path.name, _text(path)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip("\ufeff\r\n")


def _licence_error(part: Part) -> str:
    """Why a part's licence does not do; "" where it does."""
    try:
        licence = _SPDX.parse(part.licence)
    except license_expression.ExpressionError:
        licence = None
    unknown = licence is None or [
        key for key in _SPDX.unknown_license_keys(licence) if not key.startswith("LicenseRef-")
    ]
    if unknown:
        return (
            f"{part.name} names its licence {part.licence[:60]!r}, which is no SPDX expression: "
            f"read the licence and name it in {LICENCES.name}/parts.toml."
        )
    if _binds_all(licence):
        return f"{part.name} is under {part.licence}, which would bind the whole program."
    return ""


def _binds_all(licence: Any) -> bool:
    """Whether a parsed SPDX expression is GPL or AGPL whatever is chosen of it."""
    if isinstance(licence, license_expression.LicenseWithExceptionSymbol):
        freed = licence.exception_symbol.key in _FREEING
        return not freed and _binds_all(licence.license_symbol)
    if isinstance(licence, license_expression.LicenseSymbol):
        return bool(_GPL.match(licence.key))
    each = [_binds_all(one) for one in licence.args]
    return all(each) if isinstance(licence, _SPDX.OR) else any(each)


def _models(bundle: Path) -> list[Part]:
    """The models in the bundle, as their cards say; each must be as the manifest says."""
    folder = bundle / "_internal" / "cxr_edge" / "models"
    models = []
    try:
        manifest = read_manifest(folder)
        for path in sorted(folder.glob("*.onnx")):
            card = read_model_file(path, manifest.get(path.name, "not in the manifest")).card
            data = card.training_data
            text = (
                f"{card.licence}\n\nIt learned from: {data.name}\n"
                f"Licence of these films: {data.licence}\n{data.attribution}"
            )
            file = path.relative_to(bundle).as_posix()
            texts = (("its model card", text),)
            models.append(Part("model", path.name, card.version, card.licence, texts, (file,)))
    except ModelError as exc:
        raise BundleError(str(exc)) from exc
    return models
