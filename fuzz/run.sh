#!/bin/sh
# Runs every fuzz target, or those named, for some seconds each, and prints a line of the table in
# RECORD.md for each: what was run, for how long, how often, what it reached, what broke.
#
#     fuzz/run.sh 600                 # all of them
#     fuzz/run.sh 30 folder plan      # these
set -u
cd "$(dirname "$0")/.." || exit 1
seconds=${1:?seconds for each target}
shift
[ $# -gt 0 ] || set -- $(cd fuzz/fuzz_targets && ls *.rs | sed 's/\.rs$//')

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# What targets write goes where it can be removed; a refused allocation is an answer, not a crash.
export TMPDIR="$scratch"
export ASAN_OPTIONS="allocator_may_return_null=1:${ASAN_OPTIONS:-}"

commit=$(git rev-parse --short HEAD)
printf '| target | commit | seconds | executions | edges | inputs kept | crashes |\n|---|---|---|---|---|---|---|\n'
for target in "$@"; do
    corpus="fuzz/corpus/$target"
    found="fuzz/artifacts/$target"
    mkdir -p "$corpus" "$found"
    before=$(ls "$found" | wc -l)
    dictionary=""
    case $target in
        gguf | model | quantize) dictionary="-dict=fuzz/dictionaries/gguf.dict" ;;
    esac
    log="$scratch/$target.log"
    cargo +nightly fuzz build "$target" >"$log" 2>&1 || { tail -5 "$log" >&2; exit 1; }
    start=$(date +%s)
    # In processes of its own, which go on after a crash.
    cargo +nightly fuzz run "$target" "$corpus" "fuzz/seeds/$target" -- -fork=1 -ignore_crashes=1 \
        -ignore_timeouts=1 -ignore_ooms=1 -timeout=20 -rss_limit_mb=2048 \
        -max_total_time="$seconds" $dictionary >"$log" 2>&1
    took=$(($(date +%s) - start))
    [ "$took" -ge "$seconds" ] || tail -n 20 "$log" >&2
    last=$(grep -a '^#[0-9]*: cov:' "$log" | tail -1)
    runs=$(printf '%s' "$last" | sed -n 's/^#\([0-9]*\):.*/\1/p')
    edges=$(printf '%s' "$last" | sed -n 's/.*cov: \([0-9]*\).*/\1/p')
    kept=$(ls "$corpus" | wc -l)
    crashes=$(($(ls "$found" | wc -l) - before))
    printf '| `%s` | %s | %s | %s | %s | %s | %s |\n' \
        "$target" "$commit" "$took" "${runs:-0}" "${edges:-0}" "$kept" "$crashes"
done
