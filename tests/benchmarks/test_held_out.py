"""The comparison of families on the same samples computes what the evaluation of a run computes."""

import pytest
from family_runs import prepared
from finetuning_data import VOCAB_SIZE, write_model
from ranks import on_ranks
from recipes import SMALL, curve, write_recipe
from samples import make_samples

from benchmarks.held_out import held_out, main
from pipeline.convert import convert
from preprocessing.shards import SampleDataset


def trained(arguments):
    """Call pretrain."""
    from pipeline.pretrain import pretrain
    from pipeline.runtime import distributed

    pretrain(arguments)
    distributed.shutdown()


@pytest.mark.parametrize(("family", "part"), [("spanbert", ""), ("electra", "generator")])
def test_the_figures_are_those_of_the_run(tmp_path, family, part):
    """An exported model has the held-out loss and accuracy that its run logged, on the samples of the run."""
    samples, options = prepared(tmp_path, family)
    recipe = write_recipe(tmp_path, samples, **{**SMALL, "hidden_size": 32})
    on_ranks(trained, 1, ["--recipe", str(recipe), "--engine.precision", "fp32", *options])
    convert(["export", str(tmp_path / "run"), str(tmp_path / "model")])
    found = held_out(tmp_path / "model" / part, SampleDataset.open(samples, "heldout"), 2048, batch_size=5)
    last = [curve(tmp_path / "run", "heldout", f"mlm_{name}")[-1] for name in ("loss", "accuracy")]
    assert [found.loss, found.accuracy] == pytest.approx(last, rel=1e-5)


def test_another_vocabulary_is_an_error(tmp_path):
    """A loss per token of another vocabulary has no meaning."""
    samples = make_samples(tmp_path / "samples", vocab_size=VOCAB_SIZE + 1)
    with pytest.raises(ValueError, match=f"has {VOCAB_SIZE} tokens, but .* has {VOCAB_SIZE + 1}"):
        main(samples, [write_model(tmp_path / "model")])
