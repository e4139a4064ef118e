"""Laws of the training loop: it equals a plain loop on `transformers`, and parts of a batch change rounding only."""

from itertools import count

import numpy as np
import pytest
import torch
import transformers
from finetuning_data import options, write_model, write_sst2

from pipeline.jobs.finetuning.inputs import open_inputs
from pipeline.jobs.finetuning.loop import Loop, build_optimizer, depth_of, dropout_seed, rows_of
from pipeline.jobs.finetuning.recipe import parse
from pipeline.jobs.finetuning.state import State
from pipeline.optim.schedule import ScheduleConfig, learning_rate_factor
from pipeline.runtime.progress import Progress
from pipeline.runtime.signals import StopSignals


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the directories of a model and of its examples."""
    folder = tmp_path_factory.mktemp("loop")
    return write_model(folder / "model"), write_sst2(folder / "glue")


def loop_of(files, **changes):
    """Return a loop at step 0 whose metrics and checkpoints are discarded."""
    recipe = parse(["sst2", *options(*files, "unused", training__dropout=0, **changes)])
    inputs = open_inputs(recipe)
    optimizer = build_optimizer(inputs.begun.model, inputs.family.parameters, recipe)
    outputs = {"save": None, "writer": None, "progress": Progress(0, 0, "", enabled=False), "signals": StopSignals()}
    return Loop(recipe, inputs.task, inputs.sequences, inputs.begun.model, optimizer, State(), **outputs)


def test_each_epoch_has_every_example_once():
    """Each epoch has every example once, in an order that depends on the seed, and its last batch has what remains."""
    epochs = [np.concatenate([rows_of(step, 7, 10, 4) for step in steps]) for steps in ((1, 2, 3), (4, 5, 6))]
    assert [sorted(order.tolist()) for order in epochs] == [list(range(10))] * 2
    assert len(rows_of(3, 7, 10, 4)) == 2
    assert (
        len({tuple(order) for order in (*epochs, np.concatenate([rows_of(step, 8, 10, 4) for step in (1, 2, 3)]))}) == 3
    )


def test_dropout_differs_between_parts_steps_and_seeds():
    """The seeds of dropout differ between parts, steps and runs, and torch accepts each of them."""
    seeds = {dropout_seed(seed, step, group) for seed in (1, 2) for step in range(5) for group in range(3)}
    assert len(seeds) == 30 and all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_training_equals_a_plain_loop_on_transformers(files, layer_decay):
    """Without dropout, training equals that of BertForSequenceClassification by torch's AdamW on the same batches."""
    loop = loop_of(files, training__layer_decay=layer_decay)
    recipe, settings = loop.recipe, loop.recipe.optimizer
    config = transformers.BertConfig.from_pretrained(files[0], num_labels=2, hidden_dropout_prob=0)
    config.attention_probs_dropout_prob = 0
    model = transformers.BertForSequenceClassification.from_pretrained(files[0], config=config).train()
    with torch.no_grad():
        model.classifier.weight.copy_(loop.model.head.classifier.weight)
        model.classifier.bias.copy_(loop.model.head.classifier.bias)
    groups = []
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        depth = int(parts[3]) + 1 if parts[1:3] == ["encoder", "layer"] else 0 if parts[1] == "embeddings" else 3
        decay = 0.0 if name.endswith("bias") or "LayerNorm" in name else settings.weight_decay
        groups.append({"params": [parameter], "weight_decay": decay, "factor": layer_decay ** (3 - depth)})
    optimizer = torch.optim.AdamW(groups, betas=(settings.beta1, settings.beta2), eps=settings.eps)
    schedule = ScheduleConfig(loop.total_steps, warmup_proportion=recipe.training.warmup_proportion, decay="linear")
    tokenizer = transformers.AutoTokenizer.from_pretrained(files[0])
    lines = [line.split("\t") for line in (files[1] / "SST-2" / "train.tsv").read_text().splitlines()[1:]]
    for step in range(1, 5):
        loop.train_step()
        chosen = [lines[row] for row in rows_of(step, recipe.seed, len(lines), recipe.training.batch_size)]
        inputs = tokenizer(
            [text for text, _ in chosen], padding=True, truncation=True, max_length=16, return_tensors="pt"
        )
        loss = model(**inputs, labels=torch.tensor([int(label) for _, label in chosen])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * learning_rate_factor(step, schedule) * group["factor"]
        optimizer.step()
        optimizer.zero_grad()
    ours = loop.model.head.classifier.weight, loop.model.encoder.layers[0].intermediate.weight
    theirs = model.classifier.weight, model.bert.encoder.layer[0].intermediate.dense.weight
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=2e-5)


def test_parts_of_a_batch_change_rounding_only(files):
    """A bound on the tokens that are computed at once divides a batch, and changes its result by rounding only."""
    whole, parts = loop_of(files), loop_of(files, training__max_tokens=20)
    for loop in (whole, parts):
        loop.train_step()
        loop.train_step()
    found, expected = (dict(loop.model.named_parameters()) for loop in (parts, whole))
    for name, parameter in expected.items():
        mine, theirs = found[name], parameter
        # The softmax ignores the bias of keys, so that its gradient is rounding, which Adam scales up.
        if name.endswith("qkv.bias"):
            mine, theirs = (bias.unflatten(0, (3, -1))[[0, 2]] for bias in (mine, theirs))
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-4)


def test_a_gradient_that_is_not_finite_ends_training(files):
    """A gradient that is not finite is an error that names the step and a remedy."""
    loop = loop_of(files)
    with torch.no_grad():
        loop.model.head.classifier.bias[0] = torch.nan
    with pytest.raises(
        FloatingPointError, match=r"step 1: the gradient is NaN or infinite; lower optimizer.lr = 0.005"
    ):
        loop.train_step()


def test_depths():
    """Embeddings are below the layers, and the head is above them."""
    names = ("encoder.embeddings.word.weight", "encoder.layers.0.qkv.bias", "encoder.layers.11.qkv.bias", "head.x")
    assert [depth_of(name, 12) for name in names] == [0, 1, 12, 13]


def test_training_ends_early_without_progress(files):
    """Training ends after `patience` evaluations that are not better than the best one; NaN is never better."""
    loop = loop_of(files, training__patience=2, training__epochs=9, logging__every=100)
    loop.save, loop.writer = lambda state: None, type("Nowhere", (), {"write": lambda *_: None})()
    found = (value for value in (0.5, 0.7, float("nan"), 0.7, 0.9))
    numbers = count()
    loop.measure = lambda split: {"accuracy": next(found), "number": next(numbers)}
    loop.train()
    assert (loop.state.step, loop.state.best_step) == (4 * loop.steps_per_epoch, 2 * loop.steps_per_epoch)
    assert loop.state.metrics["best"] == {"accuracy": 0.7, "number": 1}
