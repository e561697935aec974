"""int8 sums that saturate where a CPU adds pairs of products in 16 bits: AVX2 without VNNI.

The reason for 7-bit weights, and why depthwise convolutions may have 8 (export/quantize.py). An
older CPU is played by QEMU where it is installed.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from cxr_edge.golden import holds
from cxr_edge.model import shipped_models
from tests.conftest import ROOT
from tests.saturation_probe import errors

SAFE = ("depthwise, 8 bits", "dense 1x1, 7 bits", "dense 3x3, 7 bits")
# Haswell has AVX2, but no VNNI and no AVX-512; noTSX, since QEMU plays no transactions.
_OLD_CPU = "Haswell-noTSX"

old_cpu = pytest.mark.skipif(
    not shutil.which("qemu-x86_64"), reason="no qemu-x86_64 to play an older CPU"
)


def on_old_cpu(*arguments: str) -> str:
    outcome = subprocess.run(
        ["qemu-x86_64", "-cpu", _OLD_CPU, os.path.realpath(sys.executable), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_on_this_cpu_the_weights_that_are_shipped_give_exact_sums() -> None:
    found = errors()
    assert {kind: found[kind] for kind in SAFE} == dict.fromkeys(SAFE, 0)


@old_cpu
def test_without_vnni_8_bit_weights_saturate_but_for_depthwise_ones() -> None:
    found = json.loads(on_old_cpu("-m", "tests.saturation_probe"))
    assert {kind: found[kind] for kind in SAFE} == dict.fromkeys(SAFE, 0)
    # 255 * 127 * 2 in 16 bits becomes 32767: about half.
    assert found["dense 1x1, 8 bits"] > 50


@old_cpu
@pytest.mark.parametrize("name", shipped_models())
def test_without_vnni_a_shipped_model_still_says_what_it_said_where_it_was_made(name: str) -> None:
    # The model itself, not the fp32 twin that would step in.
    code = (
        "import sys; from cxr_edge import load_model; model = load_model(sys.argv[1], 'cpu', 1); "
        "print(model.path.name, model.drift())"
    )
    path, drift = on_old_cpu("-c", code, name).split()
    assert path == f"{name}.onnx"
    assert holds(float(drift))
