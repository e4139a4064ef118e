"""The floors of a run are computed once, from the samples that it evaluates."""

import json

import pytest
from recipes import write_recipe
from samples import make_samples

from pipeline.config import parse
from pipeline.jobs import floors as module
from pipeline.jobs.floors import describe, record_floors
from pipeline.jobs.samples import samples_id
from pipeline.runlog.events import Events
from pipeline.runlog.floors import floors_of
from preprocessing.shards import SampleDataset


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples", heldout=40)


class Started:
    """A started run that records each computation of its floors."""

    def __init__(self, folder, samples):
        self.run, self.path = folder / "run", str(write_recipe(folder, samples))
        self.run.mkdir()
        self.train, self.heldout = (SampleDataset.open(samples, split) for split in ("train", "heldout"))

    def start(self, *options):
        events = Events(self.run, 8, 0)
        recipe = parse(["--recipe", self.path, *options])
        record_floors(self.run, recipe, self.train, self.heldout, events)
        events.close()
        return self.lines

    @property
    def lines(self):
        return [json.loads(line) for line in (self.run / "events.jsonl").read_text().splitlines()]


def test_a_resumed_run_keeps_its_floors(tmp_path, samples, monkeypatch):
    """Floors are computed at the first start, and again only for another number of evaluated samples."""
    run = Started(tmp_path, samples)
    (line,) = run.start()
    assert line["heldout"] == 40 and line["samples"] == samples_id(run.train)
    assert 0 < line["context"] < line["unigram"] + 0.1 and 0 < line["unigram_accuracy"] < 1
    with monkeypatch.context() as patched:
        patched.setattr(module, "measure", lambda *_: pytest.fail("computed again"))
        assert run.start() == [line]
    first, second = run.start("--evaluation.samples", "16")
    assert first == line and second["heldout"] == 16 and floors_of([second]) != floors_of([first])


def test_floors_do_not_depend_on_batches_or_the_seed(tmp_path, samples):
    """Floors are the same for every batch size and seed of a run on the same samples."""
    found = []
    for name, options in (("a", []), ("b", ["--seed", "1", "--batch.micro_batch_size", "2"])):
        (tmp_path / name).mkdir()
        found.append(floors_of(Started(tmp_path / name, samples).start(*options)))
    assert found[0] == found[1]


def test_a_corpus_is_described_by_its_size(samples):
    """A corpus is described by its size, without a path of its sources."""
    text = describe(SampleDataset.open(samples, "train").manifest)
    assert text.endswith("tokens in 256 nsp samples of at most 32 tokens, vocabulary of 120")
