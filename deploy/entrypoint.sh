#!/bin/sh
# Start a program with its secrets: the content of the file NAME_FILE becomes NAME.
# Secrets stay out of command lines, images and manifests.
set -eu
for name in HPSEARCH_DB HPSEARCH_MLFLOW_TOKEN MLFLOW_BACKEND_STORE_URI MLFLOW_TRACKING_TOKEN PGPASSWORD; do
    eval "path=\${${name}_FILE:-}"
    if [ -n "$path" ]; then
        value="$(cat "$path")"
        export "$name=$value"
    fi
done
exec "$@"
