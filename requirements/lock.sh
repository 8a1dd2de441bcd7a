#!/usr/bin/env bash
# Make the lock files again. Needs uv (any recent version) on PATH.
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
# Prefect wants other versions of some packages than the project itself. Both sides of a cluster must speak one Dask; with
# fastapi 0.141 Prefect 3.8 cannot start.
printf '%s\n' prefect prefect-dask 'fastapi<0.141' | compile prefect - pyproject.toml --extra dask --extra kubernetes \
  -c <(grep -oE '^(dask|distributed|cloudpickle)==[^ ]+' requirements/dev.lock)
