"""Laws of pipeline/families/students.py and of pipeline/model/teacher.py, for every family that can be a student."""

from dataclasses import asdict, fields, replace

import pytest
import torch
from bert_cases import VOCAB_SIZE, divided, make_batch, with_large_weights
from family_cases import with_other_weights
from samples import make_samples
from teacher_cases import VOCAB_SIZE as SAMPLES_VOCAB_SIZE
from teacher_cases import write_teacher
from torch.nn import functional

from pipeline.checkpoints import checkpoint
from pipeline.data.batch import padded
from pipeline.families import family_names, get_family
from pipeline.families.students import SOFT, STATES
from pipeline.model.pretraining import MaskedTokenModel
from pipeline.model.student_config import FIELDS_OF_THE_TEACHER, StudentConfig
from pipeline.model.teacher import Teacher
from preprocessing.shards import SampleDataset

SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
STUDENTS = {
    "albert": ("albert", {"embedding_size": 16, "sentence_order": False}),
    "bert": ("bert", {"next_sentence": False}),
    "deberta": ("deberta", {"position_buckets": 8}),
    "deberta-plain": ("deberta", {"position_buckets": 8, "objective": "masked_plain"}),
    "distilbert": ("distilbert", {}),
    "megatron_bert": ("megatron_bert", {"sentence_order": False}),
    "modernbert": ("modernbert", {"local_attention": 8}),
    "roberta": ("roberta", {}),
    "spanbert": ("spanbert", {"span_position_size": 8}),
}
"""Name of a test -> family and fields of a form that can be a student."""
each_student = pytest.mark.parametrize("name", STUDENTS)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return make_samples(tmp_path_factory.mktemp("samples") / "samples", segments="blocks")


def student_of(name, **changes):
    """Return the form and the configuration of a student with a teacher that does not exist."""
    family, own = STUDENTS[name]
    config = get_family(family).config(**SIZES | own | {"teacher": "runs/teacher"} | changes)
    return get_family(family).of(config), config


def taught(name, compares=True, dtype=torch.float32):
    """Return a student with its teacher and a batch of it. The teacher of a RoBERTa, whose positions begin at 2, is a
    BERT, and that of any other family a RoBERTa.
    """
    form, config = student_of(name, compare_hidden_states=compares)
    theirs = get_family("bert" if form.name == "roberta" else "roberta")
    shape = theirs.config(**SIZES | {"num_hidden_layers": 1, "num_attention_heads": 2})
    teacher = with_other_weights(with_large_weights(theirs.of(shape).build(shape, VOCAB_SIZE)))
    model = with_large_weights(form.build(config, VOCAB_SIZE)).to(dtype)
    shift = theirs.template.first_position - form.template.first_position
    own = form.terms[: -2 if compares else -1]
    model.teacher = Teacher(teacher.to(dtype), shift, config.temperature, own, SOFT, STATES if compares else None)
    batch = make_batch()
    positions = batch.position_ids + form.template.first_position
    segments = torch.zeros_like(batch.segment_ids) if form.template.segments else None
    return model, replace(batch, segment_ids=segments, position_ids=positions), theirs.template.first_position


@each_student
@pytest.mark.parametrize("compares", [True, False])
def test_the_loss_is_that_of_the_definition(name, compares):
    """The loss is 5 times the soft targets at a temperature of 2 on masked tokens, twice the masked loss, the mean
    distance of hidden states if they are compared, and what else the family has; padding changes nothing, and the
    teacher takes no gradient.
    """
    model, batch, first = taught(name, compares)
    positions, labels, teacher = batch.targets["positions"], batch.targets["labels"], model.teacher.model
    seen = replace(
        batch,
        position_ids=torch.cat([torch.arange(length) for length in batch.lengths.tolist()]) + first,
        segment_ids=torch.zeros_like(batch.input_ids),
    )
    with torch.no_grad():
        ours, theirs, hidden = model.logits(batch, positions), teacher.logits(seen, positions), model.hidden(batch)
        soft = functional.kl_div(
            (ours / 2).log_softmax(1), (theirs / 2).log_softmax(1), reduction="batchmean", log_target=True
        )
        expected = 5 * 4 * soft + 2 * functional.cross_entropy(ours, labels)
        names = {"mlm_loss", "mlm_correct", "soft_loss"}
        if compares:
            expected += 1 - functional.cosine_similarity(hidden, teacher.hidden(seen)).mean()
            names |= {"cos_loss"}
        if name == "spanbert":
            expected += model.from_boundaries(hidden, positions, labels).loss / len(labels)
            names |= {"sbo_loss", "sbo_correct"}
    for each in (batch, padded(batch, 64, pad_id=0)):
        out = model(each)
        torch.testing.assert_close(out.loss.detach(), expected, rtol=1e-5, atol=1e-5)
    assert set(out.sums) == names
    out.loss.backward()
    assert all(parameter.grad is not None for parameter in model.mlm_head.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())


