#!/usr/bin/env bash
# Tests the CUDA parts on this machine's GPU and prints one table.
#   tests/gpu.sh [--sanitize] [--bench] [--built DIR]
#   --sanitize   also under compute-sanitizer: memcheck, racecheck, initcheck
#   --bench      also the benchmarks; JSON goes to .build/gpu/*.json
#   --built DIR  builds nothing and runs what DIR has, built elsewhere: tests/cuda/*, examples/*, bench/*; logs go there
# Needs nvcc, CMake, ninja or make, Eigen, doctest, and Google Benchmark; those that CMake does not find it fetches.
# Prefixes in CMAKE_PREFIX_PATH are searched first. Ends with `N passed, N failed, N skipped`.
set -u
sanitize=false bench=false build=.build/gpu built=false
while [ $# -gt 0 ]; do
  case "$1" in
    --sanitize) sanitize=true ;;
    --bench) bench=true ;;
    --built) built=true build=$(realpath "${2:?a directory}"); shift ;;
    *) sed -n '2,9s/^# //p' "$0"; exit 2 ;;
  esac
  shift
done
cd "$(dirname "$0")/.."
command -v nvcc >/dev/null || PATH=/usr/local/cuda/bin:$PATH
if ! $built; then
  generator=(); command -v ninja >/dev/null && generator=(-G Ninja)
  mkdir -p "$build"
  if ! cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_ARCHITECTURES=native \
      -DKALSCAN_BUILD_EXAMPLES=ON >"$build/configure.log" 2>&1; then
    cat "$build/configure.log"; exit 1
  fi
  if ! cmake --build "$build" --parallel "$(nproc)" --target kalscan_gpu >"$build/build.log" 2>&1; then
    cat "$build/build.log"; exit 1
  fi
fi

passed=0 failed=0 skipped=0 table=""
# run NAME COMMAND...: one row; 77 means skipped.
run() {
  local name=$1 log begin code verdict
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
  table+=$(printf '%-40s %-8s %8d ms' "$name" "$verdict" "$(( ($(date +%s%N) - begin) / 1000000 ))")$'\n'
}
tests=$(cd "$build/tests/cuda" && ls test_cuda_*)
[ -n "$tests" ] || { echo "no tests in $build/tests/cuda"; exit 1; }
for t in $tests; do run "$t" "$build/tests/cuda/$t"; done
for example in $(ls -d "$build"/examples/*_cuda_* 2>/dev/null); do run "${example##*/}" "$example"; done
if $sanitize; then
  # The long runs add nothing here that the others lack; each kernel is many times slower under a tool.
  long='3 * 10^9*,*20 runs*,*20 times*,*2^60*,what CUDA refuses*,*million*,*host threads*'
  long+=',no regime*,nor its*,float against*'
  sanitized() {
    KALSCAN_TEST_LONGEST=10000 timeout 400 compute-sanitizer --tool "$1" --error-exitcode 1 "$build/tests/cuda/$2" \
      --test-case-exclude="$long"
  }
  # Most of the time goes to the host: up to eight at once, reported in order.
  rm -f "$build"/*.code
  for tool in memcheck racecheck initcheck; do
    for t in $tests; do
      while [ "$(jobs -rp | wc -l)" -ge 8 ]; do sleep 0.2; done
      { sanitized "$tool" "$t" >"$build/$tool.$t.log" 2>&1; echo "$?" >"$build/$tool.$t.code"; } &
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
  for b in "$build"/bench/bench_cuda_*; do
    run "${b##*/}" "$b" --benchmark_out="$build/${b##*/}.json" --benchmark_out_format=json --benchmark_min_time=0.05
  done
fi
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null
echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
printf '%s' "$table"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
