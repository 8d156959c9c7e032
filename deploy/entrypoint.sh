#!/bin/sh
# Start a program with its secrets: the content of the file NAME_FILE becomes NAME.
# Secrets stay out of command lines, images and manifests.
set -eu
for name in HPSEARCH_DB MLFLOW_BACKEND_STORE_URI PGPASSWORD; do
    eval "path=\${${name}_FILE:-}"
    if [ -n "$path" ]; then
        value="$(cat "$path")"
        export "$name=$value"
    fi
done
exec "$@"
