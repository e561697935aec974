"""The systemd unit of the watcher, as text (systemd.service(5), systemd.exec(5))."""

from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from ..errors import SettingsError
from ..watch.places import mounted_at
from ..watch.settings import Settings
from .plan import DESCRIPTION, Plan, places

MARK = "# Written by `cxr-edge service install`; it is written anew by the same command."
_HOMES = ("/home", "/root", "/run/user")
# Mount points that stay as long as the system runs.
_STAYING = frozenset(map(Path, ("/", "/home", "/root", "/var", "/var/lib", "/srv", "/opt", "/usr")))


@dataclass(frozen=True)
class Surroundings:
    """What of this machine the unit depends on.

    program: the command that is cxr-edge; parts: further places that it is made of. gpu: whether
    CUDA may be used.
    """

    program: tuple[str, ...]
    gpu: bool
    parts: tuple[Path, ...] = ()
    mountinfo: bytes | None = None


def unit_text(plan: Plan, around: Surroundings) -> str:
    """The unit. Raises SettingsError where a path cannot be written in one."""
    command = [*around.program, "watch", "--config", str(plan.config)]
    written = sorted({_writable(path, around) for _, path in places(plan.settings)})
    read = [plan.config, *_read(plan.settings), PurePosixPath(around.program[0]), *around.parts]
    in_tmp = any(map(_in_tmp, [*read, *written]))
    network = bool(plan.settings.notice.webhook or plan.settings.notice.email_to)
    lines = [
        MARK,
        "",
        "[Unit]",
        f"Description={DESCRIPTION}",
        "Documentation=man:systemd.service(5)",
        "After=local-fs.target remote-fs.target" + (" network-online.target" * network),
        *(["Wants=network-online.target"] if network else []),
        # It must come back whatever happened, without somebody who looks.
        "StartLimitIntervalSec=0",
        "# No RequiresMountsFor=: the watcher outlives a share that is away, and would otherwise",
        "# be stopped with it.",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"ExecStart={' '.join(map(_quoted, command))}",
        f"User={plan.account}",
        "# The model is loaded and proven first.",
        "TimeoutStartSec=300",
        "WatchdogSec=120",
        "Restart=on-failure",
        "RestartSec=15",
        "# A wrong setting, model or site profile stays wrong; a folder watched elsewhere becomes "
        "free.",
        "RestartPreventExitStatus=2 4 8 9",
        "TimeoutStopSec=20",
        "KillMode=mixed",
        "# It names each film, maybe by a patient's name; the journal gets the error stream.",
        "StandardOutput=null",
        "",
        "# What is kept without a user's folders.",
        f"StateDirectory={plan.name}",
        "StateDirectoryMode=0700",
        f"CacheDirectory={plan.name}",
        "CacheDirectoryMode=0700",
        f"LogsDirectory={plan.name}",
        "LogsDirectoryMode=0750",
        f"Environment=XDG_DATA_HOME=/var/lib XDG_CACHE_HOME=/var/cache/{plan.name}",
        f"Environment=CXR_EDGE_MODELS=/var/lib/{plan.name}/models",
        "# The group may read results and logs.",
        "UMask=0027",
        "",
        "# Nothing is written but these; - before one that may be absent.",
        "ProtectSystem=strict",
        *(f"ReadWritePaths={_quoted_path(path)}" for path in written),
        f"ProtectHome={'read-only' if any(map(_in_home, [*read, *written])) else 'yes'}",
        *(["PrivateTmp=no", "ReadWritePaths=/tmp /var/tmp"] if in_tmp else ["PrivateTmp=yes"]),
        "",
        *_NETWORK[network],
        "",
        *(_WITH_GPU if around.gpu else _WITHOUT_GPU),
        *_HARDENED,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


_NETWORK = {
    True: [
        "# Notices go over the network.",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ],
    False: [
        "# No network: nobody asked for notices. AF_UNIX is how it tells systemd that it lives;",
        "# shares are the kernel's to reach.",
        "PrivateNetwork=yes",
        "IPAddressDeny=any",
        "RestrictAddressFamilies=AF_UNIX",
    ],
}
_WITHOUT_GPU = ["PrivateDevices=yes", "MemoryDenyWriteExecute=yes"]
_WITH_GPU = ["# CUDA needs its devices, and compiles while it runs."]
_HARDENED = [
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "KeyringMode=private",
    "LockPersonality=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    "# Refused, not killed for it.",
    "SystemCallErrorNumber=EPERM",
]


def _read(settings: Settings) -> list[Path]:
    """Files that are only read."""
    model = Path(settings.model.name)  # or a model's name, which is no absolute path
    return [path for path in (model, settings.notice.smtp_password_file) if path]


def _writable(path: Path, around: Surroundings) -> Path:
    """What to name as writable so that `path` is.

    systemd binds a folder onto itself for that, and the service would see the same old share in it
    after that was unmounted and mounted again; a mount point it only marks as writable.
    """
    point, _ = mounted_at(path, around.mountinfo)
    return path if point in _STAYING else point


def _in_home(path: PurePath) -> bool:
    return any(path.is_relative_to(home) for home in _HOMES)


def _in_tmp(path: PurePath) -> bool:
    return path.is_relative_to("/tmp") or path.is_relative_to("/var/tmp")


def _quoted(word: str) -> str:
    """A word of ExecStart=."""
    _refuse_unwritable(word)
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _quoted_path(path: Path) -> str:
    """A path in ReadWritePaths=, where a backslash is one and quotes cannot be escaped."""
    text = str(path)
    _refuse_unwritable(text)
    quote = "'" if '"' in text else '"'
    if quote in text:
        raise SettingsError(f"{text} holds both kinds of quotes.", "Rename it.")
    return f"{quote}-{text.replace('%', '%%')}{quote}"


def _refuse_unwritable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        shown = ascii(text)
        raise SettingsError(
            f"systemd takes no name that is not UTF-8: {shown}.", "Rename it."
        ) from exc
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise SettingsError(f"{text!r} holds a control character.", "Rename it.")
