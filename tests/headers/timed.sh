#!/usr/bin/env bash
# Runs a compiler and prints how long it took for which source.
begin=$(date +%s.%N)
"$@" || exit $?
for argument in "$@"; do
  case "$argument" in *.cu) source=${argument##*/} ;; esac
done
awk -v a="$begin" -v b="$(date +%s.%N)" -v s="${source:-link}" 'BEGIN { printf "compile time %5.1f s  %s\n", b - a, s }'
