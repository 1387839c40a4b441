#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests: g++, clang++, address and undefined-behaviour sanitizers, and a
# data-race check; compiles examples and benchmarks for AVX-512, too. With arguments, only the presets named (see
# CMakePresets.json). Ends with the units that took longest to compile, and `N passed, N failed`.
set -u
cd "$(dirname "$0")/.."
cmake/install_packages.sh g++ clang libomp-dev cmake ninja-build pkg-config libeigen3-dev doctest-dev libbenchmark-dev \
  libtbb-dev || exit 1

presets=("$@")
[ $# -gt 0 ] || presets=(release clang asan-ubsan tsan avx512)
passed=0 failed=0
count() { sed -n "s/^.*[^a-z]$1=\"\([0-9]*\)\".*$/\1/p" "$report" | head -n 1; }
for preset in "${presets[@]}"; do
  echo "== $preset, $SECONDS s"
  build=$PWD/.build/$preset report=$PWD/.build/$preset/report.xml
  mkdir -p "$build"
  rm -f "$report"
  cmake --preset "$preset" >"$build/configure.log" 2>&1 || { cat "$build/configure.log"; failed=$((failed + 1)); continue; }
  cmake --build --preset "$preset" || { failed=$((failed + 1)); continue; }
  case $preset in avx512) passed=$((passed + 1)); continue ;; esac  # this machine may be unable to run them
  ctest --preset "$preset" --output-junit "$report"
  tests=$(count tests) bad=$(count failures) skipped=$(count skipped)
  if [ -z "$tests" ] || [ "$tests" -eq 0 ]; then failed=$((failed + 1)); continue; fi
  failed=$((failed + bad)) passed=$((passed + tests - bad - skipped))
done
echo "== slowest to compile, in seconds of a last build; all took $SECONDS s"
for preset in "${presets[@]}"; do
  # Columns of .ninja_log: begin and end in ms, time stamp, output, hash.
  awk -F'\t' -v preset="$preset" '/\.o\t/ {printf "%6.1f  %s  %s\n", ($2 - $1) / 1000, preset, $4}' ".build/$preset/.ninja_log" \
    2>/dev/null
done | sed 's#CMakeFiles/##; s#\.dir/#/#' | sort -rn | head -n 10
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
