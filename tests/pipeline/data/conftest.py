"""Sample directories for the tests of pipeline/data."""

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from preprocessing.files import sha256_file, write_text
from preprocessing.schema import Manifest, Split
from preprocessing.shards import SampleDataset, sample_batch, write_shard

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY += [f"##{number}" if number % 3 == 0 else f"{number}" for number in range(5, 200)]


@pytest.fixture(scope="session")
def vocabulary():
    """The tokens of the tests' vocabulary by id; those whose id is a multiple of 3 continue a word."""
    return VOCABULARY


@pytest.fixture(scope="session")
def write_tokenizer():
    """A function that writes `tokenizer/tokenizer.json` with the given tokens to a directory."""

    def write(directory, pieces=VOCABULARY):
        path = directory / "tokenizer" / "tokenizer.json"
        path.parent.mkdir()
        ids = {piece: number for number, piece in enumerate(pieces)}
        Tokenizer(WordPiece(ids, unk_token="[UNK]")).save(str(path))
        return path

    return write


@pytest.fixture(scope="session")
def write_samples(tmp_path_factory, write_tokenizer):
    """A function that writes a samples directory and opens its split `train`.

    It takes the number of samples, or the tokens of each and the boundaries.
    """

    def write(samples, boundaries=None):
        random = np.random.default_rng(0)
        if isinstance(samples, int):
            samples = [random.integers(5, len(VOCABULARY), length) for length in random.integers(2, 40, samples)]
            boundaries = [random.integers(1, len(tokens)) for tokens in samples]
        directory = tmp_path_factory.mktemp("samples")
        offsets = np.cumsum([0] + [len(tokens) for tokens in samples])
        labels, documents = np.arange(len(samples)) % 2, np.arange(len(samples))
        tokens = np.concatenate([np.empty(0, np.int64), *samples])
        batch = sample_batch(tokens, offsets, np.array(boundaries, np.uint16), labels, documents, len(VOCABULARY))
        shard = write_shard(directory / "train-00000.arrow", [batch], len(VOCABULARY))
        checksum = sha256_file(write_tokenizer(directory))
        manifest = Manifest(len(VOCABULARY), 43, "nsp", checksum, {}, {"train": Split.of([shard])})
        write_text(directory / "manifest.json", manifest.to_json())
        return SampleDataset.open(directory, "train")

    return write
