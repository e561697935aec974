"""Windows libraries that a test makes: no code, only what the loader reads of what they import."""

import struct
from pathlib import Path

_AT, _RVA, _SIZE = 0x200, 0x1000, 0x400


def write_dll(path: Path, *imports: str) -> Path:
    """A 64-bit library that imports these others (Microsoft's PE format, "The .idata Section")."""
    descriptors = 20 * (len(imports) + 1)  # the last one is of zeros
    table, names = b"", b""
    for name in imports:
        name_rva = _RVA + descriptors + len(names)
        table += struct.pack("<5I", _RVA, 0, 0, name_rva, _RVA)
        names += name.encode("ascii") + b"\0"
    section = (table + bytes(20) + names).ljust(_SIZE, b"\0")
    directories = [(0, 0)] * 16
    if imports:
        directories[1] = (_RVA, descriptors)
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, _SIZE, 0, 0, _RVA)
    optional += struct.pack(
        "<QIIHHHHHHIIII", 1 << 32, 0x1000, 0x200, *[6, 0, 0, 0, 6, 0], 0, 0x2000, _AT, 0
    )
    optional += struct.pack("<HHQQQQII", 2, 0x160, 1 << 20, 1 << 12, 1 << 20, 1 << 12, 0, 16)
    optional += b"".join(struct.pack("<II", *place) for place in directories)
    header = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0"
    header += struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0x2022) + optional
    header += struct.pack("<8sIIIIIIHHI", b".idata", _SIZE, _RVA, _SIZE, _AT, *[0] * 4, 0x40000040)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.ljust(_AT, b"\0") + section)
    return path
