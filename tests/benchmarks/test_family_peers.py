"""The peers of `benchmarks.training --recipe` have the losses of the pipeline's models."""

import pytest
import torch

from benchmarks.batches import generated_samples, recipe_batches
from benchmarks.family_peers import peer
from benchmarks.training import main
from pipeline.config import parse
from pipeline.conversion.names import to_huggingface
from pipeline.conversion.parts import divide
from pipeline.families import get_family

VOCAB_SIZE, LENGTH, SAMPLES = 97, 16, 6
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_dropout_prob": 0,
    "attention_probs_dropout_prob": 0,
    "output_bias": "zero",
}
OPTIONS = {
    "bert_mini": [],
    "roberta_mini": [],
    "albert_mini": ["--model.embedding_size", "16"],
    "electra_mini": ["--model.embedding_size", "16"],
    "distilbert_mini": [],
    "spanbert_mini": [],
    "deberta_mini": ["--model.objective", "masked_plain"],
    "modernbert_mini": [],
}


def recipe_of(name, *options):
    shape = [part for key, value in SHAPE.items() for part in (f"--model.{key}", str(value))]
    return parse(["--recipe", name, *shape, *options])


def batch_of(recipe, directory):
    samples = generated_samples(recipe, directory / "samples", SAMPLES, LENGTH, VOCAB_SIZE)
    return recipe_batches(recipe, samples, SAMPLES, 1)[0]


@pytest.mark.parametrize("name", OPTIONS)
def test_the_loss_is_that_of_the_pipeline(name, tmp_path):
    """With equal weights a peer has the loss of the pipeline's model, padded to the length of the samples and beyond;
    of SpanBERT it has the masked tokens alone.
    """
    recipe = recipe_of(name, *OPTIONS[name])
    family = get_family(recipe.family).of(recipe.model)
    torch.manual_seed(0)
    ours, theirs = family.build(recipe.model, VOCAB_SIZE), peer(recipe, VOCAB_SIZE)
    parts = divide(family, recipe.model, ours.state_dict())
    models = [theirs.model, *([theirs.generator] if hasattr(theirs, "generator") else [])]
    for part, model in zip(parts, models, strict=True):
        found, missing = to_huggingface(part.family, part.state_dict), part.family.export.unexported
        model.load_state_dict({key: value for key, value in found.items() if not key.startswith(missing or ("?",))})
    if family.auxiliary(recipe.model):
        auxiliary = family.auxiliary(recipe.model)
        teacher = auxiliary.build(recipe.model, VOCAB_SIZE)
        auxiliary.attach(ours, teacher)
        theirs.teacher[0].load_state_dict(to_huggingface(family, teacher.state_dict()))
    theirs.eval()  # ALBERT has dropout before its classifier
    batch = batch_of(recipe, tmp_path)
    out = ours(batch)
    expected = out.sums["mlm_loss"] / batch.totals["masked"] if name == "spanbert_mini" else out.loss
    for width in (LENGTH, LENGTH + 5):
        torch.testing.assert_close(theirs(batch, width), expected, rtol=1e-5, atol=1e-5)
    assert all(parameter.requires_grad for parameter in theirs.parameters())


def test_what_transformers_lacks_is_an_error():
    """Version 3 of DeBERTa has no counterpart that detects replaced tokens."""
    with pytest.raises(ValueError, match=r"^model.objective: transformers has no counterpart of deberta"):
        peer(recipe_of("deberta_mini", "--model.objective", "replaced"), VOCAB_SIZE)


def test_dropout_and_shape_are_those_of_the_recipe():
    """The configuration of a peer is that to which the model would be exported."""
    config = peer(recipe_of("modernbert_mini"), VOCAB_SIZE).model.config
    assert (config.hidden_size, config.num_hidden_layers, config.mlp_dropout) == (32, 2, 0.0)


def test_sides_of_bert_alone_are_refused_with_a_recipe():
    """A side that knows BERT and ALBERT alone is an error that names it."""
    with pytest.raises(ValueError, match=r"^--sides tuned: needs --model and --family; with --recipe, take"):
        main(recipe="modernbert_mini", sides=["stock", "tuned"])


def test_batches_have_all_mask_rates_of_a_recipe(tmp_path):
    """The micro-batches of a recipe whose mask rate falls begin with its first rate and approach the last one."""
    recipe = recipe_of("roberta_mini")
    samples = generated_samples(recipe, tmp_path / "samples", 4 * SAMPLES, LENGTH, VOCAB_SIZE)
    shares = [batch.counts["masked"] / batch.counts["tokens"] for batch in recipe_batches(recipe, samples, SAMPLES, 4)]
    assert shares == sorted(shares, reverse=True)
    assert abs(shares[0] - recipe.masking.probability_start) < 0.05 < shares[0] - shares[-1]
