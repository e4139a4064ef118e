#!/usr/bin/env bash
# Checks every kernel and the training on this machine's GPU and measures them: benchmarks/gpu.sh [OPTIONS]
# Options are those of `python -m benchmarks.gpu --help`. benchmarks/gpu.sh speedrun [OPTIONS] runs benchmarks.speedrun
# instead, which trains a recipe for some minutes. Packages that this machine lacks are installed from .whl/ if that
# folder is there, into a directory of their own; benchmarks/gpu_wheels.sh fills it on a machine with a network.
# The variable PYTHON names another interpreter than python3.
set -euo pipefail
cd "$(dirname "$0")/.."
if compgen -G ".whl/*.whl" >/dev/null; then
    site=$(mktemp -d)
    "${PYTHON:-python3}" -m pip install -q --no-index --no-deps --no-compile --target "$site" .whl/*.whl
    export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
module=benchmarks.gpu
if [[ ${1-} == speedrun ]]; then
    module=benchmarks.speedrun
    shift
fi
exec "${PYTHON:-python3}" -m "$module" "$@"
