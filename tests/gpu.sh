#!/usr/bin/env bash
# Tests the CUDA parts on this machine's GPU and prints one table.
#   tests/gpu.sh [--sanitize] [--bench] [--python] [--only NAME] [--built DIR]
#   --sanitize   also under compute-sanitizer: memcheck, racecheck, initcheck
#   --bench      also the benchmarks; JSON goes to .build/gpu/*.json
#   --python     also the Python package, with numpy, and torch where it is; compiling it takes minutes more
#   --only NAME  only test_cuda_NAME and, with --bench, bench_cuda_NAME
#   --built DIR  builds nothing and runs what DIR has, built elsewhere: tests/cuda/*, examples/*, bench/*; logs go there
# Needs nvcc, a C++ compiler, CMake, ninja or make, Eigen, doctest and, with --bench, Google Benchmark; says at once
# which of these are missing, and downloads nothing. Prefixes in CMAKE_PREFIX_PATH are searched first. A few minutes on
# 16 cores. A line for each target and each test as it ends; then the table and `N passed, N failed, N skipped`.
set -u
sanitize=false bench=false python=false build=.build/gpu built=false only=""
while [ $# -gt 0 ]; do
  case "$1" in
    --sanitize) sanitize=true ;;
    --bench) bench=true ;;
    --python) python=true ;;
    --only) only=${2:?a name}; shift ;;
    --built) built=true build=$(realpath "${2:?a directory}"); shift ;;
    *) sed -n '2,12s/^# //p' "$0"; exit 2 ;;
  esac
  shift
done
cd "$(dirname "$0")/.."
command -v nvcc >/dev/null || PATH=/usr/local/cuda/bin:$PATH
export NCCL_NVLS_ENABLE=0  # no multicast over NVLink
if ! $built; then
  logs=$build
  mkdir -p "$build"
  . cmake/steps.sh
  missing=()
  for tool in nvcc cmake "${CXX:-c++}"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  generator=(-G "Unix Makefiles")
  if command -v ninja >/dev/null; then
    generator=(-G Ninja)
  else
    command -v make >/dev/null || missing+=("ninja or make")
  fi
  configure() {
    cmake -S . -B "$1" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_ARCHITECTURES=native \
      -DKALSCAN_FETCH_DEPENDENCIES=OFF -DKALSCAN_BUILD_BENCHMARKS=$($bench && echo ON || echo OFF) \
      -DKALSCAN_BUILD_PYTHON=$($python && echo ON || echo OFF) "-DKALSCAN_C_DEVICE_STORAGE=float;double;bfloat16" \
      -DKALSCAN_PACKAGING_TESTS=OFF -DKALSCAN_TEST_SUITES= "-DKALSCAN_BUILD_CUDA=$2"
  }
  # Without a compiler for CUDA, CMake can still say what else is missing.
  if [ ${#missing[@]} -gt 0 ]; then
    configure "$build/probe" OFF 2>&1 | sed -n 's/^.*not found: \(.*\) (.*$/\1/p' >"$build/missing.txt"
    echo "missing: ${missing[*]} $(cat "$build/missing.txt")"
    exit 1
  fi
  quiet_step configure configure "$build" ON
  targets=(kalscan_gpu)
  if [ -n "$only" ]; then
    targets=("test_cuda_$only")
    $bench && targets+=("bench_cuda_$only")
  fi
  step build cmake --build "$build" --parallel "$(nproc)" --target "${targets[@]}"
fi

passed=0 failed=0 skipped=0 table=""
# run NAME COMMAND...: one row, shown as it ends; 77 means skipped.
run() {
  local name=$1 log begin code verdict row
  shift
  log=$build/$(echo "$name" | tr ' /' '__').log
  begin=$(date +%s%N)
  "$@" >"$log" 2>&1
  code=$?
  case $code in
    0) verdict=passed passed=$((passed + 1)) ;;
    77) verdict=skipped skipped=$((skipped + 1)) ;;
    *) verdict=FAILED failed=$((failed + 1)); tail -n 40 "$log" ;;
  esac
  row=$(printf '%-40s %-8s %8d ms' "$name" "$verdict" "$(( ($(date +%s%N) - begin) / 1000000 ))")
  echo "$row"
  table+=$row$'\n'
}
tests=$(cd "$build/tests/cuda" && ls test_cuda_${only:-*})
[ -n "$tests" ] || { echo "no tests in $build/tests/cuda"; exit 1; }
for t in $tests; do run "$t" "$build/tests/cuda/$t"; done
for example in $([ -n "$only" ] || ls -d "$build"/examples/*_cuda_* 2>/dev/null); do run "${example##*/}" "$example"; done
if $python; then
  run python env KALSCAN_LIBRARY="$(realpath "$build/examples/python/libkalscan_c.so")" PYTHONPATH=examples/python \
    python3 -m unittest discover -s examples/python/tests
fi
if $sanitize; then
  # The long runs add nothing here that the others lack; each kernel is many times slower under a tool.
  long='3 * 10^9*,*20 runs*,*20 times*,*2^60*,what CUDA refuses*,*million*,*host threads*'
  long+=',no regime*,nor its*,float against*,*channels abound*,*have not started*'  # the last needs launches that overlap
  # Where several host threads launch at once, initcheck can take what a kernel wrote for unwritten (seen in 40 lines
  # without kalscan), so there each launch waits for the one before. racecheck can lose a launch; it says so and counts
  # that as a hazard: a run that passed its tests and reports nothing else counts as skipped.
  sanitized() {
    local one_at_a_time=() log=$build/$1.$2.log code
    [ "$1" = initcheck ] && one_at_a_time=(--force-blocking-launches)
    KALSCAN_TEST_LONGEST=10000 timeout 900 compute-sanitizer --tool "$1" "${one_at_a_time[@]}" --error-exitcode 1 \
      "$build/tests/cuda/$2" --test-case-exclude="$long" >"$log" 2>&1
    code=$?
    [ "$1" = racecheck ] && [ $code -ne 0 ] && grep -q 'Internal Sanitizer Error' "$log" &&
      grep -q 'Status: SUCCESS' "$log" && ! grep -qE '^=+ (Error|Warning): ' "$log" && code=77
    echo $code >"$build/$1.$2.code"
    echo "$1 $2 ended with $code"
  }
  # Most of the time goes to the host: many at once, on all GPUs in turn, reported in order.
  rm -f "$build"/*.code
  IFS=, read -ra gpus <<<"${CUDA_VISIBLE_DEVICES:-$(nvidia-smi --query-gpu=index --format=csv,noheader | paste -sd,)}"
  started=0
  for tool in memcheck racecheck initcheck; do
    for t in $tests; do
      while [ "$(jobs -rp | wc -l)" -ge $((($(nproc) + 1) / 2)) ]; do sleep 0.2; done
      started=$((started + 1))
      CUDA_VISIBLE_DEVICES=${gpus[started % ${#gpus[@]}]} sanitized "$tool" "$t" &
    done
  done
  wait
  for tool in memcheck racecheck initcheck; do
    for t in $tests; do
      run "$tool $t" sh -c "cat '$build/$tool.$t.log'; exit \$(cat '$build/$tool.$t.code' || echo 1)"
    done
  done
fi
if $bench; then
  for b in "$build"/bench/bench_cuda_${only:-*}; do
    run "${b##*/}" "$b" --benchmark_out="$build/${b##*/}.json" --benchmark_out_format=json --benchmark_min_time=0.05
  done
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null
echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
echo "== table"
printf '%s' "$table"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
