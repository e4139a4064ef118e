"""The LAMB update of a flat partition, fused: one pass for the moments and the norms, one for the weights.

`interface.py` says what a kernel computes; `plain.py` is the twin in torch that the others are tested against; `cpu.py`
(C++), `cuda.py` (Triton) and `apex.py` (NVIDIA's multi-tensor kernels) compute the same near the speed of memory.
"""
