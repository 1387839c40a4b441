#!/usr/bin/env bash
# Compares the back ends on the shipped operators: installs what is missing, builds, measures, prints a table, draws.
#   bench/run.sh [--quick] [--out DIR] [--help]
#   --quick   about half a minute on two cores, after installing and building; else about five minutes
#   --out     where results go (default .build/compare/results): rows.csv, rows.json in Google Benchmark's format, table.txt,
#             forms.csv and lengths.csv of the numerical study, ceilings.txt, and five pictures
#   --help    this, and how to read each figure
# CUDA takes part where nvcc and a GPU are; elsewhere its rows say that they are absent. Threads of OpenMP sleep while they
# wait (OMP_WAIT_POLICY=passive unless it is set): on a machine that others use too, those that spin stand in each other's way.
# CXXFLAGS are added to the compiler's; the mixers are compiled with -march=native before them.
set -eu
cd "$(dirname "$0")/.."
quick=() out=.build/compare/results
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) quick=(--quick) ;;
    --out) [ $# -gt 1 ] || { echo "--out needs a directory" >&2; exit 2; }; out=$2; shift ;;
    --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; echo; sed -n '/^## How to read/,/^## [^H]/{/^## [^H]/!p}' bench/README.md; exit 0 ;;
    *) echo "unknown option $1" >&2; sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
  esac
  shift
done
command="bench/run.sh${quick[*]:+ ${quick[*]}}"
build=.build/compare logs=.build/compare/logs cuda=OFF
mkdir -p "$logs" "$out"
. cmake/steps.sh
step "install packages" cmake/install_packages.sh g++ cmake ninja-build libeigen3-dev libbenchmark-dev libtbb-dev gnuplot-nox fonts-dejavu-core
command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null && nvidia-smi -L >/dev/null 2>&1 && cuda=ON
quiet_step configure cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DKALSCAN_BUILD_TESTS=OFF \
  -DKALSCAN_BUILD_EXAMPLES=OFF -DKALSCAN_BUILD_CUDA=$cuda -DCMAKE_CUDA_ARCHITECTURES=native "-DCMAKE_CXX_FLAGS=${CXXFLAGS:-}"
targets=(bench_compare bench_element_forms)
[ ${#quick[@]} -gt 0 ] || targets+=(bench_overhead)
step build cmake --build "$build" --target "${targets[@]}"

export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
cores=$(nproc)
model=$(lscpu | sed -n 's/^Model name: *//p' | head -n 1)
machine="$cores x ${model:-$(uname -m)}"
[ $cuda = OFF ] || machine="$machine, $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)"
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt" | xargs -I{} sh -c '{} --version' | head -n 1)
study() { "$build/bench/bench_element_forms" "${quick[@]}" --map="$out/forms.csv" --lengths="$out/lengths.csv" >"$out/forms.txt"; }
compare() {
  "$build/bench/bench_compare" "${quick[@]}" --csv="$out/rows.csv" --json="$out/rows.json" --ceilings="$out/ceilings.txt" \
    --context="machine=$machine" --context="commit=$commit" --context="compiler=$compiler" --context="command=$command" \
    --context="omp_wait_policy=$OMP_WAIT_POLICY" >"$out/table.txt"
}
step "numerical study" study
step "compare back ends" compare
[ ${#quick[@]} -gt 0 ] || "$build/bench/bench_overhead" >"$out/overhead.txt" || true
cat "$out/forms.txt" "$out/table.txt"
[ ${#quick[@]} -gt 0 ] || cat "$out/overhead.txt"

draw() {
  quiet_step "draw $1" gnuplot -e "plots='bench/plots'; csv='$out/$2'; png='$out/$1.png'; ceilings='$out/ceilings.txt'; machine='$machine'" \
    "bench/plots/$1.gp"
  echo "picture: $out/$1.png"
}
echo
echo "$machine; commit $commit; $compiler; $command"
draw time rows.csv
draw crossover rows.csv
draw roofline rows.csv
draw error lengths.csv
draw forms forms.csv
