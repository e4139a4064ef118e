"""Defaults of the options for each strategy; `registry.py` has the strategies.

This module imports nothing, so that help is shown without loading NumPy.
"""

SHORT_SEQ_PROBS: dict[str, float | None] = {
    "nsp": 0.1,
    "sop": 0.1,
    "electra": 0.05,
    "full_sentences": None,
    "doc_sentences": None,
    "blocks": None,
    "chunks": None,
}
"""Share of short documents or samples in the reference implementation of each strategy; None: the strategy makes no
random choice, so that each pass gives the same samples."""
