#!/usr/bin/env bash
# Builds OpenCV for the Windows program, on Debian 12 with mingw-w64: of its own source only what the
# program uses, core, imgproc and imgcodecs (JPEG, PNG).
#
#   opencv.sh WORK LINUX_PYTHON        (a Python with pip and wheel; 15 minutes on two cores)
#
# WORK/wheel/ gets a wheel whose cv2.pyd has 15 MB, where that on PyPI has 86 (Intel's IPP, networks,
# videos, OpenCL, 20 codecs) and, linked to Media Foundation, does not load on Windows' N editions.
# What is done is not done again: each step leaves a mark in WORK/done.
#
# Decoding and INTER_AREA are those of the wheel to the bit; float INTER_LINEAR and INTER_CUBIC differ
# by up to 6e-5 of white, for want of IPP. A new `cv2.` call in cxr_edge may need another module here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1/done"
work=$(realpath "$1"); python=$(realpath --no-symlinks "$2")
opencv=$(sed -n 's/^opencv-python-headless==\([0-9.]*\).*/\1/p' "$here/opencv.txt")
numpy=$(sed -n 's/^numpy==\([0-9.]*\).*/\1/p' "$here/opencv.txt")
triplet=x86_64-w64-mingw32
cd "$work"

once() { [ -e "done/$1" ] || { echo "-- $1"; "$1"; touch "done/$1"; }; }

fetch() {
  rm -rf downloads; mkdir downloads
  "$python" -m pip download -q --disable-pip-version-check --no-deps --require-hashes --platform win_amd64 \
    --python-version 3.11 --implementation cp --only-binary=:all: --no-binary opencv-python-headless \
    -d downloads -r "$here/opencv.txt"
  # Python.h for Windows: Debian's source package has the tree as CPython's makers made it. With
  # lists of our own, for those of a machine seldom name sources.
  rm -rf apt; mkdir -p apt/sources apt/lists/partial apt/archives/partial
  local list
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] || continue
    sed 's/^Types: deb$/Types: deb-src/; s/^deb /deb-src /' "$list" > "apt/sources/$(basename "$list")"
  done
  local own=(-o Dir::Etc::sourcelist=- -o Dir::Etc::sourceparts="$work/apt/sources" -o APT::Sandbox::User=
    -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
  apt-get "${own[@]}" update -q > apt/log 2>&1
  (cd downloads && apt-get "${own[@]}" source --download-only --tar-only python3.11 >> ../apt/log 2>&1)
}

unpack() {
  rm -rf source python; mkdir -p source python
  tar xzf downloads/opencv_python_headless-"$opencv".tar.gz -C source --strip-components=1
  unzip -qo downloads/numpy-"$numpy"-*.whl 'numpy/_core/include/*' -d python
  tar xf downloads/python3.11_*.orig.tar.* -C python --strip-components=1 --wildcards \
    '*/Include/*' '*/PC/pyconfig.h' '*/PC/python3dll.c'
  cp python/PC/pyconfig.h python/Include/
  # imgproc needs a part of geometry and flann, the program does not: without their bindings the linker
  # leaves out what nothing uses (2.5 MB).
  local modules=source/opencv/modules
  sed -i -E '/WRAP/{s/ WRAP python\)/)/; s/ python( |\)|$)/\1/}' $modules/{geometry,flann}/CMakeLists.txt
  if grep -HE 'WRAP.* python' $modules/{geometry,flann}/CMakeLists.txt; then return 1; fi
  sed -i '/^typedef .*vector_MSTEdge;/d' $modules/python/src2/cv2.cpp   # a type of geometry's
  # What python3.dll exports, so that nothing outside the stable ABI is linked by accident.
  { echo "LIBRARY python3.dll"; echo EXPORTS
    sed -nE 's/^EXPORT_FUNC\((\w+)\).*/  \1/p; s/^EXPORT_DATA\((\w+)\).*/  \1 DATA/p' python/PC/python3dll.c; } > python/python3.def
  $triplet-dlltool -d python/python3.def -l python/libpython3.dll.a
}

