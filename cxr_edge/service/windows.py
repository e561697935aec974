"""Under Windows: a service of the Service Control Manager, by pywin32.

https://learn.microsoft.com/windows/win32/services/service-control-manager
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import CxrEdgeError, SettingsError
from ..watch.places import kind_of
from .plan import (
    DEFAULT_NAME,
    DESCRIPTION,
    Plan,
    check_name,
    for_service,
    make_state_folders,
    places,
    program,
)

logger = logging.getLogger(__name__)

LOCAL_SERVICE = "NT AUTHORITY\\LocalService"
# First, second and every further failure within a day: a daemon that nobody looks after.
RESTART_AFTER_MS = (10_000, 60_000, 300_000)
RESET_FAILURES_S = 86_400
# Within 10 s of being asked to stop the service has ended, whatever a share is doing.
STOP_WITHIN_S = 9.0
# A wrong setting, model or site profile stays wrong.
_STAYS_WRONG = (2, 4, 8, 9)


def command_line(program: list[str], plan: Plan) -> str:
    """What the Service Control Manager runs, quoted as Windows programs take arguments apart."""
    words = [*program, "service", "run", "--name", plan.name, "--config", str(plan.config)]
    quoted = subprocess.list2cmdline(words)
    # An unquoted program's path with a space would be tried at each space (CWE-428).
    return quoted if quoted.startswith('"') else f'"{words[0]}"{quoted[len(words[0]) :]}'


def full_account(account: str) -> str:
    """The account as the Service Control Manager names it; LocalService where none is given."""
    if not account:
        return LOCAL_SERVICE
    return account if "\\" in account or "@" in account else f".\\{account}"


def service_program() -> tuple[list[str], dict[str, str]]:
    """The command that is cxr-edge, and what it needs in its environment.

    python.exe of a virtual environment only starts the real one, whose messages the Service
    Control Manager refuses; the real one finds the environment by a variable, as it does in
    multiprocessing (bpo-35797).
    """
    command = program()
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    if getattr(sys, "frozen", False) or base == sys.executable:
        return command, {}
    return [base, *command[1:]], {"__PYVENV_LAUNCHER__": sys.executable}


def describe(plan: Plan) -> str:
    """What `install` would set up, for a person."""
    delays = ", ".join(f"{delay // 1000} s" for delay in RESTART_AFTER_MS)
    lines = [
        f"Service      {plan.name}",
        f"Runs         {command_line(service_program()[0], plan)}",
        f"Account      {full_account(plan.account)}",
        "Starts       with Windows, after its own services (delayed)",
        f"Restarts     after a failure: {delays}, counted anew after a day",
        *(f"Writes into  {path} ({name})" for name, path in places(plan.settings)),
    ]
    return "\n".join(lines + warnings(plan))


def warnings(plan: Plan) -> list[str]:
    """What does not keep the service from being installed, and may keep it from working."""
    shares = [path for _, path in places(plan.settings) if kind_of(path) != "local"]
    if not shares or plan.account:
        return []
    return [
        f"{shares[0]} lies on a share, where {LOCAL_SERVICE} is nobody: name an account that has "
        "rights there, --user DOMAIN\\name --password-stdin."
    ]


def install(plan: Plan, password: str | None = None) -> list[str]:
    """Install the service, which starts with Windows from now on; what was done.

    Raises CxrEdgeError: no right to, or what Windows says.
    """
    _need_windows()
    if sys.platform == "win32":
        win32service, pywintypes = _pywin32()
        _need_administrator()
        command, environment = service_program()
        account = full_account(plan.account)
        make_state_folders(plan.settings)
        try:
            if plan.account:
                _let_log_on_as_service(account)
            manager = win32service.OpenSCManager(None, None, win32service.SC_MANAGER_ALL_ACCESS)
            try:
                service = _create_or_change(
                    manager, plan.name, command_line(command, plan), account, password
                )
                try:
                    _configure(service)
                finally:
                    win32service.CloseServiceHandle(service)
            finally:
                win32service.CloseServiceHandle(manager)
        except pywintypes.error as exc:
            raise _error(plan.name, exc) from exc
        _set_environment(plan, environment)
        folder = plan.settings.ledger_path.parent
        _let_only(account, folder)
        return [
            f"The service {plan.name} is installed and starts with Windows.",
            f"Only administrators and {account} may read {folder}.",
            *warnings(plan),
        ]
    return []


def start(name: str) -> None:
    """Start it and wait until it runs. Raises CxrEdgeError."""
    _control(name, "StartService")


def stop(name: str) -> None:
    """Raises CxrEdgeError."""
    _control(name, "StopService")


def status(name: str) -> tuple[bool, str]:
    """Whether it runs, and in words. Raises CxrEdgeError where it is not installed."""
    _need_windows()
    win32service, _ = _pywin32()
    state = _state(name)
    words = {
        win32service.SERVICE_STOPPED: "is stopped",
        win32service.SERVICE_START_PENDING: "is starting",
        win32service.SERVICE_STOP_PENDING: "is stopping",
        win32service.SERVICE_RUNNING: "runs",
    }
    text = f"The service {name} {words.get(state, f'is in state {state}')}."
    return bool(state == win32service.SERVICE_RUNNING), text


def remove(name: str) -> None:
    """Stop and forget it; what it has recorded stays. Raises CxrEdgeError."""
    running, _ = status(name)
    _need_administrator()
    if running:
        stop(name)
    _control(name, "RemoveService")


def host(name: str, config: Path, run: Callable[[Any, threading.Event], int]) -> None:
    """Be the service: return when the Service Control Manager has stopped it.

    run: cxr_edge.commands.watch.run. Raises CxrEdgeError where it was not started by the manager.
    """
    _need_windows()
    check_name(name)
    _, pywintypes = _pywin32()
    import servicemanager

    servicemanager.Initialize(name, servicemanager.__file__)
    servicemanager.PrepareToHostSingle(_service_class(name, config, run))
    try:
        servicemanager.StartServiceCtrlDispatcher()
    except pywintypes.error as exc:
        if exc.winerror == 1063:  # ERROR_FAILED_SERVICE_CONTROLLER_CONNECT
            raise CxrEdgeError(
                "Only Windows itself can run this.",
                f"Start the service: cxr-edge service start --name {name}",
            ) from exc
        raise _error(name, exc) from exc


def _service_class(name: str, config: Path, run: Callable[[Any, threading.Event], int]) -> Any:
    """The class that pywin32 makes a service of."""
    import servicemanager
    import win32service
    import win32serviceutil

    from ..watch.settings import load_settings

    stopping = threading.Event()

    class Service(win32serviceutil.ServiceFramework):  # type: ignore[misc]
        _svc_name_ = name
        _svc_display_name_ = name

        def GetAcceptedControls(self) -> int:
            more: int = win32service.SERVICE_ACCEPT_PRESHUTDOWN
            accepted: int = super().GetAcceptedControls()
            return accepted | more

        def SvcOtherEx(self, control: int, event: int, data: object) -> object:
            del event, data
            if control == win32service.SERVICE_CONTROL_PRESHUTDOWN:
                self.SvcStop()
            return 0

        def SvcStop(self) -> None:
            self.ReportServiceStatus(win32service.SERVICE_STOP_PENDING, waitHint=10_000)
            stopping.set()
            timer = threading.Timer(STOP_WITHIN_S, self._end_now)
            timer.daemon = True
            timer.start()

        SvcShutdown = SvcStop

        def SvcDoRun(self) -> None:
            exit_code = 1
            try:
                exit_code = run(for_service(load_settings(config)), stopping)
                said = f"The watcher ended with exit code {exit_code}."
            except CxrEdgeError as exc:
                exit_code, said = exc.exit_code, str(exc)
            except Exception as exc:
                logger.exception("The watcher has a fault.")
                # No more than its type: the event log is everyone's to read.
                said = f"The watcher has a fault: {type(exc).__name__}."
            if exit_code and not stopping.is_set():
                servicemanager.LogErrorMsg(said)
                if exit_code not in _STAYS_WRONG:
                    # Ending without a word is what the manager takes for a failure.
                    _end(exit_code)

        def _end_now(self) -> None:
            self.ReportServiceStatus(win32service.SERVICE_STOPPED)
            _end(0)

    return Service


def _end(exit_code: int) -> None:
    import os

    logging.shutdown()
    os._exit(exit_code)


def _need_windows() -> None:
    if sys.platform != "win32":
        raise CxrEdgeError("This is for Windows.", "Here cxr-edge is a unit of systemd.")


def _pywin32() -> tuple[Any, Any]:
    """win32service and pywintypes."""
    try:
        import pywintypes
        import win32service
    except ImportError as exc:
        raise CxrEdgeError("A service needs pywin32.", "pip install pywin32") from exc
    return win32service, pywintypes


def _need_administrator() -> None:
    if sys.platform == "win32":
        import ctypes

        if not ctypes.windll.shell32.IsUserAnAdmin():
            raise CxrEdgeError(
                "Only an administrator may change the services of this PC.",
                'Open a terminal with "Run as administrator" and run it there.',
            )


def _create_or_change(
    manager: Any, name: str, command: str, account: str, password: str | None
) -> Any:
    win32service, pywintypes = _pywin32()
    what = (
        win32service.SERVICE_WIN32_OWN_PROCESS,
        win32service.SERVICE_AUTO_START,
        win32service.SERVICE_ERROR_NORMAL,
        command,
        None,
        0,
        None,
        account,
        password,
    )
    shown = DEFAULT_NAME if name == DEFAULT_NAME else f"{DEFAULT_NAME} ({name})"
    try:
        return win32service.CreateService(
            manager, name, shown, win32service.SERVICE_ALL_ACCESS, *what
        )
    except pywintypes.error as exc:
        if exc.winerror != 1073:  # ERROR_SERVICE_EXISTS
            raise
    service = win32service.OpenService(manager, name, win32service.SERVICE_ALL_ACCESS)
    if "service run" not in win32service.QueryServiceConfig(service)[3]:
        win32service.CloseServiceHandle(service)
        raise SettingsError(
            f"The service {name} is not cxr-edge's.", "Choose another name with --name."
        )
    win32service.ChangeServiceConfig(service, *what, shown)
    return service


def _configure(service: Any) -> None:
    win32service, _ = _pywin32()
    change = win32service.ChangeServiceConfig2
    change(service, win32service.SERVICE_CONFIG_DESCRIPTION, DESCRIPTION)
    change(service, win32service.SERVICE_CONFIG_DELAYED_AUTO_START_INFO, True)
    change(
        service,
        win32service.SERVICE_CONFIG_FAILURE_ACTIONS,
        {
            "ResetPeriod": RESET_FAILURES_S,
            "RebootMsg": "",
            "Command": "",
            "Actions": [(win32service.SC_ACTION_RESTART, delay) for delay in RESTART_AFTER_MS],
        },
    )


def _set_environment(plan: Plan, environment: dict[str, str]) -> None:
    """What the service finds in its environment beside the system's."""
    if sys.platform == "win32":
        import winreg

        folder = plan.settings.ledger_path.parent
        values = {**environment, "CXR_EDGE_MODELS": str(folder / "models")}
        key_name = f"SYSTEM\\CurrentControlSet\\Services\\{plan.name}"
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key_name, 0, winreg.KEY_SET_VALUE) as key:
            lines = [f"{name}={value}" for name, value in values.items()]
            winreg.SetValueEx(key, "Environment", 0, winreg.REG_MULTI_SZ, lines)


