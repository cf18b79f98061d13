#!/usr/bin/env bash
# Make mmret-mini from nothing: fetch, cut, tag, distil, align, export. A stopped run goes on where it was.
# Usage: make.sh WORK_DIR ESC50 TEACHER [--held-out FOLDER ...]
#   ESC50     your copy of ESC-50 in its published layout (audio/, meta/esc50.csv, LICENSE)
#   TEACHER   folder of the exported tagger (mn04_as.onnx, frontend.npz, classes.csv)
# Needs mmret[train], apt on a Debian 12, 40 GB of disk, and about two hours on two cores with bf16.
# Writes WORK_DIR/mmret-mini, what ships, and WORK_DIR/open/model, the same without the labels of ten classes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1 esc50=$2 teacher=$3
shift 3
export OMP_NUM_THREADS=1 ACCELERATE_USE_CPU=true

bash "$here/fetch_packages.sh" "$work"
[ -f "$work/clips.npz" ] || python "$here/corpus.py" "$work" --esc50 "$esc50" --teacher "$teacher" "$@"
python "$here/examples.py" "$work" --teacher "$teacher" --count 240000
torchrun --standalone --nproc-per-node 2 "$here/distil.py" "$here/../configs/mini_distil.yaml" \
  --work-dir "$work" --output-dir "$work/distil"
align() {
  python "$here/align.py" "$here/../configs/mini_align.yaml" --tower "$work/distil" --work-dir "$work" \
    --esc50 "$esc50" --teacher "$teacher" --output-dir "$work/$1" "${@:2}"
}
align aligned
align open --leave-out 5 2
mmret export "$work/aligned/model" "$work/mmret-mini"
