"""Names of the implementations of a kernel in recipes."""

from typing import Literal

KernelBackend = Literal["auto", "plain", "triton"]
AttentionBackend = Literal["auto", "triton", "varlen", "flash_attn", "padded", "plain"]
LambBackend = Literal["auto", "plain", "cpu", "cuda", "apex"]