def _let_log_on_as_service(account: str) -> None:
    import win32security

    name = account.removeprefix(".\\")
    sid, _, _ = win32security.LookupAccountName(None, name)
    policy = win32security.LsaOpenPolicy(None, win32security.POLICY_ALL_ACCESS)
    win32security.LsaAddAccountRights(policy, sid, ["SeServiceLogonRight"])
    win32security.LsaClose(policy)


def _let_only(account: str, folder: Path) -> None:
    """The ledger's folder is for the service and administrators: it holds names of files.

    Raises CxrEdgeError.
    """
    account = "*S-1-5-19" if account == LOCAL_SERVICE else account.removeprefix(".\\")
    rights = ["*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F", f"{account}:(OI)(CI)M"]
    icacls = PureWindowsPath(r"C:\Windows\System32\icacls.exe")
    done = subprocess.run(
        [str(icacls), str(folder), "/inheritance:r", "/grant:r", *rights, "/Q"],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CxrEdgeError(
            f"{folder} could not be kept for {account} alone.",
            "Give that account the right to change it, and nobody else to read it.",
        )


def _control(name: str, function: str) -> None:
    """Call one of win32serviceutil's functions; starting and stopping are waited for."""
    _need_windows()
    win32service, pywintypes = _pywin32()
    import win32serviceutil

    try:
        if function == "StopService":
            win32serviceutil.StopServiceWithDeps(name, waitSecs=15)
        else:
            getattr(win32serviceutil, function)(name)
        if function == "StartService":
            win32serviceutil.WaitForServiceStatus(name, win32service.SERVICE_RUNNING, 60)
    except pywintypes.error as exc:
        # As with systemd, what is so already is no error; nor is a service that has stopped faster
        # than it could answer.
        wanted = {
            "StartService": win32service.SERVICE_RUNNING,
            "StopService": win32service.SERVICE_STOPPED,
        }
        if function not in wanted or _state(name) != wanted[function]:
            raise _error(name, exc) from exc


def _state(name: str) -> int:
    """Raises CxrEdgeError."""
    _, pywintypes = _pywin32()
    import win32serviceutil

    try:
        return int(win32serviceutil.QueryServiceStatus(name)[1])
    except pywintypes.error as exc:
        raise _error(name, exc) from exc


def _error(name: str, exc: Any) -> CxrEdgeError:
    """What a winerror means to a person."""
    known = {
        5: (
            "Only an administrator may change the services of this PC.",
            'Open a terminal with "Run as administrator" and run it there.',
        ),
        1060: (
            f"There is no service {name} here.",
            "Install it: cxr-edge service install --config FILE",
        ),
        1069: (
            "The account could not log on.",
            "Install it again with its password: --user NAME --password-stdin",
        ),
        1072: (f"The service {name} is being removed.", "Close the list of services and wait."),
        1332: ("There is no such account.", "Give --user DOMAIN\\name or --user name."),
    }
    if exc.winerror in known:
        return CxrEdgeError(*known[exc.winerror])
    return CxrEdgeError(
        f"Windows refused it: {exc.strerror} ({exc.winerror}).",
        "See the event log (eventvwr), Windows Logs, Application and System.",
    )
