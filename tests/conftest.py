"""Fixtures shared by the tests. Real films are used where they lie beside the checkout."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
SHARED_WEIGHTS = ROOT.parent / "shared" / "weights"
SAMPLES = ROOT / "samples"
BROKEN = ROOT / "tests" / "broken"


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


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither see nor touch what this user has installed, chosen and set."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_EDGE_MODELS", str(folder / "models"))
        patch.setenv("CXR_EDGE_LANGUAGE", "en")
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
            patch.setenv(name, str(folder / "cache"))
        yield


@pytest.fixture(scope="session")
def tiny_model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def tiny_model(tiny_model_path: Path):
    from cxr_edge import load_model

    return load_model(tiny_model_path, "cpu", threads=1)


def make_film(path: Path, brightness: int = 200, side: int = 64) -> Path:
    """A grey ramp with a bright half whose size `brightness` sets: small, and never blank."""
    import cv2
    import numpy as np

    film = np.tile(np.linspace(0, 60, side, dtype=np.uint8), (side, 1))
    film[:, : side * brightness // 255] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, film)[1].tobytes())
    return path


@pytest.fixture(scope="session")
def endless_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small JPEG that takes half a minute: its last scan again and again, over 16 megapixels."""
    import io

    import numpy as np
    from PIL import Image

    grey = np.tile(np.linspace(0, 255, 4000, dtype=np.uint8), (4000, 1))
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", progressive=True, quality=10)
    data = buffer.getvalue()
    scan, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    path = tmp_path_factory.mktemp("endless") / "film.jpg"
    path.write_bytes(data[:end] + 4000 * data[scan:end] + data[end:])
    return path


def until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    """Wait for something that is to happen; fails where it does not."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)
