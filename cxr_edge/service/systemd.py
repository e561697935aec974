"""Under systemd: installed and asked by systemctl, and telling systemd that all is well."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import CxrEdgeError, SettingsError
from .plan import Plan, make_state_folders, program
from .unit import MARK, Surroundings, unit_text

logger = logging.getLogger(__name__)

UNITS_FOLDER = Path("/etc/systemd/system")


def notify(state: str) -> None:
    """Tell systemd "READY=1", "WATCHDOG=1", "STOPPING=1" or "STATUS=..." (sd_notify(3)).

    A socket is opened only where systemd asked for it; nothing is raised.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if sys.platform == "win32" or not address.startswith(("/", "@")):
        return
    import socket

    if address.startswith("@"):  # an abstract name
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(1.0)
            channel.sendto(state.encode(), os.fsencode(address))
    except OSError as exc:
        logger.debug("systemd was not reached (%s).", exc.strerror)


def watchdog_interval_s() -> float | None:
    """How often to say "WATCHDOG=1": half of what systemd waits for; None where it does not wait.

    Source: sd_watchdog_enabled(3).
    """
    try:
        for_pid = int(os.environ.get("WATCHDOG_PID") or os.getpid())
        waits_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        return None
    return waits_s / 2 if waits_s > 0 and for_pid == os.getpid() else None


def describe(plan: Plan) -> str:
    """The unit's text."""
    return unit_text(plan, _surroundings(plan))


def install(plan: Plan) -> list[str]:
    """Write and enable the unit, which starts with the system from now on; what was done.

    Raises CxrEdgeError: no systemd, no right to, or an account that is not there.
    """
    text = describe(plan)
    _need_systemd()
    _need_root()
    owner = _account(plan.account)
    path = _unit_path(plan.name)
    if path.exists() and not _is_ours(path):
        raise SettingsError(
            f"{path} was not written by cxr-edge.", "Choose another name with --name."
        )
    _check_account(plan, *owner)
    try:
        for folder in make_state_folders(plan.settings):
            shutil.chown(folder, *owner)
        partial = path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as exc:
        raise CxrEdgeError(f"{path} cannot be written ({exc.strerror}).") from exc
    _systemctl("daemon-reload")
    _systemctl("enable", path.name)
    return [f"{path} is written and starts with the system."]


def start(name: str) -> None:
    """Raises CxrEdgeError."""
    _need_installed(name)
    _systemctl("start", f"{name}.service", next_step=f"See why: journalctl -u {name} -n 30")


def stop(name: str) -> None:
    """Raises CxrEdgeError."""
    _need_installed(name)
    _systemctl("stop", f"{name}.service")


def status(name: str) -> tuple[bool, str]:
    """Whether it runs, and what systemd says of it. Raises CxrEdgeError where it is not
    installed."""
    _need_installed(name)
    unit = f"{name}.service"
    runs = _run("is-active", "--quiet", unit).returncode == 0
    return runs, _run("status", "--no-pager", "--lines=0", unit).stdout.rstrip()


def remove(name: str) -> None:
    """Stop and forget it; what it has recorded stays. Raises CxrEdgeError."""
    _need_installed(name)
    path = _unit_path(name)
    if not _is_ours(path):
        raise SettingsError(f"{path} was not written by cxr-edge.", "Remove it by hand.")
    _systemctl("disable", "--now", path.name)
    try:
        path.unlink()
    except OSError as exc:
        raise CxrEdgeError(f"{path} cannot be removed ({exc.strerror}).") from exc
    _systemctl("daemon-reload")
    _run("reset-failed", path.name)  # an error where it had not failed


def _surroundings(plan: Plan) -> Surroundings:
    from ..doctor import installed_flavours

    device = plan.settings.model.device
    gpu = device == "cuda" or (device == "auto" and "onnxruntime-gpu" in installed_flavours())
    # A virtual environment's python is a link, and an editable installation lies elsewhere.
    parts = (Path(sys.executable).resolve(), Path(__file__).resolve())
    return Surroundings(tuple(program()), gpu, parts)


def _account(name: str) -> tuple[int, int]:
    """The user's and group's number of an account. Raises SettingsError where there is none."""
    if sys.platform == "win32":
        raise _no_systemd()
    import pwd

    try:
        found = pwd.getpwnam(name)
    except KeyError as exc:
        raise SettingsError(
            f"There is no account {name!r} here.",
            f"Make one: sudo useradd --system --shell /usr/sbin/nologin {name or 'cxr-edge'}",
        ) from exc
    return found.pw_uid, found.pw_gid


def _check_account(plan: Plan, user: int, group: int) -> None:
    """Raises SettingsError where the account cannot do what the service begins with."""
    if sys.platform == "win32":
        raise _no_systemd()
    import pwd

    groups = os.getgrouplist(pwd.getpwuid(user).pw_name, group)
    tries = {
        "run cxr-edge, which lies at " + program()[0]: [*program(), "--version"],
        f"read {plan.config}": ["test", "-r", str(plan.config)],
    }
    for what, command in tries.items():
        try:
            done = subprocess.run(
                command,
                cwd="/",
                user=user,
                group=group,
                extra_groups=groups,
                capture_output=True,
                check=False,
            ).returncode
        except OSError:
            done = 1
        if done:
            raise SettingsError(
                f"The account {plan.account!r} cannot {what}.",
                "Give it the right to, or put that where it may go: a home is often closed to "
                "other accounts.",
            )


def _unit_path(name: str) -> Path:
    return UNITS_FOLDER / f"{name}.service"


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    except OSError:
        return False


def _no_systemd() -> CxrEdgeError:
    return CxrEdgeError(
        "systemd does not run here, so there is nothing to be a service of.",
        "`cxr-edge service install --dry-run` prints the unit for a machine with systemd; here let "
        "whatever starts programs run `cxr-edge watch --config FILE`.",
    )


def _need_systemd() -> None:
    # sd_booted(3)
    if not Path("/run/systemd/system").is_dir() or not shutil.which("systemctl"):
        raise _no_systemd()


def _need_root() -> None:
    if sys.platform != "win32" and os.geteuid() != 0:
        raise CxrEdgeError(
            "Only root may change the services of this machine.",
            "Run it with sudo. The service itself runs as the account that --user names.",
        )


def _need_installed(name: str) -> None:
    _need_systemd()
    if not _unit_path(name).exists():
        raise CxrEdgeError(
            f"There is no service {name} here.",
            "Install it: cxr-edge service install --config FILE",
        )


def _run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemctl", *words], capture_output=True, text=True, errors="replace", check=False
    )


def _systemctl(*words: str, next_step: str = "") -> None:
    done = _run(*words)
    if done.returncode:
        denied = any(word in done.stderr.lower() for word in ("denied", "authentication"))
        raise CxrEdgeError(
            f"systemctl {' '.join(words)}: {done.stderr.strip() or done.returncode}",
            "Run it with sudo." if denied else next_step,
        )
