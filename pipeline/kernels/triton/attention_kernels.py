"""Attention over concatenated sequences in Triton: the kernels that `pipeline.kernels.triton.attention` launches.

The recurrence over blocks of keys in the forward pass, the logarithms of sums that it keeps for the backward pass, and
the row sums delta there are those of Dao et al. 2022, "FlashAttention", algorithms 1 and 4, and Dao 2023,
"FlashAttention-2", section 3.1. `pipeline.kernels.plain_attention` has the formulas. A program computes a tile of rows
of one sequence and head, and rows beyond the end of its sequence are zeros that are not written.

A term that is added to the scores is stored by head and pair, (N, P): the pairs of a sequence of L tokens are the L * L
elements of a matrix of queries and keys, and follow those of the sequence before it.

With a window, a program visits only the tiles in which some query and key are near each other, from a multiple of the
tile's size on, so that masks of dropout are those without a window.

Shapes: T tokens, B sequences, P pairs of tokens of one sequence, N heads, D head_dim. Arguments that all kernels have:

    qkv (T, 3, N, D)         queries, keys and values
    cu_seqlens (B + 1,)      int32 bounds of the sequences
    seed ()                  int64, read if DROP
    term (N, P)              read if TERM
    cu_pairs (B + 1,)        int64 bounds of the pairs of the sequences, read if TERM
    heads, num_tokens, num_pairs
    blocks                   tiles of rows of the longest sequence
    scale                    of the products of queries and keys
    threshold                the lowest word, signed, that keeps a probability
    kept_scale               factor of the probabilities that are kept
    WINDOW                   tokens on either side that a token attends to; -1: all
    WIDTH                    power of two, at least D and 16
    PRECISION                of products of fp32
"""

import triton
import triton.language as tl

from pipeline.kernels.plain_attention import ROUNDS

LOG2_E = tl.constexpr(1.4426950408889634)
PHILOX_ROUNDS = tl.constexpr(ROUNDS)
LOWEST_PEAK = tl.constexpr(-1e30)
"""Lower bound on the scores of a query that is near some key, so that no difference of infinities is computed."""
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
def load_rows(base, rows, length, stride, D: tl.constexpr, WIDTH: tl.constexpr):  # noqa: N803
    """Rows (rows, WIDTH) of D elements, and zeros."""
    at, exists = at_rows(rows, length, stride, D, WIDTH)
    return tl.load(base + at, mask=exists, other=0.0)


@triton.jit
def store_rows(base, values, rows, length, stride, D: tl.constexpr, WIDTH: tl.constexpr):  # noqa: N803
    """Write rows of D elements in the type of `base`."""
    at, exists = at_rows(rows, length, stride, D, WIDTH)
    tl.store(base + at, values.to(base.dtype.element_ty), mask=exists)


@triton.jit
def first_pair(cu_pairs, sequence, head, num_pairs, TERM: tl.constexpr):  # noqa: N803
    """Number of the first pair of a sequence and head, if there is a term."""
    pair = head.to(tl.int64) * num_pairs
    if TERM:
        pair += tl.load(cu_pairs + sequence)
    return pair


@triton.jit
def visited(first, length, ROWS: tl.constexpr, STEP: tl.constexpr, WINDOW: tl.constexpr):  # noqa: N803
    """Bounds of the tokens that a program with ROWS rows visits in tiles of STEP; the first is a multiple of STEP."""
    begin, end = 0, length
    if WINDOW >= 0:
        begin = tl.maximum(first - WINDOW, 0) // STEP * STEP
        end = tl.minimum(first + ROWS + WINDOW, length)
    return begin, end


@triton.jit
def within(weights, queries, keys, WINDOW: tl.constexpr):  # noqa: N803
    """Weights of a tile, zero where query and key are not near each other."""
    if WINDOW >= 0:
        weights = tl.where(tl.abs(queries - keys) <= WINDOW, weights, 0.0)
    return weights


@triton.jit
def products(
    rows, columns, term, queries, keys, length, scale, TERM: tl.constexpr, PRECISION: tl.constexpr  # noqa: N803
):  # fmt: skip
    """Scores of a tile, divided by `scale`, from its queries and keys, in either order, and the term of the pairs."""
    scores = tl.dot(rows, tl.trans(columns), input_precision=PRECISION)
    if TERM:
        exists = (queries < length) & (keys < length)
        scores += tl.load(term + queries * length + keys, mask=exists, other=0.0).to(tl.float32) * (1.0 / scale)
    return scores


