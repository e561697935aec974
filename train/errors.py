"""The one error of training; the command line turns it into exit code 2."""

from cxr_edge.errors import CxrEdgeError


class TrainError(CxrEdgeError):
    """Data, checkpoint or settings that must not be trained on, and what to do about it."""

    exit_code = 2
