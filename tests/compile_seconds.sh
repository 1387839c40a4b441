#!/usr/bin/env bash
# Prints what the smallest programs take to compile as users compile them, in seconds of a processor's time: the program
# of README.md, and KLA's forward pass. With --device also KLA, forward and backward, for one GPU architecture, which
# takes a minute or more. Fails where one does not compile.
set -u
cd "$(dirname "$0")/.."
eigen=$(pkg-config --cflags-only-I eigen3 2>/dev/null || echo -I/usr/include/eigen3)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TIMEFORMAT=%U
failed=0
measure() {
  local name=$1 seconds
  shift
  if seconds=$({ time "$@" >"$work/output" 2>&1; } 2>&1); then
    printf '%6.1f  %s\n' "$seconds" "$name"
  else
    echo "does not compile: $name"
    cat "$work/output"
    failed=1
  fi
}
awk '/^```cpp/ { ++block; inside = 1; next } /^```/ { inside = 0 } inside && block == 1' README.md >"$work/readme.cpp"
host=(${CXX:-g++} -std=c++20 -O2 -fopenmp -I include $eigen)
measure "README.md's filter and smoother, ${host[0]} -O2" "${host[@]}" "$work/readme.cpp" -o "$work/readme"
measure "the same with kalscan::compiled" "${host[@]}" -DKALSCAN_COMPILED -c "$work/readme.cpp" -o "$work/readme.o"
measure "KLA forward, ${host[0]} -O2" "${host[@]}" tests/compile_seconds/kla_forward.cpp -o "$work/kla"
if [ "${1:-}" = --device ]; then
  measure "KLA forward and backward, nvcc for sm_90" nvcc -std=c++20 --expt-relaxed-constexpr -arch=sm_90 -I include \
    -c tests/compile_seconds/kla_device.cu -o "$work/kla.o"
fi
exit $failed
