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
  find_package | components | mpi | cuda | nccl) cmake --install "$build" --prefix "$work/prefix" >/dev/null ;;
esac
mkdir "$work/project"
project=project
[ "$how" = components ] && project=components
cp "$source/tests/consumer/$project.cmake" "$work/project/CMakeLists.txt"
cmake -S "$work/project" -B "$work/build" -DHOW="$how" -DKALSCAN_SOURCE="$source" -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_PREFIX_PATH="$work/prefix" >/dev/null
cmake --build "$work/build" >/dev/null
case $how in cuda | nccl) exit ;; esac  # there may be no GPU: that it builds is the test
program=$work/build/consumer
[ "$how" = components ] && program=$work/build/without_eigen/build/consumer
exec ${CONSUMER_LAUNCHER:-} "$program"
