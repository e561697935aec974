"""Keeping a file from the packaged Windows program, as Excel does.

python locking.py FILE        (in a Windows Python: until its standard input ends)
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bundle.program import Program

READY = b"kept"


@contextmanager
def kept_for_oneself(program: "Program", path: Path) -> Iterator[None]:
    """CXR_EDGE_WINDOWS_PYTHON: where the program runs under Wine, a Windows Python."""
    python = [sys.executable]
    if program.under_wine:
        python = ["wine", os.environ["CXR_EDGE_WINDOWS_PYTHON"]]
    process = subprocess.Popen(
        [*python, program.named(Path(__file__)), program.named(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,  # a regular file would be an invalid handle under Wine
    )
    assert process.stdin and process.stdout
    assert READY in process.stdout.readline()
    try:
        yield
    finally:
        process.communicate(timeout=60)


if __name__ == "__main__":
    from ctypes import WinDLL, c_void_p, c_wchar_p

    create_file = WinDLL("kernel32").CreateFileW
    create_file.restype, create_file.argtypes = c_void_p, [c_wchar_p, *[c_void_p] * 6]
    GENERIC_READ, SHARED_WITH_NOBODY, OPEN_EXISTING = 0x80000000, None, 3
    handle = create_file(
        sys.argv[1], GENERIC_READ, SHARED_WITH_NOBODY, None, OPEN_EXISTING, None, None
    )
    assert handle != c_void_p(-1).value, "the file cannot be opened"
    print(READY.decode(), flush=True)
    sys.stdin.read()
