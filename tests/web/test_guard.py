"""The guard: which requests never reach a route, and what a browser may do with an answer."""

import socket
import threading
import time
from contextlib import contextmanager

import anyio
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.testclient import TestClient

from cxr_edge.errors import SettingsError
from cxr_edge.web.access import Access, new_token, set_password
from cxr_edge.web.audit import Audit
from cxr_edge.web.guard import CONTENT_SECURITY_POLICY, Guard, Rules, local_path
from cxr_edge.web.problems import Problem, install

PASSWORD = "correct horse battery"
HERE = "http://localhost:8717"
OLD_BROWSER = {"User-Agent": "Mozilla/5.0 (X11)", "Accept-Language": "fr"}


def small_app() -> FastAPI:
    """Routes at the addresses of the real ones; each that ran is in app.state.reached."""
    app = FastAPI(openapi_url=None)
    app.state.reached = []

    @app.api_route("/{path:path}", methods=["GET", "POST", "HEAD", "DELETE"])
    async def anything(request: Request, path: str):
        data = await request.body()
        app.state.reached.append(f"/{path}")
        if path == "static/page.css":
            return PlainTextResponse("", headers={"Cache-Control": "public, max-age=3600"})
        if path == "fault":
            raise KeyError("DOE^JANE")
        scope = request.scope
        return JSONResponse(
            {"who": scope["cxr_edge.who"], "secure": scope["cxr_edge.secure"], "n": len(data)}
        )

    install(app)
    return app


def client(
    rules: Rules | None = None, access: Access | None = None, base_url: str = HERE
) -> TestClient:
    guard = Guard(small_app(), rules or Rules(8717), access)
    return TestClient(guard, base_url=base_url, follow_redirects=False)


def reached(client: TestClient) -> list[str]:
    return client.app._app.state.reached


def refused(response, status: int, code: str) -> bool:
    """A problem, for programs; the same status, for people."""
    assert response.status_code == status
    if response.headers["content-type"] == "application/problem+json":
        assert response.json()["code"] == code
    return True


# By which name


@pytest.mark.parametrize(
    "host", ["localhost:8717", "127.0.0.1:8717", "[::1]:8717", "LOCALHOST:8717"]
)
def test_it_answers_to_its_own_names_with_its_port(host):
    assert client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8717",  # DNS rebinding
        "localhost",
        "localhost:8718",
        "localhost.evil.example:8717",
        "localhost.:8717",
        "localhost:8717@evil.example",
        "localhost:8717 evil.example",
        "[::2]:8717",
        "[::1]evil:8717",
        "[zz]:8717",
        "192.168.1.5:8717",
        "localhost:99999999",
        "lòcalhost:8717".encode(),
        "",
        "/",
    ],
)
def test_it_answers_to_no_other_name(host):
    for path in ("/", "/v1/results", "/healthz", "/static/page.css", "/login"):
        one = client()
        assert refused(one.get(path, headers={"Host": host}), 421, "wrong_host")
        assert reached(one) == []


def test_without_a_name_or_with_two_it_does_not_answer():
    one = client()
    for hosts in ([], [(b"host", b"localhost:8717"), (b"host", b"evil.example")]):
        status, _ = ask(one.app, headers=hosts)
        assert status == 421
    assert reached(one) == []


def test_an_address_of_ipv6_may_be_written_in_any_way():
    host = "[0:0:0:0:0:0:0:1]:8717"
    response = client().post("/", headers={"Host": host, "Origin": "http://[::1]:8717"})
    assert response.status_code == 200


def test_on_the_usual_port_browsers_leave_it_out():
    one = client(Rules(80))
    for host in ("localhost", "localhost:80"):
        headers = {"Host": host, "Origin": "http://localhost"}
        assert one.post("/", headers=headers).status_code == 200
    one = client(Rules(443, tls=True))
    headers = {"Host": "localhost", "Origin": "https://localhost"}
    assert one.post("/", headers=headers).status_code == 200
    assert one.post("/", headers=headers | {"Origin": "http://localhost"}).status_code == 403


