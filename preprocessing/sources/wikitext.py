"""MediaWiki's markup to prose (https://www.mediawiki.org/wiki/Help:Formatting), in time linear in its length.

One pass from left to right keeps a stack of open templates, tables and links. Their content is dropped or kept when
they close; an element that never closes is text, as it is for MediaWiki. Regular expressions then remove the markup
that does not nest: tags, quotes, URLs. A page that consists of open braces costs no more than any other.

No general parser is used, because it builds a tree of every template only to drop it: with mwparserfromhell, the best
maintained one, reading a dump takes five times as long, and its text needs `wikitext_paragraphs` all the same
(benchmarks/wikipedia.py).
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from preprocessing.sources.inline import SEPARATOR, clean, finished, literal, protect, restore, without_stand_ins
from preprocessing.sources.namespaces import MEDIA_NAMESPACE, is_interlanguage, namespace_key, namespace_keys
from preprocessing.sources.templates import LOST, Fate, Templates, follows_words, precedes_words, templates_of
from preprocessing.sources.wikitext_paragraphs import mark_bold_lines, paragraphs

_OPAQUE = (
    "ref|references|nowiki|math|chem|ce|code|syntaxhighlight|source|pre|gallery|timeline|score|imagemap|hiero|graph|"
    "mapframe|maplink|templatedata|templatestyles|inputbox|indicator|categorytree|section"
)
"""Tags whose content is not wikitext or not prose; only the content of `nowiki` is kept."""
_MAX_NESTED_TEXT = 8
"""Depth to which templates that hold text are read; the text of each is copied once per level."""
_NAME = re.compile(r"\s{0,4}([^|{}\[\]<>\n]{0,60})")
_PREFIX = re.compile(r"[ _]*+([^\[\]{}|<>\n:]{1,80}):")
"""Namespace or other wiki, before the target of a link; a colon in front makes it a plain link."""
_MEDIA = re.compile(
    r"[^\[\]{}|<>\n]{1,300}\.(?:jpe?g|jpe|png|svg|gif|tiff?|xcf|webp|web[mp]|og[agvx]|opus|flac|mid|midi|pdf|djvu|"
    r"mp[34]|mpe?g|wav|stl)[ _]*(?=\||\]\])",
    re.I,
)
"""Target of a file link, recognised by its suffix where the namespace is unknown to the dump and to `namespaces`."""
_ADDRESS = re.compile(r"\s*(?:(?:https?|ftps?):)?//")
"""Target of an external link between two brackets instead of one."""
_NO_TARGET = re.compile(r"[<{]")
"""Characters that a page title cannot contain."""
_LANGUAGE = re.compile(r"\s*[a-z]{2,3}(?:-[a-z]{2,6})*:\S")
"""Link without a label to the same article in a language whose prefix is unknown."""


@dataclass(slots=True)
class _Frame:
    """An open element and the text in it so far."""

    opener: str
    """`{{`, `{|`, `<table` or `[[`; empty at the bottom of the stack."""
    kept: bool
    """Whether its text is kept when it closes."""
    fate: Fate = Fate.GONE
    """How a template is treated; of no meaning for other elements."""
    parts: list[str] = field(default_factory=list)


_TEMPLATE, _TABLE, _HTML_TABLE, _LINK = "{{", "{|", "<table", "[["
_CLOSERS = {"}": _TEMPLATE, "|}": _TABLE, "]": _LINK}
"""Openers by the closing token; any other closing token ends an HTML table."""


_TOKENS = re.compile(
    r"[<\[\]{}\n](?:"
    r"(?<=\[)(?P<link>\[)"
    r"|(?<=\{)(?P<template>\{)"
    r"|(?P<closer>(?<=\})\}|(?<=\])\]|(?<=\n)[ \t]*\|\}(?!\})|(?<=<)/(?i:table)\b[^<>]*>)"
    r"|(?P<table>(?<=\n)[ \t:*#]*\{\||(?<=<)(?i:table)\b)"
    rf"|(?<=<)(?:(?P<comment>!--)|(?P<tag>(?i:{_OPAQUE}))\b(?P<attributes>[^<>]*)>)"
    r")"
)
"""Tokens that open or close an element. No branch looks further than the end of its line or the next `<`.

