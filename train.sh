#!/usr/bin/env bash
# LSeg on ADE20K, as lang-seg trains it; more arguments follow these, such as --vit-weights FILE --clip-weights FILE.
set -euo pipefail
cd "$(dirname "$0")"

python -u scripts/train_lseg.py --dataset ade20k --data_path ../datasets --batch_size 1 --exp_name lseg_ade20k_l16 \
    --base_lr 0.004 --weight_decay 1e-4 --no-scaleinv --max_epochs 200 --widehead --accumulate_grad_batches 2 \
    --backbone clip_vitl16_384 "$@"
