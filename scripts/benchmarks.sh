#!/usr/bin/env bash
# scripts/benchmarks.sh [FOLDER]: every benchmark on the GPU, one after the other; tables, JSON and SVGs into FOLDER
# (build/benchmarks). TRITON_RUNNER_PYTHON should name an interpreter with Triton and torch.
cd "$(dirname "$0")/.." || exit 1
folder=${1:-build/benchmarks}
programs=${TR_BENCHMARKS:-build/release/bench} # a carried build lies elsewhere
mkdir -p "$folder"
status=0
for name in launch_latency graph plan matmul through_llvm cold_start; do
    echo "== $name"
    timeout 600 "$programs/$name" --json "$folder/$name.json" --svg "$folder/$name.svg" >"$folder/$name.txt" 2>&1 || status=1
    cat "$folder/$name.txt"
done
exit $status
