"""Common functions of the strategies for pairs: the target length, and truncation to the longest sample.

Source: create_pretraining_data.py of google-research/bert and of google-research/albert.
"""

from random import Random

from preprocessing.segments.layout import Range, draw


def target_length(limit: int, short_seq_prob: float, random: Random) -> int:
    """Target length of the pairs of a document: `limit`, or with `short_seq_prob` a random one of 2 .. `limit`."""
    return limit if random.random() >= short_seq_prob else 2 + draw(random, limit - 1)


def truncate(a: Range, b: Range, limit: int, random: Random) -> tuple[int, int, int, int]:
    """Truncates A and B to `limit` tokens together, one token at a time from a random end of the longer one.

    The resulting lengths have a closed form, and the number of tokens removed from the front in n steps is the number
    of ones among n random bits.
    """
    a_length, b_length = truncated_lengths(a[1] - a[0], b[1] - b[0], limit)
    a_start = a[0] + random.getrandbits(a[1] - a[0] - a_length).bit_count()
    b_start = b[0] + random.getrandbits(b[1] - b[0] - b_length).bit_count()
    return a_start, a_start + a_length, b_start, b_start + b_length


def truncated_lengths(a: int, b: int, limit: int) -> tuple[int, int]:
    """The lengths after removing one token at a time from the longer (B if equal) until `limit` remain."""
    shorter = min(a, b)
    if a + b <= limit:
        return a, b
    if shorter <= limit - shorter:
        return (limit - b, b) if a > b else (a, limit - a)
    return (limit + 1) // 2, limit // 2
