#!/usr/bin/env bash
# Installs what is missing, builds Release, filters and smooths real series, lets a KLA layer read a novel, and fits
# a Gaussian process to the climate of 67 million years. Ends with where the pictures are. Takes about a minute on two cores.
#   CXXFLAGS="..." examples/run.sh   adds flags to -march=native (-mno-avx512f, say, or another -march)
set -u
cd "$(dirname "$0")/.."
build=.build/examples logs=.build/examples/logs
mkdir -p $logs
. cmake/steps.sh
# Threads that spin while they wait stand in each other's way on a machine that others use too.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

# A program and its arguments, in the order in which they run. Pictures: what plots/*.gp draws of the CSV of that name.
data=examples/data
examples=(
  "01_own_monoid"
  "02_nile_filter $data/nile.csv $build/nile.csv"
  "03_co2_smoother $data/co2.csv $build/co2.csv"
  "04_own_mixer"
  "05_text $data/pride_and_prejudice.txt $build/text.csv"
  "07_compare"
  "09_tracking"
  "10_word_problem"
  "13_gaussian_process $data/cenogrid.csv $build/cenogrid.csv"
)
pictures=(nile co2 text cenogrid)

step "install packages" cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev gnuplot-nox
quiet_step configure cmake -S . -B $build -G Ninja -DCMAKE_BUILD_TYPE=Release -DKALSCAN_BUILD_TESTS=OFF \
  -DKALSCAN_BUILD_BENCHMARKS=OFF -DKALSCAN_BUILD_CUDA=OFF "-DCMAKE_CXX_FLAGS=-march=native ${CXXFLAGS:-}"
step build cmake --build $build --target "${examples[@]%% *}"
for example in "${examples[@]}"; do
  step "${example%% *}" $build/examples/$example  # unquoted: its arguments are words
done
for name in "${pictures[@]}"; do
  quiet_step "draw $name" gnuplot -e "csv='$build/$name.csv'; png='$build/$name.png'" examples/plots/$name.gp
done
echo "== pictures"
printf "$PWD/$build/%s.png\n" "${pictures[@]}"
