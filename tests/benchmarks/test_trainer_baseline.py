"""The baseline reads the samples as the pipeline does, and its held-out figures are the pipeline's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from samples import make_samples

from benchmarks.huggingface import masked_figures
from pipeline.conversion.names import to_huggingface
from pipeline.data.heldout import evaluation_batches
from pipeline.families.bert import FAMILY, BertConfig
from preprocessing.shards import SampleDataset


@pytest.fixture(scope="module")
def baseline():
    """The module under test, whose import takes seconds that only the process which runs these tests should spend."""
    from benchmarks import trainer_baseline

    return trainer_baseline


@pytest.fixture
def directory(tmp_path):
    return make_samples(tmp_path / "samples", heldout=40)


def test_held_out_figures_equal_those_of_the_pipeline(directory):
    """With equal weights and masks, loss and accuracy of Hugging Face's model are those that a run would log."""
    heldout = SampleDataset.open(directory, "heldout")
    config = BertConfig(32, 1, 2, 64, initializer_range=0.5)
    torch.manual_seed(0)
    ours = FAMILY.build(config, heldout.manifest.vocab_size).eval()
    theirs = transformers.BertForPreTraining(
        transformers.BertConfig(**FAMILY.export.config_to(config, heldout.manifest.vocab_size))
    )
    theirs.load_state_dict(to_huggingface(FAMILY, ours.state_dict()))
    batches = list(evaluation_batches(heldout, FAMILY.template, 16, 0, 1, 40))
    with torch.no_grad():
        sums = [ours(batch).sums for batch in batches]
    masked = batches[0].totals["masked"]
    loss, accuracy = masked_figures(theirs, batches)
    assert loss == pytest.approx(sum(float(each["mlm_loss"]) for each in sums) / masked, rel=1e-5)
    assert accuracy == sum(int(each["mlm_correct"]) for each in sums) / masked > 0


def test_features_are_the_samples_with_special_tokens(baseline, directory):
    """A sample is read as [CLS] A [SEP] B [SEP] with segments 0 and 1, and with the label of its pair on request."""
    samples = SampleDataset.open(directory, "train")
    features = baseline.Features(samples, pairs=True)[3]
    tokens, boundary = samples.tokens(np.array([3]))[0], int(samples.boundaries[3])
    assert features["input_ids"].tolist() == [2, *tokens[:boundary], 3, *tokens[boundary:], 3]
    assert features["token_type_ids"].sum() == len(tokens) - boundary + 1
    assert features["special_tokens_mask"].nonzero()[0].tolist() == [0, boundary + 1, len(tokens) + 2]
    assert features["next_sentence_label"] == samples.labels[3]
    assert "next_sentence_label" not in baseline.Features(samples, pairs=False)[3]


def test_the_clock_ends_training_after_its_time(baseline):
    """The clock times the steps after the skipped ones, and ends the training when its time is over."""
    times = iter([0.0, 100.0, 100.0, 103.0, 106.0])
    clock, stops = baseline.Clock(limit=5.0, skipped=1, now=lambda: next(times)), []
    clock.on_train_begin(None, None, None)
    for step in (1, 2, 3):
        control = SimpleNamespace(should_training_stop=False)
        clock.on_step_end(None, SimpleNamespace(global_step=step), control)
        stops.append(control.should_training_stop)
    assert (stops, clock.seconds) == ([False, False, True], 6.0)


@pytest.mark.parametrize("bf16", [False, True])
def test_trainer_trains_without_a_gpu_in_both_types(baseline, directory, bf16):
    """`Trainer` takes as many steps as it is told, in fp32 and in bf16, on a machine with or without a GPU."""
    options = ["--recipe", "bert_mini_fast", "--data.samples", str(directory), "--batch.global_batch_size", "4"]
    shape = ["--model.hidden_size", "32", "--model.num_hidden_layers", "1", "--batch.micro_batch_size", "4"]
    recipe = baseline.parse([*options, *shape])
    made = baseline.Baseline(recipe, "BertForPreTraining", 0.1, bf16)
    assert made.trained(1e-3, 2, baseline.Clock(float("inf"))).state.global_step == 2
