"""Terms give metrics their names, and are read back from events and checkpoints."""

from dataclasses import asdict

import pytest

from pipeline.runlog.terms import BEFORE_TERMS, Term, masked_term, terms_of

TERM = Term("rtd", "replaced-token", "tokens", weight=50.0, classes=2)


def test_sums_have_the_name_of_the_term():
    """The sums of a term have its name, and a term that counts nothing has the sum of its loss alone."""
    assert TERM.sums == ("rtd_loss", "rtd_correct")
    assert Term("rtd", "replaced-token", "tokens", counted=False).sums == ("rtd_loss",)


def test_the_newest_event_that_names_terms_counts():
    """The terms are those of the newest event that has some; a run of an older version has those of BERT."""
    events = [{"terms": [asdict(BEFORE_TERMS[0])]}, {"kind": "checkpoint"}, {"terms": [asdict(TERM)]}, {"step": 3}]
    assert terms_of(events) == (TERM,)
    assert terms_of([{"kind": "start"}]) == BEFORE_TERMS


@pytest.mark.parametrize("damaged", [None, "mlm", [None], [{"name": "mlm"}], [{"name": "mlm", "nonsense": 1}], [7]])
def test_damaged_terms_are_those_of_before(damaged):
    """Values that are not terms are replaced by the terms of BERT."""
    assert terms_of([{"terms": damaged}]) == BEFORE_TERMS


def test_the_first_term_per_masked_token_has_the_floors():
    """The masked term is the first term per masked token, and a loss without such a term has none."""
    assert masked_term([TERM, *BEFORE_TERMS]) == BEFORE_TERMS[0] and BEFORE_TERMS[0].order_gap == "mlm_order_gap"
    assert masked_term([TERM]) is None
