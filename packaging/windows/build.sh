#!/usr/bin/env bash
# Builds the Windows program and its installer on Linux (Debian 12), with Wine and NSIS.
#
#   packaging/windows/build.sh [--flavour cpu|gpu|dml] [--skip-apt] [--no-tests]
#
# dist/windows-FLAVOUR/ gets the program's folder, the installer and its sha256; build/ keeps what is
# worth keeping for the next time. PYTHON: a CPython 3.11.7 (python3 where nothing is said).
# Both are signed where there is a certificate, see sign.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
flavour=cpu; skip_apt=; tests=yes
while [ $# -gt 0 ]; do
  case $1 in
    --flavour) flavour=$2; shift ;;
    --skip-apt) skip_apt=yes ;;
    --no-tests) tests= ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  shift
done
case $flavour in cpu | gpu | dml) ;; *) echo "No such flavour: $flavour" >&2; exit 2 ;; esac

here=packaging/windows
work=$PWD/build/windows
out=dist/windows-$flavour
tools_python=$work/venv/bin/python
mkdir -p "$work" "$out"
. $here/wine.sh
: > "$work/timings.txt"
step() {
  local name=$1 start=$SECONDS; shift
  echo "== $name"
  "$@"
  printf '%5d s  %s\n' $((SECONDS - start)) "$name" | tee -a "$work/timings.txt"
}

apt_packages() {
  dpkg --add-architecture i386   # for wine32: an installer of NSIS is a 32-bit program, so that it can say
  apt-get update -q > "$work/apt.log" 2>&1   # on any Windows what is wrong
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    wine wine64 wine32:i386 nsis unzip gcc-mingw-w64-x86-64-win32 {gcc,g++}-mingw-w64-x86-64-posix mingw-w64-x86-64-dev \
    binutils nasm cmake ninja-build >> "$work/apt.log" 2>&1
}

linux_venv() {   # what builds and audits; the tests compare with what this Python says
  [ -x "$work/venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$work/venv"
  "$work/venv/bin/pip" install -q --disable-pip-version-check -c constraints.txt ".[cpu,package]" pytest wheel
}

opencv() { $here/opencv.sh "$work/opencv" "$work/venv/bin/python"; }

site_packages() {
  local target=$work/python/Lib/site-packages
  local install=("$work/venv/bin/pip" install -q --disable-pip-version-check --target "$target" --no-compile
    --platform win_amd64 --python-version 3.11 --implementation cp --only-binary=:all: --no-deps)
  rm -rf "$target" "$work/wheel"
  "${install[@]}" --require-hashes -r $here/pins.txt -r "$here/pins-$flavour.txt"
  "$work/venv/bin/pip" wheel -q --disable-pip-version-check --no-deps -w "$work/wheel" .
  rm -rf build/lib build/bdist*   # setuptools leaves them in the checkout
  "${install[@]}" "$work"/opencv/wheel/*.whl "$work"/wheel/cxr_edge-*.whl
}

bundle() {
  export WINEPREFIX=$work/prefix
  "$work/venv/bin/python" packaging/icon.py $here/cxr-edge.ico
  hold_on "$work/hold"
  "$work/venv/bin/python" packaging/bundle.py --out "$out" --work "$work/pyinstaller" \
    --sign "$PWD/$here/sign.sh" --site-packages "$work/python/Lib/site-packages" wine "$work/python/python.exe"
  hold_off
}

. $here/finish.sh

driven() {
  $here/test.sh --flavour "$flavour" -q > "$work/tests.log" 2>&1 || { tail -60 "$work/tests.log"; return 1; }
}

bytes() { find "$1" -type f -printf '%s\n' | awk '{ n += $1 } END { printf "%.1f MB", n / 1e6 }'; }

[ "$skip_apt" ] || step "Debian packages" apt_packages
step "Linux venv" linux_venv
step "Windows Python" $here/assemble-python.sh "$work" "$work/venv/bin/python"
step "OpenCV (once)" opencv
step "Windows packages" site_packages
step "Wine prefix" make_prefix "$work/prefix" "$work/system32"
step "PyInstaller, notices, SBOM, hashes" bundle
step "audit of DLL imports" audit
step "installer" installer
[ ! "$tests" ] || step "tests in a bare Windows" driven
{
  echo "cxr-edge for Windows, flavour $flavour:"
  echo "  program    $(bytes "$out"/cxr-edge) in $(find "$out/cxr-edge" -type f | wc -l) files"
  echo "  installer  $(bytes "$out"/*-setup.exe)"
  echo "  DLLs       $(tail -1 "$out/dll-audit.txt")"
  [ ! "$tests" ] || echo "  tests      $(grep -E '[0-9]+ passed' "$work/tests.log" | tail -1)"
  sed 's/^/  /' "$work/timings.txt"
} | tee "$out/summary.txt"
