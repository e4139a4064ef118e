"""What the strategies that make pairs have in common: a target length and the cut to the longest sample.

Source: create_pretraining_data.py of google-research/bert; that of google-research/albert does the same.
"""

from random import Random

from preprocessing.segments.layout import Range, draw


def target_length(limit: int, short_seq_prob: float, random: Random) -> int:
    """Tokens that the pairs of a document aim at: `limit`, or with `short_seq_prob` any of 2 .. `limit`."""
    return limit if random.random() >= short_seq_prob else 2 + draw(random, limit - 1)


def truncate(a: Range, b: Range, limit: int, random: Random) -> tuple[int, int, int, int]:
    """Shortens A and B to `limit` tokens together: always the longer one, each time at its front or back by chance.

    The lengths that this leaves need no loop, and the number of tokens that n such chances take from the front is the
    number of ones among n random bits.
    """
    a_length, b_length = truncated_lengths(a[1] - a[0], b[1] - b[0], limit)
    a_start = a[0] + random.getrandbits(a[1] - a[0] - a_length).bit_count()
    b_start = b[0] + random.getrandbits(b[1] - b[0] - b_length).bit_count()
    return a_start, a_start + a_length, b_start, b_start + b_length


def truncated_lengths(a: int, b: int, limit: int) -> tuple[int, int]:
    """What is left of `a` and `b` when one token at a time leaves the longer (B if equal) until `limit` remain."""
    shorter = min(a, b)
    if a + b <= limit:
        return a, b
    if shorter <= limit - shorter:
        return (limit - b, b) if a > b else (a, limit - a)
    return (limit + 1) // 2, limit // 2
