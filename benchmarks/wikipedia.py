"""Quality and speed of text extraction from wikitext on one core: `python -m benchmarks.wikipedia DUMP [DUMP ...]`.

Extracts the same articles with this project and, if they can be imported, wikiextractor 3.1.0, gensim 4.4.0 and
mwparserfromhell 0.7.2, and prints a Markdown table. They can be installed by `pip install --no-deps --target DIR
wikiextractor==3.1.0 gensim==4.4.0 smart_open wrapt scipy mwparserfromhell` with DIR in PYTHONPATH. They are no
dependencies, since wikiextractor is under the AGPL and gensim under the LGPL.
"""

import bz2
import re
import time
from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser

from preprocessing.sources.wikipedia import Article, Dump, split_wikipedia
from preprocessing.sources.wikitext import to_prose

REMNANTS = ("[[", "{{", "|-", "thumb|", "</ref>", "'''", "http://", "https://")
EMPTY_PARENTHESES = re.compile(r"\([\s,;:]*\)")
WORD = re.compile(r"[^\W\d_]{2,}")

Extractor = Callable[[str], str]


def main(dumps: list[Path]) -> None:
    """Prints a row per extractor: markup left per MB of its text, words kept, and MB of XML per second.

    Args:
        dumps: MediaWiki dumps, `.xml` or `.xml.bz2`.
    """
    splits = [split for path in dumps for split in split_wikipedia(path, 10**12)]
    start = time.process_time()
    articles = read_articles(splits)
    reading = time.process_time() - start
    size = sum(map(xml_size, dumps)) / 1e6
    print(f"{len(articles)} articles in {size:.1f} MB of XML; decompressing and parsing: {reading:.2f} s\n")
    print("| | MB/s of XML | words | " + " | ".join(f"`{text}`" for text in REMNANTS) + " | all | empty () | text |")
    print("|---" * (len(REMNANTS) + 6) + "|")
    for name, extract in extractors(splits[0].dropped_namespaces, splits[0].language).items():
        start = time.process_time()
        text = "\n".join(map(extract, articles))
        speed = size / (time.process_time() - start + reading)
        print(f"| {name} | {speed:.1f} | " + " | ".join(figures(text)) + " |")


def extractors(dropped_namespaces: tuple[str, ...], language: str) -> dict[str, Extractor]:
    """Functions from wikitext to text, by name; those of others where they are installed."""
    found: dict[str, Extractor] = {"this": lambda text: to_prose(text, dropped_namespaces, language)}
    try:
        from wikiextractor.extract import Extractor as WikiExtractor

        def wikiextractor(text: str) -> str:
            return "\n".join(WikiExtractor("0", "0", "", "", "").clean_text(text, html_safe=False))

        found["wikiextractor"] = wikiextractor
    except ImportError:
        pass
    try:
        from gensim.corpora.wikicorpus import filter_wiki

        found["gensim filter_wiki"] = filter_wiki
    except ImportError:
        pass
    try:
        import mwparserfromhell

        found["mwparserfromhell strip_code"] = lambda text: str(mwparserfromhell.parse(text).strip_code())
    except ImportError:
        pass
    return found


def read_articles(splits: list[Dump]) -> list[str]:
    """The wikitext of all articles."""
    return [article.wikitext for split in splits for article in split.articles() if isinstance(article, Article)]


def xml_size(path: Path) -> int:
    """Bytes of XML in a dump, whatever it is packed in."""
    with bz2.open(path) if path.suffix == ".bz2" else path.open("rb") as file:
        return sum(map(len, iter(lambda: file.read(1 << 20), b"")))


def figures(text: str) -> list[str]:
    """Words, remnants of markup per MB, all of them together, empty parentheses per MB, and the text's size."""
    megabytes = len(text.encode()) / 1e6
    counts = [text.count(remnant) for remnant in REMNANTS]
    counts += [sum(counts), len(EMPTY_PARENTHESES.findall(text))]
    return [f"{len(WORD.findall(text)):,}", *(f"{count / megabytes:.1f}" for count in counts), f"{megabytes:.2f} MB"]


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m benchmarks.wikipedia")
    parser.add_argument("dumps", type=Path, nargs="+", help="MediaWiki dumps, .xml or .xml.bz2.")
    main(parser.parse_args().dumps)
