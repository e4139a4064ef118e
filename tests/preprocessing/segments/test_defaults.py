"""Laws of preprocessing/segments/defaults.py."""

import subprocess
import sys

from preprocessing.segments.defaults import SHORT_SEQ_PROBS


def test_shares_are_probabilities():
    """The default of short_seq_prob is a probability, or none where a strategy makes no random choice."""
    assert all(share is None or 0 < share < 1 for share in SHORT_SEQ_PROBS.values())


def test_options_are_read_without_numpy():
    """Options are read without numpy, pyarrow and tokenizers, so that a help text does not wait for them."""
    program = (
        "import sys, preprocessing.options; print([m for m in ('numpy', 'pyarrow', 'tokenizers') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
