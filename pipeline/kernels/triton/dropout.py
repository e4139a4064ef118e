"""Dropout's mask as a function of a seed and an element's place, so that it is never stored."""

import triton
import triton.language as tl

PER_CALL = 8
"""Elements that one call of the generator decides, 16 bits each: at one element per call, the generator's integer
arithmetic and not memory would set the pace."""


@triton.jit
def scaled_keep(
    seed,  # int64
    rows,  # (R,) int64
    threshold,  # in [0, 65536): probability of being dropped, in 65536ths
    scale,  # what kept elements are multiplied by
    BLOCK: tl.constexpr,  # noqa: N803 - columns, a multiple of PER_CALL
):
    """(R, BLOCK) fp32, `scale` where an element is kept and 0 where it is dropped.

    The counter is (row, column / 8), 128 bits of random words from Philox-4x32-10 are eight 16-bit integers.
    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    """
    zeros = tl.zeros((rows.shape[0], BLOCK // 8), tl.uint32)
    groups = zeros + tl.arange(0, BLOCK // 8).to(tl.uint32)[None, :]
    a, b, c, d = tl.philox(seed, groups, zeros + rows.to(tl.uint32)[:, None], zeros, zeros)
    words = tl.interleave(tl.interleave(a, b), tl.interleave(c, d))  # (R, BLOCK / 2)
    lanes = tl.interleave(words & 0xFFFF, words >> 16)  # (R, BLOCK)
    return tl.where(lanes.to(tl.int32) >= threshold, scale, 0.0)
