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
    """Open the table of results in a spreadsheet: that of `cxr-edge start`, or of the service,
    whichever was written last."""
    from ..errors import CxrEdgeError
    from ..remembered import newest_results

    path = newest_results()
    if click.launch(str(path), wait=True):
        raise CxrEdgeError(
            Message("Nothing on this PC opens {path}.", path=path),
            Message("Open it in a spreadsheet, such as Excel or LibreOffice."),
        )
    if window is not None:
        window.worth_reading = False  # the spreadsheet is
