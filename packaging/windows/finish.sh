# What both builds end with: the audit of the program's DLLs, and its installer. Sourced; wants
# $here (this folder), $out, $flavour and $tools_python.

audit() {
  if ! "$tools_python" packaging/audit.py "$out/cxr-edge" > "$out/dll-audit.txt"; then
    grep "NOT FOUND" "$out/dll-audit.txt"
    return 1
  fi
  tail -1 "$out/dll-audit.txt"
}

installer() {
  local version numbers name nsis=makensis
  # NSIS on Windows is not on the PATH.
  command -v makensis > /dev/null || nsis="/c/Program Files (x86)/NSIS/makensis.exe"
  version=$("$tools_python" -c 'import cxr_edge; print(cxr_edge.__version__)' | tr -d '\r')
  numbers=$(sed 's/[^0-9.].*//; s/$/.0.0.0.0/' <<< "$version" | cut -d. -f1-4)
  name=cxr-edge-$version-windows-x86_64-$flavour-setup.exe
  rm -f "$out"/*-setup.exe*
  # From the script's own folder: NSIS takes paths of the two systems apart in its own way.
  (cd $here && "$nsis" -V2 "-DVERSION=$version" "-DVERSION_NUMBERS=$numbers" \
    "-DPROGRAM=../../$out/cxr-edge" "-DOUT=../../$out/$name" installer.nsi)
  $here/sign.sh "$out/$name"
  (cd "$out" && sha256sum "$name" > "$name.sha256")
  echo "$(($(stat -c %s "$out/$name") / 1000000)) MB: $out/$name"
}
