"""Attention over concatenated sequences in Triton: the kernels that `pipeline.kernels.triton.attention` launches.

The recurrence over blocks of keys in the forward pass, the logarithms of sums that it keeps for the backward pass, and
the row sums delta there are those of Dao et al. 2022, "FlashAttention", algorithms 1 and 4, and Dao 2023,
"FlashAttention-2", section 3.1. `pipeline.kernels.plain_attention` has the formulas. A program computes a tile of rows
of one sequence and head, and rows beyond the end of its sequence are zeros that are not written.

A term that is added to the scores is stored by head and pair, (N, P): the pairs of a sequence of L tokens are the L * L
elements of a matrix of queries and keys, and follow those of the sequence before it.

Shapes: T tokens, B sequences, P pairs of tokens of one sequence, N heads, D head_dim.
"""

import triton
import triton.language as tl

from pipeline.kernels.plain_attention import ROUNDS

LOG2_E = tl.constexpr(1.4426950408889634)
PHILOX_ROUNDS = tl.constexpr(ROUNDS)
VARYING = ("num_tokens", "num_pairs", "blocks")
"""Arguments that differ between micro-batches. Triton would compile anew for those that are 1 or a multiple of 16."""


@triton.jit
def place(cu_seqlens, heads, blocks, BLOCK: tl.constexpr):  # noqa: N803
    """Sequence, head, first token of the sequence, its length, and the first of the program's rows in it."""
    program = tl.program_id(0)
    sequence = program // heads // blocks
    begin = tl.load(cu_seqlens + sequence)
    length = tl.load(cu_seqlens + sequence + 1) - begin
    return sequence, program % heads, begin.to(tl.int64), length, program // heads % blocks * BLOCK


@triton.jit
def at_rows(rows, length, stride, D: tl.constexpr, WIDTH: tl.constexpr):  # noqa: N803
    """Offsets (rows, WIDTH) of rows that lie `stride` elements apart, and which of them exist."""
    columns = tl.arange(0, WIDTH)[None, :]
    exists = rows[:, None] < length
    if D < WIDTH:
        exists = exists & (columns < D)
    return rows[:, None] * stride + columns, exists


@triton.jit
def at_pairs(queries, keys, length):
    """Offsets of a tile of pairs from the first pair of its sequence and head, and which of them exist."""
    return queries * length + keys, (queries < length) & (keys < length)


