#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# All that the README's table and picture are made of, on one GPU, in order of value; or some parts of it:
#   ./all.sh [FOLDER for results [PART ...]]        a5, groups, recall, bytes, long, two_layers
# Every finished model is a line there, and is not trained again: stop it at will, call it again, and it goes on.
set -eu
experiments=$(cd "$(dirname "$0")" && pwd)
results=${1:-results}
parts=${*:2}
python=${PYTHON:-python3}
few="kla rotating_kla_slow delta_product mamba negative_mamba gla kla_hot kla_per_token kla_p0"
failed=0
run() { "$python" "$experiments/$1.py" "${@:2}" || failed=1; }

mkdir -p "$results"
for part in ${parts:-a5 groups recall bytes long two_layers}; do
  out=(--out "$results/$part.jsonl")
  case $part in
    a5) run word_problem --mixers $few rotating_kla kla_latest kla_slow rotating_kla_slow_p0 "${out[@]}" ;;
    groups) run word_problem --tasks s4 s3 parity --mixers $few --steps 2000 "${out[@]}" ;;
    recall) run recall --mixers $few --steps 1500 --batch 64 "${out[@]}" ;;
    bytes) run language_model --mixers $few --steps 1000 --batch 32 --tests 64 "${out[@]}" ;;
    long)  # as many steps as the protocol of KLA's paper has, with words that grow and with whole ones
      run word_problem --mixers kla --steps 100000 --seeds 1 "${out[@]}"
      run word_problem --mixers kla kla_latest --no-grow --steps 100000 --seeds 1 "${out[@]}" ;;
    two_layers) run word_problem --mixers kla kla_latest mamba --layers 2 "${out[@]}" ;;
    *) echo "no part $part" >&2; exit 2 ;;
  esac
done
"$python" "$experiments/report.py" "$results"/*.jsonl --picture "$results/results.svg" | tee "$results/results.md"
exit $failed
