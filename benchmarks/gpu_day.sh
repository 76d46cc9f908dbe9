#!/usr/bin/env bash
# All that a machine with one GPU can tell, unattended, within 25 minutes: benchmarks/gpu_day.sh [FOLDER] [--tiny]
#
# Tables and logs go to FOLDER (gpu_day). Each step ends inside its limit, and the next begins whatever became of it; a
# line says which ended how. --tiny runs the same steps with small sizes on a CPU, to see that they work.
set -uo pipefail
cd "$(dirname "$0")/.."
FOLDER=gpu_day TINY=
for argument in "$@"; do
    if [ "$argument" = --tiny ]; then TINY=yes; else FOLDER=$argument; fi
done
mkdir -p "$FOLDER"
PYTHON=${PYTHON:-python3}
FAILED=0

step() { # NAME LIMIT_SECONDS COMMAND...
    local name=$1 limit=$2 started=$SECONDS code=0
    shift 2
    echo "$name: begun, at most $limit s"
    timeout --kill-after=10 "$limit" "$@" > "$FOLDER/$name.log" 2>&1 || code=$?
    [ "$code" = 0 ] || FAILED=1
    echo "$name: exit code $code, $((SECONDS - started)) s" | tee -a "$FOLDER/steps.txt"
}

: > "$FOLDER/steps.txt"
if [ -z "$TINY" ]; then
    nvidia-smi > "$FOLDER/card.txt" 2>&1 || { echo "There is no NVIDIA GPU here. Give --tiny to see that the steps work."; exit 2; }
    step tests 240 "$PYTHON" -m pytest -n 0 tests/trainables/input/test_prefetch.py tests/trainables/test_timers.py tests/trainables/memory
    step ladder 300 "$PYTHON" -m benchmarks.ladder --rounds 3 --out "$FOLDER/ladder.json"
    step generate 300 "$PYTHON" -m benchmarks.generate --gpu --rounds 2 --batches 1,16 --out "$FOLDER"
    step cohorts 240 "$PYTHON" -m benchmarks.cohorts --rounds 0 --iterations 50 --out "$FOLDER/cohorts.json"
    step evening 400 "$PYTHON" -m benchmarks.evening --out "$FOLDER"
else
    export CUDA_VISIBLE_DEVICES=
    step tests 240 "$PYTHON" -m pytest -n 0 tests/trainables/test_timers.py
    step ladder 120 "$PYTHON" -m benchmarks.ladder --tiny
    step generate 240 "$PYTHON" -m benchmarks.generate --images 128 --rounds 1 --out "$FOLDER"
    step cohorts 240 "$PYTHON" -m benchmarks.cohorts --rounds 0 --iterations 1 --batch-size 2 --out "$FOLDER/cohorts.json"
    step evening 300 "$PYTHON" -m benchmarks.evening --tiny --per-class 4 --out "$FOLDER"
fi
exit $FAILED
