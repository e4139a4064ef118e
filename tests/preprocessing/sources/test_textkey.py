"""Laws of preprocessing/sources/textkey.py."""

import pytest

from preprocessing.sources.textkey import NoTextError, find_text

FOUND = [
    ({"text": "One."}, "text", "One."),
    ({"a": {"b": "One."}}, "a.b", "One."),
    ({"a": {"b": {"c": "One."}}}, "a.b.c", "One."),
    ({"a.b": "literal", "a": {"b": "path"}}, "a.b", "literal"),
    ({"a": {"b.c": "One."}}, "a.b.c", "One."),
    ({"a": {"x": 1}, "a.b": {"c": "One."}}, "a.b.c", "One."),
    ({"a": ["One.", "Two."]}, "a", "One.\nTwo."),
    ({"a": [["One."], [None, "Two."]]}, "a", "One.\nTwo."),
    ({"a": [{"b": "One."}, {"b": ["Two.", "Three."]}]}, "a.b", "One.\nTwo.\nThree."),
    ({"a": []}, "a", ""),
    ({"a": b"caf\xc3\xa9"}, "a", "café"),
]


@pytest.mark.parametrize(("record", "key", "text"), FOUND)
def test_text_is_found(record, key, text):
    """Text is found under a key, inside objects and lists of them; a key with a dot takes precedence; strings of a list
    are paragraphs.
    """
    assert find_text(record, key) == text


MISSING = [
    ({"body": "x", "id": 3}, "text", "no key 'text'; available keys: body, id; set --text_key body"),
    ({"id": 3}, "text", "no key 'text'; available keys: id; set --text_key"),
    ({}, "text", "no key 'text'; available keys: ; set --text_key"),
    ({"text": None}, "text", "'text' is None; available keys: text; set --text_key"),
    ({"text": 3, "txt": "x"}, "text", "'text' is 3; available keys: text, txt; set --text_key txt"),
    ({"text": [None]}, "text", "'text' is [None]; available keys: text; set --text_key"),
    (
        {"title": "A title.", "meta": {"text": "x", "n": 1}},
        "text",
        "no key 'text'; available keys: title, meta.text, meta.n; set --text_key meta.text",
    ),
    (
        {"text": [{"p": "One."}]},
        "text",
        "'text' is a list that holds {'p': 'One.'}; available keys: text.p; set --text_key text.p",
    ),
    (
        {"content": "One sentence.", "title": "One"},
        "text",
        "no key 'text'; available keys: content, title; set --text_key content",
    ),
    ({"txet": "x", "a": "longer"}, "text", "no key 'text'; available keys: txet, a; set --text_key txet"),
    ({"a": "x"}, "a.b", "no key 'a.b'; available keys: a; set --text_key a"),
]


@pytest.mark.parametrize(("record", "key", "message"), MISSING)
def test_a_key_without_text_names_the_nearest(record, key, message):
    """The error for a key without text proposes the same name inside an object, a similar one, or the key with the most
    text.
    """
    with pytest.raises(NoTextError) as error:
        find_text(record, key)
    assert str(error.value) == message


def test_long_records_make_short_messages():
    """Values and keys of long records are shortened in messages."""
    record = {f"key{number}": number for number in range(100)} | {"text": {"x": "y" * 1000}}
    with pytest.raises(NoTextError) as error:
        find_text(record, "text")
    assert len(str(error.value)) < 350 and "key19, ...; set --text_key text.x" in str(error.value)


def test_bytes_that_are_not_utf8_are_an_error():
    """Bytes that are not UTF-8 are an error in any place."""
    with pytest.raises(UnicodeDecodeError):
        find_text({"a": [b"caf\xe9"]}, "a")
