"""Laws of preprocessing/errors.py."""

import pytest

from preprocessing.errors import DataError, check_name, did_you_mean


def test_a_close_name_is_offered():
    """A similar name is proposed, and none where no name is similar."""
    assert did_you_mean("jsnl", ["jsonl", "parquet"]) == "; did you mean 'jsonl'?"
    assert did_you_mean("xyz", ["jsonl", "parquet"]) == did_you_mean("a", []) == ""


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    """The error for an unknown name has the option, the value, the known names and the closest one."""
    check_name("segments", "nsp", iter(["nsp", "sop"]))
    with pytest.raises(DataError, match=r"^segments = 'nps': must be one of nsp, sop; did you mean 'nsp'\?$"):
        check_name("segments", "nps", iter(["nsp", "sop"]))
