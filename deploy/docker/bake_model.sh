#!/bin/sh
# Puts a model into a folder while an image is built: bake_model.sh MODEL FOLDER
# What is stored are the model's own files, checked against the hub's sizes and hashes; nothing in them is code.
set -eu

model=${1:?usage: bake_model.sh MODEL FOLDER}
folder=${2:?usage: bake_model.sh MODEL FOLDER}

auricle models pull "$model" --data-dir "$folder"

# A model that cannot be loaded must fail the build, not the first request.
sample=$(python -c "from auricle.cli.samples import list_samples; print(list_samples()[0].path)")
AURICLE_ENGINE_CACHE_MAX_MB=0 auricle transcribe "$sample" --model "$model" --data-dir "$folder" --offline --device cpu --quiet >/dev/null
echo "$model is in $folder"
