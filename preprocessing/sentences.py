"""Sentence splitting with sentencex (https://github.com/wikimedia/sentencex).

sentencex was chosen because it is fast (Rust, some 70 MB/s per core), needs no downloaded model, knows some 300
languages, and gives the same sentences on every machine.
"""

import sentencex


def split_sentences(text: str, language: str, max_chars: int) -> tuple[list[str], list[int]]:
    """Splits a text whose lines are paragraphs into sentences; no sentence crosses a line.

    Runs of white space of any kind become one space: BERT's tokenizer does not distinguish them, and sentencex 1.0.32
    panics on an initial followed by a white-space character of several bytes ("J", U+00A0, ".").

    Args:
        text: paragraphs, one per line.
        language: language code, one of preprocessing/languages.py.
        max_chars: longest sentence kept, in characters. Longer ones are usually tables or text without line ends.

    Returns:
        The sentences, none of them empty; and the lengths in characters of dropped sentences.
    """
    paragraphs = (" ".join(line.split()) for line in text.split("\n"))
    found = [sentence.strip() for line in paragraphs if line for sentence in sentencex.segment(language, line)]
    kept = [sentence for sentence in found if 0 < len(sentence) <= max_chars]
    return kept, [len(sentence) for sentence in found if len(sentence) > max_chars]
