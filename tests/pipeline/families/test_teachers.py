"""Laws of pipeline/families/teachers.py."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from samples import make_samples
from teacher_cases import CONFIG as BERT
from teacher_cases import VOCAB_SIZE, write_teacher

import pipeline.families
from pipeline.checkpoints.checkpoint import Reader
from pipeline.families import get_family, teachers
from pipeline.families.distilbert import FAMILY, DistilBertConfig, build
from pipeline.model import flops
from pipeline.model.disentangled_pretraining import ReplacedDisentangledModel, decode
from pipeline.model.probe import uniform_batch
from pipeline.model.replaced import ReplacedTokenModel
from pipeline.planning.measure import MicroBatch, measure
from preprocessing.shards import SampleDataset

FAMILIES = Path(__file__).parents[2] / "families"


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples", segments="blocks")


def student(teacher, **changes):
    sizes = {name: getattr(BERT, name) for name in ("hidden_size", "num_attention_heads", "intermediate_size")}
    taken = {"num_hidden_layers": 2, "max_position_embeddings": 32, "teacher": str(teacher)}
    return DistilBertConfig(**sizes | taken | changes)


def completed(config, samples):
    return FAMILY.of(config).completed(config, SampleDataset.open(samples, "train"))


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
    FAMILY.of(config).prepare(model, config)
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
        ({"hidden_size": 48}, "model.hidden_size = 48: .* has 32; .*compare_hidden_states to false"),
        ({"hidden_size": 48, "compare_hidden_states": False}, "model.hidden_size = 48: .*initialize_from_teacher to"),
        ({"intermediate_size": 32}, "model.intermediate_size = 32: .* has 64; .*initialize_from_teacher to false"),
        ({"num_hidden_layers": 4}, "model.num_hidden_layers = 4: .* has 3; lower it"),
        ({"max_position_embeddings": 40}, "model.max_position_embeddings = 40: .* reads at most 36 tokens"),
        ({"teacher_sha256": "0" * 64}, "model.teacher_sha256 = 0.* another teacher"),
    ):
        with pytest.raises(ValueError, match=message):
            completed(student(**{"teacher": teacher} | changes), samples)
    config = completed(student(teacher, intermediate_size=32, initialize_from_teacher=False), samples)
    assert config.teacher_sha256
    free = {"hidden_size": 48, "compare_hidden_states": False, "initialize_from_teacher": False}
    assert completed(student(teacher, **free), samples).teacher_sha256


SIZES = {name: getattr(BERT, name) for name in ("hidden_size", "num_attention_heads", "intermediate_size")}
SIZES |= {"num_hidden_layers": 2, "max_position_embeddings": 36}
OTHERS = [
    ("deberta", {"position_buckets": 8}),
    ("deberta", {"position_buckets": 8, "objective": "replaced"}),
    ("electra", {"embedding_size": 16, "generator_fraction": 0.5}),
    ("modernbert", {"local_attention": 8}),
]


@pytest.mark.parametrize(("family", "fields"), OTHERS)
def test_a_teacher_may_be_of_any_family(tmp_path, samples, family, fields):
    """A teacher of a family with other layers predicts masked tokens as its checkpoint does, and the generator does in
    its place if it has one. Such a teacher gives no layers to its student.
    """
    shape = get_family(family).config(**SIZES | fields)
    form, teacher = get_family(family).of(shape), write_teacher(tmp_path, samples, family=family, config=shape)
    config = student(teacher, compare_hidden_states=False)
    with pytest.raises(ValueError, match=r"model.(initialize_from_teacher|hidden_size) = .* to false"):
        completed(config, samples)
    config = completed(replace(config, initialize_from_teacher=False), samples)
    model = build(config, VOCAB_SIZE)
    FAMILY.of(config).prepare(model, config)
    batch = replace(uniform_batch(2, 8, 2), segment_ids=None)
    whole = form.build(teachers.computing(shape, config), VOCAB_SIZE).eval()
    whole.load_state_dict(weights_of(teacher, whole))
    seen, places = replace(batch, segment_ids=torch.zeros_like(batch.input_ids)), batch.targets["positions"]
    with torch.no_grad():
        rows = generated(whole, seen, places) if form.parts else whole.decoded(seen, places)
        head = whole.generator_head if form.parts else whole.mlm_head
        _, soft = model.teacher.outputs(batch, like=whole.encoder.embeddings.word.weight)
        assert torch.equal(soft.rows @ soft.weight.T + soft.bias, head.features(rows) @ soft.weight.T + soft.bias)
        assert torch.equal(soft.weight, head.decoder.weight)
    assert {name.split("_")[0] for name in model(batch).sums} == {"mlm", "soft"}


def weights_of(teacher, whole):
    """Return the parameters of a checkpoint, with the word embeddings also under the name in the head that shares
    them.
    """
    weights = dict(Reader(teacher).tensors())
    words = ("generator." if isinstance(whole, ReplacedDisentangledModel) else "encoder.") + "embeddings.word.weight"
    return {name: weights.get(name, weights[words]) for name in whole.state_dict()}


def generated(whole, batch, places):
    """Return the states of a generator from which it predicts masked tokens."""
    if isinstance(whole, ReplacedTokenModel):
        return whole.generated(batch).index_select(0, places)
    return decode(whole.mask_decoder, whole.generator, batch, places)


@pytest.mark.parametrize(("family", "fields"), [OTHERS[0], OTHERS[-1]])
def test_hidden_states_of_another_kind_of_layers_are_compared(tmp_path, samples, family, fields):
    """The hidden states of a DeBERTa or ModernBERT are those of its encoder, beside the states from which it predicts
    masked tokens, and a student learns them.
    """
    shape = get_family(family).config(**SIZES | fields)
    teacher = write_teacher(tmp_path, samples, family=family, config=shape)
    config = completed(student(teacher, initialize_from_teacher=False), samples)
    model = build(config, VOCAB_SIZE)
    FAMILY.of(config).prepare(model, config)
    batch = replace(uniform_batch(2, 8, 2), segment_ids=None)
    hidden, soft = model.teacher.outputs(batch, like=model.mlm_head.dense.weight)
    theirs = model.teacher.model
    assert torch.equal(hidden, theirs.hidden(batch)) and "cos_loss" in model(batch).sums
    assert torch.equal(soft.rows, theirs.mlm_head.features(theirs.decoded(batch, batch.targets["positions"])))


def test_a_teacher_of_another_vocabulary_is_an_error(tmp_path, samples):
    """The vocabulary of the teacher must be that of the samples."""
    other = make_samples(tmp_path / "other", segments="blocks", vocab_size=100)
    with pytest.raises(ValueError, match=r"model.teacher = .*its vocabulary is not that of data.samples"):
        completed(student(write_teacher(tmp_path, samples)), other)


def test_a_teacher_without_masked_tokens_is_an_error(tmp_path, samples, monkeypatch):
    """A model of a family outside the pipeline, whose head is none of masked tokens, is no teacher."""
    monkeypatch.setattr(pipeline.families, "__path__", [*pipeline.families.__path__, str(FAMILIES)])
    teacher = write_teacher(tmp_path, samples, family="shuffle", config=get_family("shuffle").config(**SIZES))
    with pytest.raises(ValueError, match=r"model.teacher = .*: is of family shuffle, which does not predict masked"):
        completed(student(teacher), samples)


def test_another_checkpoint_in_its_place_is_an_error(tmp_path, samples):
    """A teacher that was replaced after the run recorded it is an error."""
    config = completed(student(write_teacher(tmp_path, samples)), samples)
    write_teacher(tmp_path, samples, "other", config=replace(BERT, num_hidden_layers=4))
    with pytest.raises(ValueError, match="is another teacher"):
        FAMILY.of(config).prepare(build(config, VOCAB_SIZE), replace(config, teacher=str(tmp_path / "other")))


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
    FAMILY.of(config).prepare(model, config)
    batch = replace(uniform_batch(2, 8, 2), segment_ids=None)
    model.to(dtype)(batch).loss.backward()
    assert {parameter.dtype for parameter in model.teacher.model.parameters()} == {dtype}