@each_student
def test_micro_batches_add_up_to_the_global_batch(name):
    """Losses and gradients of two micro-batches add up to those of both as one batch (law 2)."""
    model, batch, _ = taught(name, dtype=torch.float64)
    losses, grads = [], []
    for parts in ([batch], divided(batch, 2)):
        model.zero_grad()
        found = [model(part).loss for part in parts]
        sum(found).backward()
        losses.append(sum(found).detach())
        grads.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    torch.testing.assert_close(*losses, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)
    assert grads[0][0].abs().max() > 1e-4


@each_student
def test_without_a_teacher_it_is_the_model_of_its_family(name, tmp_path, samples):
    """A teacher adds no parameter, no module and nothing to an export, and draws no random number: the weights are
    those of the model without one, bit for bit. Without a teacher the masked loss has a weight of 1.
    """
    family, own = STUDENTS[name]
    config = get_family(family).config(**SMALL | own | {"max_position_embeddings": 34})
    teacher = write_teacher(tmp_path, samples)
    form, with_one = get_family(family).of(config), replace(config, teacher=str(teacher), initialize_from_teacher=False)
    assert all(term.weight == 1 for term in form.terms) and not form.files and form.auxiliary(config) is None
    models, states = [], []
    for each in (config, with_one):
        chosen = get_family(family).of(each)
        torch.manual_seed(3)
        models.append(chosen.build(each, SAMPLES_VOCAB_SIZE))
        chosen.prepare(models[-1], chosen.completed(each, SampleDataset.open(samples, "train")))
        states.append(torch.get_rng_state())
    plain, student = models
    assert plain.teacher is None and isinstance(student.teacher, Teacher) and torch.equal(*states)
    assert [name for name, _ in plain.named_modules()] == [name for name, _ in student.named_modules()]
    assert plain.state_dict().keys() == student.state_dict().keys()
    assert all(torch.equal(value, student.state_dict()[name]) for name, value in plain.state_dict().items())
    settings = form.export.config_to(with_one, SAMPLES_VOCAB_SIZE)
    assert settings == form.export.config_to(config, SAMPLES_VOCAB_SIZE) and not settings.keys() & {"teacher"}


@pytest.mark.parametrize("name", STUDENTS)
def test_configurations_of_earlier_checkpoints_load(tmp_path, name):
    """A recorded configuration without the fields of the teacher is that of a model without a teacher, and these fields
    may differ from the checkpoint from which a run starts.
    """
    family, own = STUDENTS[name]
    config = replace(get_family(family).config(**SIZES | own), initialize_from_teacher=False)
    recorded = {name: value for name, value in asdict(config).items() if name not in FIELDS_OF_THE_TEACHER}
    found = checkpoint.model_config(tmp_path, get_family(family).config, {"model": recorded})
    assert replace(found, initialize_from_teacher=False) == config
    assert set(get_family(family).free_fields) >= set(FIELDS_OF_THE_TEACHER)


def test_every_model_of_masked_tokens_can_be_a_student():
    """The families whose models predict masked tokens alone have a form with a teacher, and no other family has the
    fields.
    """
    can = {family for family, _ in STUDENTS.values()}
    assert can == {name for name in family_names() if issubclass(get_family(name).config, StudentConfig)}
    for name in STUDENTS:
        form, config = student_of(name)
        assert form.files == ("teacher",) and [term.name for term in form.terms[-2:]] == ["soft", "cos"]
        assert isinstance(form.build(config, 9), MaskedTokenModel)
    for name in set(family_names()) - can:
        assert not {field.name for field in fields(get_family(name).config)} & set(FIELDS_OF_THE_TEACHER)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("bert", {}, "a model with next-sentence prediction .*; set model.next_sentence = false, or remove"),
        ("albert", {}, "a model with sentence-order prediction .*; set model.sentence_order = false, or remove"),
        ("megatron_bert", {}, "a model with sentence-order .*; set model.sentence_order = false, or remove"),
        ("deberta", {"objective": "replaced"}, "a model that detects .*; set model.objective = masked or masked_plain"),
    ],
)
def test_a_form_that_cannot_be_a_student_names_the_one_that_can(family, changes, message):
    """A teacher of a form with pairs or replaced tokens is an error that names the setting of the other form."""
    with pytest.raises(ValueError, match=rf"^model.teacher = runs/t: {message}"):
        get_family(family).config(**SIZES | changes, teacher="runs/t")


def begun(tmp_path, samples, name, family="bert", **fields_of_the_teacher):
    """Return a student that began with its teacher, which has three layers, and the teacher."""
    shape = get_family(family).config(**SMALL | {"num_hidden_layers": 3} | fields_of_the_teacher)
    teacher = write_teacher(tmp_path, samples, family=family, config=shape)
    form, config = student_of(name, **SMALL, max_position_embeddings=32, teacher=str(teacher))
    config = form.completed(replace(config, initialize_from_teacher=True), SampleDataset.open(samples, "train"))
    model = form.build(config, SAMPLES_VOCAB_SIZE)
    form.prepare(model, config)
    return model, model.teacher.model


