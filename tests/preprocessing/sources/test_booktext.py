"""Laws of preprocessing/sources/booktext.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.sources.booktext import BadBookError, decode_book, is_sentence_per_line, paragraphs
from preprocessing.sources.documents import NOT_UTF8


def test_blocks_become_lines():
    """Each block of prose, verse or heading becomes one line, and a rule or a heading separates two blocks."""
    text = "CHAPTER I\nIt was a\ndark night.\n\n\n  Tiger, tiger,\n    burning bright\n\nOne.\n* * *\nTwo.\n-----\n"
    assert paragraphs(text) == ["CHAPTER I", "It was a dark night.", "Tiger, tiger, burning bright", "One.", "Two."]


@given(st.lists(st.lists(st.sampled_from(["It was.", "a", "Bcd, e", "“No”—f", "g!"]), min_size=1), max_size=8))
def test_prose_loses_no_word_and_no_order(blocks):
    """Without marks, the words of the paragraphs are those of the text in their order, whatever its lines."""
    text = "\n\n".join("\n".join(block) for block in blocks)
    assert " ".join(paragraphs(text)).split() == text.split()


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_gives_paragraphs_of_one_line(text):
    """Any text gives paragraphs without line ends, none of which is empty."""
    found = paragraphs(decode_book(text.encode()))
    assert all(paragraph == " ".join(paragraph.split()) and paragraph for paragraph in found)


MARKS = [
    ("He _said_ so, _un_likely, 1_st._", "He said so, unlikely, 1st."),
    ("_A whole\nsentence._ Next.", "A whole sentence. Next."),
    ("_Opened here", "Opened here"),
    ("a file_name_here and Mr. ____", "a file_name_here and Mr. ____"),
    ("**Bold** and *bold* and =bold=, 2*3 = 6", "Bold and bold and bold, 2*3 = 6"),
    ("so,* they said. * * * More", "so, they said. More"),
    ("word[12] and[A] so on [3], [*] end.", "word and so on, end."),
    ("[1] A note.", "A note."),
    ("a[^3] mark", "a mark"),
    ("[T]he year [1812], and [sic] duke[s]", "[T]he year [1812], and [sic] duke[s]"),
    ("before [Illustration: a [large] cat] after", "before after"),
    ("[Illustration:\n\nTHE\nEND\n  ]\n\nText.", "Text."),
    ("one\n[Illustration]\ntwo", "one two"),
    ("a page [Pg 45] within {46} it", "a page within it"),
    ("He saw Reue [Footnote 3: It means _regret_.] there.", "He saw Reue there.\nIt means regret."),
    ("[Footnote A: Goes on\n\nlater.]", "Goes on\nlater."),
    ("[Footnote I.1: _Me:_] _i.e., me_ who\nam on watch.]", "Me: i.e., me who am on watch."),
    ("[Footnote IVc.12: _The King._] A word.]", "The King. A word."),
    ("[Footnote III.4 _Closely_] Privately.]", "Closely Privately."),
    ("He wept[I.1] and[12:3] went.[236:A]", "He wept and went."),
    ("[Footnote 12:3: A [short] note.]", "A [short] note."),
    ("[Footnote 2: One.\n\nTwo [sic].\n\nThree.]\n\nText.]", "One.\nTwo [sic].\nThree.\nText.]"),
    ("cover.jpg (230K)\n\nFull Size\n\nspine.jpg\n\nText.", "Text."),
    ("Enlarge\n\nEnlarge\n\nEnlarge\n\nText.", "Text."),
    ("Enlarge\n\nHe saw spine.jpg (152K) there.", "Enlarge\nHe saw spine.jpg (152K) there."),
    ("+-----+\n\nIt was <i>so</i>.", "It was so."),
    ("soft\u00adhyphen", "softhyphen"),
    ("/* NIND\nQuoted.\n*/", "Quoted."),
]


@pytest.mark.parametrize(("text", "plain"), MARKS)
def test_marks_go_and_words_stay(text, plain):
    """Marks of emphasis, notes, pictures and pages are removed, and similar text is kept."""
    assert paragraphs("First.\n\nSecond\n\n" + text)[2:] == plain.split("\n")


HYPHENS = [
    ("The exam-\nple.", "", "The example."),
    ("An exam-\nple of", "Each example, every exam.", "An example of"),
    ("A well-\nknown man", "A well-known fact.", "A well-known man"),
    ("A well-\nknown man", "He is well. It is known.", "A well-known man"),
    ("A mother-in-\nlaw", "The law is in.", "A mother-in-law"),
    ("An Anglo-\nSaxon", "", "An Anglo- Saxon"),
    ("He went--\nand came", "", "He went-- and came"),
    ("in 1812-\nto", "", "in 1812- to"),
    ("exam\u00ad\nple", "An exam, ple.", "example"),
    ("exam\u2010\nple", "", "example"),
]


@pytest.mark.parametrize(("text", "elsewhere", "joined"), HYPHENS)
def test_words_cut_at_line_ends_are_whole_again(text, elsewhere, joined):
    """A word that is divided at a line end is joined, and keeps its hyphen if the book has the compound elsewhere."""
    assert paragraphs(f"{text}\nend\n\n{elsewhere}")[0] == joined + " end"


def test_sentence_per_line_stays_so():
    """In text of a sentence per line, as BookCorpus has it, no line is joined to the next, whatever its length."""
    lines = [
        "`` hello , '' he said .",
        "she did n't answer .",
        "why ?",
        "a very long sentence " * 20 + ".",
        "chapter 2",
    ]
    text = "\n".join(lines * 50)
    assert is_sentence_per_line(text.split("\n"))
    assert paragraphs(text) == [" ".join(line.split()) for line in lines * 50]


@pytest.mark.parametrize(
    "text",
    [
        "It was a dark\nnight. The wind\nblew hard, and\nhe came home.\n" * 30,
        "One line.\n\nAnother line.\n\n" * 30,
        "Tiger, tiger, burning bright\nIn the forests of the night,\nWhat immortal hand or eye\nCould frame it?\n" * 9,
    ],
)
def test_wrapped_lines_and_verse_are_not_taken_for_sentences(text):
    """Text with few lines that end as sentences, or with many blank lines, is not taken for a sentence per line."""
    assert not is_sentence_per_line(text.split("\n"))


def test_encodings():
    """UTF-8, with or without a byte-order mark, and the encoding that Gutenberg's header declares are read; others are
    errors.
    """
    head = "Character set encoding: {}\r\n\r\ncaf\u00e9 \u201cquoted\u201d"
    encodings = {"ISO-8859-1": "cp1252", "Latin-1": "cp1252", "UTF-8": "utf-8", "none": "utf-8-sig", "": "utf-16"}
    for name, encoding in encodings.items():
        assert decode_book(head.format(name).encode(encoding)) == head.format(name).replace("\r", "")
    assert (
        decode_book(b"Character set encoding: ISO-8859-1\n\x81\xe9") == "Character set encoding: ISO-8859-1\n\x81\xe9"
    )
    for data in (b"caf\xe9", b"Character set encoding: ASCII\n\xe9", "text".encode("utf-16")[:-1]):
        with pytest.raises(BadBookError) as error:
            decode_book(data)
        assert error.value.kind == NOT_UTF8


def test_line_ends_of_all_systems_are_the_same():
    """CR LF, CR and form feed end a line, and the end of a scanned page ends a block."""
    assert decode_book(b"a\r\nb\rc\x0cd\n") == "a\nb\nc\nd\n"
