"""`cxr-edge serve`."""

import contextlib
import ipaddress
import platform
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingsError
from ..language import Message, _, language, told, why
from ..own_window import Window
from ..refusals import ACCEPTABLE
from .options import (
    NOT_FOR_DIAGNOSIS,
    chosen_model,
    csv_option,
    dialect_option,
    ledger_in_use,
    ledger_in_use_option,
    reading_options,
    terms_for,
)
from .shown import judged_by

if TYPE_CHECKING:
    from ..ledger import Ledger
    from ..result import Identifiers
    from ..watch.settings import Settings
    from ..web.guard import Rules
    from ..web.serving import Serving

_PORT = 8717
_STOP_S = 7
# Connections that may be open at a time; beyond, uvicorn answers 503 by itself.
_MAX_CONNECTIONS, _BACKLOG = 512, 128
_ALL_ADDRESSES = ("0.0.0.0", "::", "")
# Films that are decoded at a time for whoever looks at them.
_N_SHOWING = 2


@click.command(
    "serve",
    epilog="""\b
Examples:
  cxr-edge serve
  cxr-edge serve --watch /scans --csv results.csv
  cxr-edge serve --set-password anna
  cxr-edge serve --host 0.0.0.0 --certificate cert.pem --key key.pem
  cxr-edge serve --public-name xray.clinic.example

Without --host only this PC can reach the page. Another address needs a password or
a token first (--set-password, --new-token), and encryption: give --certificate and
--key, or leave the address as it is and put a server with TLS in front, such as
  caddy reverse-proxy --from xray.clinic.example --to 127.0.0.1:8717
with --public-name for the name that browsers then ask for.

\b
Exit codes:
  0  stopped
  2  wrong usage or settings; the port is taken
  4  the model file cannot be used
  5  the requested device cannot be had
  6  the ledger or the folder for uploads cannot be used
  7  another watcher reads the folder
  8  a file of cxr-edge itself is missing or damaged
  9  the site profile cannot be used
""",
)
@click.option(
    "--watch",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Read every radiograph that is or appears in this folder, too, as `watch` does.",
)
@csv_option(help="With --watch: append one row per radiograph of that folder to this file.")
@dialect_option
@ledger_in_use_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=_PORT, show_default=True)
@click.option(
    "--public-name",
    "public_names",
    multiple=True,
    metavar="NAME",
    help="A name that browsers know this server by, behind a server with TLS.",
)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="For TLS: the certificate with its chain, PEM.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The key of the certificate, PEM.",
)
@click.option(
    "--access",
    "access_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Who may come in, if not access.toml beside the ledger.",
)
@click.option("--set-password", metavar="NAME", help="Let NAME log in with a password, and end.")
@click.option(
    "--new-token", metavar="NAME", help="Make a token for a program, show it once, and end."
)
@click.option("--remove", metavar="NAME", help="Let NAME in no more, and end.")
@click.option(
    "--uploads",
    "uploads_path",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where uploaded films are kept, if not beside the ledger.",
)
@click.option("--forget-uploads", is_flag=True, help="Delete each uploaded film once it is read.")
@click.option(
    "--identifiers",
    type=click.Choice(["none", "pseudonym", "plain"]),
    default="none",
    show_default=True,
    help="Whether the ledger keeps DICOM identifiers of uploaded films, so that earlier films of "
    "the same patient are found.",
)
@click.option(
    "--max-upload-mb",
    type=click.IntRange(1, 512),
    default=128,
    show_default=True,
    help="What one request may bring.",
)
@click.option(
    "--queue",
    "n_places",
    type=click.IntRange(1, 1000),
    default=64,
    show_default=True,
    help="Films that may wait; who comes then is told to come again.",
)
@click.option(
    "--workers", "n_workers", type=click.IntRange(1), help="How many films are read at a time."
)
@click.option(
    "--open",
    "opens",
    is_flag=True,
    help="Open the page in the browser; where it is served already, do no more.",
)
@reading_options
@click.pass_obj
def command(
    window: Window | None,
    /,
    folder: Path | None,
    csv_path: Path | None,
    csv_dialect: str | None,
    ledger_path: Path | None,
    host: str,
    port: int,
    access_path: Path | None,
    set_password: str | None,
    new_token: str | None,
    remove: str | None,
    opens: bool,
    **options: Any,
) -> None:
    """Show films and findings in the browser, and answer programs.

    The page is on this PC and needs no network. It shows what `cxr-edge watch` has read into the
    ledger, and reads what is uploaded.
    """
    if csv_path is not None and folder is None:
        raise click.UsageError("--csv is for the films of --watch: name its folder.")
    if bool(options["certificate"]) != bool(options["key"]):
        raise click.UsageError("Give both --certificate and --key, or neither.")
    if options["certificate"]:
        _check_certificate(options["certificate"], options["key"])
    ledger_path = ledger_in_use(ledger_path).absolute()
    is_named = access_path is not None
    access_path = (access_path or ledger_path.with_name("access.toml")).absolute()
    if set_password or new_token or remove:
        _change_access(access_path, set_password, new_token, remove)
        return
    if is_named and not access_path.exists():
        # Without it nobody would have to log in.
        raise SettingsError(
            Message("There is no {path}.", path=access_path),
            Message("Set a password first: cxr-edge serve --set-password NAME"),
        )
    settings = None
    if folder is not None:
        settings = _settings(folder, csv_path, csv_dialect, ledger_path, options)
    if opens and settings is None and _is_served(host, port):
        click.launch(f"http://{_shown(host)}:{port}/")
        if window is not None:
            window.worth_reading = False  # the browser is
        return
    watching = _Watching(settings)
    sys.exit(_serve(host, port, ledger_path, access_path, watching, opens, options))