@pytest.mark.parametrize(
    ("name", "family"), [("bert", "bert"), ("roberta", "bert"), ("bert", "roberta"), ("spanbert", "bert")]
)
def test_families_of_berts_kind_begin_with_layers_of_each_other(tmp_path, samples, name, family):
    """Positions are those of the same tokens, whatever the positions begin at, and segment embeddings are the teacher's
    if it has any.
    """
    ours, theirs = (model.encoder for model in begun(tmp_path, samples, name, family))
    first, their_first = (2 * (each == "roberta") for each in (name, family))
    count = 32 - first
    positions = theirs.embeddings.position.weight[their_first : their_first + count]
    assert torch.equal(ours.embeddings.position.weight[first:], positions)
    assert torch.equal(ours.embeddings.word.weight, theirs.embeddings.word.weight)
    for layer, number in zip(ours.layers, (0, 2), strict=True):
        assert all(torch.equal(v, theirs.layers[number].state_dict()[n]) for n, v in layer.state_dict().items())
    if ours.embeddings.num_segments and theirs.embeddings.num_segments:
        assert torch.equal(ours.embeddings.token_type.weight, theirs.embeddings.token_type.weight)
    assert name == "roberta" or ours.embeddings.num_segments == 2


def test_an_albert_begins_with_the_layer_of_an_albert(tmp_path, samples):
    """A repeated layer and the projection before it are the teacher's."""
    ours, theirs = (model.encoder for model in begun(tmp_path, samples, "albert", "albert", embedding_size=16))
    for here, there in ((ours.layers[0], theirs.layers[0]), (ours.projection, theirs.projection)):
        assert all(torch.equal(value, there.state_dict()[name]) for name, value in here.state_dict().items())


@pytest.mark.parametrize(
    ("name", "family", "changes", "message"),
    [
        ("modernbert", "bert", {}, "initialize_from_teacher = true: the student is of family modernbert"),
        ("deberta", "deberta", {"position_buckets": 8}, "initialize_from_teacher = true: the student is of family deb"),
        ("megatron_bert", "bert", {}, "initialize_from_teacher = true: the student is of family megatron_bert"),
        ("bert", "megatron_bert", {}, "initialize_from_teacher = true: model.teacher = .* of family megatron_bert"),
        ("bert", "modernbert", {}, "initialize_from_teacher = true: model.teacher = .* is of family modernbert"),
        ("bert", "albert", {"embedding_size": 32}, "initialize_from_teacher = true: .* projection"),
        ("albert", "albert", {"embedding_size": 8}, "embedding_width = 16: .* has 8"),
        ("bert", "spanbert", {"type_vocab_size": 1}, "type_vocab_size = 2: .* has 1"),
        ("roberta", "bert", {"max_position_embeddings": 28}, "max_position_embeddings = 32: .* 28 tokens; .* to 30"),
    ],
)
def test_layers_that_cannot_be_taken_are_an_error(tmp_path, samples, name, family, changes, message):
    """A student or a teacher with other layers, another size or fewer positions is an error that names the field."""
    with pytest.raises(ValueError, match=rf"^model.{message}"):
        begun(tmp_path, samples, name, family, **changes)


def test_a_teacher_reads_the_segments_of_pairs(tmp_path):
    """A student whose samples are pairs gives its teacher their segments; a teacher with other special tokens between
    the segments is an error.
    """
    model, batch, _ = taught("bert")
    theirs = get_family("bert").config(**SIZES, next_sentence=False)
    model.teacher.model = with_other_weights(with_large_weights(get_family("bert").build(theirs, VOCAB_SIZE))).eval()
    model.teacher.shift = 0
    pairs = replace(batch, segment_ids=make_batch().segment_ids)
    hidden, _ = model.teacher.outputs(pairs, like=model.mlm_head.dense.weight)
    with torch.no_grad():
        assert torch.equal(hidden, model.teacher.model.hidden(pairs))
        assert not torch.equal(hidden, model.teacher.model.hidden(batch))
    samples = make_samples(tmp_path / "samples", segments="nsp")
    teacher = write_teacher(tmp_path, samples)
    form, config = student_of("bert", **SMALL, max_position_embeddings=32, teacher=str(teacher))
    train = SampleDataset.open(samples, "train")
    assert form.completed(config, train).teacher_sha256
    shape = get_family("roberta").config(**SMALL)
    other = write_teacher(tmp_path, samples, "roberta", family="roberta", config=shape)
    with pytest.raises(ValueError, match=r"^model.teacher = .*is of family roberta, whose samples of pairs are not"):
        form.completed(replace(config, teacher=str(other)), train)


def test_a_teacher_that_does_not_exist_yet_is_assumed():
    """Plans assume a teacher of the student's family with twice as many layers."""
    for name in STUDENTS:
        form, config = student_of(name)
        found = form.auxiliary(config)
        model = found.build(config, 9)
        assert model.encoder.num_layers == 4 and "4 layers of the student's sizes" in found.assumed
        student = form.build(config, 9)
        found.attach(student, model)
        assert student.teacher.shift == 0 and student.teacher.terms == form.terms