@triton.jit
def store_pairs(term_grad, slope, queries, keys, length):
    """Write the gradient of the term of the pairs of a tile."""
    at, exists = queries * length + keys, (queries < length) & (keys < length)
    tl.store(term_grad + at, slope.to(term_grad.dtype.element_ty), mask=exists)


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
    qkv, cu_seqlens, seed, term, cu_pairs,
    out,  # (T, N, D), written
    log_sums,  # (N, T) fp32, written: base-2 logarithm of the sum of the exponentials of a query's scores
    heads, num_tokens, num_pairs, blocks, scale, threshold, kept_scale,
    DROP: tl.constexpr, TERM: tl.constexpr, WINDOW: tl.constexpr,  # noqa: N803
    D: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,  # noqa: N803
    QUERIES: tl.constexpr, KEYS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Output of QUERIES queries of one sequence and head per program."""
    sequence, head, begin, length, first = place(cu_seqlens, heads, blocks, QUERIES)
    if first >= length:
        return
    seed = tl.load(seed) if DROP else 0
    term += first_pair(cu_pairs, sequence, head, num_pairs, TERM)
    stride = 3 * heads * D
    qkv += begin * stride + head * D
    queries = first + tl.arange(0, QUERIES)
    query = load_rows(qkv, queries, length, stride, D, WIDTH)
    peak = tl.full((QUERIES,), float("-inf"), tl.float32)
    total = tl.zeros((QUERIES,), tl.float32)
    sums = tl.zeros((QUERIES, WIDTH), tl.float32)
    begin_key, end_key = visited(first, length, QUERIES, KEYS, WINDOW)
    for start in range(begin_key, end_key, KEYS):
        keys = start + tl.arange(0, KEYS)
        key = load_rows(qkv + heads * D, keys, length, stride, D, WIDTH)
        value = load_rows(qkv + 2 * heads * D, keys, length, stride, D, WIDTH)
        scores = products(query, key, term, queries[:, None], keys[None, :], length, scale, TERM, PRECISION)
        scores = tl.where(keys[None, :] < length, scores, float("-inf"))
        if WINDOW >= 0:
            scores = tl.where(tl.abs(queries[:, None] - keys[None, :]) <= WINDOW, scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1) * (scale * LOG2_E))
        if WINDOW >= 0:  # a query may be near no key of the first tiles
            new_peak = tl.maximum(new_peak, LOWEST_PEAK)
        weights = tl.exp2(scores * (scale * LOG2_E) - new_peak[:, None])
        shrink = tl.exp2(peak - new_peak)
        total = total * shrink + tl.sum(weights, 1)
        if DROP:
            kept = kept_tile(seed, sequence, head, first, start, threshold, QUERIES, KEYS, False)
            weights = tl.where(kept, weights, 0.0)
        sums = tl.dot(weights.to(value.dtype), value, sums * shrink[:, None], input_precision=PRECISION)
        peak = new_peak
    sums *= (kept_scale / total)[:, None]
    store_rows(out + begin * heads * D + head * D, sums, queries, length, heads * D, D, WIDTH)
    log_sums += head.to(tl.int64) * num_tokens + begin
    tl.store(log_sums + queries, peak + tl.log2(total), mask=queries < length)


@triton.jit(do_not_specialize=VARYING)
def query_gradient_kernel(
    grad,  # (T, N, D) of the output
    qkv, cu_seqlens, seed, term, cu_pairs,
    out,  # (T, N, D)
    log_sums,  # (N, T) fp32
    deltas,  # (N, T) fp32, written: sum over D of a query's output times its gradient
    qkv_grad,  # (T, 3, N, D), whose queries are written
    term_grad,  # (N, P), written if TERM
    heads, num_tokens, num_pairs, blocks, scale, threshold, kept_scale,
    DROP: tl.constexpr, TERM: tl.constexpr, WINDOW: tl.constexpr,  # noqa: N803
    D: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,  # noqa: N803
    QUERIES: tl.constexpr, KEYS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Gradient of QUERIES queries of one sequence and head per program."""
    sequence, head, begin, length, first = place(cu_seqlens, heads, blocks, QUERIES)
    if first >= length:
        return
    seed = tl.load(seed) if DROP else 0
    pair = first_pair(cu_pairs, sequence, head, num_pairs, TERM)
    stride = 3 * heads * D
    qkv += begin * stride + head * D
    queries = first + tl.arange(0, QUERIES)
    query = load_rows(qkv, queries, length, stride, D, WIDTH)
    error = load_rows(grad + begin * heads * D + head * D, queries, length, heads * D, D, WIDTH)
    output = load_rows(out + begin * heads * D + head * D, queries, length, heads * D, D, WIDTH)
    delta = tl.sum(output.to(tl.float32) * error.to(tl.float32), 1)
    row = head.to(tl.int64) * num_tokens + begin + queries
    tl.store(deltas + row, delta, mask=queries < length)
    log_sum = tl.load(log_sums + row, mask=queries < length, other=0.0)
    query_grad = tl.zeros((QUERIES, WIDTH), tl.float32)
    begin_key, end_key = visited(first, length, QUERIES, KEYS, WINDOW)
    for start in range(begin_key, end_key, KEYS):
        keys = start + tl.arange(0, KEYS)
        key = load_rows(qkv + heads * D, keys, length, stride, D, WIDTH)
        value = load_rows(qkv + 2 * heads * D, keys, length, stride, D, WIDTH)
        scores = products(query, key, term + pair, queries[:, None], keys[None, :], length, scale, TERM, PRECISION)
        weights = tl.exp2(scores * (scale * LOG2_E) - log_sum[:, None])
        weights = within(weights, queries[:, None], keys[None, :], WINDOW)
        slope = tl.dot(error, tl.trans(value), input_precision=PRECISION)
        if DROP:
            kept = kept_tile(seed, sequence, head, first, start, threshold, QUERIES, KEYS, False)
            slope = tl.where(kept, slope * kept_scale, 0.0)
        # Keys beyond the end have a score of 0, whose weight may be infinite.
        slope = tl.where(keys[None, :] < length, weights * (slope - delta[:, None]), 0.0)
        if TERM:
            store_pairs(term_grad + pair, slope, queries[:, None], keys[None, :], length)
        query_grad = tl.dot(slope.to(key.dtype), key, query_grad, input_precision=PRECISION)
    store_rows(qkv_grad + begin * stride + head * D, query_grad * scale, queries, length, stride, D, WIDTH)


