"""Laws of preprocessing/stages/verify.py."""

import pytest

from preprocessing.errors import DataError
from preprocessing.filters import FilterConfig
from preprocessing.stages.build import BuildConfig, build
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.stages.tokenizer import TokenizerConfig, prepare_tokenizer
from preprocessing.stages.verify import verify
from preprocessing.workers import SerialExecutor


@pytest.fixture
def out(tmp_path, corpus):
    """A finished run."""
    made = tmp_path / "out"
    extract(made / "documents", ExtractConfig([f"jsonl:{corpus}"], heldout_share=0.1), FilterConfig(), SerialExecutor())
    prepare_tokenizer(made / "tokenizer", TokenizerConfig(vocab_size=150), made / "documents")
    build(made / "samples32", BuildConfig(32), made / "documents", made / "tokenizer", SerialExecutor())
    return made


def test_whole_files_pass(out):
    """All directories of a run are checked, or the one that is given."""
    assert verify(out).splitlines() == [
        f"{out}/documents: 1 files are whole",
        f"{out}/samples32: 2 shards are whole",
    ]
    assert verify(out / "samples32") == f"{out}/samples32: 2 shards are whole"


@pytest.mark.parametrize(
    "name", ["documents/split-00000.arrow", "samples32/heldout-00000.arrow", "samples32/tokenizer/tokenizer.json"]
)
def test_a_flipped_byte_is_found_wherever_it_is(out, name):
    """A changed byte in documents, shards or tokenizer is found, and the file is named."""
    data = bytearray((out / name).read_bytes())
    data[len(data) // 2] ^= 1
    (out / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        verify(out)


def test_nothing_to_check_is_an_error(tmp_path):
    """A directory that holds no output of the stages is an error."""
    with pytest.raises(DataError, match="holds no documents or samples directory"):
        verify(tmp_path)
