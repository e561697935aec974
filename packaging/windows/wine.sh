# Windows programs on Linux, without a screen; sourced by build.sh and test.sh.

export WINEDEBUG=-all WINEARCH=win64
unset DISPLAY WAYLAND_DISPLAY
# No Mono and no browser. Microsoft's C runtime before Wine's, which numpy cannot use. And never
# Wine's own Visual C++ runtime: a DLL that the bundle lacks must be missed, as on a bare PC.
export WINEDLLOVERRIDES="mscoree,mshtml=;ucrtbase=n,b;vcruntime140,vcruntime140_1,msvcp140,msvcp140_1,msvcp140_2,concrt140,vcomp140=n"

# make_prefix FOLDER SYSTEM32: a bare Windows 10 without Python and Visual C++ runtime.
# SYSTEM32: what Windows has there and Wine lacks, from assemble-python.sh.
make_prefix() {
  export WINEPREFIX=$1
  if [ -d "$1" ]; then   # nothing may run there any more
    wineserver -k 2> /dev/null || true
    timeout 60 wineserver -w || true
    rm -rf "$1"
  fi
  timeout 300 wineboot --init > /dev/null 2>&1 || { echo "Wine cannot make the prefix $1." >&2; return 1; }
  winrun timeout 60 wine winecfg -v win10
  # A crash ends a program; no debugger that waits for somebody.
  winrun wine reg add 'HKLM\Software\Microsoft\Windows NT\CurrentVersion\AeDebug' /v Auto /t REG_SZ /d 0 /f > /dev/null
  wineserver -w
  local system32=$WINEPREFIX/drive_c/windows/system32
  rm -f "$system32"/ucrtbase.dll "$system32"/{msvcp140,vcruntime140}*.dll "$system32"/{concrt140,vcomp140}.dll
  cp "$2"/*.dll "$system32/"
}

# stdin, stdout and stderr are pipes: Wine 8 gives CPython an invalid handle for a regular file.
winrun() {
  local rc=0
  set +o pipefail
  : | "$@" 2>&1 | cat
  rc=${PIPESTATUS[1]}
  set -o pipefail
  return "$rc"
}

# A waiting process keeps Wine's services up: without it each command costs another 3 s.
hold_on() {
  rm -f "$1"; mkfifo "$1"
  (wine cmd /c "set /p x=" < "$1" > /dev/null 2>&1 &)
  exec 9> "$1"
  sleep 3
}
hold_off() { exec 9>&-; timeout 60 wineserver -w || wineserver -k || true; }
