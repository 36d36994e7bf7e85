#!/bin/sh
# Everything that docs/results.md shows, from a checkout beside ../shared: sh benchmarks/results.sh GROUPS ABLATIONS OUT
#
# GROUPS: rendered people, the last groups of them kept out of training, by mien data avatars (docs/avatars.md).
# ABLATIONS: what python benchmarks/ablations.py GROUPS ABLATIONS has trained; runs that are not there are left out.
# OUT: a folder; what is done there stays, and a run that was stopped goes on. Ends by writing the tables into the page.
# DEX_ABLATIONS: in the environment, what benchmarks/dex_ablations.py has trained; WORKERS: processes.
set -eu
groups=$1 trained=$2 out=$3 data=${SHARED_DATA:-../shared/data} dex=${DEX_ABLATIONS:-} workers=${WORKERS:-1}
mkdir -p "$out"
mien evaluate build real "$data" "$out/real.json" --pairs 13 --frames 12 --step 4
mien evaluate build heads "$groups" "$out/heads.json" --pairs 12 --frames 8 --step 2 --protocol cross

run() {  # all systems on both benchmarks
    mien evaluate run "$out/heads.json" -o "$out/heads" --weights "$data" --workers "$workers" "$@" --system truth
    mien evaluate run "$out/real.json" -o "$out/real" --weights "$data" --workers "$workers" "$@"
}

names="X-Portrait-nano copy-source copy-driver" parts= dex_parts=
set -- --system "X-Portrait nano=x-portrait" --system copy-source --system copy-driver
run "$@"  # the first tables, before what takes longer
if [ -d src/mien/weights/dex_portrait_nano ]; then
    set -- "$@" --system "DeX-Portrait nano=dex"
    names="DeX-Portrait-nano $names"
fi
for kind in face-vid2vid face-vid2vid-plus landmarks; do
    if [ -d "$trained/$kind/export" ]; then
        set -- "$@" --system "$kind=$kind:$trained/$kind/export"
        names="$names $kind"
    fi
done
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
run "$@"

for bench in heads real; do
    (
        cd "$out/$bench"
        mien evaluate table1 $names -o .
        mien evaluate table2 X-Portrait-nano $parts -o .
        mien evaluate dex-table1 $names -o .
        mien evaluate dex-table2 $dex_parts -o .
    )
done
python benchmarks/results_page.py "$out" docs/results.md
