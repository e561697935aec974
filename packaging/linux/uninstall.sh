#!/usr/bin/env bash
# Removes cxr-edge, with the services that run it.
#
#   /opt/cxr-edge/uninstall            (~/.local/opt/cxr-edge/uninstall)
#
#   --purge        also the settings, the ledger, installed models and logs of this machine or user
#
# Films and results lie where you chose, and stay in any case.
set -euo pipefail

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf '  -> %s\n' "$2" >&2; exit 1; }

main() {   # read as a whole before it deletes itself
  local target opt root home bin running purge= unit path kept=()
  case ${1-} in
    "") ;;
    --purge) purge=yes ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
  target=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  opt=$(dirname "$target")
  [ "$(basename "$target")" = cxr-edge ] && [ -x "$target/cxr-edge" ] ||
    fail "$target is not an installed cxr-edge." "Run the uninstall of the installed one."
  [ -w "$opt" ] || fail "$opt cannot be written to." "Run it with sudo."
  case $opt in
    */.local/opt)
      home=${opt%/.local/opt}; root=; bin=$home/.local/bin
      kept=("${XDG_DATA_HOME:-$home/.local/share}/cxr-edge"
        "${XDG_CONFIG_HOME:-$home/.config}/cxr-edge" "${XDG_CACHE_HOME:-$home/.cache}/cxr-edge") ;;
    */opt)
      root=${opt%/opt}; bin=$root/usr/local/bin
      kept=("$root"/{etc,var/lib,var/cache,var/log}/cxr-edge) ;;
    *) fail "$target is not where the installer puts it." "Delete it by hand." ;;
  esac
  for path in "$root"/etc/systemd/system/*.service; do
    [ -f "$path" ] && grep -qF "ExecStart=\"$target/cxr-edge\"" "$path" || continue
    unit=$(basename "$path" .service)
    "$target/cxr-edge" service remove --name "$unit"
  done
  running=$(find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$target/cxr-edge" 2> /dev/null | sed q) || true
  [ ! "$running" ] || fail "cxr-edge runs, as process $(basename "${running%/exe}")." \
    "End it, then run this again."
  [ "$(readlink "$bin/cxr-edge" || true)" != "$target/cxr-edge" ] || rm "$bin/cxr-edge"
  rm -rf "$target"
  say "cxr-edge is removed."
  for path in "${kept[@]}"; do
    [ -e "$path" ] || continue
    if [ "$purge" ]; then rm -rf "$path"; say "Deleted: $path"; else say "Left: $path"; fi
  done
}

main "$@"
exit
