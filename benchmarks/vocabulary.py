"""Comparison of trained with published vocabularies: `python -m benchmarks.vocabulary --published DIR --sources ...`.

Trains each kind on the training documents of the sources and counts, on the held-out ones, the tokens per word of the
trained and of the published vocabulary. Words are separated by spaces. DIR holds bert-base-uncased-vocab.txt,
albert-spiece.model, and roberta-vocab.json with roberta-merges.txt.
"""

import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from jsonargparse import auto_cli
from tokenizers import Tokenizer

from preprocessing.corpus.corpus import Corpus
from preprocessing.filters import FilterConfig
from preprocessing.schema import HELDOUT, TRAIN
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.given import read_tokenizer
from preprocessing.tokenizer.registry import KINDS, special_id
from preprocessing.workers import WorkersConfig, run_job

PUBLISHED = {"wordpiece": "bert-base-uncased-vocab.txt", "bytelevel_bpe": "roberta", "unigram": "albert-spiece.model"}


def main(sources: list[str], published: Path, heldout_share: float = 0.05, kinds: list[str] | None = None) -> None:
    """Prints a row per vocabulary.

    Args:
        sources: as in `python -m preprocessing run --sources`.
        published: folder of the published vocabularies.
        heldout_share: share of the documents that is counted on, not trained on.
        kinds: some of the kinds; all by default.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = ExtractConfig(sources, heldout_share=heldout_share)
        run_job(WorkersConfig(), lambda executor: bool(not extract(folder / "docs", config, FilterConfig(), executor)))
        for part in ("vocab.json", "merges.txt"):
            (folder / "roberta").mkdir(exist_ok=True)
            shutil.copyfile(published / f"roberta-{part}", folder / "roberta" / part)
        corpus = Corpus.open(folder / "docs")
        train, heldout = sentences(corpus, TRAIN), sentences(corpus, HELDOUT)
        print(f"trained on {megabytes(train):.1f} MB, counted on {megabytes(heldout):.1f} MB held out\n")
        print("| | tokens | tokens per word | unknown | trained in |\n|---|---|---|---|---|")
        for kind in kinds or KINDS:
            path = folder / "roberta" if kind == "bytelevel_bpe" else published / PUBLISHED[kind]
            print(row(f"{kind}, published", read_tokenizer(path, None), heldout, ""))
            begin = time.monotonic()
            trained = KINDS[kind].train(train, KINDS[kind].vocab_size, KINDS[kind].lower_case)
            print(row(f"{kind}, trained", trained, heldout, f"{time.monotonic() - begin:.0f} s"), flush=True)


def sentences(corpus: Corpus, split: str) -> list[pa.StringArray]:
    """The sentences of all partitions of a split."""
    return [corpus.read(partition).flatten() for partition in corpus.partitioning.partitions(split)]


def megabytes(batches: list[pa.StringArray]) -> float:
    """Size of a text in MB."""
    return sum(pc.sum(pc.binary_length(batch)).as_py() or 0 for batch in batches) / 1e6


def row(name: str, tokenizer: Tokenizer, heldout: list[pa.StringArray], note: str) -> str:
    """A line of the table."""
    words = sum((pc.sum(pc.count_substring(batch, " ")).as_py() or 0) + len(batch) for batch in heldout)
    ids = [encode(tokenizer, batch).values for batch in heldout]
    tokens = sum(map(len, ids))
    unknown = sum(pc.sum(pc.equal(batch, special_id(tokenizer, "unk_token"))).as_py() or 0 for batch in ids)
    return f"| {name} | {tokenizer.get_vocab_size():,} | {tokens / words:.4f} | {unknown / tokens:.3%} | {note} |"


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
