#!/bin/sh
# Everything that docs/results.md shows: sh benchmarks/results.sh GROUPS ABLATIONS OUT DATA
#
# GROUPS: rendered people, the last groups of them kept out of training, by mien data avatars (docs/train.md).
# ABLATIONS: what benchmarks/ablations.py has trained; DEX_ABLATIONS, in the environment, what benchmarks/dex_ablations.py
# has. Runs that are not there are left out.
# DATA: a folder with real/index.json, portraits and driving videos, and the networks of the metrics (docs/evaluate.md).
# OUT: a folder; what is done there stays, and a run that was stopped goes on. Ends by writing the tables into the page.
# WORKERS: processes, 1 unless it is set.
set -eu
groups=$1 trained=$2 out=$3 data=$4 dex=${DEX_ABLATIONS:-} workers=${WORKERS:-1}
mkdir -p "$out"
mien evaluate build heads "$groups" "$out/heads.json" --pairs 12 --frames 8 --step 2 --protocol cross
mien evaluate build real "$data" "$out/real.json" --pairs 13 --frames 12 --step 4
# real clips for the ablations: fewer and shorter, for they are many
mien evaluate build real "$data" "$out/short.json" --pairs 8 --frames 6 --step 8 --protocol cross --protocol disentangled
# 512 px: what nano's 256 px are worth there
mien evaluate build real "$data" "$out/large.json" --pairs 6 --frames 6 --step 8 --side 512 --protocol self --protocol cross

run() {  # run BENCHMARK OUT SYSTEMS
    bench=$1 to=$2
    shift 2
    mien evaluate run "$out/$bench.json" -o "$out/$to" --weights "$data" --workers "$workers" "$@"
}

tables() {  # tables OUT NAMES ABLATIONS DEX_ABLATIONS
    (
        cd "$out/$1"
        mien evaluate table1 $2 -o .
        mien evaluate table2 $3 -o .
        mien evaluate dex-table1 $2 -o .
        mien evaluate dex-table2 $4 -o .
    )
}

# the systems
names="DeX-Portrait-nano X-Portrait-nano copy-source copy-driver"
set -- --system "DeX-Portrait nano=dex" --system "X-Portrait nano=x-portrait" --system copy-source --system copy-driver
for kind in face-vid2vid face-vid2vid-plus landmarks; do
    if [ -d "$trained/$kind/export" ]; then
        set -- "$@" --system "$kind=$kind:$trained/$kind/export"
        names="$names $kind"
    fi
done
run large large --system "X-Portrait nano=x-portrait" --system copy-source --system copy-driver
run heads heads "$@" --system ground-truth
run real real "$@"
for bench in heads real; do
    tables "$bench" "$names" X-Portrait-nano DeX-Portrait-nano
done

# the ablations
parts= dex_parts=
set --
for part in full self no-local no-scaling; do
    if [ -d "$trained/$part/export" ]; then
        set -- "$@" --system "ablation-$part=x-portrait:$trained/$part/export"
        parts="$parts ablation-$part"
    fi
done
for part in paper no-ray-map no-warping no-augmentation; do
    if [ -d "$dex/$part/export" ]; then
        set -- "$@" --system "dex-$part=dex:$dex/$part/export"
        dex_parts="$dex_parts dex-$part"
    fi
done
if [ $# -gt 0 ]; then
    run heads heads-ablations "$@"
    run short short "$@"
    for bench in heads-ablations short; do
        tables "$bench" "$parts $dex_parts" "$parts" "$dex_parts"
    done
fi
python benchmarks/results_page.py "$out" docs/results.md
