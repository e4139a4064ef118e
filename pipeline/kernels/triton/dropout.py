"""A dropout mask that is a function of a seed and the position of an element, so that it is never stored."""

import triton
import triton.language as tl

PER_CALL = 8
"""Elements that one call of the generator decides, with 16 bits each. With one element per call the integer arithmetic
of the generator would limit the speed, not memory bandwidth."""


@triton.jit
def scaled_keep(
    seed,  # int64
    rows,  # (R,) int64
    threshold,  # in [0, 65536): probability of being dropped, in 65536ths
    scale,  # factor of the elements that are kept
    BLOCK: tl.constexpr,  # noqa: N803 - columns, a multiple of PER_CALL
):
    """The factors (R, BLOCK) fp32: `scale` for elements that are kept and 0 for those that are dropped.

    Philox-4x32-10 maps the counter (row, column / 8) to 128 random bits, which are used as eight 16-bit integers.
    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    zeros = tl.zeros((rows.shape[0], BLOCK // 8), tl.uint32)
    groups = zeros + tl.arange(0, BLOCK // 8).to(tl.uint32)[None, :]
    a, b, c, d = tl.philox(seed, groups, zeros + rows.to(tl.uint32)[:, None], zeros, zeros)
    words = tl.interleave(tl.interleave(a, b), tl.interleave(c, d))  # (R, BLOCK / 2)
    lanes = tl.interleave(words & 0xFFFF, words >> 16)  # (R, BLOCK)
    return tl.where(lanes.to(tl.int32) >= threshold, scale, 0.0)
