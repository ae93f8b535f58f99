#!/bin/sh
# Makes the types of control's answers and events from its OpenAPI document; `check` compares them with the committed ones.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-../.venv/bin/python}
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
(cd .. && "${python#../}" -m services.control.gateway.openapi) >"$fresh/openapi.json"
node_modules/.bin/openapi-typescript "$fresh/openapi.json" --output "$fresh/schema.d.ts" \
    --root-types --root-types-no-schema-prefix >/dev/null 2>"$fresh/err" || { cat "$fresh/err"; exit 1; }
if [ "${1:-}" = check ]; then
    diff "$fresh/schema.d.ts" src/api/schema.d.ts || { echo 'src/api/schema.d.ts is not what control says: make ui-types'; exit 1; }
else
    cp "$fresh/schema.d.ts" src/api/schema.d.ts
fi
