#!/usr/bin/env bash
# Takes the pictures of docs/images from what `tidemart up --all` runs. Usage: screenshots.sh [DATA_FOLDER [OUT]]
# Passwords go from the data folder's secrets.json to the scripts by their standard input, never by a command line.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
data=${1:-/var/lib/tidemart}
out=${2:-$here/../docs/images}
mkdir -p "$out"

# What drives Chromium, in a folder of its own: the clone stays as it is.
TIDEMART_BROWSER=$(mktemp -d)
export TIDEMART_BROWSER
trap 'rm -rf "$TIDEMART_BROWSER"' EXIT
cp "$here"/browser/package*.json "$TIDEMART_BROWSER"
(cd "$TIDEMART_BROWSER" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error >&2)

# part, index of its port, whose password, script
picture() {
    python3 - "$data" "$out" "$1" "$2" "$3" <<'PYTHON' | node "$here/browser/$4"
import json, pathlib, sys
data, out, part, index, login = sys.argv[1:]
state, secrets = (json.loads((pathlib.Path(data) / name).read_text()) for name in ["state.json", "secrets.json"])
if part not in state:
    sys.exit(f"{part} does not run from {data}: tidemart up --all")
base = f"http://127.0.0.1:{state[part]['ports'][int(index)]}"
print(json.dumps({"base": base, "password": secrets[part][login], "out": str(pathlib.Path(out).resolve())}))
PYTHON
}

picture spark-master 1 owner spark-pictures.mjs
picture jupyterhub 0 owner jupyter-pictures.mjs
picture airflow 0 owner airflow.mjs
