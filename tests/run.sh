#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests: g++, clang++, address and undefined-behaviour sanitizers, and a
# data-race check. With arguments, only the presets named (see CMakePresets.json). Ends with `N passed, N failed`.
set -u
cd "$(dirname "$0")/.."
cmake/install_packages.sh g++ clang libomp-dev cmake ninja-build pkg-config libeigen3-dev doctest-dev libbenchmark-dev \
  libtbb-dev || exit 1

presets=("$@")
[ $# -gt 0 ] || presets=(release clang asan-ubsan tsan)
passed=0 failed=0
for preset in "${presets[@]}"; do
  echo "== $preset"
  report=$PWD/.build/$preset/report.xml
  rm -f "$report"
  cmake --preset "$preset" >".configure.log" 2>&1 || { cat .configure.log; rm -f .configure.log; failed=$((failed + 1)); continue; }
  rm -f .configure.log
  cmake --build --preset "$preset" || { failed=$((failed + 1)); continue; }
  ctest --preset "$preset" --output-junit "$report"
  count() { sed -n "s/^.*[^a-z]$1=\"\([0-9]*\)\".*$/\1/p" "$report" | head -n 1; }
  tests=$(count tests) bad=$(count failures) skipped=$(count skipped)
  if [ -z "$tests" ] || [ "$tests" -eq 0 ]; then failed=$((failed + 1)); continue; fi
  failed=$((failed + bad)) passed=$((passed + tests - bad - skipped))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
