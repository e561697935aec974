"""Paths that Windows opens only with a prefix."""

import sys
from pathlib import Path

import pytest

from cxr_edge.windows_path import extended, reachable

DEEP = "x" * 200 + "\\" + "y" * 100 + "\\film.jpg"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("C:\\films\\film.jpg", "C:\\films\\film.jpg"),
        (f"C:\\films\\{DEEP}", f"\\\\?\\C:\\films\\{DEEP}"),
        (f"C:/films/../films 2/{DEEP}", f"\\\\?\\C:\\films 2\\{DEEP}"),
        (f"\\\\server\\share\\{DEEP}", f"\\\\?\\UNC\\server\\share\\{DEEP}"),
        (f"\\\\?\\C:\\films\\{DEEP}", f"\\\\?\\C:\\films\\{DEEP}"),
    ],
)
def test_a_long_path_gets_the_prefix_of_its_kind(path, expected):
    assert extended(path) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="other systems have no such limit")
def test_a_path_of_another_system_stays_as_it_is():
    assert reachable(Path("/" + "x" * 300)) == Path("/" + "x" * 300)
