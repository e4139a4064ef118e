#!/usr/bin/env bash
# Rehearses benchmarks/gpu.sh on a CPU with the versions of the GPU machine: benchmarks/gpu_rehearsal.sh [ENVIRONMENT]
# Makes the virtual environment ENVIRONMENT (default gpu/environment) with Python 3.12, torch 2.11, Triton 3.6 and what
# else that machine has, unless it exists, and fills .whl/ if it is empty. Then checks that all attributes of torch and
# Triton that the code names exist, and runs every section on small shapes with Triton's interpreter; figures and log are
# in gpu/rehearsal. The variable PYTHON names an interpreter of Python 3.12. torch's package on PyPI brings CUDA's
# libraries (about 3 GB); with PIP_EXTRA_INDEX_URL naming an index of its builds for CPUs, pip takes that build.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=${1:-gpu/environment}

is_right() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; }
find_python() {
    local found
    for found in ${PYTHON+"$PYTHON"} python3.12 "$(uv python find 3.12 2>/dev/null || true)" \
        "$(pyenv root 2>/dev/null || true)"/versions/3.12*/bin/python; do
        if [[ -n $found ]] && is_right "$found"; then
            echo "$found"
            return
        fi
    done
    echo "error: there is no Python 3.12; install one, such as by \`uv python install 3.12\`, or set PYTHON to it" >&2
    return 1
}

if [[ ! -x $environment/bin/python ]]; then
    interpreter=$(find_python)
    "$interpreter" -m venv "$environment"
    # Triton 3.6's interpreter converts arrays of one element to numbers, which NumPy 2.4 refuses.
    "$environment/bin/pip" install -q 'torch==2.11.*' 'triton==3.6.*' 'numpy<2.4' 'transformers==5.17.*' tokenizers \
        safetensors pyarrow tensorboard ninja einops psutil py-cpuinfo msgpack tqdm rich setuptools wheel ||
        { rm -rf "$environment" && exit 1; }
fi
"$environment/bin/python" - <<'CHECK'
import sys
from importlib.metadata import version

found = f"{sys.version_info[0]}.{sys.version_info[1]}", *(version(name) for name in ("torch", "triton"))
if not all(is_.startswith(wanted) for is_, wanted in zip(found, ("3.12", "2.11.", "3.6."))):
    sys.exit(f"error: {sys.prefix} has Python {', torch '.join(found[:2])} and Triton {found[2]}, not 3.12, 2.11 and 3.6; "
             "remove it, or name another directory")
CHECK
if ! compgen -G ".whl/*.whl" >/dev/null; then
    PATH=$(realpath "$environment")/bin:$PATH benchmarks/gpu_wheels.sh
fi
export PYTHON=$environment/bin/python DS_ACCELERATOR=cpu TRITON_INTERPRET=1
"$PYTHON" -m benchmarks.gpu.attributes
benchmarks/gpu.sh --device cpu --tiny true --rounds 1 --deadline 3600 --out gpu/rehearsal
