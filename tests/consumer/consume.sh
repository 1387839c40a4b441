#!/usr/bin/env bash
# consume.sh HOW COMPILER SOURCE BUILD WORK: builds and runs the consumer, which gets the library in the way HOW. `components` and
# `default_flags` are checks of what a consumer finds.
set -eu
how=$1 compiler=$2 source=$3 build=$4 work=$5
rm -rf "$work" && mkdir -p "$work"
case $how in
  plain)
    "$compiler" -std=c++20 -I "$source/include" "$source/tests/consumer/main.cpp" -o "$work/consumer"
    exec "$work/consumer" ;;
  pkg_config)
    cmake --install "$build" --prefix "$work/prefix" >/dev/null
    mv "$work/prefix" "$work/moved"  # it must not matter where the tree lies
    flags=$(PKG_CONFIG_PATH=$work/moved/share/pkgconfig pkg-config --cflags kalscan)
    "$compiler" -std=c++20 $flags "$source/tests/consumer/main.cpp" -o "$work/consumer"
    exec "$work/consumer" ;;
  default_flags)  # who only builds the examples meets no warning as an error
    cmake -S "$source" -B "$work/build" -DKALSCAN_BUILD_TESTS=OFF -DKALSCAN_BUILD_CUDA=OFF \
      -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >/dev/null
    grep -q 01_own_monoid.cpp "$work/build/compile_commands.json"
    ! grep -e -Werror "$work/build/compile_commands.json"
    exit ;;
  find_package | compiled | components | mpi | cuda | nccl) cmake --install "$build" --prefix "$work/prefix" >/dev/null ;;
esac
mkdir "$work/project"
project=project
[ "$how" = components ] && project=components
cp "$source/tests/consumer/$project.cmake" "$work/project/CMakeLists.txt"
cmake -S "$work/project" -B "$work/build" -DHOW="$how" -DKALSCAN_SOURCE="$source" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/build" >/dev/null
if [ "$how" = cuda ] && ! grep -rq -- -no-stack-coloring "$work/build"; then
  echo "kalscan::cuda_many_states did not bring -no-stack-coloring into the consumer's build"
  exit 1
fi
case $how in cuda | nccl) exit ;; esac  # there may be no GPU: that it builds is the test
if [ "$how" = compiled ]; then
  # The consumer took what the library has; compiled for other vectors it would not have linked.
  object=$(find "$work/build" -name 'main.cpp.o')
  [ "$(nm "$object" | grep -o '. [^ ]*filter_beginning' | cut -c1 | sort -u)" = U ]
  if [ "$(uname -m)" = x86_64 ]; then
    printf '#include <kalscan/kalman/compiled.hpp>\nint main() {}\n' >"$work/other.cpp"
    includes=("-I$source/include" $(pkg-config --cflags-only-I eigen3 2>/dev/null || echo -I/usr/include/eigen3))
    link=("$compiler" -std=c++20 -DKALSCAN_COMPILED "${includes[@]}" "$work/other.cpp"
          "$work/build/libkalscan_compiled.a")
    "${link[@]}" -o "$work/same"
    if "${link[@]}" -mavx -o "$work/other" 2>"$work/other.log"; then exit 1; fi
    grep -q compiled_for_the_same_vectors "$work/other.log"
  fi
fi
program=$work/build/consumer
[ "$how" = components ] && program=$work/build/without_eigen/build/consumer
exec ${CONSUMER_LAUNCHER:-} "$program"
