#!/usr/bin/env bash
# Installs what is missing, builds Release, filters and smooths two real series, and lets a KLA layer read a novel; pictures go
# to .build/examples.
set -eu
cd "$(dirname "$0")/.."
cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev gnuplot-nox
build=.build/examples
cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DKALSCAN_BUILD_TESTS=OFF -DKALSCAN_BUILD_BENCHMARKS=OFF \
  -DCMAKE_CXX_FLAGS=-march=native >/dev/null
cmake --build $build
$build/examples/01_own_monoid
$build/examples/02_nile_filter examples/data/nile.csv $build/nile.csv
$build/examples/03_co2_smoother examples/data/co2.csv $build/co2.csv
$build/examples/04_own_mixer
$build/examples/05_text examples/data/pride_and_prejudice.txt $build/text.csv
$build/examples/07_compare
for name in nile co2 text; do
  gnuplot -e "csv='$build/$name.csv'; png='$build/$name.png'" examples/plots/$name.gp
  echo "picture: $build/$name.png"
done
