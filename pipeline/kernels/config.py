"""Names of the implementations of a kernel in recipes."""

from typing import Literal

KernelBackend = Literal["auto", "plain", "triton"]
LambBackend = Literal["auto", "plain", "cpu", "cuda", "apex"]
