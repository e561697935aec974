"""Clients of small applications."""

import warnings

with warnings.catch_warnings():
    # It would rather have httpx2, and says so when it is first imported.
    warnings.simplefilter("ignore")
    import starlette.testclient  # noqa: F401
