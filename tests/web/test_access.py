"""Who may come in, how often anybody may try, and when a session ends."""

import http.cookies
import logging
import os
import sys
import threading
import tomllib

import pytest
from starlette.responses import Response

from cxr_edge.errors import RecordError, SettingsError
from cxr_edge.web.access import (
    Access,
    cookie_name,
    forget_session,
    keep_session,
    new_token,
    remove,
    set_password,
)
from cxr_edge.web.access_file import matches, read_people
from cxr_edge.web.attempts import Attempts
from cxr_edge.web.audit import Audit
from cxr_edge.web.problems import Problem

PASSWORD = "correct horse battery"
HERE = "10.0.0.7"
posix = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Counted:
    """Verifies, and counts how often."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self, hashed: str, secret: bytes) -> bool:
        self.n += 1
        return matches(hashed, secret)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An access file with anna's password and a token of a robot, as text, and that token."""
    path = tmp_path_factory.mktemp("access") / "access.toml"
    set_password(path, "anna", PASSWORD)
    token = new_token(path, "x-ray robot")
    return path.read_text(), token


@pytest.fixture
def path(tmp_path, made):
    path = tmp_path / "access.toml"
    path.touch(0o600)
    path.write_text(made[0])
    return path


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def access(path, clock, counted):
    return Access(path, Audit(path.with_name("audit.jsonl")), clock, counted)


def audited(access: Access) -> list[tuple[str, str]]:
    import json

    text = access.path.with_name("audit.jsonl").read_text()
    return [(line["action"], line["who"]) for line in map(json.loads, text.splitlines())]


# The file


def test_the_file_holds_names_and_hashes_and_no_secret(made):
    text, token = made
    people = tomllib.loads(text)["people"]
    assert people.keys() == {"anna", "x-ray robot"}
    assert people["anna"]["kind"] == "password"
    assert people["anna"]["hash"].startswith("$argon2id$v=19$m=65536,t=2,p=1$")
    assert people["x-ray robot"]["kind"] == "token"
    assert PASSWORD not in text
    assert token not in text
    assert token.removeprefix("cxre_")[:12] not in text


def test_a_token_has_256_random_bits_and_is_never_the_same(path, made):
    assert made[1].startswith("cxre_")
    assert len(made[1]) == len("cxre_") + 43
    assert new_token(path, "x-ray robot") != made[1]


@posix
def test_the_file_is_made_for_its_owner_alone_even_under_a_lax_umask(tmp_path):
    before = os.umask(0)
    try:
        set_password(tmp_path / "access.toml", "anna", PASSWORD)
    finally:
        os.umask(before)
    assert (tmp_path / "access.toml").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["access.toml"]


@posix
@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620])
def test_a_file_that_others_may_read_or_write_is_refused(path, mode):
    path.chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        Access(path, Audit(path.with_name("audit.jsonl")))
    with pytest.raises(SettingsError, match="chmod 600"):
        new_token(path, "another")


@pytest.mark.parametrize(
    "text",
    [
        "not TOML",
        "[people.anna]\nkind = 'password'",
        "[people.anna]\nkind = 'password'\nhash = 'DOE-secret'",
        "[people.anna]\nkind = 'password'\nhash = ['$argon2id$DOE-secret']",
        "[people.anna]\nkind = 'admin'\nhash = '$argon2id$v=19$m=65536,t=2,p=1$"
        + "a" * 22
        + "$"
        + "a" * 43
        + "'",
        # As much memory as there is.
        "[people.anna]\nkind = 'password'\nhash = '$argon2id$v=19$m=99999999,t=2,p=1$"
        + "a" * 22
        + "$"
        + "a" * 43
        + "'",
        "people = 3",
        "persons = {}",
    ],
)
def test_a_damaged_file_is_refused_without_showing_what_it_holds(path, text):
    path.write_text(text)
    with pytest.raises(SettingsError, match="damaged") as caught:
        read_people(path)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_without_a_file_nobody_comes_in_and_the_error_says_how_to_make_one(tmp_path):
    with pytest.raises(SettingsError, match="--set-password"):
        Access(tmp_path / "access.toml", Audit(tmp_path / "audit.jsonl"))


def test_a_name_that_is_gone_comes_in_no_more(access, path):
    remove(path, "anna")
    assert access.log_in("anna", PASSWORD, HERE) is None
    with pytest.raises(SettingsError, match="Nobody is called"):
        remove(path, "anna")


