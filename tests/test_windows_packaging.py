"""What the Windows program's build relies on, where neither Windows nor Wine is at hand."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.made_dlls import write_dll

WINDOWS = ROOT / "packaging" / "windows"
needs_tools = pytest.mark.skipif(
    not (shutil.which("osslsigncode") and shutil.which("openssl")),
    reason="osslsigncode and openssl are not both on this machine",
)


def audit(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "packaging" / "audit.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_dll_that_is_neither_in_the_folder_nor_windows_is_named(tmp_path: Path) -> None:
    write_dll(tmp_path / "a.pyd", "KERNEL32.dll", "B.dll", "api-ms-win-crt-heap-l1-1-0.dll")
    write_dll(tmp_path / "sub" / "b.DLL", "mfplat.dll")
    done = audit(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "2 PE files, 4 imports, 0 neither" in done.stdout
    assert "Windows 10, not N" in done.stdout
    write_dll(tmp_path / "c.dll", "MSVCP140_1.dll")
    done = audit(tmp_path)
    assert done.returncode == 1
    assert [line.split() for line in done.stdout.splitlines() if "NOT FOUND" in line] == [
        ["NOT", "FOUND", "msvcp140_1.dll", "c.dll"]
    ]


def test_a_dll_of_wine_is_no_part_of_windows(tmp_path: Path) -> None:
    write_dll(tmp_path / "a.dll", "KERNEL32.dll")
    data = bytearray((tmp_path / "a.dll").read_bytes())
    data[4:20] = b"Wine builtin DLL"
    (tmp_path / "a.dll").write_bytes(data)
    assert "NOT FOUND" in audit(tmp_path).stdout


def test_each_word_of_the_installer_is_said_in_each_language() -> None:
    script = (WINDOWS / "installer.nsi").read_text(encoding="utf-8")
    words = (WINDOWS / "installer_words.nsh").read_text(encoding="utf-8-sig")
    languages = [
        line.split()[-1].upper() for line in script.splitlines() if "MUI_LANGUAGE " in line
    ]
    said = [line.split()[1:3] for line in words.splitlines() if line.startswith("LangString")]
    names = {name for name, _ in said}
    assert len(languages) == 5
    assert sorted(said) == sorted([n, "${LANG_" + each + "}"] for n in names for each in languages)
    assert all(f"$({name})" in script for name in names)


@needs_tools
def test_a_certificate_from_outside_signs(tmp_path: Path) -> None:
    program = tmp_path / "program ü.exe"
    write_dll(program, "KERNEL32.dll")
    sign = [str(WINDOWS / "sign.sh"), str(program)]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("CXR_EDGE_CERT")}
    before = program.read_bytes()
    done = subprocess.run(sign, env=plain, capture_output=True, text=True, check=True)
    assert "not signed" in done.stdout
    assert program.read_bytes() == before
    (tmp_path / "word").write_text("secret\n")
    make = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=Clinic -keyout k.pem "
        "-out c.pem -addext extendedKeyUsage=codeSigning 2> log && "
        "openssl pkcs12 -export -inkey k.pem -in c.pem -out c.pfx -passout file:word"
    )
    subprocess.run(make, shell=True, cwd=tmp_path, check=True)
    named = {
        "CXR_EDGE_CERTIFICATE": str(tmp_path / "c.pfx"),
        "CXR_EDGE_CERTIFICATE_PASSWORD": str(tmp_path / "word"),
    }
    subprocess.run(sign, env=plain | named, capture_output=True, check=True)
    verify = ["osslsigncode", "verify", "-CAfile", str(tmp_path / "c.pem"), "-in", str(program)]
    done = subprocess.run(verify, capture_output=True, text=True)
    assert "CN = Clinic" in done.stdout or "/CN=Clinic" in done.stdout, done.stdout
    assert "Signature verification: ok" in done.stdout, done.stdout