configure() {
  cat > toolchain.cmake <<C
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR AMD64)
set(CMAKE_C_COMPILER $triplet-gcc-posix)
set(CMAKE_CXX_COMPILER $triplet-g++-posix)
set(CMAKE_RC_COMPILER $triplet-windres)
set(CMAKE_FIND_ROOT_PATH /usr/$triplet)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
C
  rm -rf build
  # -muse-unaligned-vector-move: on 64-bit Windows GCC does not align the stack as AVX wants it, and
  # stores there as if it had (GCC bug 54412): a crash on any PC with AVX2. `audit` looks that none is left.
  local flags="-Wa,-muse-unaligned-vector-move -ffile-prefix-map=$work/source/opencv=opencv -ffile-prefix-map=$work/build=build"
  # Everything of GCC's inside, so that it imports python3.dll and Windows' own DLLs only.
  local link="-static -static-libgcc -static-libstdc++ -Wl,--gc-sections -Wl,--no-insert-timestamp -s"
  local options=(
    -G Ninja -DCMAKE_TOOLCHAIN_FILE="$work/toolchain.cmake" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$work/installed"
    -DCMAKE_C_FLAGS="$flags" -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_MODULE_LINKER_FLAGS="$link"
    -DCMAKE_SHARED_LINKER_FLAGS="$link" -DCMAKE_EXE_LINKER_FLAGS=-static
    -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG"   # -O3, OpenCV's own, adds 3 MB; the codecs are C, and keep it
    -DBUILD_LIST=core,imgproc,imgcodecs,python3 -DBUILD_SHARED_LIBS=OFF -DINSTALL_CREATE_DISTRIB=ON
    -DBUILD_opencv_{apps,java,js,python2}=OFF -DBUILD_opencv_python3=ON
    -DBUILD_{TESTS,PERF_TESTS,EXAMPLES,DOCS,JAVA}=OFF
    # What a cross build cannot ask.
    -DPYTHON3_EXECUTABLE="$python" -DPYTHON_DEFAULT_EXECUTABLE="$python" -DPYTHON3_LIMITED_API=ON
    -DPYTHON3_INCLUDE_DIR="$work/python/Include" -DPYTHON3_INCLUDE_PATH="$work/python/Include"
    -DPYTHON3_LIBRARY="$work/python/libpython3.dll.a" -DPYTHON3_LIBRARIES="$work/python/libpython3.dll.a"
    -DPYTHON3_NUMPY_INCLUDE_DIRS="$work/python/numpy/_core/include" -DPYTHON3_CVPY_SUFFIX=.pyd -DOPENCV_PYTHON3_INSTALL_PATH=python
    # The wheel's processors, but for AVX-512, which serves nothing that the program does.
    -DCPU_BASELINE=SSE3 -DCPU_DISPATCH=SSE4_1,SSE4_2,AVX,FP16,AVX2
    -DWITH_JPEG=ON -DBUILD_JPEG=ON -DENABLE_LIBJPEG_TURBO_SIMD=ON -DWITH_PNG=ON -DBUILD_PNG=ON -DBUILD_ZLIB=ON
    -DWITH_{TIFF,WEBP,OPENJPEG,JASPER,OPENEXR,AVIF,JPEGXL,GDAL,GDCM}=OFF
    -DWITH_IMGCODEC_{GIF,HDR,SUNRASTER,PXM,PFM}=OFF
    -DWITH_{IPP,ITT,OPENCL,OPENCL_D3D11_NV,DIRECTX,DIRECTML,LAPACK,EIGEN,PROTOBUF,FLATBUFFERS,UNIFONT}=OFF
    -DWITH_{WIN32UI,FFMPEG,GSTREAMER,DSHOW,MSMF,OBSENSOR,VA,1394}=OFF -DBUILD_ITT=OFF -DBUILD_CLAPACK=OFF
    -DCV_TRACE=OFF -DWITH_PTHREADS_PF=ON -DPARALLEL_ENABLE_PLUGINS=OFF -DOPENCV_GENERATE_SETUPVARS=OFF
  )
  cmake -S source/opencv -B build "${options[@]}" > configure.log 2>&1 || { tail -40 configure.log; return 1; }
  grep -q 'SIMD Support: *YES' configure.log || { echo "libjpeg-turbo has no SIMD: is nasm there?"; return 1; }
}