@pytest.mark.parametrize("name", ["", "a\nb", "a/b", "x" * 65, "<b>", "=cmd()"])
def test_what_cannot_be_a_name_is_refused(path, name):
    with pytest.raises(SettingsError, match="name"):
        set_password(path, name, PASSWORD)


@pytest.mark.parametrize("password", ["", "too short", "x" * 1001])
def test_a_password_that_is_too_short_or_endless_is_refused_and_not_shown(path, password):
    before = path.read_text()
    with pytest.raises(SettingsError) as caught:
        set_password(path, "anna", password)
    assert not password or password not in str(caught.value)
    assert path.read_text() == before


def test_names_and_passwords_of_any_language_work_however_they_are_typed(path, access):
    set_password(path, "Zoë Müller", "pâté de campagne")
    assert access.log_in("Zoe\u0308 Mu\u0308ller ", "pa\u0302te\u0301 de campagne", HERE)


# Passwords and sessions


def test_a_password_opens_a_session_of_its_name(access):
    session = access.log_in("anna", PASSWORD, HERE)
    assert access.of_session(session) == "anna"
    assert audited(access) == [("login", "anna")]


def test_another_password_or_name_opens_none(access):
    assert access.log_in("anna", PASSWORD + "x", HERE) is None
    assert access.log_in("anna", "", HERE) is None
    assert access.log_in("bert", PASSWORD, HERE) is None


def test_a_token_is_no_password(access, made):
    assert access.log_in("x-ray robot", made[1], HERE) is None


def test_an_unknown_name_takes_as_many_hashes_as_a_known_one(access, counted):
    for name in ("anna", "bert", "x-ray robot"):
        before = counted.n
        assert access.log_in(name, "wrong", HERE) is None
        assert counted.n == before + 1


def test_an_unknown_name_is_not_audited_for_it_may_be_a_password(access):
    access.log_in("anna", "wrong", HERE)
    access.log_in(PASSWORD, "anna", HERE)
    assert audited(access) == [("login_failed", "anna"), ("login_failed", "")]


def test_where_the_audit_cannot_be_written_nobody_comes_in(access, path, made):
    path.with_name("audit.jsonl").mkdir()
    with pytest.raises(RecordError):
        access.log_in("anna", PASSWORD, HERE)
    with pytest.raises(RecordError):
        access.of_token(made[1], HERE)
    assert access.of_known_token(made[1]) == ""
    assert access._sessions == {}


def test_what_was_not_given_out_here_is_no_session(access, path):
    """A session that an attacker has put into a browser stays worthless."""
    access.log_in("anna", PASSWORD, HERE, replaces="planted")
    for value in ("planted", "", "a" * 43, "\udcff"):
        assert access.of_session(value) == ""


def test_a_login_makes_a_new_session_and_ends_the_browsers_old_one(access):
    old = access.log_in("anna", PASSWORD, HERE)
    new = access.log_in("anna", PASSWORD, HERE, replaces=old)
    assert old != new
    assert access.of_session(old) == ""
    assert access.of_session(new) == "anna"


def test_a_session_ends_after_half_an_hour_of_rest(access, clock):
    session = access.log_in("anna", PASSWORD, HERE)
    clock.now_s += 29 * 60
    assert access.of_session(session) == "anna"
    clock.now_s += 29 * 60
    assert access.of_session(session) == "anna"
    clock.now_s += 30 * 60
    assert access.of_session(session) == ""
    clock.now_s -= 30 * 60
    assert access.of_session(session) == ""


def test_what_a_page_asks_by_itself_keeps_no_session_alive(access, clock):
    session = access.log_in("anna", PASSWORD, HERE)
    for _ in range(5):
        clock.now_s += 5 * 60
        assert access.of_session(session, active=False) == "anna"
    clock.now_s += 5 * 60
    assert access.of_session(session, active=False) == ""


def test_a_session_ends_after_twelve_hours_whatever_is_done(access, clock):
    session = access.log_in("anna", PASSWORD, HERE)
    for _ in range(36):
        assert access.of_session(session) == "anna"
        clock.now_s += 20 * 60
    assert access.of_session(session) == ""


def test_a_logout_ends_the_session_at_once(access):
    session, other = (access.log_in("anna", PASSWORD, HERE) for _ in range(2))
    access.log_out(session, HERE)
    access.log_out("unknown", HERE)
    assert access.of_session(session) == ""
    assert access.of_session(other) == "anna"
    assert audited(access)[2:] == [("logout", "anna")]


