"""Paths of more than 260 characters, which Windows opens only with a prefix.

Learn.microsoft.com: "Maximum Path Length Limitation". A folder on a share can be filled by machines
that know no such limit, and without the prefix its films would seem not to be there.
"""

import ntpath
import sys
from pathlib import Path

# 12 less than 260: a folder has to leave room for a file's name.
_MAX_LENGTH = 247


def reachable(path: Path) -> Path:
    """The path as this system opens it, however long it is."""
    return Path(extended(str(path))) if sys.platform == "win32" else path


def extended(path: str) -> str:
    """A Windows path with the prefix, if it is too long to do without."""
    if len(path) <= _MAX_LENGTH or path.startswith("\\\\?\\"):
        return path
    # Behind the prefix Windows takes a path as it is: absolute, with \ and without "..".
    path = ntpath.abspath(path)
    return f"\\\\?\\UNC\\{path[2:]}" if path.startswith("\\\\") else f"\\\\?\\{path}"