@triton.jit(do_not_specialize=VARYING)
def key_value_gradient_kernel(
    grad,  # (T, N, D) of the output
    qkv, cu_seqlens, seed, term, cu_pairs,
    log_sums,  # (N, T) fp32
    deltas,  # (N, T) fp32, read unless WHOLE
    qkv_grad,  # (T, 3, N, D), whose keys and values are written, and its queries if WHOLE
    term_grad,  # (N, P), written if TERM and WHOLE
    heads, num_tokens, num_pairs, blocks, scale, threshold, kept_scale,
    WHOLE: tl.constexpr,  # noqa: N803 - a program has all keys of its sequence
    DROP: tl.constexpr, TERM: tl.constexpr, WINDOW: tl.constexpr,  # noqa: N803
    D: tl.constexpr, WIDTH: tl.constexpr, PRECISION: tl.constexpr,  # noqa: N803
    QUERIES: tl.constexpr, KEYS: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Gradient of KEYS keys and values of one sequence and head per program; tiles have a row for each key."""
    sequence, head, begin, length, first = place(cu_seqlens, heads, blocks, KEYS)
    if first >= length:
        return
    seed = tl.load(seed) if DROP else 0
    pair = first_pair(cu_pairs, sequence, head, num_pairs, TERM)
    stride = 3 * heads * D
    qkv += begin * stride + head * D
    qkv_grad += begin * stride + head * D
    log_sums += head.to(tl.int64) * num_tokens + begin
    deltas += head.to(tl.int64) * num_tokens + begin
    keys = first + tl.arange(0, KEYS)
    key = load_rows(qkv + heads * D, keys, length, stride, D, WIDTH)
    value = load_rows(qkv + 2 * heads * D, keys, length, stride, D, WIDTH)
    key_grad = tl.zeros((KEYS, WIDTH), tl.float32)
    value_grad = tl.zeros((KEYS, WIDTH), tl.float32)
    begin_query, end_query = visited(first, length, KEYS, QUERIES, WINDOW)
    for start in range(begin_query, end_query, QUERIES):
        queries = start + tl.arange(0, QUERIES)
        query = load_rows(qkv, queries, length, stride, D, WIDTH)
        error = load_rows(grad + begin * heads * D + head * D, queries, length, heads * D, D, WIDTH)
        # Queries beyond the end have infinite sums, therefore weights of 0.
        log_sum = tl.load(log_sums + queries, mask=queries < length, other=float("inf"))
        scores = products(key, query, term + pair, queries[None, :], keys[:, None], length, scale, TERM, PRECISION)
        weights = tl.exp2(scores * (scale * LOG2_E) - log_sum[None, :])
        weights = tl.where(keys[:, None] < length, weights, 0.0) if WHOLE else weights
        weights = within(weights, queries[None, :], keys[:, None], WINDOW)
        slope = tl.dot(value, tl.trans(error), input_precision=PRECISION)
        kept_weights = weights
        if DROP:
            kept = kept_tile(seed, sequence, head, start, first, threshold, QUERIES, KEYS, True)
            kept_weights = tl.where(kept, weights, 0.0)
            slope = tl.where(kept, slope * kept_scale, 0.0)
        value_grad = tl.dot(kept_weights.to(error.dtype), error, value_grad, input_precision=PRECISION)
        delta = tl.sum(weights * slope, 0) if WHOLE else tl.load(deltas + queries, mask=queries < length, other=0.0)
        slope = weights * (slope - delta[None, :])
        key_grad = tl.dot(slope.to(query.dtype), query, key_grad, input_precision=PRECISION)
        if TERM and WHOLE:
            store_pairs(term_grad + pair, slope, queries[None, :], keys[:, None], length)
        if WHOLE:
            query_grad = tl.dot(tl.trans(slope.to(query.dtype)), key, input_precision=PRECISION) * scale
            store_rows(qkv_grad, query_grad, queries, length, stride, D, WIDTH)
    store_rows(qkv_grad + heads * D, key_grad * scale, keys, length, stride, D, WIDTH)
    store_rows(qkv_grad + 2 * heads * D, value_grad * kept_scale, keys, length, stride, D, WIDTH)