def _change_access(
    path: Path, set_password: str | None, new_token: str | None, remove: str | None
) -> None:
    from ..web import access

    if set_password:
        password = click.prompt(
            _("Password for {name}").format(name=set_password),
            hide_input=True,
            confirmation_prompt=True,
            err=True,
        )
        access.set_password(path, set_password, password)
    if new_token:
        click.echo(access.new_token(path, new_token))
        click.echo(_("Keep it: it is shown only now."), err=True)
    if remove:
        access.remove(path, remove)


def _check_certificate(certificate: Path, key: Path) -> None:
    """Raises SettingsError: they cannot be used, or not together."""
    import ssl

    try:
        # Without a password: nobody is there to be asked for one when a PC starts.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise SettingsError(
            Message("{certificate} and {key} cannot be used.", certificate=certificate, key=key),
            Message("Give a certificate and its key as PEM, the key without a password."),
        ) from exc


def _settings(
    folder: Path,
    csv_path: Path | None,
    csv_dialect: str | None,
    ledger_path: Path,
    options: dict[str, Any],
) -> "Settings":
    """Of the watcher beside the page."""
    from ..watch.settings import (
        CsvSettings,
        ModelSettings,
        PrivacySettings,
        Settings,
        WorkerSettings,
    )

    return Settings(
        folder.resolve(),
        ledger=ledger_path,
        csv=CsvSettings(csv_path and csv_path.absolute(), csv_dialect or "standard"),
        model=ModelSettings(
            options["model"] or "",
            options["device"],
            options["threshold"] or 0.0,
            accept=options["accepted"],
            profile=not options["no_profile"],
        ),
        workers=WorkerSettings(options["n_workers"] or 0),
        privacy=PrivacySettings(identifiers=options["identifiers"]),
    )


