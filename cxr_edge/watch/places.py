"""What a path lies on: a local disk, a share, or a Windows drive letter that stands for a share.

File events do not come from shares, and SQLite's write-ahead log does not work on one.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ..errors import LedgerError, SettingsError
from ..language import Message

Place = Literal["local", "share", "mapped drive"]

# Linux file systems behind which another machine may write: network and cluster file systems, and
# the folders that a virtual machine's host lends; with "fuse." before them too. autofs alone: a
# share not yet mounted.
# fmt: off
_SHARE_TYPES = frozenset({
    "9p", "acfs", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "curlftpfs", "davfs",
    "davfs2", "gfs2", "glusterfs", "gpfs", "gvfsd-fuse", "lustre", "mfs", "moosefs", "ncpfs",
    "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "rclone", "s3fs", "smb3", "smbfs", "smbnetfs",
    "sshfs", "vboxsf", "virtiofs", "vmhgfs", "vmhgfs-fuse",
})
# fmt: on
_OCTAL = re.compile(rb"\\([0-7]{3})")

# winbase.h
_DRIVE_NO_ROOT_DIR = 1
_DRIVE_REMOTE = 4


def kind_of(path: Path, mountinfo: bytes | None = None) -> Place:
    """What `path` lies on, whether or not it is there.

    mountinfo: what /proc/self/mountinfo says (proc(5)); it is read where nothing is given.
    """
    if sys.platform == "win32":
        return windows_kind(str(path.absolute()), str(path.resolve()), _drive_type, _unc_root)
    kind = mounted_at(path, mountinfo)[1].removeprefix("fuse.")
    return "share" if kind in _SHARE_TYPES else "local"


def mounted_at(path: Path, mountinfo: bytes | None = None) -> tuple[Path, str]:
    """Where what `path` lies on is mounted, and the type of that file system; "" if not known.

    mountinfo: as above.
    """
    resolved = path.resolve()  # mounts what autofs mounts on demand, so before the list is read
    if mountinfo is None:
        if sys.platform != "linux":
            return Path(resolved.anchor), ""
        mountinfo = Path("/proc/self/mountinfo").read_bytes()
    return _longest_mount(os.fsencode(resolved), mountinfo)


def refuse_mapped_drive(path: Path) -> None:
    """Raises SettingsError where `path` begins with a drive letter that a service cannot see."""
    if sys.platform == "win32":
        absolute = str(path.absolute())
        refuse_unseen_drive(absolute, _drive_type, _unc_root)


def refuse_ledger_on_share(path: Path, mountinfo: bytes | None = None) -> None:
    """Raises LedgerError where the ledger would lie on a share."""
    if kind_of(path, mountinfo) != "local":
        raise LedgerError(
            Message(
                "The ledger cannot lie on a share ({path}): its write-ahead log needs memory that "
                "only processes of one machine have in common (https://sqlite.org/wal.html).",
                path=path,
            ),
            Message(
                "Put the ledger on a disk of this machine; the folder and the CSV may lie on "
                "shares."
            ),
        )


def _longest_mount(path: bytes, mountinfo: bytes) -> tuple[Path, str]:
    """path: absolute and resolved."""
    longest, found = b"", ""
    for line in mountinfo.splitlines():
        mount, separator, source = line.partition(b" - ")
        fields = mount.split(b" ")
        if not separator or len(fields) < 5:
            continue
        point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
        inside = point == b"/" or path == point or path.startswith(point + b"/")
        # Of two mounts on one point the later one is on top.
        if inside and len(point) >= len(longest):
            longest, found = point, source.split(b" ")[0].decode("ascii", "replace")
    return Path(os.fsdecode(longest or b"/")), found


def windows_kind(
    absolute: str,
    resolved: str,
    drive_type: Callable[[str], int],
    unc_root: Callable[[str], str],
) -> Place:
    """What a Windows path lies on.

    absolute: with its drive letter as it was given; resolved: links followed, which also turns a
    mapped drive into its UNC path. drive_type, unc_root: see _drive_type and _unc_root.
    """
    drive = _drive_letter(absolute)
    if drive:
        kind = drive_type(drive)
        if kind == _DRIVE_REMOTE or (kind == _DRIVE_NO_ROOT_DIR and unc_root(drive)):
            return "mapped drive"
    return "share" if _is_unc(absolute) or _is_unc(resolved) else "local"


def refuse_unseen_drive(
    absolute: str, drive_type: Callable[[str], int], unc_root: Callable[[str], str]
) -> None:
    """Raises SettingsError where a Windows path's drive is mapped, or is not there."""
    drive = _drive_letter(absolute)
    if not drive:
        return
    kind = drive_type(drive)
    if kind not in (_DRIVE_REMOTE, _DRIVE_NO_ROOT_DIR):
        return
    root = unc_root(drive)
    # The prompt of an administrator does not see the drives that the same person has mapped.
    if kind == _DRIVE_NO_ROOT_DIR and not root:
        raise SettingsError(
            f"There is no drive {drive} for a service ({absolute}).",
            "If it is a mapped network drive, write the share's own path (\\\\server\\share\\...): "
            "mapped drives belong to a logged-on user. If it is a disk, connect it first.",
        )
    rest = absolute.partition(":")[2].lstrip("\\/")
    instead = f"{root}\\{rest}".rstrip("\\") if root else "\\\\server\\share\\..."
    raise SettingsError(
        f"{drive} is a mapped network drive ({absolute}): it belongs to a logged-on user, and a "
        "service cannot see it.",
        f"Write the share's own path: {instead}",
    )


def _drive_letter(path: str) -> str:
    """ "Z:" of "Z:\\films" and of "\\\\?\\Z:\\films"; "" where there is none."""
    match = re.match(r"(?:[\\/]{2}[?.][\\/])?([A-Za-z]:)", path)
    return match[1].upper() if match else ""


def _is_unc(path: str) -> bool:
    """Whether it is \\\\server\\share, or \\\\?\\UNC\\server\\share."""
    plain = path.replace("/", "\\")
    if plain.startswith(("\\\\?\\", "\\\\.\\")):
        return plain[4:8].upper() == "UNC\\"
    return plain.startswith("\\\\")


def _drive_type(drive: str) -> int:
    """What GetDriveTypeW says of "Z:"."""
    if sys.platform == "win32":
        import ctypes

        return int(ctypes.windll.kernel32.GetDriveTypeW(drive + "\\"))
    return 0


def _unc_root(drive: str) -> str:
    """The \\\\server\\share that "Z:" stands for; "" where it is not known."""
    if sys.platform == "win32":
        import ctypes
        import winreg

        size = ctypes.c_ulong(1024)
        name = ctypes.create_unicode_buffer(size.value)
        if not ctypes.windll.mpr.WNetGetConnectionW(drive, name, ctypes.byref(size)):
            return name.value
        # Persistent mappings of this person, also those that an elevated prompt does not see.
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, f"Network\\{drive[0]}") as key:
                return str(winreg.QueryValueEx(key, "RemotePath")[0])
        except OSError:
            pass
    return ""
