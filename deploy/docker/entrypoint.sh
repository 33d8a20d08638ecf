#!/bin/sh
# Makes the models of the image known in the data folder, which may be a volume, and becomes the command.
set -eu

baked=${BAKED_MODELS:-/opt/auricle-models}/models
data=${AURICLE_DATA_DIR:-/data}

for model in "$baked"/*; do
    [ -d "$model" ] || continue
    link=$data/models/${model##*/}
    # A link of an older image may lead nowhere; a folder is the user's own and stays.
    if [ -L "$link" ] || [ ! -e "$link" ]; then
        mkdir -p "$data/models"
        ln -sfn "$model" "$link"
    fi
done

exec "$@"
