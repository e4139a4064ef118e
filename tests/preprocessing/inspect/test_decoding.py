"""Laws of preprocessing/inspect/decoding.py."""

from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from preprocessing.inspect.decoding import decode, example
from preprocessing.segments.registry import strategy
from preprocessing.shards import SampleDataset
from preprocessing.tokenizer.wordpiece import SPECIAL_TOKENS, make_tokenizer

TEXT = "he couldn't stop: unaffable cafés in 東京 🦊🦊 don ' t, “do n't” ... naïve"


def word_piece():
    """A WordPiece tokenizer as BERT's, with few words, so that most are divided or unknown."""
    pieces = [
        *SPECIAL_TOKENS.values(),
        "he",
        "could",
        "##n",
        "##t",
        "'",
        "una",
        "##ffa",
        "##ble",
        "do",
        "n",
        "t",
        ".",
        ",",
    ]
    return make_tokenizer(pieces, lower_case=True)


def byte_level():
    """A tokenizer whose tokens are parts of characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def rewriting():
    """A tokenizer whose decoded text changes with the next token: "ab", "az", "abc"."""
    tokenizer = Tokenizer(models.WordLevel({"ab": 0, "x": 1, "y": 2, "z": 3}, unk_token="z"))
    replacements = [decoders.Replace("bxy", "bc"), decoders.Replace("bx", "z")]
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), *replacements])
    return tokenizer


@pytest.mark.parametrize("make", [word_piece, byte_level, rewriting])
def test_pieces_put_together_are_the_decoded_text(make):
    """For any tokens and any kind of tokenizer, the pieces together are the decoded text."""
    tokenizer, random = make(), Random(0)
    sequences = [tokenizer.encode(TEXT, add_special_tokens=False).ids, [0, 1, 2]]
    sequences += [random.choices(range(tokenizer.get_vocab_size()), k=random.randint(0, 40)) for _ in range(50)]
    for ids in sequences:
        segment = decode(tokenizer, ids)
        assert segment.text == tokenizer.decode(ids, skip_special_tokens=False)
        assert [piece.id for piece in segment.pieces] == ids
        assert all(piece.token == tokenizer.id_to_token(piece.id) for piece in segment.pieces)


def test_pieces_stand_where_their_tokens_do():
    """The rest of a word follows without a blank, the next word with one, and an unknown word is shown as [UNK]."""
    tokenizer = word_piece()
    segment = decode(tokenizer, tokenizer.encode("unaffable he x", add_special_tokens=False).ids)
    assert [piece.text for piece in segment.pieces] == ["una", "ffa", "ble", " he", " [UNK]"]


def test_long_segments_are_cut_and_say_so():
    """A long segment is truncated, and its text ends with the number of tokens that are not shown."""
    segment = decode(word_piece(), [5] * 2000)
    assert len(segment.pieces) == 512 and segment.omitted == 1488
    assert segment.text.startswith("he he") and segment.text.endswith("he ... 1,488 more tokens")


def test_an_example_has_the_columns_of_its_row(tmp_path, make_random, write_dataset):
    """Segments are divided at the boundary, the label has its meaning, and a single segment has no B."""
    samples = [*make_random(20), ([7, 8, 9], 3, 0, 11)]
    directory = write_dataset(tmp_path / "data", [samples], [])
    data = SampleDataset.open(directory, "train")
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer" / "tokenizer.json"))
    for row, (tokens, boundary, label, document) in enumerate(samples):
        shown = example(data, row, 100 + row, tokenizer, strategy("nsp"))
        assert (shown.index, shown.document) == (100 + row, document)
        assert shown.label == ("B follows A", "B is random")[label]
        parts = [part for part in np.split(tokens, [boundary]) if len(part)]
        segments = [segment for segment in (shown.a, shown.b) if segment]
        assert [[piece.id for piece in segment.pieces] for segment in segments] == [part.tolist() for part in parts]
    assert shown.b is None
    assert example(data, 0, 0, tokenizer, strategy("electra")).label == ""
