"""Text to sentences, by the rules and abbreviations of sentencex (https://github.com/wikimedia/sentencex).

Chosen because it is written in Rust (about 80 MB/s here, where NLTK's punkt takes a model download and 1 MB/s), knows
some 300 languages, and gives the same sentences on every machine.
"""

import sentencex


def split_sentences(text: str, language: str, max_chars: int) -> tuple[list[str], list[int]]:
    """The sentences of a text whose lines are paragraphs; none crosses a line.

    Args:
        text: paragraphs, one per line.
        language: ISO 639-1 code.
        max_chars: longest sentence kept, in characters. Longer ones are no sentences, but tables or lost line ends.

    Returns:
        The sentences, stripped, none empty; and the lengths in characters of those dropped.
    """
    paragraphs = (line for line in text.split("\n") if line and not line.isspace())
    found = [sentence.strip() for paragraph in paragraphs for sentence in sentencex.segment(language, paragraph)]
    kept = [sentence for sentence in found if 0 < len(sentence) <= max_chars]
    return kept, [len(sentence) for sentence in found if len(sentence) > max_chars]
