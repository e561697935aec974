#!/usr/bin/env bash
# Signs a Windows program with a certificate that is not part of this project.
#
#   sign.sh FILE
#
# CXR_EDGE_CERTIFICATE: a PKCS #12 file (.pfx), whose password is the first line of the file
# CXR_EDGE_CERTIFICATE_PASSWORD; CXR_EDGE_TIMESTAMP: the address of a time server, where there is a
# network. With osslsigncode, or signtool on Windows. Without a certificate nothing is signed, and said.
set -euo pipefail
file=$1
if [ -z "${CXR_EDGE_CERTIFICATE:-}" ]; then
  echo "not signed (no CXR_EDGE_CERTIFICATE): $file"
  exit 0
fi
password=${CXR_EDGE_CERTIFICATE_PASSWORD:?names the file with the password}
if command -v signtool > /dev/null; then
  stamp=(); [ -z "${CXR_EDGE_TIMESTAMP:-}" ] || stamp=(/tr "$CXR_EDGE_TIMESTAMP" /td sha256)
  MSYS_NO_PATHCONV=1 signtool sign /fd sha256 /f "$CXR_EDGE_CERTIFICATE" /p "$(head -1 "$password")" "${stamp[@]}" "$file"
else
  stamp=(); [ -z "${CXR_EDGE_TIMESTAMP:-}" ] || stamp=(-ts "$CXR_EDGE_TIMESTAMP")
  osslsigncode sign -h sha256 -pkcs12 "$CXR_EDGE_CERTIFICATE" -readpass "$password" -n cxr-edge \
    "${stamp[@]}" -in "$file" -out "$file.signed" > /dev/null
  mv "$file.signed" "$file"
fi
echo "signed: $file"
