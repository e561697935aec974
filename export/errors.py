"""The one error of export."""

from cxr_edge.errors import CxrEdgeError


class ExportError(CxrEdgeError):
    """A model that must not be written, and what to do about it."""

    exit_code = 2
