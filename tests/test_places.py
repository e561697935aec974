"""What a path lies on."""

import sys
from pathlib import Path

import pytest

from cxr_edge.errors import LedgerError, SettingsError
from cxr_edge.watch.places import (
    kind_of,
    refuse_ledger_on_share,
    refuse_unseen_drive,
    windows_kind,
)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="mountinfo is Linux's")
MOUNTS = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:40 / /mnt/pacs rw,relatime shared:5 - cifs //pacs/films rw,vers=3.1.1
41 40 0:41 / /mnt/pacs/cache rw,relatime - ext4 /dev/vdb rw
42 27 0:42 / /mnt/R\303\266ntgen\040Bilder rw,relatime shared:7 master:1 - nfs4 nas:/x rw
43 27 0:43 / /auto rw,relatime - autofs systemd-1 rw
44 43 0:44 / /auto rw,relatime - ext4 /dev/vdc rw
45 27 0:45 / /ssh rw - fuse.sshfs doctor@host:/ rw
46 27 0:46 / /wsl rw - 9p C:\134 rw
47 27 0:47 / /tab\011here rw - smb3 //a/b rw
48 27 0:48 / /caf\351 rw - nfs nas:/y rw
"""


@needs_linux
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/anna/films", "local"),
        ("/mnt/pacs", "share"),
        ("/mnt/pacs/2024/film.dcm", "share"),
        ("/mnt/pacs2", "local"),  # a name that only begins alike
        ("/mnt/pacs/cache/x", "local"),  # a disk mounted inside a share
        ("/mnt/Röntgen Bilder/neu", "share"),
        ("/auto/films", "local"),  # what autofs has mounted lies on top of it
        ("/ssh/films", "share"),
        ("/wsl/Users", "share"),
        ("/tab\there/x", "share"),
        ("/caf\udce9/films", "share"),  # a name that is not UTF-8
    ],
)
def test_a_linux_path_is_told_by_the_longest_mount_point(path: str, kind: str) -> None:
    assert kind_of(Path(path), MOUNTS) == kind


@needs_linux
def test_a_link_is_told_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "inbox").symlink_to("/mnt/pacs/inbox")
    assert kind_of(tmp_path / "inbox", MOUNTS) == "share"


@needs_linux
def test_this_machines_own_mounts_can_be_read() -> None:
    assert kind_of(Path("/proc/self")) == "local"
    assert kind_of(Path("/nowhere/at/all")) == kind_of(Path("/"))


@needs_linux
def test_an_absent_automount_counts_as_a_share() -> None:
    assert kind_of(Path("/a/b"), b"1 0 0:1 / /a rw - autofs systemd-1 rw\n") == "share"


@needs_linux
def test_a_ledger_on_a_share_is_refused_with_the_reason() -> None:
    refuse_ledger_on_share(Path("/var/lib/cxr-edge/ledger.sqlite"), MOUNTS)
    with pytest.raises(LedgerError, match="write-ahead log") as caught:
        refuse_ledger_on_share(Path("/mnt/pacs/ledger.sqlite"), MOUNTS)
    assert "disk of this machine" in caught.value.next_step


def drive_types(drive: str) -> int:
    return {"C:": 3, "E:": 2, "Z:": 4}.get(drive, 1)  # fixed, removable, remote; 1: not there


def unc_roots(drive: str) -> str:
    # Y: is a persistent mapping that this elevated prompt does not see.
    return {"Z:": r"\\nas\röntgen", "Y:": r"\\nas\alt"}.get(drive, "")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (r"C:\films", "local"),
        (r"\\?\C:\films", "local"),
        (r"E:\films", "local"),
        (r"Z:\films", "mapped drive"),
        (r"\\?\z:\films", "mapped drive"),
        (r"Y:\films", "mapped drive"),
        (r"Q:\films", "local"),
        (r"\\nas\films", "share"),
        (r"//nas/films", "share"),
        (r"\\?\UNC\nas\films", "share"),
        (r"\\.\C:\films", "local"),
    ],
)
def test_a_windows_path_is_told_by_its_drive(path: str, kind: str) -> None:
    assert windows_kind(path, path, drive_types, unc_roots) == kind


def test_a_link_on_a_windows_disk_to_a_share_is_a_share() -> None:
    assert windows_kind(r"C:\inbox", r"\\nas\films", drive_types, unc_roots) == "share"


def test_a_service_is_told_the_unc_path_of_a_mapped_drive() -> None:
    with pytest.raises(SettingsError, match="logged-on user") as caught:
        refuse_unseen_drive(r"z:\neue Bilder\2024", drive_types, unc_roots)
    assert caught.value.next_step.endswith(r"\\nas\röntgen\neue Bilder\2024")
    with pytest.raises(SettingsError, match="mapped network drive") as caught:
        refuse_unseen_drive("Y:\\", drive_types, unc_roots)
    assert caught.value.next_step.endswith(r"\\nas\alt")
    with pytest.raises(SettingsError, match="no drive Q:") as caught:
        refuse_unseen_drive(r"Q:\x", drive_types, unc_roots)
    assert r"\\server\share" in caught.value.next_step
    for path in (r"C:\films", r"E:\films", r"\\nas\films"):
        refuse_unseen_drive(path, drive_types, unc_roots)
