#!/usr/bin/env bash
# same_vectors.sh COMPILER: succeeds where the compiler reads the same program for this machine's vectors as for AVX-512
# in general: what compiles for the one compiles for the other. Compared is the text of all that examples and benchmarks
# include, without the compiler's own headers. This machine's instructions for bfloat16 are left out: Eigen has a
# function of its own that they change, for a number type that the library never gives it.
set -o pipefail
cd "$(dirname "$0")/.."
text() {
  grep -h '^#include <' examples/*.cpp bench/*.cpp bench/compare/*.cpp | sort -u | grep -v 'mpi\|thrust\|parallel_std' |
    "$1" -std=c++20 -fopenmp -march=$2 -Iinclude $(pkg-config --cflags-only-I eigen3) -E -x c++ - |
    awk -F'"' '/^# [0-9]+ "/ { own = $2 ~ /\/lib\/(gcc|llvm|clang).*\/include\//; next } !own' | sha256sum
}
general=$(text "$1" x86-64-v4) && native=$(text "$1" "native -mno-avx512bf16") && [ "$general" = "$native" ]