@pytest.mark.parametrize(
    ("name", "host", "origin"),
    [
        ("xray.clinic.example", "xray.clinic.example", "https://xray.clinic.example"),
        ("xray.clinic.example", "xray.clinic.example:8717", "http://xray.clinic.example:8717"),
        ("X-RAY", "x-ray:8717", "http://x-ray:8717"),
        ("x-ray:9000", "x-ray:9000", "http://x-ray:9000"),
        ("https://x-ray:8443", "x-ray:8443", "https://x-ray:8443"),
        ("https://x-ray/", "x-ray", "https://x-ray"),
        ("http://x-ray", "x-ray", "http://x-ray"),
        ("[fd00::1]", "[fd00::1]:8717", "http://[fd00::1]:8717"),
    ],
)
def test_a_public_name_is_answered_to_and_has_its_own_origin(name, host, origin):
    one = client(Rules(8717, public_names=(name,)))
    headers = {"Host": host}
    assert one.post("/", headers=headers | {"Origin": origin}).status_code == 200
    assert one.post("/", headers=headers | {"Origin": HERE}).status_code == 403
    secure = one.get("/", headers=headers).json()["secure"]
    assert secure == origin.startswith("https")


@pytest.mark.parametrize("name", ["", "a b", "ftp://x-ray", "https://x-ray/films", "x:y", "*"])
def test_what_is_no_name_of_a_server_is_a_wrong_setting(name):
    with pytest.raises(SettingsError, match="--public-name"):
        Guard(small_app(), Rules(8717, public_names=(name,)))


def test_any_address_of_the_network_will_do_where_that_is_asked_for():
    one = client(Rules(8717, any_address=True))
    for host in ("192.168.1.5:8717", "[fd00::1]:8717"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert one.post("/", headers=headers).status_code == 200
    for host in ("192.168.1.5", "192.168.1.5:80", "evil.example:8717", "192.168.1:8717", "1:8717"):
        assert one.get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("target", ["http://evil.example/", "*", ""])
def test_an_address_that_is_no_path_is_refused(target):
    one = client()
    assert ask(one.app, path=target)[0] == 400
    assert reached(one) == []


def test_websockets_are_refused():
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(event):
        sent.append(event)

    anyio.run(client().app, {"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


# From which page


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:3000"},  # another program of this PC
        {"Origin": "https://localhost:8717"},
        {"Origin": "http://127.0.0.1:8717"},
        {"Origin": f"{HERE}.evil.example"},
        {"Referer": "https://evil.example/?http://localhost:8717/"},
        {"Referer": f"{HERE}.evil.example/"},
        {"Referer": f"{HERE}@evil.example/"},
        {"Origin": "null", "Referer": f"{HERE}/films/3"},
        {"Origin": HERE, "Sec-Fetch-Site": "cross-site"},
        {"Origin": HERE, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        OLD_BROWSER,
    ],
)
def test_what_a_page_of_another_site_sends_changes_nothing(headers):
    for path in ("/films/3/verdict", "/v1/films/3/verdicts", "/v1/predict", "/login", "/language"):
        one = client()
        response = one.post(path, headers=FORM | headers, content="verdict=agree")
        assert refused(response, 403, "foreign_page")
        assert one.delete(path, headers=headers).status_code == 403
        assert reached(one) == []


def test_two_origins_are_one_too_many():
    headers = [(b"host", b"localhost:8717"), (b"origin", HERE.encode()), (b"origin", b"null")]
    assert ask(client().app, "POST", headers=headers)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": HERE},
        {"Origin": HERE, "Sec-Fetch-Site": "same-origin", "Referer": f"{HERE}/films/3"},
        {"Referer": f"{HERE}/films/3"} | OLD_BROWSER,
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_what_a_page_of_its_own_sends_comes_through(headers):
    assert client().post("/films/3/verdict", headers=FORM | headers).status_code == 200


@pytest.mark.parametrize(
    "agent", ["curl/8.5.0", "Mozilla/5.0 (Windows NT; en-US) WindowsPowerShell/5.1"]
)
def test_programs_say_nothing_of_a_page_and_come_through(agent):
    response = client().post("/v1/predict", headers={"User-Agent": agent}, content=b"film")
    assert response.status_code == 200


NAVIGATION = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


def test_another_site_may_link_to_a_page_and_to_nothing_else():
    one = client()
    assert one.get("/films/3", headers=NAVIGATION).status_code == 200
    for path in ("/v1/results", "/films/3/pixels", "/films/3/thumbnail", "/live", "/metrics"):
        assert refused(one.get(path, headers=NAVIGATION), 403, "foreign_page")
    assert reached(one) == ["/films/3"]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unheard-of"])
@pytest.mark.parametrize(
    ("mode", "dest"),
    [("no-cors", "image"), ("no-cors", "script"), ("cors", "empty"), ("navigate", "iframe")],
)
def test_another_site_may_not_load_or_frame_anything(site, mode, dest):
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
    for path in ("/films/3", "/films/3/thumbnail", "/v1/results", "/static/page.css"):
        for method in ("GET", "HEAD"):
            assert client().request(method, path, headers=headers).status_code == 403


def test_no_site_is_allowed_to_ask_across_origins():
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    response = client().options("/v1/predict", headers=headers)
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]


# What a browser may do with the answer


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/films/3", {}, 200),
        ("/v1/results", {}, 200),
        ("/fault", {}, 500),
        ("/films/3", {"Host": "evil.example"}, 421),
        ("/static/page.css", NAVIGATION | {"Sec-Fetch-Dest": "iframe"}, 403),
    ],
)
def test_every_answer_has_the_headers_that_bind_a_browser(path, headers, status):
    response = client().get(path, headers=headers)
    assert response.status_code == status
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    expected = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "x-frame-options": "DENY",
        "cache-control": "no-store",
    }
    assert {name: response.headers.get(name) for name in expected} == expected
    assert "camera=()" in response.headers["permissions-policy"]
    assert "strict-transport-security" not in response.headers
    assert "DOE" not in response.text


