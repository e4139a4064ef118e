"""Laws of preprocessing/sources/jsonarray.py; those of files that hold an array are in test_jsonl.py."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.sources import jsonarray
from preprocessing.sources.jsonarray import ArrayReader, BrokenArrayError, is_array_of_objects

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@given(st.lists(VALUES, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]))
def test_elements_are_those_of_json_loads(values, chunk, indent):
    """Elements are those of json.loads, wherever the blocks that are read end: between digits, escapes or bytes of a
    character.
    """
    data = json.dumps(values, ensure_ascii=False, indent=indent).encode("utf-8", "replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonarray, "_CHUNK_BYTES", chunk)
        reader = ArrayReader(io.BytesIO(data), 10**6)
        assert [*reader.elements()] == json.loads(data)
    assert reader.ended


@pytest.mark.parametrize("data", [b"", b"{}", b"[1", b"[1,", b"[1 2]", b"[1]]", b"[01]", b"[\xff]"])
def test_what_is_no_array_is_an_error(data):
    """Text that is no array is an error, no element is made up, and reading ends."""
    with pytest.raises(BrokenArrayError):
        list(ArrayReader(io.BytesIO(data), 100).elements())


def test_an_array_of_objects_is_told_by_its_beginning():
    """An array of objects is recognised by its beginning; arrays of other values, and objects one per line, are not
    taken for one.
    """
    assert all(map(is_array_of_objects, (b'[{"a": 1}]', b"\xef\xbb\xbf \n[ {\n}]")))
    assert not any(map(is_array_of_objects, (b"[]", b"[1]", b'{"a": [{}]}', b'["a"]', b"")))
