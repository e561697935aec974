"""What stands before all routes: who may ask, from where, how much, and what a browser may do with
the answer.

Against DNS rebinding (another site's name that leads here), requests that pages of other sites have
a browser make, script in a page, being framed, and bodies without end. OWASP ASVS 5, chapters 3, 7
and 8.
"""

import ipaddress
import re
from dataclasses import dataclass

import anyio
from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from ..errors import SettingsError
from ..language import Message
from .access import Access, cookie_name
from .problems import Page, Problem, answer, is_for_programs, problem_of

# Everything comes from this server, as files: no script and no style stands in a page itself.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would then say "Origin: null" of our own forms, and old ones nothing
    # at all.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), "
    "payment=(), usb=()",
}
_HSTS = "max-age=31536000"
_LOGIN = "/login"
# Without a login. What they show is the same for everybody.
_OPEN = re.compile(r"/static/.*|/login|/language|/healthz", re.DOTALL)
# The page asks for it all the time, with nobody before it.
_BY_ITSELF = "/live"
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,252}))(?::(\d{1,5}))?")
_PUBLIC_NAME = re.compile(rf"(?:(https?)://)?({_HOST.pattern})/?", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOCAL_PATH = re.compile(
    r"/(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]*(\?[A-Za-z0-9%&=._~+-]*)?", re.ASCII
)
_MAX_PATH = 500
# A body that comes more slowly is held up on purpose, or is of no use to anybody.
_SLOWEST_BYTES_PER_S = 1000
# So much is thrown away of what still comes after a refusal, as long as it keeps coming: a client
# that cannot finish sending never reads the answer.
_DRAINED_BYTES, _DRAINED_PAUSE_S = 256_000_000, 2.0


@dataclass(frozen=True)
class Rules:
    """What a server is asked as, and how much it takes.

    port: that it listens on. tls: whether it does so with TLS. public_names: what else browsers
    know it by, as clinic.example (here, or behind a server with TLS on its usual port),
    clinic.example:8443 (here) or https://clinic.example:8443 (behind a server with TLS).
    any_address: whether any address of the network, as 192.168.1.5, will do for a name; no
    rebinding comes by these. max_body_bytes: of the request to one of upload_paths, max_form_bytes:
    to others. body_s: how long a body may pause.
    """

    port: int
    tls: bool = False
    public_names: tuple[str, ...] = ()
    any_address: bool = False
    max_body_bytes: int = 128_000_000
    max_form_bytes: int = 100_000
    upload_paths: tuple[str, ...] = ("/v1/predict",)
    body_s: float = 30.0

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    def origins(self) -> dict[str, str]:
        """By what Host may say: the origin that pages have then. Raises SettingsError: a public
        name that is none."""
        found: dict[str, str] = {}
        # First come, first kept: localhost stays what it is, whatever the public names say.
        for name in ("localhost", "127.0.0.1", "[::1]"):
            _add(found, self.scheme, name, self.port)
        for public in self.public_names:
            parts = _PUBLIC_NAME.fullmatch(public)
            if parts is None:
                raise SettingsError(
                    f"{public!r} is no name of a server.",
                    "Give --public-name as clinic.example or https://clinic.example:8443.",
                )
            scheme, name, port = (parts[1] or "").lower(), parts[3], parts[5]
            if scheme:
                _add(found, scheme, name, int(port or _DEFAULT_PORTS[scheme]))
            elif port:
                _add(found, self.scheme, name, int(port))
            else:
                _add(found, self.scheme, name, self.port)
                _add(found, "https", name, _DEFAULT_PORTS["https"])
        return found


class Guard:
    """ASGI middleware, around everything else.

    What it lets through has in its scope `cxr_edge.who` (the name; "" where nobody has to log in or
    has yet) and `cxr_edge.secure` (whether the browser came by TLS, for cookies). WebSockets are
    refused.
    """

    def __init__(
        self, app: ASGIApp, rules: Rules, access: Access | None = None, page: Page | None = None
    ) -> None:
        """access: None where nobody has to log in. page: makes HTML of a problem. Raises
        SettingsError."""
        self._app = app
        self._rules = rules
        self._access = access
        self._page = page
        self._origins = rules.origins()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await self._guard(scope, receive, send)

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("app", self._app)  # an error's page may need its state
        scope["cxr_edge.who"], scope["cxr_edge.secure"] = "", self._rules.tls
        headers = Headers(scope=scope)
        body = _Body(scope, headers, receive, self._rules)
        try:
            origin = self._origin(scope, headers)
            scope["cxr_edge.secure"] = origin.startswith("https://")
            refusal = await self._refusal(scope, headers, origin)
            body.check()
        except Exception as exc:
            problem = problem_of(exc)
            refusal = answer(Request(scope), problem, self._page)
            origin = ""
        send = _with_headers(_finishing(send, body), _hsts(origin))
        if refusal is None:
            await self._run(scope, body, send)
        else:
            await refusal(scope, body.receive, send)

    async def _run(self, scope: Scope, body: "_Body", send: Send) -> None:
        """The application; what it makes of a body that was cut off is not sent."""
        begun = False

        async def unless_cut(event: Event) -> None:
            nonlocal begun
            if body.problem is None or begun:
                begun = True
                await send(event)

        try:
            await self._app(scope, body.receive, unless_cut)
        # What it made of half a body; the client is told below what became of the other half.
        except Exception:
            if body.problem is None:
                raise
        if body.problem is not None and not begun:
            refusal = answer(Request(scope), body.problem, self._page)
            await refusal(scope, body.receive, send)

    def _origin(self, scope: Scope, headers: Headers) -> str:
        """The origin that the browser's address line shows. Raises Problem."""
        if not scope["path"].startswith("/"):  # "GET http://elsewhere/" and "OPTIONS *"
            raise Problem(400, "bad_request", "The address of the request is none")
        hosts = headers.getlist("host")
        host = _host(hosts[0]) if len(hosts) == 1 else ""
        origin = self._origins.get(host, "")
        if not origin and self._rules.any_address and _is_address(host, self._rules):
            origin = f"{self._rules.scheme}://{host}"
        if not origin:
            raise Problem(
                421,
                "wrong_host",
                Message("This server does not go by that name"),
                "",
                Message("If it is to: name it with --public-name."),
            )
        return origin

    async def _refusal(self, scope: Scope, headers: Headers, origin: str) -> Response | None:
        """Where the browser is to go first, if anywhere. Raises Problem, CxrEdgeError."""
        if scope["method"] in _SAFE_METHODS:
            _refuse_foreign_reading(scope["path"], headers)
        else:
            _refuse_foreign_form(headers, origin)
        scope["cxr_edge.who"] = who = await self._who(scope, headers)
        path = scope["path"]
        if self._access is None or who or _OPEN.fullmatch(path):
            return None
        if is_for_programs(path):
            raise Problem(
                401,
                "login_needed",
                "A token or a login is needed",
                next_step="Send a token: Authorization: Bearer cxre_...",
                headers={"WWW-Authenticate": 'Bearer realm="cxr-edge"'},
            )
        # What was asked for in a query is not put into the address line a second time.
        back = local_path(path) if scope["method"] in ("GET", "HEAD") else "/"
        return RedirectResponse(f"{_LOGIN}?next={back}" if back != "/" else _LOGIN, 303)

    async def _who(self, scope: Scope, headers: Headers) -> str:
        """The name of whoever asks. Raises Problem (429), CxrEdgeError."""
        access = self._access
        if access is None:
            return ""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            token = token.strip()
            address = scope["client"][0] if scope.get("client") else ""
            return access.of_known_token(token) or await to_thread.run_sync(
                access.of_token, token, address
            )
        cookies = cookie_parser("; ".join(headers.getlist("cookie")))
        session = cookies.get(cookie_name(scope["cxr_edge.secure"]), "")
        return access.of_session(session, scope["path"] != _BY_ITSELF) if session else ""


def local_path(text: str) -> str:
    """Where to go after a login, if that is a path here, with a query or without; else "/".

    Browsers take "//", "/\\" and what holds tabs or line breaks for another site.
    """
    fits = len(text) <= _MAX_PATH and _LOCAL_PATH.fullmatch(text)
    return text if fits and text.partition("?")[0] not in (_LOGIN, "/logout") else "/"


class _Body:
    """The body of a request, which is cut off where it is too long or too slow; `problem` is then
    why, and the application is told that the client has gone."""

    def __init__(self, scope: Scope, headers: Headers, receive: Receive, rules: Rules) -> None:
        uploads = scope["path"] in rules.upload_paths
        self._max_bytes = rules.max_body_bytes if uploads else rules.max_form_bytes
        self._pause_s = rules.body_s
        self._receive = receive
        self._length = headers.get("content-length", "")
        self._waits_for_leave = "100-continue" in headers.get("expect", "").lower()
        self._n_bytes, self._waited_s = 0, 0.0
        self._is_begun = False
        self.problem: Problem | None = None
        self.is_whole = self._length in ("", "0") and "transfer-encoding" not in headers

    def check(self) -> None:
        """Raises Problem (413): it says by itself that it is too long."""
        if self._length and not re.fullmatch(r"[0-9]{1,18}", self._length):
            raise Problem(400, "bad_request", "The length of the body is none")
        if int(self._length or 0) > self._max_bytes:
            raise self._too_large()

    async def receive(self) -> Event:
        """For the application."""
        if self.problem is not None:
            return {"type": "http.disconnect"}
        if self.is_whole:
            return await self._receive()
        self._is_begun = True
        allowed_s = self._pause_s + self._n_bytes / _SLOWEST_BYTES_PER_S - self._waited_s
        begun_s = anyio.current_time()
        event: Event = {"type": "http.disconnect"}
        with anyio.move_on_after(min(self._pause_s, allowed_s)) as waiting:
            event = await self._receive()
        self._waited_s += anyio.current_time() - begun_s
        if waiting.cancelled_caught:
            self.problem = Problem(
                408, "too_slow", Message("It did not come in time"), "", Message("Try again.")
            )
            return event
        if event["type"] != "http.request":
            self.is_whole = True
            return event
        self._n_bytes += len(event.get("body", b""))
        self.is_whole = not event.get("more_body", False)
        if self._n_bytes > self._max_bytes:
            self.problem = self._too_large()
            return {"type": "http.disconnect"}
        return event

    async def throw_away(self) -> None:
        """What still comes of it, within bounds."""
        if self._waits_for_leave and not self._is_begun:
            return  # nothing was sent yet, and nothing will be
        n_bytes, going = 0, True
        with anyio.move_on_after(self._pause_s):
            while going and not self.is_whole and n_bytes < _DRAINED_BYTES:
                going = False
                with anyio.move_on_after(_DRAINED_PAUSE_S):
                    event = await self._receive()
                    n_bytes += len(event.get("body", b""))
                    self.is_whole = not event.get("more_body", False)
                    going = True

    def _too_large(self) -> Problem:
        limit = Message("At most {n} MB are taken here.", n=f"{self._max_bytes / 1e6:g}")
        return Problem(413, "too_large", Message("It is too large"), limit)


def _finishing(send: Send, body: _Body) -> Send:
    """Where a response is done before the request is, the client can finish sending and read it."""
    early = False

    async def finishing(event: Event) -> None:
        nonlocal early
        if event["type"] == "http.response.start":
            early = not body.is_whole
            if early:
                MutableHeaders(scope=event)["Connection"] = "close"
        if early and event["type"] == "http.response.body" and not event.get("more_body", False):
            await send({**event, "more_body": True})
            await body.throw_away()
            event = {"type": "http.response.body", "body": b"", "more_body": False}
        await send(event)

    return finishing


def _hsts(origin: str) -> str:
    """A browser then comes to this host with TLS only; to localhost not, as other servers have
    that name, too."""
    return _HSTS if origin.startswith("https://") and "//localhost" not in origin else ""


def _with_headers(send: Send, hsts: str) -> Send:
    async def with_headers(event: Event) -> None:
        if event["type"] == "http.response.start":
            headers = MutableHeaders(scope=event)
            headers.update(_HEADERS)
            # Files that are the same for everybody say otherwise.
            headers.setdefault("Cache-Control", "no-store")
            if hsts:
                headers["Strict-Transport-Security"] = hsts
        await send(event)

    return with_headers


def _refuse_foreign_reading(path: str, headers: Headers) -> None:
    """Another site may link to a page, and have nothing shown or loaded within its own.

    Raises Problem (403).
    """
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return
    links = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
        "navigate",
        "document",
    )
    if not links or is_for_programs(path):
        raise _foreign()