def _serve(
    host: str,
    port: int,
    ledger_path: Path,
    access_path: Path,
    watching: "_Watching",
    opens: bool,
    options: dict[str, Any],
) -> int:
    """Serve until a signal says that it is enough; the exit code."""
    from ..starting import starting

    with starting():
        import uvicorn

        from ..web.app import build_app

    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_listening(host, port))
        watching.check()
        serving = _serving(stack, ledger_path, access_path, host, watching, options)
        port = listening.getsockname()[1]
        rules = _rules(host, port, options)
        server = uvicorn.Server(
            uvicorn.Config(
                build_app(serving, rules),
                http="h11",
                ws="none",
                loop="asyncio",
                # What it logs would name the addresses that people look at.
                log_config=None,
                access_log=False,
                server_header=False,
                # A server in front says who asks; others could say anything.
                proxy_headers=bool(options["public_names"]) and _is_this_pc(host),
                forwarded_allow_ips="127.0.0.1",
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_graceful_shutdown=_STOP_S,
                ssl_certfile=options["certificate"],
                ssl_keyfile=options["key"],
            )
        )
        address = f"{rules.scheme}://{_shown(host)}:{port}/"
        _say_where(address, serving, host, options)
        if opens:
            click.launch(address)
        # uvicorn raises again the signal that ended it.
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: None)
        watching.start(lambda: setattr(server, "should_exit", True))
        stack.callback(watching.stop)
        server.run(sockets=[listening])
    click.echo(_("Stopped."), err=True)
    return 0


def _serving(
    stack: contextlib.ExitStack,
    ledger_path: Path,
    access_path: Path,
    host: str,
    watching: "_Watching",
    options: dict[str, Any],
) -> "Serving":
    """What the routes need; the stack lets go of it."""
    from ..batching import batching, n_workers_for
    from ..decoding import IsolatedDecoder
    from ..evidence import load_evidence
    from ..ledger import Ledger
    from ..watch.places import refuse_ledger_on_share
    from ..web.access import Access
    from ..web.audit import Audit
    from ..web.metrics import Metrics
    from ..web.pictures import Pictures
    from ..web.reading_queue import Decoders, ReadingQueue
    from ..web.serving import Serving
    from ..web.uploads import Uploads

    audit = Audit(ledger_path.with_name("audit.log"))
    access = Access(access_path, audit) if access_path.exists() else None
    if access is None and (options["public_names"] or not _is_this_pc(host)):
        raise SettingsError(
            Message("Others could reach the page, and nobody would have to log in."),
            Message("Set a password first: cxr-edge serve --set-password NAME"),
        )
    refuse_ledger_on_share(ledger_path)
    with Ledger(ledger_path) as ledger:
        disguise = _disguise(options["identifiers"], ledger)
    loaded = chosen_model(options["model"], options["device"], 1, heatmaps=True)
    model = batching(loaded, sys.maxsize)
    n_workers = options["n_workers"] or n_workers_for(model)
    keeps_identifiers = options["identifiers"] != "none"

    terms = terms_for(model, options["threshold"], options["accepted"], options["no_profile"])

    def decoders(n: int, accepted: frozenset[str]) -> Decoders:
        some = Decoders(
            lambda: IsolatedDecoder(
                model.card.input, accepted=accepted, with_identifiers=keeps_identifiers
            ),
            n,
        )
        some.start()
        return some

    folder = options["uploads_path"] or ledger_path.with_name("uploads")
    uploads = Uploads(folder, ledger_path, disguise, keeps=not options["forget_uploads"])
    stack.callback(uploads.close)
    # Of a form with large films Starlette makes temporary files; the system's folder for these may
    # lie in memory, and is no place for a patient's film.
    tempfile.tempdir = str(uploads.incoming)
    queue = ReadingQueue(
        model,
        terms,
        decoders(n_workers, terms.accepted),
        n_workers,
        options["n_places"],
    )
    stack.callback(queue.close)
    pictures = Pictures(ledger_path, model, decoders(_N_SHOWING, ACCEPTABLE), terms.profile)
    stack.callback(pictures.close)
    return Serving(
        ledger_path,
        model,
        queue,
        uploads,
        pictures,
        Metrics(model, lambda: queue.n_waiting, queue.n_places),
        audit,
        access,
        load_evidence(model.path, model.sha256),
        language(),
        lambda: watching.trouble,
        lambda: datetime.now(UTC),
        terms.profile,
    )