def test_no_script_and_no_style_is_allowed_but_from_files_here():
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none';")
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY


def test_files_that_are_the_same_for_everybody_may_be_kept():
    response = client().get("/static/page.css")
    assert response.headers["cache-control"] == "public, max-age=3600"


def test_with_tls_a_browser_is_told_to_stay_with_it():
    one = client(Rules(443, tls=True, public_names=("x-ray",)))
    assert (
        "max-age=" in one.get("/", headers={"Host": "x-ray"}).headers["strict-transport-security"]
    )
    # By this name other servers go, too.
    response = one.get("/", headers={"Host": "localhost"})
    assert "strict-transport-security" not in response.headers


# How much


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read():
    one = client(Rules(8717, max_body_bytes=1000, max_form_bytes=100))
    assert one.post("/v1/predict", content=b"x" * 1000).json()["n"] == 1000
    assert refused(one.post("/v1/predict", content=b"x" * 1001), 413, "too_large")
    assert one.post("/films/3/verdict", content=b"x" * 100).json()["n"] == 100
    assert one.post("/login", content=b"x" * 101).status_code == 413
    assert reached(one) == ["/v1/predict", "/films/3/verdict"]
    response = one.post("/v1/predict", content=b"x" * 1001)
    assert response.json()["detail"] == "At most 0.001 MB are taken here."
    assert ask(one.app, "POST", headers=[*LOCAL, (b"content-length", b"-1")])[0] == 400
    assert ask(one.app, "POST", headers=[*LOCAL, (b"content-length", b"1" * 30)])[0] == 400


def test_a_stream_without_a_length_is_cut_off_at_the_limit():
    one = client(Rules(8717, max_body_bytes=1000))
    given = []

    def endless():
        for _ in range(1000):
            given.append(400)
            yield b"x" * 400

    response = one.post("/v1/predict", content=endless())
    assert refused(response, 413, "too_large")
    assert reached(one) == []


