"""Converts Markdown to plain text: blocks separated by blank lines, without marks, images and link targets.

markdown-it-py parses it as CommonMark, except indented code, which in books is verse and is kept as text.
"""

from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from preprocessing.sources.xhtml import xhtml_to_text

_PARSER = MarkdownIt("commonmark").disable(["code", "reference"])


def markdown_to_text(text: str) -> str:
    """The text of a Markdown file; headings, paragraphs, quotes and list items are blocks of their own."""
    return "\n\n".join(_blocks(_PARSER.parse(text)))


def _blocks(tokens: list[Token]) -> Iterator[str]:
    number = ""
    for token in tokens:
        if token.type == "list_item_open" and token.info:
            number = f"{token.info}{token.markup} "  # CommonMark takes "1884. A year" for a list item.
        elif token.type == "inline":
            yield number + "".join(_inline(token.children or []))
            number = ""
        elif token.type == "html_block":
            yield xhtml_to_text(token.content).strip()
        elif token.type == "fence":
            yield token.content


def _inline(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("softbreak", "hardbreak") or token.content.lower().startswith("<br"):
            yield "\n"
        elif token.type in ("text", "code_inline", "text_special"):
            yield token.content
