#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# All that the README's table and picture are made of, on one GPU, in order of value: ./all.sh [FOLDER for results]
# Every finished model is a line there, and is not trained again: stop it at will, call it again, and it goes on.
set -eu
experiments=$(cd "$(dirname "$0")" && pwd)
results=${1:-results}
python=${PYTHON:-python3}
few="kla rotating_kla_slow delta_product mamba negative_mamba gla kla_hot kla_per_token kla_p0"
run() { "$python" "$experiments/$1.py" "${@:2}"; }

run word_problem --tasks a5 --out "$results/a5.jsonl"
run word_problem --tasks s4 s3 parity --mixers $few --steps 5000 --out "$results/groups.jsonl"
run recall --mixers $few --steps 3000 --batch 64 --out "$results/recall.jsonl"
run language_model --mixers $few --steps 2000 --batch 32 --tests 64 --out "$results/bytes.jsonl"
# KLA with as many steps as its paper's protocol has, words growing and whole; and with two layers.
run word_problem --tasks a5 --mixers kla --steps 100000 --seeds 1 --out "$results/long.jsonl"
run word_problem --tasks a5 --mixers kla kla_latest --no-grow --steps 100000 --seeds 1 --out "$results/long.jsonl"
run word_problem --tasks a5 --mixers kla kla_latest mamba --layers 2 --out "$results/two_layers.jsonl"
"$python" "$experiments/report.py" "$results"/*.jsonl --picture "$results/results.svg" | tee "$results/results.md"
