"""What the bundles and the container image are made of: pinned, and as the tests run with."""

import re
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.conftest import ROOT

LINUX = ROOT / "packaging" / "linux"
WINDOWS = ROOT / "packaging" / "windows"
FLAVOURS = {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}
DOCKERFILE = (ROOT / "packaging" / "docker" / "Dockerfile").read_text(encoding="utf-8")


def normal(name: str) -> str:
    """Source: packaging.python.org, name normalization."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """The version of each requirement; each must be exact, and pip hashes files alike."""
    text = re.sub(r"^#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for line in text.replace("\\\n", " ").split("\n"):
        if line.strip():
            match = re.fullmatch(r"(\S+)==(\S+)(\s+--hash=sha256:[0-9a-f]{64})*", line.strip())
            assert match, line
            found[normal(match[1])] = match[2]
    return found


def pinned(flavour: str) -> dict[str, str]:
    return pins(LINUX / "pins.txt") | pins(LINUX / f"pins-{flavour}.txt")


@pytest.mark.parametrize(
    "path",
    sorted((*LINUX.glob("pins*.txt"), *WINDOWS.glob("*.txt"))),
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_each_pin_has_a_hash_and_the_version_of_the_tests(path: Path) -> None:
    tested = pins(ROOT / "constraints.txt")
    found = pins(path)
    assert path.read_text(encoding="utf-8").count("--hash=") == len(found)
    differing = {name for name in found.keys() & tested.keys() if found[name] != tested[name]}
    assert not differing


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_all_that_the_program_needs_is_pinned(flavour: str) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].split("\n")
    lines += config["options.extras_require"][flavour].split("\n")
    needed = [line for line in lines if line and "win32" not in line]
    names = {normal(re.split(r"[<>=;\[ ]", line)[0]) for line in needed}
    assert FLAVOURS[flavour] in names
    assert names <= pinned(flavour).keys()


@pytest.mark.parametrize("flavour", ["cpu", "gpu", "dml"])
def test_all_that_windows_needs_is_pinned(flavour: str) -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options"]["install_requires"].split("\n")
    lines += config["options.extras_require"][flavour].split("\n")
    names = {normal(re.split(r"[<>=;\[ ]", line)[0]) for line in lines if line}
    assert {"pywin32", "pefile"} <= names
    found = pins(WINDOWS / "pins.txt") | pins(WINDOWS / f"pins-{flavour}.txt")
    built_here = pins(WINDOWS / "opencv.txt")  # against the numpy that goes into the bundle
    assert built_here["numpy"] == found["numpy"]
    assert names <= found.keys() | built_here.keys()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_the_image_copies_is_there_and_reaches_docker(flavour: str) -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    sources = " ".join(copied).replace("$FLAVOUR", flavour).split()
    assert "cxr_edge" in sources
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in ignore if line.startswith("!")]
    assert "*" in ignore
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in allowed), source


def test_the_image_is_for_the_cpu_unless_one_line_is_changed() -> None:
    assert re.findall(r"^ARG FLAVOUR=(.*)$", DOCKERFILE, flags=re.MULTILINE) == ["cpu"]
