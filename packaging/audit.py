"""Shows that a Windows bundle lacks no DLL: every import of every PE file in it is in the folder or
part of Windows 10.

    python packaging/audit.py dist/cxr-edge

Exit code 1, naming file and DLL, where one is in neither; or where a file is Wine's own.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pefile

# Parts of every Windows 10 (version 1607 and later).
# fmt: off
WINDOWS_10 = frozenset({
    "advapi32", "bcrypt", "bcryptprimitives", "cfgmgr32", "comctl32", "comdlg32", "crypt32",
    "d3d11", "d3d12", "dbghelp", "dnsapi", "dwmapi", "dxcore", "dxgi", "gdi32", "imm32",
    "iphlpapi", "kernel32", "kernelbase", "loadperf", "msimg32", "msvcp_win", "msvcrt",
    "ncrypt", "netapi32", "ntdll", "ntdsapi", "ole32", "oleacc", "oleaut32", "opengl32",
    "powrprof", "propsys", "psapi", "rpcrt4", "secur32", "setupapi", "shell32", "shlwapi",
    "ucrtbase", "urlmon", "user32", "userenv", "uxtheme", "version", "wevtapi", "winmm",
    "winspool.drv", "wldap32", "ws2_32", "wsock32", "wtsapi32",
})
# Media Foundation and Video for Windows: the N editions sold in Europe and Korea get them with
# Microsoft's Media Feature Pack, and only with it.
NOT_IN_N_EDITIONS = frozenset({"avicap32", "avifil32", "mf", "mfplat", "mfreadwrite", "msvfw32"})
# Of CUDA 13 and cuDNN 9, which the flavour gpu expects of the PC; `cxr-edge doctor` names them.
CUDA = frozenset({"cublas64_13", "cublaslt64_13", "cudnn64_9", "cufft64_12"})
# fmt: on
_WINE = (b"Wine builtin DLL", b"Wine placeholder DLL")


def imports(data: bytes) -> Iterator[tuple[str, bool]]:
    """The DLLs that a PE file imports, in small letters, and whether only when they are used."""
    pe = pefile.PE(data=data, fast_load=True)
    numbers = pefile.DIRECTORY_ENTRY
    at_start = pe.OPTIONAL_HEADER.DATA_DIRECTORY[numbers["IMAGE_DIRECTORY_ENTRY_IMPORT"]]
    if at_start.VirtualAddress:
        place = (at_start.VirtualAddress, at_start.Size)
        for entry in pe.parse_import_directory(*place, dllnames_only=True):
            yield entry.dll.decode().lower(), False
    pe.parse_data_directories([numbers["IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT"]])
    for entry in getattr(pe, "DIRECTORY_ENTRY_DELAY_IMPORT", []):
        yield entry.dll.decode().lower(), True


def origin(dll: str, in_bundle: frozenset[str]) -> str:
    """Where a DLL comes from; "" where that is not known."""
    if dll in in_bundle:
        return "bundle"
    name = dll.removesuffix(".dll")
    if name.startswith(("api-ms-win-", "ext-ms-")) or name in WINDOWS_10:
        return "Windows 10"
    if name in CUDA:
        return "CUDA"
    return "Windows 10, not N" if name in NOT_IN_N_EDITIONS else ""


def audit(folder: Path) -> Iterator[tuple[str, str, str]]:
    """(file, DLL, where that comes from) of every import of every PE file below a folder."""
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in (".exe", ".dll", ".pyd")
    )
    in_bundle = frozenset(path.name.lower() for path in files)
    for path in files:
        data, name = path.read_bytes(), path.relative_to(folder).as_posix()
        if any(mark in data[:256] for mark in _WINE):
            yield name, "(itself)", ""
        for dll, delayed in imports(data):
            yield name, f"{dll} (delayed)" if delayed else dll, origin(dll, in_bundle)


def main() -> int:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__)
        return 2
    found = sorted(audit(Path(sys.argv[1])))
    for file, dll, source in found:
        print(f"{source or 'NOT FOUND':<17}  {dll:<48}  {file}")
    missing = [each for each in found if not each[2]]
    n_files = len({file for file, _, _ in found})
    print(
        f"{n_files} PE files, {len(found)} imports, {len(missing)} neither here nor in Windows 10"
    )
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