def test_sessions_of_a_name_are_bounded_and_the_one_at_rest_goes(access, clock):
    sessions = []
    for _ in range(21):
        sessions.append(access.log_in("anna", PASSWORD, HERE))
        clock.now_s += 1
        access.of_session(sessions[0])
    assert access.of_session(sessions[0]) == "anna"
    assert access.of_session(sessions[1]) == ""
    assert access.of_session(sessions[2]) == "anna"
    assert len(access._sessions) == 20


def test_a_changed_entry_ends_its_sessions_and_tokens_and_no_others(access, path, made):
    set_password(path, "bert", PASSWORD)
    anna, bert = (access.log_in(name, PASSWORD, HERE) for name in ("anna", "bert"))
    assert access.of_token(made[1], HERE) == "x-ray robot"
    set_password(path, "anna", PASSWORD)
    assert access.of_session(anna) == ""
    assert access.of_session(bert) == "bert"
    assert access.of_known_token(made[1]) == "x-ray robot"
    another = new_token(path, "x-ray robot")
    assert access.of_known_token(made[1]) == ""
    assert access.of_token(made[1], HERE) == ""
    assert access.of_token(another, HERE) == "x-ray robot"


def test_a_file_that_is_lost_or_damaged_while_it_runs_lets_nobody_in(access, path, made):
    session = access.log_in("anna", PASSWORD, HERE)
    access.of_token(made[1], HERE)
    for spoil in (lambda: path.write_text("["), path.unlink):
        spoil()
        with pytest.raises(SettingsError):
            access.of_session(session)
        with pytest.raises(SettingsError):
            access.of_known_token(made[1])
        with pytest.raises(SettingsError):
            access.log_in("anna", PASSWORD, HERE)
    path.touch(0o600)
    path.write_text(made[0])
    assert access.of_session(session) == "anna"


def test_an_unchanged_file_is_not_read_again(access, monkeypatch):
    session = access.log_in("anna", PASSWORD, HERE)
    monkeypatch.setattr("cxr_edge.web.access.read_people", pytest.fail)
    assert access.of_session(session) == "anna"


# Tokens


def test_a_token_is_verified_once_and_then_remembered(access, counted, made):
    assert access.of_known_token(made[1]) == ""
    assert access.of_token(made[1], HERE) == "x-ray robot"
    assert counted.n == 1
    assert access.of_known_token(made[1]) == "x-ray robot"
    assert counted.n == 1
    assert made[1] not in repr(access._tokens)


def test_what_is_no_token_here_is_refused(access, counted, made):
    wrong = made[1][:-1] + ("a" if made[1][-1] != "a" else "b")
    assert access.of_token(wrong, HERE) == ""
    assert counted.n == 1
    assert access.of_token(PASSWORD, HERE) == ""
    assert access.of_token("", HERE) == ""
    assert counted.n == 1, "what does not look like one takes no hash"
    assert access.of_known_token(wrong) == ""
    assert audited(access) == [("login_failed", "")] * 3


# How often anybody may try


def retry_s(attempt) -> int:
    with pytest.raises(Problem) as caught:
        attempt()
    assert (caught.value.status, caught.value.code) == (429, "too_many_attempts")
    return int(caught.value.headers["Retry-After"])


