#!/usr/bin/env bash
# Builds the Linux program and packs it with its installer.
#
#   packaging/linux/build.sh            (PYTHON: a CPython 3.11 with shared library; else python3)
#
# dist/linux/ gets cxr-edge-VERSION-linux-x86_64.tar.gz and its .sha256; build/linux keeps the rest.
# The program runs where glibc is not older than the newest that one of its files asks for, which is
# mostly that of this machine: build on the oldest Linux that is to be served.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=packaging/linux
work=$PWD/build/linux
out=$PWD/dist/linux
python=${PYTHON:-python3}

if [ "$("$python" -c 'import sys, platform; print(sys.platform, platform.machine(), *sys.version_info[:2])')" != "linux x86_64 3 11" ]; then
  echo "$python is not a CPython 3.11 on x86-64 Linux, for which the pins are: name one with PYTHON=..." >&2
  exit 2
fi
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
export PYTHONHASHSEED=1   # so that PyInstaller's archives come out the same
unset PYTHONPATH          # nothing but what is pinned
mkdir -p "$work" "$out"

# What bundles and lists; nothing of it goes into the bundle.
"$python" -m venv --clear "$work/tools"
"$work/tools/bin/pip" install -q --disable-pip-version-check -c constraints.txt ".[package]"
# What the bundle is made of.
"$python" -m venv --clear "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps --only-binary=:all: \
  --require-hashes -r $here/pins.txt -r $here/pins-cpu.txt -r $here/pins-build.txt
"$work/venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation .
rm -rf build/lib build/bdist*   # setuptools leaves them in the checkout
"$work/tools/bin/python" packaging/bundle.py --out "$out" --work "$work/pyinstaller" \
  --site-packages "$work/venv/lib/python3.11/site-packages" "$work/venv/bin/python"

version=$("$out/cxr-edge/cxr-edge" --version | sed 's/.* //')
name=cxr-edge-$version-linux-x86_64
# The newest version of glibc's symbols that any of the files wants.
glibc=$({ find "$out/cxr-edge" -type f -exec objdump -p {} + 2> /dev/null || true; } |
  sed -n 's/.* GLIBC_\([0-9.]*\)$/\1/p' | sort -uV | tail -1)
[ "$glibc" ] || { echo "objdump (Debian: binutils) found no file that needs glibc." >&2; exit 1; }

rm -rf "${work:?}/package"
mkdir -p "$work/package/$name"
cp -a "$out/cxr-edge" "$work/package/$name/program"
cp $here/install.sh "$work/package/$name/"
cp $here/uninstall.sh "$work/package/$name/program/uninstall"
printf '%s\n' "version=$version" machine=x86_64 "glibc=$glibc" > "$work/package/$name/needs"
tar -C "$work/package" --sort=name --owner=0 --group=0 --numeric-owner \
  --mtime="@$SOURCE_DATE_EPOCH" -cf - "$name" | gzip -9n > "$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
echo "$(du -m "$out/$name.tar.gz" | cut -f1) MB, needs glibc $glibc: $out/$name.tar.gz"
