"""What the options need to know of each strategy; `registry.py` has the rest.

Nothing is imported here, so that a help text does without numpy.
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
"""Share of short documents or samples in the source of each strategy; None: nothing is random, each pass gives the same
samples."""
