# Sourced by the scripts. A step is a command with a name; where it fails, the script ends and says which step it was and
# where its output is. The caller sets `logs`, a directory.

# quiet_step NAME COMMAND...: shows the output only if the command fails.
quiet_step() {
  local name=$1 log=$logs/$(tr ' /' '__' <<<"$1").log
  shift
  "$@" >"$log" 2>&1 && return
  cat "$log"
  step_failed "$name" "$log"
}

# step NAME COMMAND...: shows the output as it comes.
step() {
  local name=$1 log=$logs/$(tr ' /' '__' <<<"$1").log
  shift
  echo "== $name"
  "$@" 2>&1 | tee "$log"
  [ "${PIPESTATUS[0]}" -eq 0 ] || step_failed "$name" "$log"
}

step_failed() {
  echo "FAILED: $1 (log: $2)" >&2
  exit 1
}
