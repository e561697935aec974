"""SERVE: the page and the API over the ledger."""

import os

# FastAPI imports OpenTelemetry's interface, which takes its settings from the environment: it fails
# where one of them names a part that is not installed, and nothing of ours is to be traced.
for _name in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[_name]
os.environ["OTEL_PROPAGATORS"] = "none"
