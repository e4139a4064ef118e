"""A family outside the pipeline trains through the whole pipeline."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch
from family_runs import OPTIONS, STUDENT, prepared
from ranks import on_ranks
from recipes import curve, tensors, write_recipe
from samples import make_samples

import pipeline.families
from pipeline.model.flops import measure
from pipeline.runlog.reader import METRICS, read_lines, read_run


class KilledError(Exception):
    """Raised in place of a SIGKILL between two steps."""


STUDENTS = {
    "albert": ["--model.sentence_order", "false"],
    "bert": ["--model.next_sentence", "false", "--model.initialize_from_teacher", "true"],
    "deberta": ["--model.objective", "masked", "--model.hidden_size", "32"],
    "megatron_bert": ["--model.sentence_order", "false"],
    "modernbert": [],
    "roberta": ["--model.max_position_embeddings", "38"],
    "spanbert": [],
}
"""Family -> options of a student, beside those of `family_runs`."""
FAMILIES = Path(__file__).parents[2] / "families"


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples", segments="blocks")


def trained(jobs):
    """Call pretrain for each (arguments, steps to stop after, or None), with the directory of the family
    in the path.
    """
    import pipeline.families
    from pipeline.pretrain import pretrain
    from pipeline.runtime import distributed
    from pipeline.training.trainer import Trainer

    pipeline.families.__path__.append(str(FAMILIES))
    train_step = Trainer.train_step
    for arguments, last in jobs:

        def stops(self, last=last):
            outcome = train_step(self)
            if self.state.step == last:
                self.saver.finish()
                raise KilledError
            return outcome

        Trainer.train_step = stops if last else train_step
        with suppress(KilledError):
            pretrain(arguments)
    distributed.shutdown()


def arguments(folder, samples, name, stage):
    recipe = write_recipe(folder, samples, name, global_batch_size=16)
    options = ["--family", "shuffle", "--engine.precision", "fp32", "--model.max_position_embeddings", "36"]
    return ["--recipe", str(recipe), *options, "--engine.deepspeed", f"ds_configs/zero{stage}_{{precision}}.json"]


@pytest.mark.parametrize("stage", [2, *(pytest.param(stage, marks=pytest.mark.slow) for stage in (0, 3))])
def test_an_unknown_family_trains_and_resumes(tmp_path, samples, stage):
    """The run resumes bit for bit at every stage; its terms are in the metrics, and its frozen part is unchanged in the
    checkpoint.
    """
    jobs = [(arguments(tmp_path, samples, "whole", stage), None)]
    jobs += [(arguments(tmp_path, samples, "killed", stage), last) for last in (6, None)]
    on_ranks(trained, 2, jobs)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    lines = [line for line in read_lines(whole / METRICS)[0] if line["kind"] == "train"]
    assert all(
        line["loss"] == pytest.approx(line["mlm_loss"] + 0.5 * line["lag_loss"]) and "lag_accuracy" not in line
        for line in lines
    )
    assert lines[-1]["lag_loss"] < lines[0]["lag_loss"]
    assert [term.name for term in read_run(whole, "run").terms] == ["mlm", "lag"]
    first, middle, second = tensors(whole, 8), tensors(whole, 4), tensors(killed, 8)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert curve(whole) == curve(killed) and curve(whole, "heldout") == curve(killed, "heldout")
    frozen = ("weight", "features.weight")
    assert torch.equal(first[frozen], middle[frozen]) and ("exp_avg", "features.weight") not in first
    assert not torch.equal(first["weight", "reader.weight"], middle["weight", "reader.weight"])


@pytest.mark.parametrize("stage", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", [family for family in OPTIONS if family != "bert"])
def test_a_family_resumes_bit_for_bit(tmp_path, family, stage):
    """A killed and resumed run of a family has the weights and metrics of the undisturbed one (law 5)."""
    samples, options = prepared(tmp_path, family)
    assert_resumes(tmp_path, samples, options, stage)


@pytest.mark.parametrize(
    ("family", "stage"), [("modernbert", 2), *(pytest.param(each, 3, marks=pytest.mark.slow) for each in STUDENTS)]
)
def test_a_student_resumes_bit_for_bit(tmp_path, family, stage):
    """The same holds for a student of any family; its metrics have the terms of its teacher, a BERT."""
    further = [*STUDENT, *STUDENTS[family]]
    samples, options = prepared(tmp_path, family, further)
    assert_resumes(tmp_path, samples, options, stage)
    line = read_lines(tmp_path / "whole" / METRICS)[0][-1]
    assert {"mlm_loss", "soft_loss", "cos_loss"} <= line.keys()
    assert len(read_run(tmp_path / "whole", "run").terms) == 3 + (family == "spanbert")


def assert_resumes(folder, samples, options, stage):
    """Require a killed and resumed run to have the weights and metrics of the undisturbed one."""

    def of(name):
        return [*arguments(folder, samples, name, stage), *options]

    on_ranks(trained, 2, [(of("whole"), None), (of("killed"), 6), (of("killed"), None)])
    first, second = tensors(folder / "whole", 8), tensors(folder / "killed", 8)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    assert curve(folder / "whole") == curve(folder / "killed")
    assert curve(folder / "whole", "heldout") == curve(folder / "killed", "heldout")


def test_the_operations_of_an_unknown_family_are_counted(monkeypatch):
    """A masked token counts the product of the projection to the vocabulary three times, forward and backward."""
    monkeypatch.setattr(pipeline.families, "__path__", [*pipeline.families.__path__, str(FAMILIES)])
    family = pipeline.families.get_family("shuffle")
    config = family.config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    found = measure(lambda config: family.build(config, 50), config)
    assert found.per_masked == 6 * 16 * 50 and found.per_token > 0


def test_the_frozen_part_of_an_unknown_family_is_taken_over(tmp_path, samples):
    """A run that starts from another's checkpoint has its frozen weights, and not those that its own seed draws."""
    first = arguments(tmp_path, samples, "first", 0)
    second = [*arguments(tmp_path, samples, "second", 3), "--seed", "7", "--init_from", str(tmp_path / "first")]
    on_ranks(trained, 2, [(first, None), (second, None)])
    key = ("weight", "features.weight")
    assert torch.equal(tensors(tmp_path / "first", 8)[key], tensors(tmp_path / "second", 8)[key])
