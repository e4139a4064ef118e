"""Laws of pipeline/families/teachers.py."""

from dataclasses import asdict, replace
from functools import partial

import pytest
import torch
from samples import make_samples
from teacher_cases import CONFIG as BERT
from teacher_cases import VOCAB_SIZE, write_teacher

from pipeline.families import get_family, teachers
from pipeline.families.distilbert import FAMILY, DistilBertConfig, build
from pipeline.model import flops
from pipeline.model.probe import uniform_batch
from pipeline.planning.measure import MicroBatch, measure
from preprocessing.shards import SampleDataset


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples", segments="blocks")


def student(teacher, **changes):
    sizes = {name: getattr(BERT, name) for name in ("hidden_size", "num_attention_heads", "intermediate_size")}
    taken = {"num_hidden_layers": 2, "max_position_embeddings": 32, "teacher": str(teacher)}
    return DistilBertConfig(**sizes | taken | changes)


def completed(config, samples):
    return FAMILY.completed(config, SampleDataset.open(samples, "train"))


def test_layers_are_evenly_spaced():
    """A student of half as many layers takes those of DistilBERT; one of as many layers takes all."""
    assert teachers.evenly_spaced(12, 6) == [0, 2, 4, 7, 9, 11]
    assert teachers.evenly_spaced(4, 2) == [0, 3] and teachers.evenly_spaced(3, 3) == [0, 1, 2]
    assert teachers.evenly_spaced(12, 1) == [0]


def test_the_student_begins_with_layers_of_its_teacher(tmp_path, samples):
    """Embeddings, the first and the last layer and the bias of the logits are the teacher's; the teacher is none of the
    student's parameters, and the configuration has its checksum.
    """
    config = completed(student(write_teacher(tmp_path, samples)), samples)
    assert len(config.teacher_sha256) == 64
    model = build(config, VOCAB_SIZE)
    names = list(model.state_dict())
    FAMILY.prepare(model, config)
    assert list(model.state_dict()) == names and len(list(model.modules())) == len(list(build(config, 9).modules()))
    theirs = model.teacher.model
    assert not any(parameter.requires_grad for parameter in theirs.parameters()) and not theirs.training
    pairs = zip(model.encoder.layers, (theirs.encoder.layers[0], theirs.encoder.layers[2]), strict=True)
    for ours, layer in pairs:
        assert all(torch.equal(value, layer.state_dict()[name]) for name, value in ours.state_dict().items())
    positions = theirs.encoder.embeddings.position.weight[:32]
    assert torch.equal(model.encoder.embeddings.position.weight, positions)
    assert torch.equal(model.encoder.embeddings.word.weight, theirs.encoder.embeddings.word.weight)
    assert model.mlm_head.decoder.weight is model.encoder.embeddings.word.weight
    assert not torch.equal(model.mlm_head.dense.weight, theirs.mlm_head.dense.weight)


def test_a_teacher_that_does_not_fit_is_an_error(tmp_path, samples):
    """Each difference is an error that names the field and the remedy."""
    teacher = write_teacher(tmp_path, samples)
    for changes, message in (
        ({"teacher": "nowhere"}, "model.teacher = nowhere: .*neither a checkpoint nor a run"),
        ({"hidden_size": 48}, "model.hidden_size = 48: model.teacher = .* has 32"),
        ({"intermediate_size": 32}, "model.intermediate_size = 32: .* has 64; .*initialize_from_teacher to false"),
        ({"num_hidden_layers": 4}, "model.num_hidden_layers = 4: .* has 3; lower it"),
        ({"max_position_embeddings": 40}, "model.max_position_embeddings = 40: .* reads at most 36 tokens"),
        ({"teacher_sha256": "0" * 64}, "model.teacher_sha256 = 0.* another teacher"),
    ):
        with pytest.raises(ValueError, match=message):
            completed(student(**{"teacher": teacher} | changes), samples)
    config = completed(student(teacher, intermediate_size=32, initialize_from_teacher=False), samples)
    assert config.teacher_sha256


def test_a_teacher_of_another_vocabulary_is_an_error(tmp_path, samples):
    """The vocabulary of the teacher must be that of the samples."""
    other = make_samples(tmp_path / "other", segments="blocks", vocab_size=100)
    with pytest.raises(ValueError, match=r"model.teacher = .*its vocabulary is not that of data.samples"):
        completed(student(write_teacher(tmp_path, samples)), other)


def test_a_teacher_without_masked_tokens_is_an_error(tmp_path, samples):
    """The encoder of ELECTRA predicts no masked tokens."""
    family = get_family("electra")
    fields = {name: value for name, value in asdict(BERT).items() if name != "next_sentence"}
    config = family.config(**fields)
    with pytest.raises(ValueError, match=r"model.teacher = .*: is of family electra, whose encoder does not predict"):
        completed(student(write_teacher(tmp_path, samples, family="electra", config=config)), samples)


def test_another_checkpoint_in_its_place_is_an_error(tmp_path, samples):
    """A teacher that was replaced after the run recorded it is an error."""
    config = completed(student(write_teacher(tmp_path, samples)), samples)
    write_teacher(tmp_path, samples, "other", config=replace(BERT, num_hidden_layers=4))
    with pytest.raises(ValueError, match="is another teacher"):
        FAMILY.prepare(build(config, VOCAB_SIZE), replace(config, teacher=str(tmp_path / "other")))


def test_measurements_have_the_teacher(tmp_path, samples):
    """The operations of a student are its own and those of one forward pass of its teacher; its memory has what both
    keep; the model that is trained lacks the teacher.
    """
    config = student(write_teacher(tmp_path, samples))
    form = FAMILY.of(config)
    measured = form.measured(config)
    both, alone, theirs = (
        flops.measure(partial(make, vocab_size=VOCAB_SIZE), shape)
        for make, shape in ((measured, config), (build, config), (get_family("bert").build, BERT))
    )
    assert both.per_token == alone.per_token + theirs.per_token / 3 and both.per_pair > alone.per_pair
    assert both.per_masked > alone.per_masked + theirs.per_masked / 3
    sizes = MicroBatch(4, 32, 5), torch.bfloat16, "cuda"
    kept = [measure(make, config, VOCAB_SIZE, *sizes).kept for make in (measured, build)]
    assert kept[0] - kept[1] > 2 * 4 * 32 * config.hidden_size, "the teacher's hidden states"
    assert not any(name.startswith("auxiliary") for name, _ in build(config, VOCAB_SIZE).named_parameters())
    with pytest.raises(ValueError, match=r"model.hidden_size = 48: model.teacher = .* has 32"):
        form.measured(replace(config, hidden_size=48))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_teacher_computes_in_the_type_of_the_student(tmp_path, samples, dtype):
    """In 16 bits the teacher's weights are cast with the first batch; in fp32 they are those of the checkpoint."""
    config = student(write_teacher(tmp_path, samples))
    model = build(config, VOCAB_SIZE)
    FAMILY.prepare(model, config)
    batch = replace(uniform_batch(2, 8, 2), segment_ids=None)
    model.to(dtype)(batch).loss.backward()
    assert {parameter.dtype for parameter in model.teacher.model.parameters()} == {dtype}
