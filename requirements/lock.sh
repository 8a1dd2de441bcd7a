#!/usr/bin/env bash
# Make the lock files anew. Needs uv (any recent version) on PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  out=requirements/$1.lock; shift
  echo "locking $out"
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate "$@" -o "$out"
}
compile dev pyproject.toml --all-extras --group dev
compile operator pyproject.toml --extra operator -c requirements/dev.lock
compile runtime pyproject.toml --extra dask --extra ray --extra kubernetes -c requirements/dev.lock
echo dask-kubernetes | compile dask-operator - -c requirements/dev.lock
echo hatchling | compile build - -c requirements/dev.lock
printf '%s\n' uv hatchling editables | compile bootstrap - -c requirements/dev.lock
