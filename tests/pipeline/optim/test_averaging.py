"""Weights are averaged over the last steps, in single shards and in whole runs."""

import pytest
import torch
from fragments import make_shard
from killed_runs import runs
from ranks import on_ranks
from recipes import SMALL, curve, tensors, write_recipe
from samples import make_samples

from pipeline.checkpoints.checkpoint import Reader, read_state
from pipeline.config import parse
from pipeline.convert import convert
from pipeline.data.heldout import evaluation_batches
from pipeline.families import get_family
from pipeline.optim.averaging import add_to_average, swap
from pipeline.runlog.metrics import Writer
from pipeline.runlog.reader import METRICS, read_lines
from preprocessing.shards import SampleDataset


def walk(shards, steps=5):
    """Average over some steps, and return the weights of each."""
    seen = []
    for count in range(1, steps + 1):
        for shard in shards:
            shard.flat.mul_(1.3).add_(0.7)
        add_to_average(shards, count)
        seen.append([shard.flat.clone() for shard in shards])
    return seen


def test_it_is_the_mean_and_no_partition_changes_a_bit():
    """After five steps the average is the mean of the weights, with the same bits in each fragment of any partition."""
    (whole,) = shards = [make_shard(0, 1)]
    mean = torch.stack([weights for (weights,) in walk(shards)]).double().mean(0)
    torch.testing.assert_close(whole.average.double(), mean, rtol=1e-6, atol=1e-6)
    for ranks in (2, 4):
        cut = [make_shard(rank, ranks) for rank in range(ranks)]
        walk(cut)
        joined = torch.cat([shard.average for shard in cut])[: len(whole.average)]
        assert torch.equal(joined, whole.average)


def test_an_exchange_is_undone_by_another():
    """Exchanging weights and averages twice restores both."""
    shards = [make_shard(0, 2)]
    before = walk(shards)[-1][0]
    average = shards[0].average.clone()
    swap(shards)
    assert torch.equal(shards[0].flat, average) and torch.equal(shards[0].average, before)
    swap(shards)
    assert torch.equal(shards[0].flat, before) and torch.equal(shards[0].average, average)


def test_steps_without_an_average_are_an_error():
    """Adding the option during the steps that are averaged is an error, since the first of them are lost."""
    with pytest.raises(ValueError, match=r"schedule.average_last: 3 of the steps .* trained without it"):
        add_to_average([make_shard(0, 1)], 4)


def averages_of(run, step=4):
    return dict(Reader(run / "checkpoints" / f"step-{step:08d}").tensors("average"))