def _disguise(identifiers: str, ledger: "Ledger") -> "Callable[[Identifiers], Identifiers]":
    """What replaces identifiers before they are recorded, by the same key as `watch` does it."""
    if identifiers != "pseudonym":
        return lambda found: found
    from ..watch.pseudonym import Pseudonyms, check_key, load_key

    key_path = ledger.path.with_name("pseudonym.key")
    pseudonyms = Pseudonyms(load_key(key_path))
    check_key(ledger, pseudonyms, key_path)
    return pseudonyms.identifiers


@contextlib.contextmanager
def _listening(host: str, port: int) -> "Iterator[socket.socket]":
    """Raises SettingsError: the address cannot be had."""
    with contextlib.ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, kind, protocol, _name, address = found[0]
            listening = stack.enter_context(socket.socket(family, kind, protocol))
            if sys.platform == "win32":  # where others could have the same port, too
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)  # from here on who comes early waits, and is not refused
        except OSError as exc:
            raise SettingsError(
                Message(
                    "{host}, port {port}, cannot be had ({why}).",
                    host=host,
                    port=port,
                    why=why(exc),
                ),
                Message("Is cxr-edge running already? Or give another --port."),
            ) from exc
        yield listening


def _is_served(host: str, port: int) -> bool:
    """Whether cxr-edge is there already."""
    import json
    from http.client import HTTPConnection, HTTPException

    # Not urllib, which may ask a proxy.
    asked = HTTPConnection(_shown(host), port, timeout=5)
    try:
        asked.request("GET", "/healthz")
        return "n_waiting" in json.loads(asked.getresponse().read(4096))
    except (OSError, HTTPException, ValueError, TypeError):
        return False
    finally:
        asked.close()


def _rules(host: str, port: int, options: dict[str, Any]) -> "Rules":
    from ..web.guard import Rules

    # What the console says is the address is one.
    own_name = (_shown(host),) if host in _ALL_ADDRESSES else ()
    return Rules(
        port,
        tls=options["certificate"] is not None,
        public_names=(*options["public_names"], *own_name),
        any_address=not _is_this_pc(host),
        max_body_bytes=options["max_upload_mb"] * 1_000_000,
    )


def _is_this_pc(host: str) -> bool:
    """Whether only this PC reaches an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    """An address to listen on as it stands in a URL."""
    if host in _ALL_ADDRESSES:
        return platform.node() or "localhost"
    return f"[{host}]" if ":" in host else host


def _say_where(address: str, serving: "Serving", host: str, options: dict[str, Any]) -> None:
    card = serving.model.card
    lines = [
        _("Open {address} in the browser. {model} on {provider}. Ctrl-C to stop.").format(
            address=address, model=card.label, provider=serving.model.provider
        )
    ]
    if not _is_this_pc(host) and not options["certificate"]:
        lines.append(
            _(
                "What goes over the network can be read there: give --certificate and --key, or "
                "put a server with TLS in front (cxr-edge serve --help says how)."
            )
        )
    lines += [*judged_by(serving.profile), told(NOT_FOR_DIAGNOSIS)]
    click.echo("\n".join(lines), err=True)


class _Watching:
    """The watcher that runs beside the page, where one is asked for."""

    def __init__(self, settings: "Settings | None") -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    @property
    def trouble(self) -> str:
        """What has ended it; "" while it runs, or where none is asked for."""
        return "" if self._error is None else str(self._error)

    def check(self) -> None:
        """Raises what keeps it from starting, before anything is served."""
        if self._settings is not None:
            from .watch import run

            run(self._settings, self._stopping, check=True)

    def start(self, ended: Callable[[], object]) -> None:
        """ended: called when it has ended by itself, which it never should."""
        if self._settings is None:
            return
        self._thread = threading.Thread(target=self._run, args=(self._settings, ended))
        self._thread.start()

    def stop(self) -> None:
        """Raises what ended it before."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, settings: "Settings", ended: Callable[[], object]) -> None:
        from .watch import run

        try:
            run(settings, self._stopping)
        # `stop` raises it where it can be told.
        except Exception as exc:
            self._error = exc
        ended()