compile() { ninja -C build > compile.log 2>&1 || { grep -nE 'FAILED|error' compile.log | head -20; return 1; }; }

# The folder that PyPI's wheel has: the loader, its settings, the .pyd beside them.
pack() {
  rm -rf installed tree wheel; mkdir -p tree wheel
  ninja -C build install > install.log 2>&1
  cp -r installed/python/cv2 tree/cv2
  find tree/cv2 -name cv2.pyd ! -path tree/cv2/cv2.pyd -exec mv {} tree/cv2/ \;
  find tree/cv2 -type d -empty -delete
  rm -f tree/cv2/load_config_py2.py
  cp source/scripts/__init__.py tree/cv2/config-3.py
  printf 'import os\n\nBINARIES_PATHS = BINARIES_PATHS\n' > tree/cv2/config.py   # no folder of DLLs
  printf 'opencv_version = "%s"\ncontrib = False\nheadless = True\nrolling = False\nci_build = False\n' "$opencv" > tree/cv2/version.py
  mkdir tree/cv2/data; cp source/cv2/data/__init__.py tree/cv2/data/
  local about=tree/opencv_python_headless-$opencv+small.dist-info
  mkdir -p "$about/licenses"
  # It says "Apache 2.0", which is no SPDX expression; GCC's libraries are inside.
  sed "s/^Version: .*/&+small/; s/^License: .*/License-Expression: Apache-2.0 AND GPL-3.0-or-later WITH GCC-exception-3.1/; /^Description:/,\$d" source/PKG-INFO > "$about/METADATA"
  printf 'Wheel-Version: 1.0\nGenerator: opencv.sh\nRoot-Is-Purelib: false\nTag: cp311-abi3-win_amd64\n' > "$about/WHEEL"
  cp source/LICENSE.txt source/LICENSE-3RD-PARTY.txt "$about/licenses/"
  cp "$here/../licences/gcc-runtime.txt" "$about/licenses/LICENSE-gcc-runtime.txt"
  cp /usr/share/doc/mingw-w64-x86-64-dev/copyright "$about/licenses/LICENSE-mingw-w64.txt"
  "$python" -m wheel pack tree -d wheel > /dev/null
}

audit() {
  local aligned
  $triplet-objdump -p tree/cv2/cv2.pyd | sed -n 's/.*DLL Name: //p' | sort -u > imports.txt
  if grep -viE '^(python3|kernel32|msvcrt|advapi32|user32|ole32)\.dll$' imports.txt; then
    echo "cv2.pyd imports what a bare Windows 10 may lack." >&2; return 1
  fi
  aligned=$(for library in build/lib/libopencv_*.a; do $triplet-objdump -d --no-show-raw-insn "$library"; done |
    grep -cE 'vmov(aps|apd|dqa(32|64)?) .*%[yz]mm[0-9]+.*\(|vmov(aps|apd|dqa(32|64)?) .*\(.*%[yz]mm' || true)
  [ "$aligned" = 0 ] || { echo "$aligned aligned AVX moves, which may crash." >&2; return 1; }
}

for step in fetch unpack configure compile pack audit; do once $step; done
echo "$(($(stat -c %s tree/cv2/cv2.pyd) / 1000000)) MB cv2.pyd: $(ls wheel/*.whl)"
