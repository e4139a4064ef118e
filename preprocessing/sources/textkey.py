"""Finds the text of a record by its key: `text`, or `article.body` for a key inside an object.

A key that contains a dot takes precedence over the path of the same spelling. The strings of a list are paragraphs; a
path is followed into each object of a list.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

_DEEPEST = 4
"""Depth of objects to which a message lists keys."""
_MOST_KEYS = 20
_VALUE_CHARS = 60


class NoTextError(Exception):
    """A record has no text under the key; the message lists the keys it has."""


def find_text(record: Mapping[str, Any], key: str) -> str:
    """The text under a key, the strings of a list one per line; bytes are read as UTF-8.

    Raises:
        NoTextError: there is no such key, or its value is not text.
        UnicodeDecodeError: the bytes are not UTF-8.
    """
    try:
        value = _lookup(record, key)
    except KeyError:
        raise NoTextError(f"no key {key!r}; {_remedy(record, key)}") from None
    if isinstance(value, list) and (not value or any(item is not None for item in value)):
        try:
            return "\n".join(_strings(value))
        except TypeError as error:
            raise NoTextError(f"{key!r} is a list that holds {error}; {_remedy(record, key)}") from None
    if isinstance(value, str | bytes):
        return _string(value)
    raise NoTextError(f"{key!r} is {repr(value)[:_VALUE_CHARS]}; {_remedy(record, key)}")


def nearest(key: str, texts: Mapping[str, int]) -> str:
    """The existing key that is most likely meant by a missing one; empty if there is none.

    Args:
        key: the missing key.
        texts: the keys of texts, with the length of each text.
    """
    inside = [name for name in texts if name.rpartition(".")[2] == key.rpartition(".")[2]]
    near = get_close_matches(key, [name for name in texts if name != key], 1)
    longest = sorted(texts, key=lambda name: -texts[name])
    return next((name for name in (*inside, *near, *longest) if name != key), "")


def _lookup(value: Any, key: str) -> Any:
    """The value under a key.

    Raises:
        KeyError: there is none.
    """
    if isinstance(value, list):
        return [_lookup(item, key) for item in value]
    if not isinstance(value, Mapping):
        raise KeyError(key)
    if key in value:
        return value[key]
    for place in (place for place, character in enumerate(key) if character == "."):
        if key[:place] in value:
            try:
                return _lookup(value[key[:place]], key[place + 1 :])
            except KeyError:
                continue
    raise KeyError(key)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str | bytes):
        yield _string(value)
    elif value is not None:
        raise TypeError(repr(value)[:_VALUE_CHARS])


def _string(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _remedy(record: Mapping[str, Any], key: str) -> str:
    """The second half of an error message: available keys, and the key to give."""
    paths = dict(_paths(record, "", _DEEPEST))
    shown = [*paths][:_MOST_KEYS]
    more = ", ..." * (len(paths) > len(shown))
    texts = {path: length for path, length in paths.items() if length}
    return f"available keys: {', '.join(shown)}{more}; set --text_key {nearest(key, texts)}".rstrip()


def _paths(value: Any, path: str, depth: int) -> Iterator[tuple[str, int]]:
    """Paths of all keys, each with the length of its text; 0 if the value is not text."""
    if isinstance(value, Mapping) and value and depth:
        for key, inner in value.items():
            yield from _paths(inner, f"{path}.{key}" if path else str(key), depth - 1)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping) and depth:
        yield from _paths(value[0], path, depth)
    elif path:
        yield path, _length(value)


def _length(value: Any) -> int:
    try:
        return sum(map(len, _strings(value)))
    except (TypeError, UnicodeDecodeError):
        return 0
