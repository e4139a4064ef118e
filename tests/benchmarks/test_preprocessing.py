"""The comparison of preprocessing counts what each side writes; the test uses a few documents and no peer."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.peers.inputs import write_inputs
from benchmarks.peers.sides import SIDES
from benchmarks.preprocessing import summary, table
from benchmarks.processes import timed

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *"abcd"]


@pytest.fixture
def inputs(tmp_path):
    corpus, vocab = tmp_path / "corpus.jsonl", tmp_path / "vocab.txt"
    texts = ["\n".join(f"{name}  b c{'.' * number} d." for number in range(9)) for name in "abcd" * 5]
    corpus.write_text("".join(json.dumps({"text": text + str(number)}) + "\n" for number, text in enumerate(texts)))
    vocab.write_text("".join(f"{word}\n" for word in WORDS))
    return write_inputs(tmp_path / "inputs", corpus, vocab, 18)


def test_all_tokens_are_told_alike(inputs, tmp_path):
    """The ceilings count each token of the text once, and the table states which share of them a run's samples hold."""
    names = ("this", "ceiling: sentences, encode_batch", "ceiling: encode_batch_fast")
    rows = []
    for name in names:
        usage = timed(SIDES[name].command(inputs, sys.executable, tmp_path / "out", 1), [0], SIDES[name].variables(1))
        assert usage.seconds > 0 and usage.cpu_seconds > 0 and usage.peak_bytes > 10**5
        rows.append(summary(inputs.num_bytes, name, 1, [usage], [SIDES[name].output(tmp_path / "out", usage.output)]))
    ours, batch, fast = rows
    assert batch["tokens"] == fast["tokens"] and 0 < ours["own_tokens"] <= fast["tokens"]
    assert ours["samples"] > 0 and ours["bytes"] > 2 * ours["tokens"]
    assert f"{ours['own_tokens'] / fast['tokens']:.1%}" in table(rows)


def test_lddl_pairs_are_counted(tmp_path):
    """Of LDDL's pairs, A is always counted, B if it is the actual next segment, and special tokens never."""
    pairs = {"A": ["a b", "c"], "B": ["c d", "a"], "is_random_next": [False, True], "num_tokens": [7, 5]}
    table = pa.table(pairs).cast(
        pa.schema([("A", pa.string()), ("B", pa.string()), ("is_random_next", pa.bool_()), ("num_tokens", pa.uint16())])
    )
    pq.write_table(table, tmp_path / "part.0.parquet")
    output = SIDES["LDDL 0.1.0"].output(tmp_path, "Running the dask pipeline took 1.5 s\n")
    assert (output.seconds, output.samples, output.tokens, output.own_tokens) == (1.5, 2, 6, 5)


def test_each_reads_the_same_text(inputs):
    """All sides get the same documents; LDDL gets one per line, with runs of white space replaced by a space."""
    texts = [json.loads(line)["text"] for line in inputs.jsonl.read_text().splitlines()]
    lines = (inputs.lddl / "en" / "0.txt").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [" ".join(text.split()) for text in texts]
    assert len(texts) == 18 and inputs.num_bytes == sum(map(len, texts))


def test_a_failed_command_is_an_error_with_what_it_said():
    """A side that fails ends the comparison with an error that repeats the side's output."""
    with pytest.raises(SystemExit, match="no such thing"):
        timed([sys.executable, "-c", "raise ValueError('no such thing')"], [0])