def _refuse_foreign_form(headers: Headers, origin: str) -> None:
    """What changes anything comes from a page of ours, or from no browser at all.

    Raises Problem (403).
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise _foreign()
    origins, referers = headers.getlist("origin"), headers.getlist("referer")
    if origins:
        ours = all(one.lower() == origin for one in origins)
    elif referers:
        ours = all(one.lower().startswith(f"{origin}/") for one in referers)
    else:
        # Of browsers only old ones say none of the three, for a page that wants to stay unknown.
        # PowerShell calls itself Mozilla, too, but no language.
        is_browser = "accept-language" in headers and "Mozilla/" in headers.get("user-agent", "")
        ours = "sec-fetch-site" in headers or not is_browser
    if not ours:
        raise _foreign()


def _foreign() -> Problem:
    return Problem(
        403,
        "foreign_page",
        Message("This was asked for by a page of another site"),
        "",
        Message("Open the page here, and try again."),
    )


def _host(text: str) -> str:
    """What Host says, always written the same way; "" where it makes no sense."""
    parts = _HOST.fullmatch(text)
    if parts is None:
        return ""
    name = _name(parts[1])
    return f"{name}:{int(parts[3])}" if name and parts[3] else name


def _name(text: str) -> str:
    if not text.startswith("["):
        return text.lower()
    try:
        return f"[{ipaddress.IPv6Address(text[1:-1])}]"
    except ValueError:
        return ""


def _is_address(host: str, rules: Rules) -> bool:
    """Whether it is an address of the network with the port that the server listens on."""
    name, port = host, _DEFAULT_PORTS[rules.scheme]
    if not host.endswith("]") and ":" in host:
        name, _, digits = host.rpartition(":")
        port = int(digits)
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return port == rules.port


def _add(origins: dict[str, str], scheme: str, name: str, port: int) -> None:
    """Let a name with a port in; without the port, too, where browsers leave it out."""
    name = _name(name)
    is_default = port == _DEFAULT_PORTS[scheme]
    origin = f"{scheme}://{name}" if is_default else f"{scheme}://{name}:{port}"
    origins.setdefault(f"{name}:{port}", origin)
    if is_default:
        origins.setdefault(name, origin)
