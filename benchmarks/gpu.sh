#!/usr/bin/env bash
# Checks every kernel and the training step on this machine's GPU and measures them: benchmarks/gpu.sh [OUT.json [--tiles true]]
# Needs Python with torch; what else is missing (pyarrow, jsonargparse, ...) is taken from wheels in .whl/ if that folder is there:
#   pip download --no-deps --only-binary=:all: --python-version 3.12 -d .whl pyarrow jsonargparse docstring-parser typeshed-client toml tensorboard timm liger-kernel \
#       transformers huggingface-hub tokenizers safetensors regex pyyaml tqdm packaging filelock httpx httpcore h11 anyio certifi idna typer
set -euo pipefail
cd "$(dirname "$0")/.."
if compgen -G ".whl/*.whl" >/dev/null; then
    python3 -m pip install -q --no-index --no-deps --upgrade --target /tmp/gpu-site .whl/*.whl
    export PYTHONPATH=/tmp/gpu-site
fi
exec python3 -m benchmarks.gpu --out "${1:-gpu.json}" "${@:2}"
