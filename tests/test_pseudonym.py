"""Pseudonyms: the same for the same key, nothing without it, and a key that is made once."""

import hashlib
import hmac
import logging
import os
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from cxr_edge.errors import SettingsError
from cxr_edge.ledger import Ledger
from cxr_edge.watch import pseudonym
from cxr_edge.watch.pseudonym import Pseudonyms, check_key, load_key

KEY = bytes(range(32))
posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")


def test_a_name_is_the_hmac_of_its_path_and_keeps_an_images_suffix():
    expected = hmac.new(KEY, b"film\0/in/DOE JANE.DCM", hashlib.sha256).hexdigest()[:20]
    assert Pseudonyms(KEY).name("/in/DOE JANE.DCM") == f"film-{expected}.dcm"
    assert Pseudonyms(KEY).name(PurePosixPath("/in/DOE JANE.DCM")) == f"film-{expected}.dcm"


def test_a_suffix_that_may_say_something_of_a_patient_goes():
    assert "." not in Pseudonyms(KEY).name("scan.JaneDoe")
    assert Pseudonyms(KEY).name("Müller.JPEG").endswith(".jpeg")


@posix
def test_a_name_that_is_not_utf8_has_one_pseudonym_as_bytes_and_as_text():
    name = b"/in/f\xff.png"
    assert Pseudonyms(KEY).name(name) == Pseudonyms(KEY).name(os.fsdecode(name))


def test_other_keys_kinds_and_values_give_other_pseudonyms():
    one, other = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    told = {
        one.name("4711"),
        other.name("4711"),
        one.identifier("patient", "4711"),
        one.identifier("study", "4711"),
        one.identifier("patient", "4712"),
        other.identifier("patient", "4711"),
    }
    assert len(told) == 6
    assert not any("471" in pseudonym for pseudonym in told)


def test_an_absent_identifier_stays_absent():
    assert Pseudonyms(KEY).identifier("patient", "") == ""


def test_a_fingerprint_tells_two_keys_apart_and_not_the_key():
    assert Pseudonyms(KEY).fingerprint != Pseudonyms(KEY[::-1]).fingerprint
    assert KEY.hex()[:8] not in Pseudonyms(KEY).fingerprint


def test_a_key_is_made_once_and_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "pseudonym.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert bytes.fromhex(path.read_text()) == key
    assert load_key(tmp_path / "another.key") != key
    assert sorted(file.name for file in tmp_path.iterdir()) == ["another.key", "pseudonym.key"]
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600


def test_processes_that_start_at_once_come_to_one_key(tmp_path):
    code = (
        "import sys; from pathlib import Path; from cxr_edge.watch.pseudonym import load_key\n"
        "print(load_key(Path(sys.argv[1])).hex())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "key")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate()[0] for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


def test_a_key_that_another_process_makes_meanwhile_is_kept(tmp_path, monkeypatch):
    path = tmp_path / "key"
    theirs = "ab" * 32
    random = os.urandom

    def slowly(n):
        path.write_text(theirs)
        path.chmod(0o600)
        return random(n)

    monkeypatch.setattr(pseudonym.os, "urandom", slowly)
    assert load_key(path).hex() == theirs


@pytest.mark.parametrize("text", ["", "abcd", "not hexadecimal" * 8, "ab" * 31])
def test_what_is_no_key_is_refused_and_left_as_it_is(tmp_path, text):
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(SettingsError, match="Bring it back"):
        load_key(path)
    assert path.read_text() == text


def test_an_error_never_shows_a_part_of_the_key(tmp_path):
    path = tmp_path / "key"
    path.write_text("ab" * 31)
    with pytest.raises(SettingsError) as caught:
        load_key(path)
    assert "abab" not in str(caught.value)


def test_a_key_in_an_absent_folder_is_an_error_for_an_unmounted_share_must_not_get_a_new_one(
    tmp_path,
):
    with pytest.raises(SettingsError, match="cannot be made"):
        load_key(tmp_path / "absent" / "key")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_key(tmp_path)


@posix
def test_a_key_that_every_user_may_read_is_warned_of(tmp_path, caplog):
    path = tmp_path / "key"
    path.write_text(KEY.hex())
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        assert load_key(path) == KEY
    assert "chmod 600" in caplog.text


def test_a_ledger_keeps_to_the_key_that_it_was_begun_with(tmp_path):
    with Ledger(tmp_path / "ledger.db") as ledger:
        check_key(ledger, Pseudonyms(KEY), tmp_path / "key")
        check_key(ledger, Pseudonyms(KEY), tmp_path / "key")
        with pytest.raises(SettingsError, match="Bring that key back"):
            check_key(ledger, Pseudonyms(KEY[::-1]), tmp_path / "key")
        check_key(ledger, Pseudonyms(KEY), tmp_path / "key")
