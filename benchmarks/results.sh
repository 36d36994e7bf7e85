#!/bin/sh
# Everything that docs/results.md shows: sh benchmarks/results.sh GROUPS ABLATIONS OUT DATA
#
# GROUPS: rendered people, the last groups of them kept out of training, by mien data avatars (docs/train.md).
# ABLATIONS: what benchmarks/ablations.py has trained; DEX_ABLATIONS, in the environment, what
# benchmarks/dex_window_ablations.py has. Runs that are not there are left out.
# DATA: a folder with real/index.json, portraits and driving videos, and the networks of the metrics (docs/evaluate.md).
# OUT: a folder; what is done there stays, and a run that was stopped goes on. Ends by writing the tables into the page.
# HEADS, in the environment: other rendered people for the table of rendered heads, with HEAD_PAIRS pairs; else GROUPS'.
# WORKERS: processes, 1 unless it is set.
set -eu
groups=$1 trained=$2 out=$3 data=$4 dex=${DEX_ABLATIONS:-} workers=${WORKERS:-1}
mkdir -p "$out"
heads() {  # heads GROUPS BENCHMARK PAIRS
    mien evaluate build heads "$1" "$out/$2" --pairs "$3" --frames 8 --step 2 --protocol cross
}
heads "${HEADS:-$groups}" heads.json "${HEAD_PAIRS:-12}"
heads "$groups" ablation-heads.json 12
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

tables() {  # tables OUT NAMES
    (
        cd "$out/$1"
        mien evaluate table1 $2 -o .
        mien evaluate dex-table1 $2 -o .
    )
}

# the systems
names="DeX-Portrait-nano X-Portrait-nano copy-source copy-driver"
set -- --system "DeX-Portrait nano=dex" --system "X-Portrait nano=x-portrait" --system copy-source --system copy-driver
for kind in face-vid2vid face-vid2vid-plus landmarks; do
    if [ -d "$trained/$kind/0/export" ]; then
        set -- "$@" --system "$kind=$kind:$trained/$kind/0/export"
        names="$names $kind"
    fi
done
run large large --system "X-Portrait nano=x-portrait" --system copy-source --system copy-driver
run heads heads "$@" --system ground-truth
run real real "$@"
for bench in heads real; do
    tables "$bench" "$names"
done

# the ablations: every seed of every system that was trained
row() {  # row NAME FOLDER KIND
    models=
    for model in "$2"/[0-9]*/export; do
        [ -d "$model" ] && models="$models${models:+, }$(realpath "$model")"
    done
    [ -z "$models" ] || printf '      %s: {kind: %s, models: [%s]}\n' "$1" "$3" "$models"
}
comparison() {  # comparison TABLE BASELINE FOLDER, rows on standard input
    if [ -d "$3" ]; then
        printf '  - table: %s\n    baseline: %s\n    systems:\n' "$1" "$2"
        while read -r folder kind name; do row "$name" "$(dirname "$3")/$folder" "$kind"; done
    fi
}
{
    printf 'title: Ablations at nano size\nbudget: %s\n' "${BUDGET:-the same steps for each, from the same start}"
    printf 'benchmarks: {rendered heads: ablation-heads.json, real clips: short.json}\nweights: [%s]\n' "$(realpath "$data")"
    echo comparisons:
    comparison table2 "full model" "$trained/full" <<END
full x-portrait full model
self x-portrait (a) w/o cross-id training
no-local x-portrait (b) w/o local control
no-scaling x-portrait (c) w/o scaling
landmarks landmarks landmarks instead of pictures
END
    comparison table1 "Face Vid2vid" "$trained/face-vid2vid-plus" <<END
face-vid2vid face-vid2vid Face Vid2vid
face-vid2vid-plus face-vid2vid-plus Face Vid2vid Plus
END
    [ -z "$dex" ] || comparison dex-table2 full "$dex/paper" <<END
paper dex full
no-ray-map dex w/o ray map
no-warping dex w/o warping
no-augmentation dex w/o augmentation
END
} > "$out/ablations.yaml"
if grep -q "table:" "$out/ablations.yaml"; then
    mien evaluate ablations "$out/ablations.yaml" -o "$out/ablations" --workers "$workers"
fi
python benchmarks/results_page.py "$out" docs/results.md