def test_after_five_failures_in_a_minute_an_address_waits_longer_each_time(access, clock, counted):
    def attempt(password: str = "wrong") -> str | None:
        return access.log_in("anna", password, HERE)

    for _ in range(5):
        assert attempt() is None
        clock.now_s += 5
    waits = [retry_s(attempt)]
    assert counted.n == 5
    assert retry_s(lambda: attempt(PASSWORD)) == waits[0], "not even the right one"
    for _ in range(8):
        clock.now_s += waits[-1]
        assert attempt() is None
        waits.append(retry_s(attempt))
    assert waits == [55, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    clock.now_s += 3600
    assert attempt(PASSWORD)


def test_other_addresses_go_on_and_a_network_of_ipv6_is_one(access):
    for n in range(5):
        access.log_in("anna", "wrong", f"2001:db8::{n}")
    assert retry_s(lambda: access.log_in("anna", PASSWORD, "2001:db8::ffff"))
    assert access.log_in("anna", PASSWORD, "2001:db8:0:1::1")
    assert access.log_in("anna", PASSWORD, HERE)


def test_failures_of_long_ago_are_forgotten(access, clock):
    for _ in range(8):
        assert access.log_in("anna", "wrong", HERE) is None
        clock.now_s += 16
    assert access.log_in("anna", PASSWORD, HERE)


def test_a_success_forgives_no_failures(access):
    for _ in range(4):
        access.log_in("anna", "wrong", HERE)
    assert access.log_in("anna", PASSWORD, HERE)
    access.log_in("anna", "wrong", HERE)
    assert retry_s(lambda: access.log_in("anna", PASSWORD, HERE))


def test_wrong_tokens_count_as_wrong_passwords_do(access, made):
    for _ in range(5):
        access.of_token("cxre_" + "a" * 43, HERE)
    assert retry_s(lambda: access.of_token(made[1], HERE))


def test_a_remembered_token_and_a_session_need_not_wait(access, made):
    session = access.log_in("anna", PASSWORD, HERE)
    access.of_token(made[1], HERE)
    for _ in range(5):
        access.log_in("anna", "wrong", HERE)
    assert access.of_known_token(made[1]) == "x-ray robot"
    assert access.of_session(session) == "anna"


def fail_once(attempts: Attempts, address: str) -> None:
    with attempts.trying(address) as failed:
        failed()


def test_failures_from_everywhere_make_all_wait_for_a_minute_at_most(clock):
    attempts = Attempts(clock, n_failures_in_all=20)
    for n in range(20):
        fail_once(attempts, f"10.0.0.{n}")
    assert retry_s(lambda: fail_once(attempts, "10.9.9.9")) == 60
    clock.now_s += 61
    fail_once(attempts, "10.9.9.9")


def test_no_more_run_at_once_than_may_fail(clock):
    attempts = Attempts(clock)
    fail_once(attempts, HERE)
    running = [attempts.trying(HERE) for _ in range(4)]
    for one in running:
        one.__enter__()
    assert retry_s(lambda: fail_once(attempts, HERE)) == 1
    for one in running:
        one.__exit__(None, None, None)
    fail_once(attempts, HERE)


def test_the_addresses_that_are_remembered_are_bounded(clock):
    attempts = Attempts(clock, n_failures_in_all=10**6)
    for n in range(10_500):
        fail_once(attempts, f"10.1.{n // 250}.{n % 250}")
    assert len(attempts._addresses) == 10_000


def test_only_two_hashes_are_made_at_a_time_for_their_memory(path, clock):
    running, most, changing, full = 0, 0, threading.Lock(), threading.Barrier(2)

    def slow(hashed: str, secret: bytes) -> bool:
        nonlocal running, most
        with changing:
            running += 1
            most = max(most, running)
        full.wait(30)
        with changing:
            running -= 1
        return False

    access = Access(path, Audit(path.with_name("audit.jsonl")), clock, slow)
    threads = [
        threading.Thread(target=access.log_in, args=("anna", "wrong", f"10.0.0.{n}"))
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


# What stays a secret


def test_no_secret_is_in_what_is_shown_of_an_object_or_logged(access, path, made, caplog):
    with caplog.at_level(logging.DEBUG):
        session = access.log_in("anna", PASSWORD, HERE)
        access.log_in("anna", "wrong password", HERE)
        access.of_token(made[1], HERE)
    shown = "".join(
        repr(one)
        for one in (access, vars(access), read_people(path), access._sessions, access._tokens)
    )
    audit = path.with_name("audit.jsonl").read_text()
    for secret in (PASSWORD, "wrong password", session, made[1], "$argon2id$"):
        assert secret not in caplog.text + shown + audit


@pytest.mark.parametrize("secure", [False, True])
def test_the_cookie_is_for_this_host_and_no_script(secure):
    response = Response()
    keep_session(response, "value", secure)
    cookie = http.cookies.SimpleCookie(response.headers["set-cookie"])[cookie_name(secure)]
    assert (cookie.value, cookie["path"], cookie["domain"]) == ("value", "/", "")
    assert cookie["httponly"] is True
    assert cookie["samesite"].lower() == "strict"
    assert bool(cookie["secure"]) == secure
    assert not cookie["max-age"], "it ends with the browser"
    assert cookie_name(secure) == ("__Host-" if secure else "") + "cxr_edge_session"


def test_a_forgotten_cookie_is_taken_back_under_the_same_name():
    response = Response()
    forget_session(response, True)
    cookie = http.cookies.SimpleCookie(response.headers["set-cookie"])[cookie_name(True)]
    assert cookie["max-age"] == "0"
    assert cookie["secure"] is True
