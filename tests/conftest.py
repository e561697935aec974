"""Fixtures shared by the tests. Real films are used where they lie beside the checkout."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
SHARED_WEIGHTS = ROOT.parent / "shared" / "weights"
SAMPLES = ROOT / "samples"


@pytest.fixture(scope="session")
def real_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archives of real films, unpacked; the test is skipped without them."""
    import tarfile

    if not SHARED_DATA.is_dir():
        pytest.skip("no real films beside this checkout (../shared/data)")
    folder = tmp_path_factory.mktemp("films")
    for name in ("kermany-original-resolution.tar", "kermany-train-224.tar", "dicom.tar"):
        with tarfile.open(SHARED_DATA / name) as archive:
            archive.extractall(folder, filter="data")
    return folder
