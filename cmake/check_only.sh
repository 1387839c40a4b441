#!/usr/bin/env bash
# A compiler launcher: check_only.sh COMPILER ARGUMENTS... compiles to see that it compiles, and leaves an empty object
# behind, so that the build system finds what it asked for. All templates are instantiated; no code is generated.
"$@" -fsyntax-only || exit $?
while [ $# -gt 1 ]; do
  if [ "$1" = -o ]; then : >"$2"; fi
  shift
done
