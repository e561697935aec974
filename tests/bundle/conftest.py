"""The packaged program that these tests drive: CXR_EDGE_BUNDLE names its executable.

    CXR_EDGE_BUNDLE=dist/cxr-edge/cxr-edge python -m pytest tests/bundle

packaging/windows/test.sh and packaging/linux/build.sh do so after each build. A Windows program is
run by Wine where this is not Windows: in the prefix WINEPREFIX, which has neither Python nor the
Visual C++ runtime.
"""

import os
from pathlib import Path

import pytest

from tests.bundle.program import Program


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    named = os.environ.get("CXR_EDGE_BUNDLE")
    if not named:
        pytest.skip("no packaged program (CXR_EDGE_BUNDLE); packaging/*/build.sh make one")
    return Program(Path(named).absolute(), tmp_path_factory.mktemp("user"))


@pytest.fixture
def windows(program: Program) -> Program:
    if not program.is_windows:
        pytest.skip("of the Windows program only")
    return program


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """A folder as people name them."""
    folder = tmp_path / "Klinik Müller – Röntgen 胸"
    folder.mkdir()
    return folder