A set of first characters, followed by branches that look back at it, is five times as fast as branches alone.
"""


def to_prose(
    wikitext: str,
    dropped_namespaces: tuple[str, ...],
    language: str = "en",
    title: str = "",
    templates: Templates | None = None,
    media_namespaces: tuple[str, ...] = (MEDIA_NAMESPACE,),
) -> str:
    """The prose of an article: sentences, headings and list items, one paragraph per line; empty if it has none.

    Args:
        wikitext: the wikitext of the article.
        dropped_namespaces: names of the namespaces, such as File and Category, whose links are removed with their text.
        language: language code of the wiki, which selects the template tables; empty if unknown.
        title: title of the article, which templates may show.
        templates: reader of the templates; by default that of the language.
        media_namespaces: names of the namespace whose links to files are shown by their labels.
    """
    text = _Scanner(
        without_stand_ins(wikitext),
        dropped_namespaces,
        templates or templates_of(language or "en"),
        title,
        media_namespaces,
    ).text()
    return restore("\n".join(paragraphs(clean(mark_bold_lines(text)))))


class _Scanner:
    """The pass over nested elements."""

    def __init__(
        self,
        wikitext: str,
        dropped_namespaces: tuple[str, ...],
        templates: Templates,
        title: str = "",
        media_namespaces: tuple[str, ...] = (),
    ) -> None:
        self.source = f"\n{wikitext}"  # A table opens at the start of a line.
        self.templates, self.title = templates, title
        self.dropped, self.media = namespace_keys(dropped_namespaces), namespace_keys(media_namespaces)
        self.stack = [_Frame("", True)]
        self.open: Counter[tuple[str, bool]] = Counter()

    def text(self) -> str:
        """The wikitext without comments, templates, tables, dropped tags and links; other links are replaced by their
        text."""
        position = 0
        while match := _TOKENS.search(self.source, position):
            self._add(self.source[position : match.start()])
            if match[0][0] == "\n":
                self._add("\n")
            position = self._token(match)
        self._add(self.source[position:])
        table = next((at for at, frame in enumerate(self.stack) if frame.opener in (_TABLE, _HTML_TABLE)), None)
        kept = "".join(part for frame in self.stack[:table] for part in _of_unclosed(frame))
        if table is None:
            return kept
        return kept + _without_cells("".join(part for frame in self.stack[table:] for part in _of_unclosed(frame)))

    def _token(self, match: re.Match[str]) -> int:
        """Handles a token and returns the position where the text continues."""
        position = match.end()
        match match.lastgroup:
            case "template":
                self._open_template(position)
            case "link":
                self._open_link(position)
            case "closer":
                self._close(_CLOSERS.get(match["closer"].strip(), _HTML_TABLE), position)
                self._separate(position)
            case "table":
                self._push(_HTML_TABLE if match[0][0] == "<" else _TABLE, False)
            case "comment":
                end = self.source.find("-->", position)
                return end + 3 if end >= 0 else len(self.source)
            case _:
                position = self._skip_tag(match["tag"].lower(), match["attributes"], position)
                self._separate(position)
        return position

    def _separate(self, position: int) -> None:
        """Keeps apostrophes after an element from joining those before it."""
        if self.source.startswith("'", position):
            self._add(SEPARATOR)

    def _skip_tag(self, tag: str, attributes: str, position: int) -> int:
        """The position after a tag's end, or `position` if the tag opens again before it ends.

        This also bounds the time: of many tags that never close only the last is searched for beyond the next.
        """
        if attributes.endswith("/"):
            return position
        end = _tag_end(tag).search(self.source, position)
        if not end or not end[0].startswith("</"):
            return position
        if tag == "nowiki":
            self._add(literal(self.source[position : end.start()]))
        return end.end()

    def _open_template(self, position: int) -> None:
        """Opens the template whose name is at this position; an unknown template may be text only among words."""
        name = _NAME.match(self.source, position)
        fate = self.templates.fate(name[1]) if name else Fate.UNKNOWN
        kept = fate is Fate.TEXT
        if fate is Fate.UNKNOWN:
            above = self.stack[-1]
            kept = above.kept and above.opener != _TEMPLATE and follows_words(self.source, position - 2)
        self._push(_TEMPLATE, kept and self.open[_TEMPLATE, True] < _MAX_NESTED_TEXT, fate)

    def _open_link(self, position: int) -> None:
        """Opens the link whose target is at this position: either dropped with its content, or kept for its text."""
        if prefix := _PREFIX.match(self.source, position):
            key, file = namespace_key(prefix[1]), _MEDIA.match(self.source, prefix.end())
            is_label = key in self.media and self.source.startswith("|", file.end() if file else prefix.end())
            if key in self.dropped or (file and not is_label):
                self._push(_LINK, False)
                return
        if self.stack[-1].opener == _LINK and self.stack[-1].kept:
            # Only the captions of files, which are dropped, hold links: the one outside is no link.
            parts = self._pop().parts
            self.stack[-1].parts += parts
        self._push(_LINK, True)

    def _close(self, opener: str, end: int) -> None:
        """Closes the innermost frame with this opener and drops the frames inside it; a link closes only if it is
        innermost."""
        if opener == _LINK and self.stack[-1].opener != _LINK:
            return
        if not self.open[opener, True] + self.open[opener, False]:
            return
        while (frame := self._pop()).opener != opener:
            pass
        if opener == _LINK and frame.kept:
            self._add(_link_text("".join(frame.parts)))
        elif opener == _TEMPLATE and frame.fate is not Fate.GONE:
            self._add(self._template_text(frame, end))

    def _template_text(self, frame: _Frame, end: int) -> str:
        """The text of a template that ends here; `LOST` for an unreadable template inside another one.

        Markup in its arguments is removed first, and the resulting text is not parsed again.
        """
        text = ""
        if frame.kept and (frame.fate is Fate.TEXT or precedes_words(self.source, end)):
            name, bar, arguments = "".join(frame.parts).partition("|")
            text = protect(self.templates.text(f"{name}{bar}{clean(arguments)}", self.title))
        above = self.stack[-1]
        return text or (LOST if above.kept and above.opener == _TEMPLATE else "")

    def _add(self, text: str) -> None:
        self.stack[-1].parts.append(text)

    def _push(self, opener: str, kept: bool, fate: Fate = Fate.GONE) -> None:
        self.stack.append(_Frame(opener, kept, fate))
        self.open[opener, kept] += 1

    def _pop(self) -> _Frame:
        frame = self.stack.pop()
        self.open[frame.opener, frame.kept] -= 1
        return frame


@cache
def _tag_end(tag: str) -> re.Pattern[str]:
    return re.compile(rf"</{tag}\s*>|<{tag}\b[^<>]*(?<!/)>", re.I)


def _of_unclosed(frame: _Frame) -> Iterable[str]:
    """The text of a frame that never closed; if the frame is dropped, without its first line, such as "Infobox
    person"."""
    if frame.kept:
        return (part.replace(LOST, "") for part in frame.parts) if frame.opener == _TEMPLATE else frame.parts
    rest = iter(frame.parts)
    line = next((part for part in rest if "\n" in part), "")
    return (line[line.find("\n") :] if line else "", *rest)


_ROW = re.compile(r"[ \t:*#]*[|!]|[ \t]*</?(?:tr|t[dhr]|thead|tbody|caption)\b", re.I)
"""Start of a line that belongs to a table."""


def _without_cells(text: str) -> str:
    """The text after the start of an unclosed table, without cells; a cell ends at a blank line or a heading."""
    kept, in_cell = [], False
    for line in text.split("\n"):
        in_cell = bool(_ROW.match(line)) or (in_cell and line.strip() != "" and line[0] != "=")
        if not in_cell:
            kept.append(line)
    return "\n".join(kept)


def _link_text(content: str) -> str:
    """The text of a link: its label or its target; empty for links to the same article in other languages."""
    target, _, label = content.partition("|")
    prefix, colon, _ = target.partition(":")
    if colon and (is_interlanguage(prefix) or (not label and _LANGUAGE.match(target))):
        return ""
    if "|" in label:  # MediaWiki shows it; an attribute of a tag may contain one.
        label = clean(label).rpartition("|")[2]
    if label:
        return finished(label)
    if _ADDRESS.match(target):
        return finished(f"[{target.strip()}]")
    target = target.strip().removeprefix(":")
    return finished(target) if _NO_TARGET.search(target) else literal(target)