def test_what_a_route_makes_of_half_a_body_is_not_sent():
    """It may well have an error of its own for that, or none."""

    async def swallows(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        await PlainTextResponse("stored")(scope, receive, send)

    async def breaks(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        raise KeyError("half a film")

    for app in (swallows, breaks):
        guard = Guard(app, Rules(8717, max_body_bytes=10))
        status, body = ask(guard, "POST", "/v1/predict", LOCAL_STREAM, [b"x" * 8, b"x" * 8])
        assert status == 413
        assert b"too_large" in body


def test_a_body_that_pauses_or_trickles_is_given_up():
    for pause_s, n_pieces in ((5.0, 1), (0.03, 1000)):
        one = client(Rules(8717, body_s=0.1))
        begun_s = time.monotonic()
        status, body = ask(
            one.app, "POST", "/v1/predict", LOCAL_STREAM, [b"x"] * n_pieces, pause_s=pause_s
        )
        assert status == 408
        assert b"too_slow" in body
        assert time.monotonic() - begun_s < 3
        assert reached(one) == []


def test_waiting_for_the_end_of_a_request_that_is_whole_takes_as_long_as_it_likes():
    """As a streamed answer does, to learn whether the client is still there."""

    async def app(scope, receive, send):
        await receive()

        async def pieces():
            for _ in range(4):
                await anyio.sleep(0.05)
                yield b"x"

        await StreamingResponse(pieces())(scope, receive, send)

    guard = Guard(app, Rules(8717, body_s=0.1))
    assert ask(guard, headers=LOCAL) == (200, b"xxxx")


@contextmanager
def serving(guard: Guard):
    """A real server on a port of its own; gives the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # so that nobody comes too early
        server = uvicorn.Server(uvicorn.Config(guard, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def answer_of(connection: socket.socket) -> bytes:
    answer = b""
    while data := connection.recv(65536):
        answer += data
    return answer


def test_a_client_that_sends_all_before_it_listens_reads_the_refusal():
    size = 20_000_000
    with serving(Guard(small_app(), Rules(8717, max_body_bytes=1000))) as port:
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost:8717\r\n"
                + f"Content-Length: {size}\r\n\r\n".encode()
            )
            connection.sendall(b"x" * size)
            answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert b"too_large" in answer
        # One that asks before it sends is spared sending.
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost:8717\r\n"
                + f"Content-Length: {size}\r\nExpect: 100-continue\r\n\r\n".encode()
            )
            begun_s = time.monotonic()
            answer = answer_of(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert time.monotonic() - begun_s < 1.5


def test_a_client_that_sends_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr("cxr_edge.web.guard._DRAINED_BYTES", 1_000_000)
    sent = 0
    with (
        serving(Guard(small_app(), Rules(8717, max_body_bytes=1000))) as port,
        socket.create_connection(("127.0.0.1", port), 20) as connection,
    ):
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost:8717\r\n"
            b"Content-Length: 9000000000\r\n\r\n"
        )
        with pytest.raises(ConnectionError):
            while sent < 1_000_000_000:
                sent += connection.send(b"x" * 100_000)
    assert sent < 100_000_000


# Who


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("access") / "access.toml"
    set_password(path, "anna", PASSWORD)
    return path, new_token(path, "robot")


@pytest.fixture
def access(made, tmp_path):
    return Access(made[0], Audit(tmp_path / "audit.jsonl"))


def test_where_nobody_has_to_log_in_everybody_comes_through():
    assert client().get("/films/3").json() == {"who": "", "secure": False, "n": 0}


def test_without_a_login_pages_lead_to_it_and_programs_get_a_problem(access):
    one = client(access=access)
    for path, where in (
        ("/films/3", "/login?next=/films/3"),
        ("/", "/login"),
        ("/?text=DOE", "/login"),
        ("/films/DOE%5EJANE", "/login"),
    ):
        response = one.get(path)
        assert response.status_code == 303
        assert response.headers["location"] == where
    response = one.post("/films/3/verdict", headers={"Origin": HERE})
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    for path in ("/v1/results", "/films/3/pixels", "/live", "/metrics", "/openapi.json"):
        response = one.get(path)
        assert refused(response, 401, "login_needed")
        assert response.headers["www-authenticate"] == 'Bearer realm="cxr-edge"'
    assert reached(one) == []


def test_the_login_itself_needs_none(access):
    one = client(access=access)
    for path in ("/login", "/healthz", "/static/page.css"):
        assert one.get(path).status_code == 200
    for path in ("/login", "/language"):
        assert one.post(path, headers={"Origin": HERE}).status_code == 200
    for path in ("/login/../films/3", "/statics", "/static", "/healthz/films"):
        assert ask(one.app, path=path)[0] in (303, 401)


def test_a_session_says_who_asks(access):
    one = client(access=access)
    session = access.log_in("anna", PASSWORD, "10.0.0.7")
    headers = {"Cookie": f"other=1; cxr_edge_session={session}"}
    assert one.get("/films/3", headers=headers).json()["who"] == "anna"
    assert one.get("/login", headers=headers).json()["who"] == "anna"
    access.log_out(session, "10.0.0.7")
    assert one.get("/films/3", headers=headers).status_code == 303


def test_with_tls_a_session_counts_only_from_its_own_cookie(access):
    one = client(Rules(8717, tls=True), access, "https://localhost:8717")
    session = access.log_in("anna", PASSWORD, "10.0.0.7")
    cookie = f"cxr_edge_session={session}"
    assert one.get("/", headers={"Cookie": cookie}).status_code == 303
    assert one.get("/", headers={"Cookie": f"__Host-{cookie}"}).json() == {
        "who": "anna",
        "secure": True,
        "n": 0,
    }


def test_what_the_page_asks_by_itself_keeps_no_session_alive(access, monkeypatch):
    asked = []
    monkeypatch.setattr(access, "of_session", lambda value, active: asked.append(active) or "anna")
    one = client(access=access)
    for path in ("/live", "/films/3"):
        one.get(path, headers={"Cookie": "cxr_edge_session=x"})
    assert asked == [False, True]


def test_a_token_says_who_asks_and_a_wrong_one_is_refused_even_beside_a_session(access, made):
    one = client(access=access)
    for scheme in ("Bearer", "bearer"):
        headers = {"Authorization": f"{scheme} {made[1]}"}
        assert one.get("/v1/results", headers=headers).json()["who"] == "robot"
    session = access.log_in("anna", PASSWORD, "10.0.0.7")
    headers = {"Authorization": "Bearer cxre_no", "Cookie": f"cxr_edge_session={session}"}
    assert refused(one.get("/v1/results", headers=headers), 401, "login_needed")
    headers = {"Authorization": f"Basic {made[1]}"}
    assert refused(one.get("/v1/results", headers=headers), 401, "login_needed")


def test_who_guesses_tokens_is_told_to_wait(access):
    one = client(access=access)
    headers = {"Authorization": "Bearer cxre_" + "a" * 43}
    for _ in range(5):
        assert one.get("/v1/results", headers=headers).status_code == 401
    response = one.get("/v1/results", headers=headers)
    assert refused(response, 429, "too_many_attempts")
    assert int(response.headers["retry-after"]) > 50


def test_a_session_does_not_help_a_page_of_another_site(access):
    session = access.log_in("anna", PASSWORD, "10.0.0.7")
    headers = {"Cookie": f"cxr_edge_session={session}", "Origin": "null"}
    one = client(access=access)
    assert one.post("/films/3/verdict", headers=headers).status_code == 403
    assert reached(one) == []


def test_an_access_file_that_is_spoiled_lets_nobody_in(tmp_path):
    path = tmp_path / "access.toml"
    set_password(path, "anna", PASSWORD)
    access = Access(path, Audit(tmp_path / "audit.jsonl"))
    session = access.log_in("anna", PASSWORD, "10.0.0.7")
    path.write_text("[")
    one = client(access=access)
    headers = {"Cookie": f"cxr_edge_session={session}"}
    response = one.get("/v1/results", headers=headers)
    assert refused(response, 503, "settings_error")
    assert str(tmp_path) not in response.text
    assert one.get("/films/3").status_code == 303
    assert reached(one) == []


def test_people_are_refused_with_a_page(access):
    def page(request: Request, problem: Problem) -> PlainTextResponse:
        assert request.app.state.reached == []
        return PlainTextResponse(f"page: {problem.code}")

    guard = Guard(small_app(), Rules(8717), access, page)
    response = TestClient(guard, base_url="http://evil.example").get("/films/3")
    assert (response.status_code, response.text) == (421, "page: wrong_host")


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/.//evil.example",
        "/films//evil.example",
        "/%2f/evil.example",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/films/3#x",
        "/films/3?a\r\nSet-Cookie: x",
        "/films/3\n",
        "/fílms",
        "/" + "x" * 500,
        "",
        "/login",
        "/login?next=/login",
        "/logout",
    ],
)
def test_after_a_login_nobody_is_sent_anywhere_else(path, access):
    assert local_path(path) == "/"
    if path.startswith("/"):
        status, _, headers = ask(client(access=access).app, path=path, with_headers=True)
        assert status in (200, 303)
        assert headers.get(b"location", b"/login") == b"/login"


@pytest.mark.parametrize("path", ["/", "/films/3", "/films.csv", "/?finding=lung%20opacity&n=2"])
def test_after_a_login_people_are_where_they_wanted_to_go(path):
    assert local_path(path) == path


LOCAL = [(b"host", b"localhost:8717")]
LOCAL_STREAM = [*LOCAL, (b"transfer-encoding", b"chunked")]


def ask(
    app,
    method="GET",
    path="/",
    headers=LOCAL,
    body=(b"",),
    pause_s=0.0,
    with_headers=False,
):
    """Status and body of the answer to a request that no client would send: its pieces come with a
    pause before each but the first."""
    pieces = list(body)
    sent = []

    async def receive():
        if len(pieces) < len(body):
            await anyio.sleep(pause_s)
        if not pieces:
            await anyio.sleep_forever()
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces) or pause_s > 0}

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "client": ("10.0.0.9", 5000),
        "server": ("127.0.0.1", 8717),
        "scheme": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }
    anyio.run(app, scope, receive, send)
    answer = b"".join(event.get("body", b"") for event in sent)
    if with_headers:
        return sent[0]["status"], answer, dict(sent[0]["headers"])
    return sent[0]["status"], answer
