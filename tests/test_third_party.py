"""What a bundle holds and under which licences: a made-up bundle of made-up packages."""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import ROOT

pytest.importorskip("cyclonedx", reason="cxr-edge[dev] brings it")
sys.path.append(str(ROOT / "packaging"))  # scripts, which find each other beside themselves
import notices
import parts

ELF, PE = b"\x7fELF made up", b"MZ made up"


@dataclass
class Made:
    """A bundle with its build folder, and the packages that it was made from."""

    folder: Path
    site: Path
    bundle: Path
    collected: list[tuple[str, str, str]]
    modules: list[tuple[str, str, str]]

    def install(
        self, name: str, files: dict[str, bytes], licence: str = "MIT", text: str = "The licence"
    ) -> None:
        """A wheel's files in site-packages; text: of its licence, "" for none."""
        info = f"{name}-1.0.dist-info"
        metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n"
        files = {
            **files,
            f"{info}/METADATA": (metadata + f"License-Expression: {licence}\n").encode(),
        }
        if text:
            files[f"{info}/licenses/LICENSE"] = text.encode()
        for path, data in files.items():
            (self.site / path).parent.mkdir(parents=True, exist_ok=True)
            (self.site / path).write_bytes(data)
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        (self.site / info / "RECORD").write_text(record)

    def put(self, place: str, data: bytes, source: str = "", kind: str = "BINARY") -> None:
        """A file of the bundle. source: where PyInstaller found it, "" where it did not."""
        path = self.bundle / ("" if kind == "EXECUTABLE" else "_internal") / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if source:
            self.collected.append((place, source, kind))

    def module(self, name: str, source: str) -> None:
        self.modules.append((name, source, "PYMODULE"))

    def run(self, *options: str) -> Result:
        build = self.folder / "build"
        build.mkdir(exist_ok=True)
        (build / "COLLECT-00.toc").write_text(repr((self.collected,)))
        (build / "PYZ-00.toc").write_text(repr((str(build / "PYZ-00.pyz"), self.modules)))
        arguments = ["--build", str(build), "--site-packages", str(self.site), str(self.bundle)]
        return CliRunner().invoke(notices.main, [*options, *arguments])

    def notices(self) -> str:
        return (self.bundle / "THIRD-PARTY-NOTICES.txt").read_text(encoding="utf-8")

    def sbom(self) -> str:
        return (self.bundle / "sbom.cdx.json").read_text(encoding="utf-8")

    def written(self) -> list[str]:
        return [name for name in (parts.NOTICES, parts.SBOM) if (self.bundle / name).exists()]


