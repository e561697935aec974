"""`cxr-edge results`."""

import click

from ..language import Message
from ..own_window import Window


@click.command(
    "results",
    epilog="""\b
Example:
  cxr-edge results

\b
Exit codes:
  0  the table was opened
  1  there is none yet, or nothing here opens it
  2  the settings cannot be used
""",
)
@click.pass_obj
def command(window: Window | None) -> None:
    """Open the table of results that `cxr-edge start` writes, in a spreadsheet."""
    from ..errors import CxrEdgeError
    from ..remembered import of_service, remembered, results_file

    settings = remembered() or of_service()
    if settings is None:
        raise CxrEdgeError(
            Message("There are no results yet: no folder was chosen."),
            Message("Choose the folder of the X-rays: cxr-edge start"),
        )
    path = results_file(settings)
    if click.launch(str(path), wait=True):
        raise CxrEdgeError(
            Message("Nothing on this PC opens {path}.", path=path),
            Message("Open it in a spreadsheet, such as Excel or LibreOffice."),
        )
    if window is not None:
        window.worth_reading = False  # the spreadsheet is
