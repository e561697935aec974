"""Every error that cxr-edge raises on purpose.

CxrEdgeError                exit code 1
├── RadiographError         3   one radiograph has no answer; the batch goes on
│   ├── UnreadableError         status "failed": the file could not be read
│   └── RefusedError            status "refused": it was read, and is nothing the model may judge
├── ModelError              4   the model file cannot be trusted or does not load
├── DeviceError             5   the requested execution provider cannot be had
├── RecordError             6   the results cannot be written
│   └── LedgerError             the ledger cannot be used
├── BusyError               7   another watcher reads the folder
├── ProgramError            8   a file of the program itself is missing or damaged
├── ProfileError            9   the site profile cannot be used
└── SettingsError           2   a setting is wrong

Usage errors exit with 2, as click's own do.
"""


class CxrEdgeError(Exception):
    """What went wrong, and the user's next step."""

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class RadiographError(CxrEdgeError):
    """One radiograph without an answer; `code` is a stable word for programs."""

    exit_code = 3
    status = "failed"

    def __init__(self, code: str, message: str, next_step: str) -> None:
        super().__init__(message, next_step)
        self.code = code

    def __str__(self) -> str:
        return f"{self.code}: {super().__str__()}"


class UnreadableError(RadiographError):
    """The file could not be read as an image."""

    status = "failed"


class RefusedError(RadiographError):
    """The image was read, and is not one that the model may judge."""

    status = "refused"


class ModelError(CxrEdgeError):
    """The model file cannot be trusted or does not load."""

    exit_code = 4


class DeviceError(CxrEdgeError):
    """The requested execution provider cannot be had on this machine."""

    exit_code = 5


class RecordError(CxrEdgeError):
    """The results cannot be written where they were asked for."""

    exit_code = 6


class LedgerError(RecordError):
    """The ledger cannot be opened, read or written."""


class BusyError(CxrEdgeError):
    """Another watcher reads the folder."""

    exit_code = 7


class ProgramError(CxrEdgeError):
    """A file of the program itself is missing or damaged, or a library that it needs."""

    exit_code = 8


class ProfileError(CxrEdgeError):
    """The site profile cannot be used: it was made for another model, edited, or is damaged."""

    exit_code = 9


class SettingsError(CxrEdgeError):
    """A configuration file or option that cannot be used."""

    exit_code = 2
