#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests: g++, clang++, address and undefined-behaviour sanitizers, and a
# data-race check; compiles examples and benchmarks for AVX-512, too. With arguments, only the presets named (see
# CMakePresets.json, which says what each is for). Ends with what headers and small programs take to compile, the units
# that took longest, and `N passed, N failed`.
set -u
cd "$(dirname "$0")/.."
cmake/install_packages.sh g++ clang lld libomp-dev cmake ninja-build pkg-config libeigen3-dev doctest-dev libbenchmark-dev \
  libtbb-dev libopenmpi-dev openmpi-bin libdlpack-dev python3-numpy || exit 1

presets=("$@")
[ $# -gt 0 ] || presets=(avx512-gcc avx512-clang release tsan asan-ubsan clang)  # the shortest tests last
passed=0 failed=0
export OMP_WAIT_POLICY=passive  # what waits takes no processor from what compiles
# The tests of a preset run while the next one is compiled. start_tests NAME; show_tests waits, shows and counts.
tested=
trap 'kill $(jobs -p) 2>/dev/null' EXIT
trap 'exit 130' INT TERM
start_tests() {
  tested=$PWD/.build/$1
  ctest --preset "$1" --output-junit "$tested/report.xml" >"$tested/ctest.log" 2>&1 &
  test_process=$!
}
count() { sed -n "s/^.*[^a-z]$1=\"\([0-9]*\)\".*$/\1/p" "$tested/report.xml" | head -n 1; }
show_tests() {
  [ -n "$tested" ] || return
  local code tests bad skipped
  wait "$test_process"
  code=$?
  echo "== tests of ${tested##*/}"
  cat "$tested/ctest.log"
  tests=$(count tests) bad=$(count failures) skipped=$(count skipped)
  if [ -z "$tests" ] || [ "$tests" -eq 0 ]; then
    failed=$((failed + 1))
  else
    # Tests whose program is missing count as skipped, but ctest fails.
    [ "$code" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    failed=$((failed + bad)) passed=$((passed + tests - bad - skipped))
  fi
  tested=
}
for preset in "${presets[@]}"; do
  echo "== $preset, $SECONDS s"
  # The other presets of that compiler compile the same.
  options=()
  case $preset in
    avx512-gcc)
      examples=ON
      [ $# -eq 0 ] && tests/same_vectors.sh g++ && echo "examples for this machine's vectors: done" && examples=OFF
      options=("-DKALSCAN_BUILD_EXAMPLES=$examples") ;;
    # Benchmarks: what is read for AVX-512 and not for this machine is Eigen's alone, and g++ reads it in all of them.
    avx512-clang) [ $# -eq 0 ] && tests/same_vectors.sh clang++ && echo "this machine's vectors: done" && continue ;;
  esac
  build=$PWD/.build/$preset
  mkdir -p "$build"
  rm -f "$build/report.xml"
  if ! cmake --preset "$preset" "${options[@]}" >"$build/configure.log" 2>&1; then
    cat "$build/configure.log"
    failed=$((failed + 1))
    continue
  fi
  # The tests of the preset before go first: some of them look at times.
  nice cmake --build --preset "$preset" -- -k 0 || { failed=$((failed + 1)); continue; }
  case $preset in avx512-*) passed=$((passed + 1)); continue ;; esac  # this machine may be unable to run them
  show_tests
  start_tests "$preset"
done
nice tests/compile_seconds.sh >.build/compile_seconds.log 2>&1 &
compile_seconds=$!
show_tests
# Columns of .ninja_log: begin and end in ms, time stamp, output, hash.
compiled() {
  for preset in "${presets[@]}"; do
    awk -F'\t' -v preset="$preset" '/\.(o|ptx|gch|pch)\t/ { last[$4] = $2 - $1 }
      END { for (unit in last) printf "%6.1f  %s  %s\n", last[unit] / 1000, preset, unit }' \
      ".build/$preset/.ninja_log" 2>/dev/null
  done | sed 's#CMakeFiles/##; s#\.dir/#/#'
}
echo "== what including each public header takes to compile, seconds of a last build"
compiled |
  awk '$3 ~ /test_headers.*\/units\// { sub(/.*units\/kalscan_/, "", $3); sub(/\.(o|ptx)$/, "", $3); print $1, $3 }' |
  sort -rn | awk '{ printf "%5.1f %-34s%s", $1, $2, NR % 3 ? "" : "\n" } END { if (NR % 3) print "" }'
echo "== what the smallest programs take, processor seconds"
wait "$compile_seconds" && passed=$((passed + 1)) || failed=$((failed + 1))
cat .build/compile_seconds.log
echo "== slowest to compile, seconds of a last build; all took $SECONDS s"
compiled | sort -rn | head -n 10
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
