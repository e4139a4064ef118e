"""Laws of preprocessing/stages/build.py."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocessing.corpus import corpus as corpora
from preprocessing.corpus.corpus import Corpus
from preprocessing.errors import DataError
from preprocessing.filters import FilterConfig
from preprocessing.segments.defaults import SHORT_SEQ_PROBS
from preprocessing.shards import SampleDataset
from preprocessing.stages.build import BuildConfig, build, join_small, layout_of
from preprocessing.stages.extract import ExtractConfig, extract
from preprocessing.stages.tokenizer import TokenizerConfig, prepare_tokenizer
from preprocessing.tokenizer.encoding import encode
from preprocessing.tokenizer.saving import load_tokenizer
from preprocessing.workers import SerialExecutor


def make(out, texts, build_config, **options):
    """Run the three stages on documents, one per line of a text file, of which `texts` are the paragraphs."""
    out.mkdir(exist_ok=True)
    (out / "corpus.txt").write_text("\n\n".join(texts))
    config = ExtractConfig([f"text:{out / 'corpus.txt'}"], **options)
    extract(out / "documents", config, FilterConfig(), SerialExecutor())
    prepare_tokenizer(out / "tokenizer", TokenizerConfig(vocab_size=150), out / "documents")
    samples = out / build_config.directory_name
    return build(samples, build_config, out / "documents", out / "tokenizer", SerialExecutor()), samples


NAMES = ["".join("ab"[number >> bit & 1] for bit in range(5)) for number in range(20)]
TEXTS = ["\n".join(f"{name} number {line}." for line in range(6)) for name in NAMES]
"""Documents with their own name in every sentence."""


def test_samples_are_pairs_of_the_documents_they_name(tmp_path):
    """A and B are sentences of one document each: the same for an actual next segment, which follows, and another for a
    random one. `document` is the number of A's document in the whole corpus.
    """
    manifest, samples = make(tmp_path, TEXTS, BuildConfig(64), heldout_share=0.2, partition_mb=0.0004)
    corpus = Corpus.open(tmp_path / "documents")
    assert corpus.partitioning.train > 1 and len(manifest.splits["train"].shards) > 1
    ordered = [document for p in range(len(corpus.partitioning)) for document in corpus.read(p).to_pylist()]
    tokenizer, seen = load_tokenizer(tmp_path / "tokenizer"), set()
    for split in ("train", "heldout"):
        dataset = SampleDataset.open(samples, split)
        for index, tokens in enumerate(dataset.tokens(np.arange(len(dataset)))):
            a, b = (tokenizer.decode(part.tolist()) for part in np.split(tokens, [dataset.boundaries[index]]))
            document = ordered[dataset.documents[index]]
            seen.add(int(dataset.documents[index]))
            text = " ".join(document)
            assert a in text
            assert (f"{a} {b}" in text) == (b in text) != bool(dataset.labels[index])
    assert seen == set(range(len(TEXTS)))


def test_parts_are_a_matter_of_memory_alone(tmp_path, monkeypatch):
    """A partition that is read and encoded in many parts gives the shard of one that is read at once, also without its
    dropped documents.
    """
    shards, parts = [], []
    for size in (10**9, 100, 1):
        monkeypatch.setattr(corpora, "_CHUNK_BYTES", size)
        _, samples = make(tmp_path / str(size), [*TEXTS[3:9], *TEXTS], BuildConfig(64), heldout_share=0)
        corpus = Corpus.open(tmp_path / str(size) / "documents")
        shards.append((samples / "train-00000.arrow").read_bytes())
        parts.append([part.to_pylist() for part in corpus.chunks(0)])
        assert [document for part in parts[-1] for document in part] == corpus.read(0).to_pylist()
        assert len(corpus.read(0)) == 20
    assert shards[0] == shards[1] == shards[2]
    assert len(parts[0]) == 1 < len(parts[1]) <= 20 == len(parts[2])


def test_duplicates_are_other_passes_over_the_training_documents(tmp_path):
    """Two passes have about twice the tokens in other pairs, the first equals a single pass, and
    held-out data has one.
    """
    single, first = make(tmp_path / "one", TEXTS, BuildConfig(64), heldout_share=0.2)
    double, second = make(tmp_path / "two", TEXTS, BuildConfig(64, duplicates=2), heldout_share=0.2)
    assert double.splits["heldout"].tokens == single.splits["heldout"].tokens
    one, two = SampleDataset.open(first, "train"), SampleDataset.open(second, "train")
    both = [tokens.tolist() for tokens in two.tokens(np.arange(len(two)))]
    assert both[: len(one)] == [tokens.tolist() for tokens in one.tokens(np.arange(len(one)))]
    assert len(two) > 1.5 * len(one) and both[len(one) :] != both[: len(one)]


@pytest.mark.parametrize("segments", [name for name, share in SHORT_SEQ_PROBS.items() if share is None])
def test_packing_keeps_every_token_once(tmp_path, segments):
    """The samples of each shard in order are the encoded documents of its partition, and every sample is a single
    segment that begins in the document it names.
    """
    manifest, samples = make(tmp_path, TEXTS, BuildConfig(16, segments), heldout_share=0.2, partition_mb=0.0004)
    assert samples.name == f"samples16-{segments}" and manifest.segments == segments
    corpus, tokenizer = Corpus.open(tmp_path / "documents"), load_tokenizer(tmp_path / "tokenizer")
    for split in ("train", "heldout"):
        dataset = SampleDataset.open(samples, split)
        documents = pa.concat_arrays([corpus.read(p) for p in corpus.partitioning.partitions(split)])
        tokens = encode(tokenizer, documents.flatten())
        assert np.concatenate(dataset.tokens(np.arange(len(dataset)))).tolist() == tokens.values.to_pylist()
        np.testing.assert_array_equal(dataset.boundaries, dataset.lengths)
        assert dataset.lengths.max() <= 14 and not dataset.labels.any()
        first_tokens = tokens.offsets.to_numpy()[documents.offsets.to_numpy()]
        positions = np.cumsum(dataset.lengths) - dataset.lengths
        before = sum(corpus.counts[: corpus.partitioning.partitions(split).start])
        np.testing.assert_array_equal(
            dataset.documents, before + np.searchsorted(first_tokens, positions, side="right") - 1
        )


def make_mixed(out, build_config):
    """Build two sources of ten documents each in several partitions; return the manifest, and the tokens of training
    samples by source and document.
    """
    out.mkdir()
    for name, texts in (("one", TEXTS[:10]), ("two", TEXTS[10:])):
        (out / f"{name}.txt").write_text("\n\n".join(texts))
    config = ExtractConfig(
        [f"text:{out / 'one.txt'}", f"text:{out / 'two.txt'}"], heldout_share=0.2, partition_mb=0.0004
    )
    corpus = extract(out / "documents", config, FilterConfig(), SerialExecutor())
    prepare_tokenizer(out / "tokenizer", TokenizerConfig(vocab_size=150), out / "documents")
    samples = out / build_config.directory_name
    manifest = build(samples, build_config, out / "documents", out / "tokenizer", SerialExecutor())
    sources = np.concatenate([corpus.sources_of(partition) for partition in range(len(corpus.partitioning))])
    dataset = SampleDataset.open(samples, "train")
    found = [Counter(), Counter()]
    for document, length in zip(dataset.documents, dataset.lengths, strict=True):
        found[sources[document]][int(document)] += int(length)
    return manifest, found


def test_weights_say_how_often_a_source_is_taken(tmp_path):
    """Weight 2 takes a document twice, weight 0 never, and four passes of weight 1/4 are one pass; held-out samples do
    not change, and tokens are counted by source.
    """
    plain, once = make_mixed(tmp_path / "plain", BuildConfig(64, "doc_sentences"))
    double, twice = make_mixed(tmp_path / "double", BuildConfig(64, "doc_sentences", weights=[2, 0]))
    assert twice == [Counter({document: 2 * tokens for document, tokens in once[0].items()}), Counter()]
    _, quarters = make_mixed(tmp_path / "quarters", BuildConfig(64, "sop", 0, duplicates=4, weights=[0.25, 1]))
    _, whole = make_mixed(tmp_path / "whole", BuildConfig(64, "sop", 0))
    assert quarters == [whole[0], Counter({document: 4 * tokens for document, tokens in whole[1].items()})]
    for manifest, counts in ((plain, once), (double, twice)):
        split = manifest.splits["train"]
        assert [*split.tokens_by_source.values()] == [counter.total() for counter in counts]
        assert sum(split.tokens_by_source.values()) == split.tokens
    equal, _ = make_mixed(tmp_path / "equal", BuildConfig(64, "doc_sentences", weights=[1, 1]))
    assert checksums(equal, "train") == checksums(plain, "train")
    assert checksums(double, "heldout") == checksums(plain, "heldout")


def checksums(manifest, split):
    """Return the checksums of the shards of a split."""
    return [shard.sha256 for shard in manifest.splits[split].shards]


def test_sop_pairs_are_consecutive_text(tmp_path):
    """A followed by B, or B followed by A if the label says so, is text of the document that the sample names."""
    _, samples = make(tmp_path, TEXTS, BuildConfig(64, "sop", 0), heldout_share=0)
    corpus, tokenizer = Corpus.open(tmp_path / "documents"), load_tokenizer(tmp_path / "tokenizer")
    ordered = [document for p in range(len(corpus.partitioning)) for document in corpus.read(p).to_pylist()]
    dataset = SampleDataset.open(samples, "train")
    for index, tokens in enumerate(dataset.tokens(np.arange(len(dataset)))):
        a, b = (tokenizer.decode(part.tolist()) for part in np.split(tokens, [dataset.boundaries[index]]))
        a, b = (b, a) if dataset.labels[index] else (a, b)
        assert f"{a} {b}" == " ".join(ordered[dataset.documents[index]])
    assert len(dataset) == len(TEXTS) and 0 < dataset.labels.sum() < len(TEXTS)


def test_documents_that_give_no_sample_are_an_error(tmp_path):
    """A corpus of single sentences, which have no order, is an error for sop, and is not published empty."""
    with pytest.raises(DataError, match="no document of split train gives a sample for segments sop"):
        make(tmp_path, ["One sentence.", "Another one."], BuildConfig(64, "sop", 0), heldout_share=0)
    assert not (tmp_path / "samples64-sop" / "manifest.json").exists()


def test_one_document_is_enough_without_random_pairs(tmp_path):
    """One document is enough for every strategy without random pairs."""
    manifest, _ = make(tmp_path, TEXTS[:1], BuildConfig(64, "blocks"), heldout_share=0)
    assert manifest.splits["train"].rows == 1


def test_short_samples_have_the_share_of_their_source(tmp_path):
    """The default of short_seq_prob is that of the strategy, and is recorded."""
    assert [BuildConfig(segments=name).short_share for name in ("nsp", "electra", "chunks")] == [0.1, 0.05, 0]
    assert BuildConfig(segments="electra", short_seq_prob=0).short_share == 0
    manifest, _ = make(tmp_path, TEXTS, BuildConfig(64), heldout_share=0)
    assert manifest.config["build"]["short_seq_prob"] == 0.1


def test_another_length_reuses_documents_and_tokenizer(tmp_path):
    """Samples of another length are built from the same documents and tokenizer, which are not changed."""
    make(tmp_path, TEXTS, BuildConfig(64), heldout_share=0)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    manifest = build(
        tmp_path / "samples32", BuildConfig(32), tmp_path / "documents", tmp_path / "tokenizer", SerialExecutor()
    )
    assert manifest.max_seq_length == 32 and manifest.splits["heldout"].rows == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert SampleDataset.open(tmp_path / "samples32", "train").lengths.max() <= 29


def test_a_split_of_one_document_is_an_error(tmp_path):
    """The error for too few held-out documents has their number, the share, and the remedy."""
    with pytest.raises(
        DataError, match=r"[01] of 20 documents are in split heldout, .* another --heldout_share than 0\.001, larger"
    ):
        make(tmp_path, TEXTS, BuildConfig(64), heldout_share=0.001)


@pytest.mark.parametrize(
    ("number", "share", "remedy"),
    [
        (1, 0, "needs at least 2: give more documents$"),
        (1, 0.5, "needs at least 2: give more documents$"),
        (3, 0.001, r"remove this directory and give none \(--heldout_share 0\)$"),
    ],
)
def test_only_advice_that_can_help_is_given(tmp_path, number, share, remedy):
    """The remedy is one that can help: more documents for a single one, and no share of 0 if the share is 0."""
    with pytest.raises(DataError, match=remedy):
        make(tmp_path, TEXTS[:number], BuildConfig(64), heldout_share=share)


@given(
    st.lists(st.integers(0, 4), max_size=12).filter(lambda counts: not counts or sum(counts) >= 2), st.integers(1, 2)
)
def test_small_partitions_are_joined(counts, needed):
    """Partitions are joined in order to groups of enough documents, none of which could be shorter."""
    groups = join_small(counts, needed)
    assert [index for group in groups for index in group] == list(range(len(counts)))
    assert all(sum(counts[index] for index in group) >= needed for group in groups)
    assert all(sum(counts[index] for index in group[:-1]) < needed for group in groups[:-1])


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=6))
def test_sentences_without_tokens_disappear(documents):
    """Sentences without tokens are removed, and the layout keeps the others, each in its document."""
    lengths = [length for document in documents for length in document]
    tokens = pa.ListArray.from_arrays(np.cumsum([0, *lengths]).astype(np.int32), pa.array(range(sum(lengths))))
    sentences = pa.ListArray.from_arrays(np.cumsum([0, *map(len, documents)]).astype(np.int32), tokens)
    layout = layout_of(sentences, np.arange(len(documents)))
    found = [stop - start for start, stop in pairwise(layout.sentences)]
    assert [found[start:stop] for start, stop in pairwise(layout.documents)] == [
        [length for length in document if length] for document in documents
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_seq_length": 4}, "max_seq_length = 4: must be 5"),
        ({"max_seq_length": 2**16}, "max_seq_length = 65536"),
        ({"short_seq_prob": 1.5}, "short_seq_prob = 1.5: must be between 0 and 1"),
        ({"duplicates": 0}, "duplicates = 0: must be at least 1"),
        ({"weights": [1, -1]}, r"weights = \[1, -1\]: each must be at least 0"),
        ({"weights": [0.0]}, "one above 0"),
        ({"segments": "pairs"}, "segments = 'pairs': must be one of nsp, sop,"),
        ({"segments": "chunks", "duplicates": 2}, "duplicates = 2: segments chunks makes no random choice"),
        ({"segments": "blocks", "short_seq_prob": 0.1}, "short_seq_prob = 0.1, .* must be 0 and 1; leave both out"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    """An option out of range is an error with the field, the value and the rule."""
    with pytest.raises(ValueError, match=message):
        BuildConfig(**options)
