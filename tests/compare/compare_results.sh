#!/usr/bin/env bash
# bench/compare_results names what got slower by more than its spread, fails now, or lost digits, and nothing else.
set -u
tool=$1/bench/compare_results
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# row NAME LOWER MEDIAN UPPER ERROR
row() {
  printf '{"run_name": "%s", "real_time": %s, "lower_quartile": %s, "upper_quartile": %s, "error": %s, "repeatable": 1}' \
    "$1" "$3" "$2" "$4" "$5"
}
file() { printf '{"context": {"machine": "m"}, "benchmarks": [%s]}' "$(IFS=,; echo "$*")" >"$work/rows.json"; }
file "$(row a 90 100 110 1e-7)" "$(row b 90 100 110 1e-7)" "$(row c 90 100 110 1e-7)" "$(row d 90 100 110 1e-7)"
cp "$work/rows.json" "$work/old.json"
failed=0
expect() { # EXIT_CODE PATTERN
  output=$("$tool" "$work/old.json" "$work/rows.json")
  code=$?
  [ $code -eq "$1" ] && grep -q "$2" <<<"$output" || { echo "expected $1 and '$2', got $code and: $output"; failed=1; }
}
expect 0 'nothing changed'
file "$(row a 100 109 112 1e-7)" "$(row b 80 91 95 1e-7)" "$(row c 90 100 110 2e-7)" "$(row d 90 100 110 1e-7)"
expect 0 'nothing changed'
file "$(row a 111 120 130 1e-7)" "$(row b 50 60 70 1e-7)" "$(row c 90 100 110 1e-7)" "$(row d 90 100 110 1e-7)"
expect 1 'SLOWER    a: 1.20 times as long'
expect 1 'faster    b: 1.67 times as fast'
! grep -qE '[A-Za-z]+ +[cd]:' <<<"$output" || { echo "names what did not change: $output"; failed=1; }
file "$(row a 90 100 110 1e-7)" "$(row b 90 100 110 1e-5)" '{"run_name": "c", "error_occurred": true, "error_message": "out of luck"}'
expect 1 'FAILS     c: out of luck'
expect 1 'WORSE     b: error 1.0e-07 -> 1.0e-05'
expect 1 'gone      d'
"$tool" "$work/none.json" "$work/rows.json" 2>/dev/null
[ $? -eq 2 ] || { echo 'a file that is not there is no error'; failed=1; }
exit $failed