@pytest.fixture
def made(tmp_path: Path, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A bundle in which all is well: a program, Python, a package with a binary, a model."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "LICENSE.txt").write_text("Python's licence")
    monkeypatch.setattr(parts.sysconfig, "get_path", lambda name: str(tmp_path / "lib"))
    made = Made(tmp_path, tmp_path / "a b" / "site-packages", tmp_path / "bundle", [], [])
    made.install("acme", {"acme/__init__.py": b"", "acme/_acme.so": ELF})
    made.install("pyinstaller", {"PyInstaller/__init__.py": b""})
    made.put("cxr-edge", ELF, "build/cxr-edge", "EXECUTABLE")
    major, minor = sys.version_info[:2]
    made.put(f"libpython{major}.{minor}.so.1.0", ELF, "/usr/lib/libpython.so")
    made.put("base_library.zip", b"PK", "build/base_library.zip", "DATA")
    made.put("acme/_acme.so", ELF, str(made.site / "acme/_acme.so"), "EXTENSION")
    model = tiny_model_path.read_bytes()
    manifest = {"tiny.onnx": hashlib.sha256(model).hexdigest()}
    made.put("cxr_edge/models/tiny.onnx", model, "/src/cxr_edge/models/tiny.onnx", "DATA")
    made.put("cxr_edge/models/manifest.json", json.dumps(manifest).encode(), "/src/m", "DATA")
    made.module("cxr_edge.cli", "/src/cxr_edge/cli.py")
    made.module("json.decoder", "/usr/lib/python3/json/decoder.py")
    return made


def table(text: str) -> list[str]:
    """The names of the parts, as the notices' table has them."""
    rows = text.split("\n\n")[1].splitlines()
    return [row.split("  ")[0] for row in rows]


def component(sbom: str, name: str) -> dict[str, object]:
    (found,) = [one for one in json.loads(sbom)["components"] if one["name"] == name]
    return dict(found)


def hashes(one: dict[str, object]) -> Sequence[tuple[str, str]]:
    files = one["components"]
    assert isinstance(files, list)
    return [(file["name"], file["hashes"][0]["content"]) for file in files]


def test_every_part_is_named_with_its_licence_and_its_whole_text(made: Made) -> None:
    result = made.run()
    assert result.exit_code == 0, result.output
    text = made.notices()
    assert sorted(table(text)) == ["CPython", "acme", "pyinstaller", "tiny.onnx"]
    assert "acme 1.0\nMIT\n" in text
    assert "The licence" in text
    assert "Python's licence" in text
    assert "Licence of these films: " in text


def test_what_is_installed_and_not_in_the_bundle_is_not_named(made: Made) -> None:
    made.install("unused", {"unused.py": b""})
    made.run()
    assert "unused" not in made.notices()
    made.module("unused", str(made.site / "unused.py"))
    made.run()
    assert "unused" in table(made.notices())


def test_each_binary_has_its_hash(made: Made) -> None:
    made.run()
    digest = hashlib.sha256(ELF).hexdigest()
    assert hashes(component(made.sbom(), "acme")) == [("_internal/acme/_acme.so", digest)]
    model = component(made.sbom(), "tiny.onnx")
    assert model["type"] == "machine-learning-model"
    assert component(made.sbom(), "acme")["purl"] == "pkg:pypi/acme@1.0"


def test_the_list_is_the_same_for_the_same_bundle_and_another_for_another(made: Made) -> None:
    made.run()
    first = made.sbom()
    made.run()
    assert made.sbom() == first
    assert json.loads(first)["metadata"]["timestamp"].startswith("2023-11-14T22:13:20")
    made.put("acme/_acme.so", ELF + b"!")
    made.run()
    assert json.loads(made.sbom())["serialNumber"] != json.loads(first)["serialNumber"]


@pytest.mark.parametrize("name", ["_internal/stray.dll", "_internal/queue/stray.so", "stray.txt"])
def test_a_file_from_nowhere_is_an_error_that_names_it(made: Made, name: str) -> None:
    (made.bundle / name).parent.mkdir(exist_ok=True)
    (made.bundle / name).write_bytes(PE)
    result = made.run()
    assert result.exit_code == 1
    assert f"error: {name} comes from no known part." in result.output
    assert not made.written()


def test_a_module_that_no_wheel_put_there_is_an_error(made: Made) -> None:
    made.module("sneaked.inside", str(made.site / "sneaked" / "inside.py"))
    result = made.run()
    assert result.exit_code == 1
    assert "sneaked/inside comes from no known part." in result.output


def test_a_package_without_a_licence_text_is_an_error(made: Made) -> None:
    made.install("bare", {"bare.py": b""}, text="")
    made.module("bare", str(made.site / "bare.py"))
    result = made.run()
    assert result.exit_code == 1
    assert "error: bare has no licence text in its wheel." in result.output
    assert not made.written()


@pytest.mark.parametrize(
    ("licence", "says"),
    [
        ("GPL-3.0-or-later", "would bind the whole program"),
        ("MIT AND AGPL-3.0-only", "would bind the whole program"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "would bind the whole program"),
        ("BSD", "is no SPDX expression"),
        ("", "is no SPDX expression"),
    ],
)
def test_a_licence_that_does_not_do_is_an_error(made: Made, licence: str, says: str) -> None:
    made.install("bound", {"bound.py": b""}, licence)
    made.module("bound", str(made.site / "bound.py"))
    result = made.run()
    assert result.exit_code == 1
    assert "error: bound " in result.output
    assert says in result.output


@pytest.mark.parametrize(
    "licence",
    ["MIT OR GPL-2.0-only", "LGPL-2.1-or-later", "GPL-3.0-or-later WITH GCC-exception-3.1"],
)
def test_a_licence_that_leaves_the_program_free_is_none(made: Made, licence: str) -> None:
    made.install("free", {"free.py": b""}, licence)
    made.module("free", str(made.site / "free.py"))
    assert made.run().exit_code == 0


def test_a_windows_bundle_is_read_by_its_own_paths(made: Made) -> None:
    site = "Z:\\python\\Lib\\site-packages"
    made.put("acme\\_acme.pyd".replace("\\", "/"), PE)
    made.install("acme", {"acme/__init__.py": b"", "acme/_acme.so": ELF, "acme/_acme.pyd": PE})
    made.collected.append(("acme\\_acme.pyd", f"{site}\\acme\\_acme.pyd", "EXTENSION"))
    made.module("acme", f"{site}\\acme\\__init__.py")
    made.put("VCRUNTIME140.dll", PE, "Z:\\python\\VCRUNTIME140.dll")
    made.put("_bz2.pyd", PE + b" 1.0.8, 13-Jul-2019", "Z:\\python\\DLLs\\_bz2.pyd", "EXTENSION")
    result = made.run()
    assert result.exit_code == 0, result.output
    names = [name for name, _ in hashes(component(made.sbom(), "acme"))]
    assert names == ["_internal/acme/_acme.pyd", "_internal/acme/_acme.so"]
    assert "Microsoft Visual C++ runtime" in table(made.notices())
    assert component(made.sbom(), "bzip2")["version"] == "1.0.8"


def test_a_model_that_is_not_as_its_manifest_says_is_an_error(made: Made) -> None:
    path = made.bundle / "_internal/cxr_edge/models/tiny.onnx"
    path.write_bytes(path.read_bytes() + b"\x00")
    result = made.run()
    assert result.exit_code == 1
    assert "tiny.onnx" in result.output


def test_a_bundle_of_another_python_is_an_error(made: Made) -> None:
    major, minor = sys.version_info[:2]
    library = made.bundle / f"_internal/libpython{major}.{minor}.so.1.0"
    library.rename(library.with_name(f"libpython{major}.{minor + 1}.so.1.0"))
    result = made.run()
    assert result.exit_code == 1
    assert "run this with a Python of the bundle's version" in result.output


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(notices.main, ["--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
