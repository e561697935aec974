#!/usr/bin/env bash
# Installs cxr-edge, or puts this version in the place of the one that is there.
#
#   sudo ./install.sh        for everybody: /opt/cxr-edge, and the command in /usr/local/bin
#   ./install.sh             for yourself: ~/.local/opt/cxr-edge, ~/.local/bin
#
#   --service CONFIG         also run it as a service with these settings (see cxr-edge watch --example)
#   --account NAME           the account that the service runs as
#   --per-user               for yourself, even as root
#   --root DIR               below this folder, as for the image of a disk
#
# Settings, ledger, results and installed models are left as they are. A service that runs is stopped
# for it and started again. Where anything goes wrong, the version before stays, or comes back.
set -euo pipefail

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf '  -> %s\n' "$2" >&2; exit 1; }
usage() { sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=; config=; account=; per_user=
[ "$(id -u)" = 0 ] || per_user=yes
while [ $# -gt 0 ]; do
  case $1 in
    --service | --account | --root)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      case $1 in
        --service) config=$2 ;;
        --account) account=$2 ;;
        --root) root=${2%/} ;;
      esac
      shift ;;
    --per-user) per_user=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
if [ "$config" ]; then
  [ ! "$per_user" ] || fail "Only root may install a service." "Run it with sudo."
  [ "$account" ] || fail "--service needs the account that the service runs as." \
    "Add --account NAME; one of its own: sudo useradd --system --shell /usr/sbin/nologin cxr-edge"
  [ -r "$config" ] || fail "$config cannot be read." "Make one: cxr-edge watch --example > watch.toml"
  config=$(realpath "$config")
fi
if [ "$per_user" ]; then
  opt=$root$HOME/.local/opt; bin=$root$HOME/.local/bin
else
  opt=$root/opt; bin=$root/usr/local/bin
fi
units=$root/etc/systemd/system
target=$opt/cxr-edge; new=$opt/.cxr-edge-new; old=$opt/.cxr-edge-old

# --- Whether it can be done, before anything is changed.

need() { sed -n "s/^$1=//p" "$here/needs"; }
version_of() { "$1/cxr-edge" --version 2> /dev/null < /dev/null | sed 's/.* //'; }
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }
there() { local path=$1; while [ ! -e "$path" ]; do path=$(dirname "$path"); done; printf '%s' "$path"; }

[ -f "$here/needs" ] && [ -x "$here/program/cxr-edge" ] ||
  fail "$here is not whole: it lacks the program." "Unpack the archive again."
[ "$(uname -s) $(uname -m)" = "Linux $(need machine)" ] ||
  fail "This is for Linux on $(need machine), and this machine is $(uname -s) on $(uname -m)." \
    "Install from the sources with pip; see the README."
glibc=$(getconf GNU_LIBC_VERSION 2> /dev/null | sed 's/.* //') || true
[ "$glibc" ] || fail "This Linux has no glibc, which the program needs." \
  "Install from the sources with pip; see the README."
! older "$glibc" "$(need glibc)" ||
  fail "This Linux has glibc $glibc, and the program needs $(need glibc) or newer." \
    "Use a newer Linux (ldd --version tells its glibc), or install from the sources with pip."
if [ -e "$bin/cxr-edge" ] || [ -L "$bin/cxr-edge" ]; then
  [ "$(readlink "$bin/cxr-edge")" = "$target/cxr-edge" ] ||
    fail "$bin/cxr-edge is not of this installer." "Remove or rename it, then run this again."
fi
for folder in "$opt" "$bin"; do
  [ -w "$(there "$folder")" ] || fail "$folder cannot be written to." \
    "Run it with sudo, or without for yourself alone."
done
needed_kb=$(du -sk "$here/program" | cut -f1)
free_kb=$(df -Pk "$(there "$opt")" | awk 'NR == 2 { print $4 }')
[ "$free_kb" -gt $((needed_kb + needed_kb / 10)) ] ||
  fail "$opt has $((free_kb / 1024)) MB free, and $((needed_kb / 1024 + 1)) MB are needed." \
    "Make room there; nothing was changed."

mkdir -p "$opt" "$bin"
exec 9< "$opt"
flock -n 9 || fail "cxr-edge is being installed by somebody else." "Wait until that is done."

# --- The new version is made ready beside the old one, and proven.

stopped=(); swapped=
back() {   # whatever ended the script, the version before works again
  local status=$?
  trap - EXIT
  if [ "$swapped" ]; then
    rm -rf "$target"
    if [ -e "$old" ]; then mv "$old" "$target"; else rm -f "$bin/cxr-edge"; fi
  fi
  rm -rf "$new"
  for unit in ${stopped[@]+"${stopped[@]}"}; do systemctl start "$unit" || true; done
  [ ! -e "$target" ] || printf 'The version before, %s, is in place.\n' "$(version_of "$target")" >&2
  exit "$status"
}
# A power cut between the two renames below leaves the old version under its other name.
if [ -e "$old" ]; then
  if [ -e "$target" ]; then rm -rf "$old"; else mv "$old" "$target"; fi
fi
trap back EXIT
trap 'exit 130' INT TERM HUP

rm -rf "$new"
cp -R --preserve=mode,timestamps,links "$here/program" "$new"
chmod -R a+rX,go-w "$new"
(cd "$new" && sha256sum --check --quiet --strict _internal/files.sha256) ||
  fail "Files of the program are missing or damaged." "Get the archive again, and check its .sha256."
[ "$(version_of "$new")" = "$(need version)" ] ||
  fail "The new version does not run here: $("$new/cxr-edge" --version 2>&1 < /dev/null | tail -1)"

# --- The swap.

if command -v systemctl > /dev/null; then
  for path in "$units"/*.service; do
    [ -f "$path" ] && grep -qF "ExecStart=\"$target/cxr-edge\"" "$path" || continue
    unit=$(basename "$path")
    ! systemctl is-active --quiet "$unit" || { stopped+=("$unit"); systemctl stop "$unit"; }
  done
fi
running=$(find /proc -maxdepth 2 -path '/proc/[0-9]*/exe' -lname "$target/cxr-edge" 2> /dev/null | sed q) || true
[ ! "$running" ] || fail "cxr-edge runs, as process $(basename "${running%/exe}")." \
  "End it, then run this again."
before=; [ ! -e "$target" ] || before=$(version_of "$target") || true
swapped=yes
[ ! -e "$target" ] || mv "$target" "$old"
mv "$new" "$target"
ln -sfn "$target/cxr-edge" "$bin/cxr-edge"
[ "$(version_of "$bin")" = "$(need version)" ] || fail "The new version does not run from $target."
for unit in ${stopped[@]+"${stopped[@]}"}; do
  systemctl start "$unit" || fail "$unit does not start with the new version." \
    "See why: journalctl -u $unit -n 30"
done
trap - EXIT
rm -rf "$old"
say "cxr-edge $(need version) is installed in $target${before:+, in the place of $before}."
for unit in ${stopped[@]+"${stopped[@]}"}; do say "$unit runs again."; done
case :$PATH: in *:"$bin":*) ;; *) say "$bin is not in your PATH: call $bin/cxr-edge, or add it." ;; esac

if [ "$config" ]; then
  "$target/cxr-edge" service install --config "$config" --user "$account"
  "$target/cxr-edge" service start
fi
say "What works on this PC: cxr-edge doctor. To remove it: $target/uninstall"
