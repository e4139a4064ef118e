"""Laws of preprocessing/tokenizer/unigram.py."""

import unicodedata

import pyarrow as pa
import pytest
import sentencepiece
import transformers

from preprocessing.errors import DataError
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.saving import load_tokenizer, save_tokenizer
from preprocessing.tokenizer.unigram import SPECIAL_TOKENS, USER_SYMBOLS, lower_cases, read_model, strips_accents, train


def albert_ids(processor, text, lower_case):
    """Return ids as google-research/albert's tokenization.py makes them of SentencePiece's own library."""
    text = text.replace("``", '"').replace("''", '"')
    if lower_case:
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn").lower()
    ids = []
    for piece in processor.encode(text, out_type=str):
        if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
            ids += [processor.piece_to_id(part) for part in albert_pieces_of_number(processor, piece)]
        else:
            ids.append(processor.piece_to_id(piece))
    return ids


def albert_pieces_of_number(processor, piece):
    """Return the tokens into which ALBERT's code divides a token such as "▁14,"."""
    parts = processor.encode(piece[:-1].replace("▁", ""), out_type=str)
    if piece[0] != "▁" and parts[0][0] == "▁":
        parts = parts[1:] if len(parts[0]) == 1 else [parts[0][1:], *parts[1:]]
    return [*parts, ","]


@pytest.mark.parametrize("lower_case", [True, False])
def test_published_files_give_the_ids_of_albert(published, lines, lower_case):
    """On real text the ids are those of SentencePiece's tokens with the released code's rule for numbers before a
    comma. Text with the name of a special token is left to test_encoding.py, since it is that token to SentencePiece.
    """
    path = published / "albert-spiece.model"
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    plain = [line for line in lines if "[" not in line and "<" not in line]
    ids = encode(read_model(path, lower_case), pa.array(plain)).to_pylist()
    different = [
        line for line, found in zip(plain, ids, strict=True) if found != albert_ids(processor, line, lower_case)
    ]
    assert not different


def test_what_is_saved_is_what_transformers_loads(published, lines, tmp_path):
    """AutoTokenizer of transformers gives the ids of the saved tokenizer, ALBERT's special tokens and its pairs."""
    save_tokenizer(read_model(published / "albert-spiece.model", True), tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert lower_cases(again)
    plain = [line for line in lines if "[" not in line and "<" not in line]
    ids = encode(again, pa.array(plain)).to_pylist()
    assert [loaded(line, add_special_tokens=False)["input_ids"] for line in plain] == ids
    assert [getattr(loaded, f"{name}_id") for name in SPECIAL_TOKENS] == [0, 1, 2, 3, 4]
    pair = loaded("a", "b")
    a, b = (loaded(text, add_special_tokens=False)["input_ids"] for text in "ab")
    assert pair["input_ids"] == [2, *a, 3, *b, 3]
    assert pair["token_type_ids"] == [0] * (len(a) + 2) + [1] * (len(b) + 1)


def test_a_trained_model_has_albert_s_symbols():
    """Special tokens have the ids 0 .. 4, and the symbols that are always alone follow."""
    text = pa.array([f"the weather in (north) town {number} is fine - today" for number in range(200)])
    tokenizer = train([text], 100, True)
    pieces = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    assert pieces[:13] == [*SPECIAL_TOKENS.values(), *USER_SYMBOLS]
    assert tokenizer.encode("(x)", add_special_tokens=False).tokens[:2] == ["▁", "("]


def test_too_small_a_vocabulary_is_refused():
    """Too small a vocabulary is an error with its size and the trainer's message."""
    with pytest.raises(
        DataError,
        match=r"vocab_size = 100: characters and special tokens alone are \d+; raise --vocab_size",
    ):
        train([pa.array(["".join(map(chr, range(0x4E00, 0x4E00 + 500)))])], 100, True)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x0a\xff\xff"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    """A file that is no model is an error that names it."""
    (tmp_path / "a.model").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.model: "):
        read_model(tmp_path / "a.model", True)


def test_the_coverage_decides_which_characters_are_unknown():
    """With a coverage of 1 each character of the text has a token, and with less the frequent ones."""
    text = pa.array(["a cat sat on a mat", "the cat ate the rat"] * 100 + ["ж"])
    known = [train([text], 100, True, None, coverage).token_to_id("ж") is not None for coverage in (1.0, 0.99)]
    assert known == [True, False]


def test_accents_stay_where_they_are_to_stay():
    """Text may be lower-cased without losing its marks, and both settings are saved."""
    text = pa.array(["Та кошка мой друг", "Й ё Ё"] * 100)
    kept, gone = train([text], 100, True, False), train([text], 100, True)
    assert kept.normalizer.normalize_str("Й Ё") == "й ё" and gone.normalizer.normalize_str("Й Ё") == "и е"
    assert strips_accents(gone) and not strips_accents(kept) and lower_cases(kept)
