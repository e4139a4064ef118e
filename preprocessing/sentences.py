"""Text to sentences, by the rules and abbreviations of sentencex (https://github.com/wikimedia/sentencex).

Chosen because it is written in Rust (some 70 MB/s per core), needs no downloaded model, knows some 300 languages, and
gives the same sentences on every machine.
"""

import sentencex


def split_sentences(text: str, language: str, max_chars: int) -> tuple[list[str], list[int]]:
    """The sentences of a text whose lines are paragraphs; none crosses a line.

    Runs of white space, whatever its kind, become one space. BERT's tokenizer does not tell them apart, and sentencex
    1.0.32 panics on an initial followed by a white-space character of several bytes ("J", U+00A0, ".").

    Args:
        text: paragraphs, one per line.
        language: code of a language, as preprocessing/languages.py has it.
        max_chars: longest sentence kept, in characters. Longer ones are no sentences but tables or lost line ends.

    Returns:
        The sentences, none empty; and the lengths in characters of those dropped.
    """
    paragraphs = (" ".join(line.split()) for line in text.split("\n"))
    found = [sentence.strip() for line in paragraphs if line for sentence in sentencex.segment(language, line)]
    kept = [sentence for sentence in found if 0 < len(sentence) <= max_chars]
    return kept, [len(sentence) for sentence in found if len(sentence) > max_chars]
