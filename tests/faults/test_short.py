"""What the daemon survives, in a short form; `python -m tests.faults --full` does it in full."""

import importlib
import sys

import pytest

from tests.faults.__main__ import FAULTS
from tests.faults.outcome import CannotRunError, Scale

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the harness holds processes and mounts disks as Linux does"
)


@pytest.mark.parametrize("name", FAULTS)
def test_it_survives(name, tmp_path):
    try:
        outcome = importlib.import_module(f"tests.faults.{name}").run(Scale(tmp_path))
    except CannotRunError as exc:
        pytest.skip(str(exc))
    assert outcome.holds, outcome.figures
    if outcome.undone:
        pytest.skip(outcome.undone)