def heldout_loss(run, recipe, samples):
    """Return the held-out loss of masked tokens of the averaged weights, computed without an engine."""
    family, heldout = get_family("bert"), SampleDataset.open(samples, "heldout")
    model = family.build(recipe.model, heldout.manifest.vocab_size).eval()
    averaged = averages_of(run)
    model.load_state_dict(averaged | {"mlm_head.decoder.weight": averaged["encoder.embeddings.word.weight"]})
    total = 0.0
    with torch.no_grad():
        for batch in evaluation_batches(heldout, family.template, 4, 0, 1, 10_000):
            total += float(model(batch).sums["mlm_loss"]) / batch.totals["masked"]
    return total


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of runs of 4 steps: without averages; with the last 3 averaged, undisturbed, killed and resumed at stage
    2, and at stage 3.
    """
    folder = tmp_path_factory.mktemp("averaging")
    samples = make_samples(folder / "samples")
    average, fp32 = ["--schedule.average_last", "0.75"], ["--engine.precision", "fp32"]
    steps = ["--checkpoint.every", "1", "--checkpoint.keep", "9", "--evaluation.every", "4"]

    def arguments(name, *options):
        recipe = write_recipe(folder, samples, name, **(SMALL | {"total_steps": 4}))
        return ["--recipe", str(recipe), *fp32, *steps, *options]

    stage = ["--engine.deepspeed", "ds_configs/zero3_{precision}.json"]
    on_ranks(
        runs,
        2,
        [
            (arguments("plain"), None),
            (arguments("whole", *average), None),
            (arguments("killed", *average), 3),
            (arguments("killed", *average), None),
            (arguments("three", *average, *stage), None),
        ],
    )
    return folder


def test_the_run_averages_its_last_steps_and_changes_nothing_else(trained):
    """The average is the mean of the weights of steps 2 to 4; weights, moments and curves are those of a run without
    it.
    """
    whole = trained / "whole"
    weights = [dict(Reader(whole / "checkpoints" / f"step-{step:08d}").tensors()) for step in (2, 3, 4)]  # of each step
    for name, average in averages_of(whole).items():
        torch.testing.assert_close(average, sum(step[name] for step in weights) / 3, rtol=1e-6, atol=1e-7)
    one, other = tensors(whole, 4), tensors(trained / "plain", 4)
    assert all(torch.equal(one[key], other[key]) for key in one)
    for kind in ("train", "heldout"):
        assert curve(whole, kind) == curve(trained / "plain", kind)
    assert not Reader(whole / "checkpoints" / "step-00000001").has("average")
    assert not curve(trained / "plain", "averaged")


def test_a_resumed_average_is_the_undisturbed_one(trained):
    """After a kill within the averaged steps, average and figures are the same bit for bit, and at another stage to
    rounding.
    """
    expected = averages_of(trained / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in averages_of(trained / "killed").items())
    assert curve(trained / "killed", "averaged") == curve(trained / "whole", "averaged")
    assert curve(trained / "three", "averaged") == pytest.approx(curve(trained / "whole", "averaged"), rel=1e-5)
    for name, value in averages_of(trained / "three").items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_the_average_is_evaluated(trained):
    """The held-out loss of the average is that of a model with these weights, and is in the checkpoint."""
    whole = trained / "whole"
    lines = [line for line in read_lines(whole / METRICS)[0] if line["kind"] == "averaged"]
    expected = heldout_loss(whole, parse(["--recipe", str(trained / "whole.toml")]), trained / "samples")
    assert [line["step"] for line in lines] == [4]
    assert lines[0]["mlm_loss"] == pytest.approx(expected, rel=1e-5)
    assert curve(whole, "averaged") != curve(whole, "heldout")[-1:]
    assert (
        read_state(whole / "checkpoints" / "step-00000004")["metrics"]["averaged"]["mlm_loss"] == lines[0]["mlm_loss"]
    )


def test_the_average_is_exported(trained):
    """The average is exported on request, and the model card states this with the average's figures."""
    from transformers import BertForPreTraining

    whole, out = trained / "whole", trained / "model"
    convert(["export", str(whole), str(out), "--averaged", "true"])
    words = BertForPreTraining.from_pretrained(out).bert.embeddings.word_embeddings.weight
    assert torch.equal(words, averages_of(whole)["encoder.embeddings.word.weight"])
    card = (out / "README.md").read_text()
    figures = read_state(whole / "checkpoints" / "step-00000004")["metrics"]["averaged"]
    assert "The weights are the average over the last 3 steps." in card and f"{figures['mlm_loss']:.4f}" in card
    with pytest.raises(ValueError, match=r"--averaged true: .* has no averaged weights"):
        convert(["export", str(trained / "plain"), str(trained / "other"), "--averaged", "true"])


def test_a_new_evaluation_replaces_the_old_one(trained, tmp_path):
    """A run that resumes before its last evaluation drops the figures of the average, too."""
    from pipeline.runlog.config import LoggingConfig

    (tmp_path / METRICS).write_text((trained / "whole" / METRICS).read_text())
    Writer(tmp_path, LoggingConfig(tensorboard=False), 4, 0).close()
    assert curve(tmp_path, "train") and not curve(tmp_path, "averaged")
