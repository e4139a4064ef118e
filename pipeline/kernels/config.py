"""Names of the implementations of a kernel in recipes."""

from typing import Literal

KernelBackend = Literal["auto", "plain", "triton"]
AttentionBackend = Literal["auto", "triton", "varlen", "flash_attn", "padded", "plain"]
LambBackend = Literal["auto", "plain", "cpu", "cuda", "apex"]
Fp8 = Literal["none", "native", "emulated"]
FP8_MULTIPLE = 16
"""What the numbers of features must be multiples of for products in FP8, because of the tensor cores."""
