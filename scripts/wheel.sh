#!/usr/bin/env bash
# Builds the wheel pyspark_tidemart next to the binary, where `tidemart up --with spark` looks for it.
# Usage: wheel.sh PROFILE   (release, or dev for tests)
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
folder=${CARGO_TARGET_DIR:-target}/${profile/dev/debug}/wheels
python=python3
[ -x /usr/bin/python3 ] && python=/usr/bin/python3

# maturin, pinned by hashes, in an environment of its own.
tools=${CARGO_TARGET_DIR:-target}/python-$(cksum < python/requirements.lock | cut -d' ' -f1)
if [ ! -x "$tools/bin/maturin" ]; then
    rm -rf "$tools"
    "$python" -m venv "$tools.new"
    "$tools.new/bin/pip" install --quiet --no-deps --require-hashes -r python/requirements.lock
    mv "$tools.new" "$tools"
fi

mkdir -p "$folder.new"
rm -f "$folder.new"/*
# Not run by name: its first line names the folder in which the environment was made.
"$tools/bin/python" -m maturin build --quiet --locked --profile "$profile" --interpreter "$python" \
    --manifest-path python/Cargo.toml --out "$folder.new"
rm -rf "$folder"
mv "$folder.new" "$folder"
