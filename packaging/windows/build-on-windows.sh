#!/usr/bin/env bash
# Builds the Windows program and its installer on Windows: Git's bash, a CPython 3.11 (python), NSIS.
#
#   packaging/windows/build-on-windows.sh cpu|gpu|dml
#
# The same bundle.py, pins, audit and installer as in build.sh, which does it on Linux, and the OpenCV
# that opencv.sh built there: its wheel is expected in build/windows/opencv/wheel.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
flavour=${1:?cpu, gpu or dml}
here=packaging/windows
work=build/windows
out=dist/windows-$flavour
mkdir -p "$work" "$out"
ls "$work"/opencv/wheel/*.whl > /dev/null || { echo "OpenCV's wheel is missing: see packaging/windows/opencv.sh" >&2; exit 1; }

python -m venv --clear "$work/tools"   # what bundles, lists and tests
"$work/tools/Scripts/pip" install -q -c constraints.txt ".[cpu,package]" pytest
python -m venv --clear "$work/venv"    # what the bundle is made of
"$work/venv/Scripts/pip" install -q --no-deps --only-binary=:all: --require-hashes \
  -r $here/pins.txt -r "$here/pins-$flavour.txt"
"$work/venv/Scripts/pip" install -q --no-deps "$work"/opencv/wheel/*.whl
"$work/venv/Scripts/pip" install -q --no-deps --no-build-isolation .
"$work/tools/Scripts/python" packaging/icon.py $here/cxr-edge.ico
"$work/tools/Scripts/python" packaging/bundle.py --out "$out" --work "$work/pyinstaller" \
  --sign "$PWD/$here/sign.sh" --site-packages "$work/venv/Lib/site-packages" \
  "$PWD/$work/venv/Scripts/python.exe"
tools_python=$work/tools/Scripts/python
. $here/finish.sh
audit
installer
