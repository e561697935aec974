#!/usr/bin/env bash
# Drives the Windows program that build.sh made, in a bare Windows 10 under Wine: no Python, no Visual
# C++ runtime, in a folder with a space and a letter that is not ASCII.
#
#   packaging/windows/test.sh [--flavour cpu|gpu|dml] [words for pytest]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
flavour=cpu
if [ "${1:-}" = --flavour ]; then flavour=$2; shift 2; fi
work=$PWD/build/windows
out=$PWD/dist/windows-$flavour
. packaging/windows/wine.sh
make_prefix "$work/prefix-clean" "$work/system32"
program="$WINEPREFIX/drive_c/Program Files/Klinik Müller/cxr-edge"
mkdir -p "$(dirname "$program")"
cp -rl "$out/cxr-edge" "$program"
installer=$(ls "$out"/*-setup.exe 2> /dev/null || true)
hold_on "$work/hold-clean"
trap hold_off EXIT
CXR_EDGE_BUNDLE=$program/cxr-edge.exe CXR_EDGE_INSTALLER=$installer \
  PYTHONUNBUFFERED=1 CXR_EDGE_WINDOWS_PYTHON=$work/python/python.exe \
  "$work/venv/bin/python" -m pytest tests/bundle "$@"