@triton.jit
def kept_tile(
    seed,  # int64
    sequence,
    head,
    query,  # number of the tile's first query in its sequence, a multiple of 16
    key,  # likewise of its first key
    threshold,  # int32
    QUERIES: tl.constexpr,  # noqa: N803
    KEYS: tl.constexpr,  # noqa: N803
    KEYS_FIRST: tl.constexpr,  # noqa: N803
):
    """Whether each probability of a tile (QUERIES, KEYS), or (KEYS, QUERIES), is kept; see `plain_attention.kept`.

    The four words of a call decide queries and keys that are 8 apart. In the layout of a tensor core's accumulator
    these four belong to one thread, whichever the order of the axes, so that no word moves between threads.
    """
    queries = (query // 2 + tl.arange(0, QUERIES // 2)).to(tl.uint32)
    keys = (key // 2 + tl.arange(0, KEYS // 2)).to(tl.uint32)
    if KEYS_FIRST:
        a, b, c, d = tl.philox(seed, keys[:, None], queries[None, :], head, sequence, PHILOX_ROUNDS)
        words = tl.join(tl.join(a, b), tl.join(c, d))  # (KEYS / 2, QUERIES / 2, bit of the key, bit of the query)
        words = words.reshape(KEYS // 16, 8, QUERIES // 16, 8, 2, 2).permute(0, 4, 1, 2, 5, 3)
        words = words.reshape(KEYS, QUERIES)
    else:
        a, b, c, d = tl.philox(seed, keys[None, :], queries[:, None], head, sequence, PHILOX_ROUNDS)
        words = tl.join(tl.join(a, b), tl.join(c, d))
        words = words.reshape(QUERIES // 16, 8, KEYS // 16, 8, 2, 2).permute(0, 5, 1, 2, 4, 3)
        words = words.reshape(QUERIES, KEYS)
    return words.to(tl.int32, bitcast=True) >= threshold


@triton.jit(do_not_specialize=VARYING)
def forward_kernel(
    qkv,  # (T, 3, N, D)
    cu_seqlens,  # (B + 1,) int32
    seed,  # () int64, read if DROP
    term,  # (N, P), read if TERM
    cu_pairs,  # (B + 1,) int64, read if TERM: bounds of the pairs of the sequences
    out,  # (T, N, D), written
    log_sums,  # (N, T) fp32, written: base-2 logarithm of the sum of the exponentials of a query's scores
    heads,
    num_tokens,
    num_pairs,
    blocks,  # of queries, of the longest sequence
    scale,  # of the scores
    threshold,  # words of the generator below it drop a probability
    kept_scale,
    DROP: tl.constexpr,  # noqa: N803
    TERM: tl.constexpr,  # noqa: N803
    D: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803 - power of two, at least D and 16
    PRECISION: tl.constexpr,  # noqa: N803 - of products in fp32
    QUERIES: tl.constexpr,  # noqa: N803
    KEYS: tl.constexpr,  # noqa: N803
):
    """Output of QUERIES queries of one sequence and head per program."""
    sequence, head, begin, length, first = place(cu_seqlens, heads, blocks, QUERIES)
    if first >= length:
        return
    if DROP:
        seed = tl.load(seed)
    if TERM:
        first_pair = head.to(tl.int64) * num_pairs + tl.load(cu_pairs + sequence)
        term += first_pair
    stride = 3 * heads * D
    qkv += begin * stride + head * D
    queries = first + tl.arange(0, QUERIES)
    query_at, query_exists = at_rows(queries, length, stride, D, WIDTH)
    query = tl.load(qkv + query_at, mask=query_exists, other=0.0)
    peak = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    sums = tl.zeros((QUERIES, WIDTH), tl.float32)
    for start in range(0, length, KEYS):
        keys = start + tl.arange(0, KEYS)
        at, exists = at_rows(keys, length, stride, D, WIDTH)
        key = tl.load(qkv + heads * D + at, mask=exists, other=0.0)
        value = tl.load(qkv + 2 * heads * D + at, mask=exists, other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision=PRECISION)
        if TERM:
            pair, pair_exists = at_pairs(queries[:, None], keys[None, :], length)
            scores += tl.load(term + pair, mask=pair_exists, other=0.0).to(tl.float32) * (1.0 / scale)
        scores = tl.where(keys[None, :] < length, scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1) * (scale * LOG2_E))
        weights = tl.exp2(scores * (scale * LOG2_E) - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        total = total * shrink + tl.sum(weights, 1)
        if DROP:
            kept = kept_tile(seed, sequence, head, first, start, threshold, QUERIES, KEYS, False)
            weights = tl.where(kept, weights, 0.0)
        sums = tl.dot(weights.to(value.dtype), value, sums * shrink[:, None], input_precision=PRECISION)
        peak = new_peak
    sums *= (kept_scale / total)[:, None]
    out_at, _ = at_rows(queries, length, heads * D, D, WIDTH)
    tl.store(out + begin * heads * D + head * D + out_at, sums.to(out.dtype.element_ty), mask=query_exists)
    log_sums += head.to(tl.int64) * num_tokens + begin
    tl.store(log_sums + queries, peak + tl.log2(total), mask=queries < length)


@triton.jit(do_not_specialize=VARYING)
def query_gradient_kernel(
    grad,  # (T, N, D) of the output
    qkv,  # (T, 3, N, D)
    cu_seqlens,  # (B + 1,) int32
    seed,  # () int64, read if DROP
    term,  # (N, P), read if TERM
    cu_pairs,  # (B + 1,) int64, read if TERM: bounds of the pairs of the sequences
    out,  # (T, N, D)
    log_sums,  # (N, T) fp32
    deltas,  # (N, T) fp32, written: sum over D of a query's output times its gradient
    qkv_grad,  # (T, 3, N, D), whose queries are written
    term_grad,  # (N, P), written if TERM
    heads,
    num_tokens,
    num_pairs,
    blocks,  # of queries, of the longest sequence
    scale,
    threshold,
    kept_scale,
    DROP: tl.constexpr,  # noqa: N803
    TERM: tl.constexpr,  # noqa: N803
    D: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
    PRECISION: tl.constexpr,  # noqa: N803
    QUERIES: tl.constexpr,  # noqa: N803
    KEYS: tl.constexpr,  # noqa: N803
):
    """Gradient of QUERIES queries of one sequence and head per program."""
    sequence, head, begin, length, first = place(cu_seqlens, heads, blocks, QUERIES)
    if first >= length:
        return
    if DROP:
        seed = tl.load(seed)
    if TERM:
        first_pair = head.to(tl.int64) * num_pairs + tl.load(cu_pairs + sequence)
        term += first_pair
        term_grad += first_pair
    stride = 3 * heads * D
    qkv += begin * stride + head * D
    queries = first + tl.arange(0, QUERIES)
    grad += begin * heads * D + head * D
    out += begin * heads * D + head * D
    out_at, query_exists = at_rows(queries, length, heads * D, D, WIDTH)
    error = tl.load(grad + out_at, mask=query_exists, other=0.0)
    delta = tl.sum(tl.load(out + out_at, mask=query_exists, other=0.0).to(tl.float32) * error.to(tl.float32), 1)
    row = head.to(tl.int64) * num_tokens + begin + queries
    tl.store(deltas + row, delta, mask=queries < length)
    log_sum = tl.load(log_sums + row, mask=queries < length, other=0.0)
    query_at, _ = at_rows(queries, length, stride, D, WIDTH)
    query = tl.load(qkv + query_at, mask=query_exists, other=0.0)
    query_grad = tl.zeros((QUERIES, WIDTH), tl.float32)
    for start in range(0, length, KEYS):
        keys = start + tl.arange(0, KEYS)
        at, exists = at_rows(keys, length, stride, D, WIDTH)
        key = tl.load(qkv + heads * D + at, mask=exists, other=0.0)
        value = tl.load(qkv + 2 * heads * D + at, mask=exists, other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision=PRECISION)
        if TERM:
            pair, pair_exists = at_pairs(queries[:, None], keys[None, :], length)
            scores += tl.load(term + pair, mask=pair_exists, other=0.0).to(tl.float32) * (1.0 / scale)
        weights = tl.exp2(scores * (scale * LOG2_E) - log_sum[:, None])
        slope = tl.dot(error, tl.trans(value), input_precision=PRECISION)
        if DROP:
            kept = kept_tile(seed, sequence, head, first, start, threshold, QUERIES, KEYS, False)
            slope = tl.where(kept, slope * kept_scale, 0.0)
        # Keys beyond the end have a score of 0, whose weight may be infinite.
        slope = tl.where(keys[None, :] < length, weights * (slope - delta[:, None]), 0.0)
        if TERM:
            tl.store(term_grad + pair, slope.to(term_grad.dtype.element_ty), mask=pair_exists)
        query_grad = tl.dot(slope.to(key.dtype), key, query_grad, input_precision=PRECISION)
    qkv_grad += begin * stride + head * D
    tl.store(qkv_grad + query_at, (query_grad * scale).to(qkv_grad.dtype.element_ty), mask=query_exists)


@triton.jit(do_not_specialize=VARYING)
def key_value_gradient_kernel(
    grad,  # (T, N, D) of the output
    qkv,  # (T, 3, N, D)
    cu_seqlens,  # (B + 1,) int32
    seed,  # () int64, read if DROP
    term,  # (N, P), read if TERM
    cu_pairs,  # (B + 1,) int64, read if TERM: bounds of the pairs of the sequences
    log_sums,  # (N, T) fp32
    deltas,  # (N, T) fp32, read unless WHOLE
    qkv_grad,  # (T, 3, N, D), whose keys and values are written, and its queries if WHOLE
    term_grad,  # (N, P), written if TERM and WHOLE
    heads,
    num_tokens,
    num_pairs,
    blocks,  # of keys, of the longest sequence
    scale,
    threshold,
    kept_scale,
    WHOLE: tl.constexpr,  # noqa: N803 - a program has all keys of its sequence
    DROP: tl.constexpr,  # noqa: N803
    TERM: tl.constexpr,  # noqa: N803
    D: tl.constexpr,  # noqa: N803
    WIDTH: tl.constexpr,  # noqa: N803
    PRECISION: tl.constexpr,  # noqa: N803
    QUERIES: tl.constexpr,  # noqa: N803
    KEYS: tl.constexpr,  # noqa: N803
):
    """Gradient of KEYS keys and values of one sequence and head per program; tiles have a row for each key."""
    sequence, head, begin, length, first = place(cu_seqlens, heads, blocks, KEYS)
    if first >= length:
        return
    if DROP:
        seed = tl.load(seed)
    if TERM:
        first_pair = head.to(tl.int64) * num_pairs + tl.load(cu_pairs + sequence)
        term += first_pair
        term_grad += first_pair
    stride = 3 * heads * D
    qkv += begin * stride + head * D
    qkv_grad += begin * stride + head * D
    grad += begin * heads * D + head * D
    row = head.to(tl.int64) * num_tokens + begin
    keys = first + tl.arange(0, KEYS)
    key_at, key_exists = at_rows(keys, length, stride, D, WIDTH)
    key = tl.load(qkv + heads * D + key_at, mask=key_exists, other=0.0)
    value = tl.load(qkv + 2 * heads * D + key_at, mask=key_exists, other=0.0)
    key_grad = tl.zeros((KEYS, WIDTH), tl.float32)
    value_grad = tl.zeros((KEYS, WIDTH), tl.float32)
    for start in range(0, length, QUERIES):
        queries = start + tl.arange(0, QUERIES)
        out_at, exists = at_rows(queries, length, heads * D, D, WIDTH)
        error = tl.load(grad + out_at, mask=exists, other=0.0)
        at, _ = at_rows(queries, length, stride, D, WIDTH)
        query = tl.load(qkv + at, mask=exists, other=0.0)
        # Queries beyond the end have infinite sums, therefore weights of 0.
        log_sum = tl.load(log_sums + row + queries, mask=queries < length, other=float("inf"))
        scores = tl.dot(key, tl.trans(query), input_precision=PRECISION)
        if TERM:
            pair, pair_exists = at_pairs(queries[None, :], keys[:, None], length)
            scores += tl.load(term + pair, mask=pair_exists, other=0.0).to(tl.float32) * (1.0 / scale)
        weights = tl.exp2(scores * (scale * LOG2_E) - log_sum[None, :])
        slope = tl.dot(value, tl.trans(error), input_precision=PRECISION)
        if WHOLE:
            weights = tl.where(keys[:, None] < length, weights, 0.0)
        kept_weights = weights
        if DROP:
            kept = kept_tile(seed, sequence, head, start, first, threshold, QUERIES, KEYS, True)
            kept_weights = tl.where(kept, weights, 0.0)
            slope = tl.where(kept, slope * kept_scale, 0.0)
        value_grad = tl.dot(kept_weights.to(error.dtype), error, value_grad, input_precision=PRECISION)
        if WHOLE:
            delta = tl.sum(weights * slope, 0)
        else:
            delta = tl.load(deltas + row + queries, mask=queries < length, other=0.0)
        slope = weights * (slope - delta[None, :])
        if TERM and WHOLE:
            tl.store(term_grad + pair, slope.to(term_grad.dtype.element_ty), mask=pair_exists)
        slope = slope.to(query.dtype)
        key_grad = tl.dot(slope, query, key_grad, input_precision=PRECISION)
        if WHOLE:
            query_grad = tl.dot(tl.trans(slope), key, input_precision=PRECISION) * scale
            tl.store(qkv_grad + at, query_grad.to(qkv_grad.dtype.element_ty), mask=exists)
    tl.store(qkv_grad + heads * D + key_at, (key_grad * scale).to(qkv_grad.dtype.element_ty), mask=key_exists)
    value_grad *= kept_scale
    tl.store(qkv_grad + 2 * heads * D + key_at, value_grad.to(qkv_grad.dtype.element_ty), mask=key_exists)
