"""Nothing of what this program does is told to anybody.

onnxruntime reports to its maker, over the network, unless it is told not to before it starts;
FastAPI traces requests to whatever the environment names.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, SAMPLES

READ = "from cxr_edge.cli import main; import sys; sys.argv[1:] = ['predict', {film!r}]; main()"
EXPORT = "import export.ladder, onnxruntime; onnxruntime.InferenceSession({model!r})"
SERVE = "from cxr_edge.doctor.pc import cuda_of_onnxruntime; cuda_of_onnxruntime()"


@pytest.mark.skipif(sys.platform == "win32", reason="there it is Windows that is told")
@pytest.mark.parametrize("code", [READ, EXPORT, SERVE], ids=["predict", "export", "doctor"])
def test_nothing_is_made_ready_to_be_sent(tmp_path: Path, code: str) -> None:
    """What it would send it keeps in the user's cache, with an identifier of this device."""
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    where = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    model = ROOT / "cxr_edge" / "models" / "pneumonia-children.onnx"
    filled_in = code.format(film=str(SAMPLES / "normal-1.jpg"), model=str(model))
    subprocess.run([sys.executable, "-c", filled_in], cwd=ROOT, env=kept | where, check=True)
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
    assert not [name for name in files if "Microsoft" in name or name.endswith(".ses")]


def test_no_setting_of_the_environment_has_the_page_traced(tmp_path: Path) -> None:
    asked = {
        "OTEL_PROPAGATORS": "b3",  # which is not installed, and would end the import
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
    }
    code = "import cxr_edge.web.app, os; print([n for n in os.environ if n.startswith('OTEL_E')])"
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | asked,
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout.strip() == "[]"
