#!/usr/bin/env bash
# Fills .whl/ with the packages that benchmarks/gpu.sh needs beside torch, triton, transformers, tokenizers, pyarrow and
# tensorboard, for Python 3.12 on Linux x86-64. It fails if they take more than 10 MB, because they are carried to the GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
limit_kb=10240
pinned() { grep -oE "^$1==[^ ;]+" requirements.txt; }

rm -rf .whl && mkdir .whl
pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .whl \
    jsonargparse==4.53.0 docstring-parser typeshed-client toml liger-kernel \
    hjson pydantic==2.14.4 pydantic-core==2.50.5 annotated-types typing-inspection typing-extensions
# DeepSpeed comes as a source archive only. None of its operations needs compiling with this project's optimizers.
DS_BUILD_OPS=0 pip wheel -q --no-deps --no-build-isolation -w .whl "$(pinned deepspeed)"
used_kb=$(du -sk .whl | cut -f1)
ls -l .whl
echo "$used_kb KiB in .whl/"
if ((used_kb > limit_kb)); then
    echo "error: .whl/ has $used_kb KiB, more than $limit_kb; leave out what the machine has" >&2
    exit 1
fi
