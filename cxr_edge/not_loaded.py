"""What to say where a part of the program does not load: which file is missing, and what to do.

A virus scanner that took a library away, a copy that was cut short, a PC without Microsoft's
runtime: Python tells of all of them in a traceback that names none of it.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ProgramError
from .language import Message

if TYPE_CHECKING:
    from .windows_dlls import Trouble

logger = logging.getLogger(__name__)

INSTALL_VISUAL_CPP = Message(
    "Install Microsoft's Visual C++ runtime 2015-2022 "
    "(x64, https://aka.ms/vs/17/release/vc_redist.x64.exe)."
)
INSTALL_AGAIN = Message(
    "Install cxr-edge again. Where a virus scanner has taken the file, have it leave out what "
    "`cxr-edge doctor` names."
)
_MAX_TEXT = 300


def not_loaded(
    exc: ImportError, folders: Sequence[Path] | None = None, system: Sequence[Path] | None = None
) -> ProgramError:
    """The error for a module that was not found or did not load.

    folders, system: see windows_dlls.troubles; those of this PC where nothing is given, and on
    Windows only.
    """
    logger.info("A module does not load.", exc_info=exc)
    first = _first(exc)
    said = " ".join(str(first).split()).rstrip(".")[:_MAX_TEXT]
    if sys.platform == "win32" or folders is not None:
        try:
            from .windows_dlls import search_folders, system_folders, troubles

            found = troubles(
                [Path(first.path)] if first.path else [],
                search_folders() if folders is None else folders,
                system_folders() if system is None else system,
            )
        except ImportError as of_pefile:  # it may be what is missing
            logger.info("What is missing cannot be found out (%s).", of_pefile)
            found = []
        if found:
            files = Message.joined((trouble.said for trouble in found), "; ")
            return ProgramError(
                Message("A part of cxr-edge does not load: {files}.", files=files), next_step(found)
            )
    return ProgramError(
        Message("A part of cxr-edge does not load ({why}).", why=said), INSTALL_AGAIN
    )


def next_step(found: "Sequence[Trouble]") -> str:
    """What to do about libraries that are missing or damaged."""
    if all(trouble.is_visual_cpp for trouble in found):
        return INSTALL_VISUAL_CPP
    return INSTALL_AGAIN


def _first(exc: ImportError) -> ImportError:
    """The one that the others were raised from: numpy wraps it in a page of advice."""
    while isinstance(exc.__cause__, ImportError):
        exc = exc.__cause__
    return exc
