"""Laws of pipeline/families/distilbert.py and of the model of a student; foremost law 7."""

from dataclasses import replace

import pytest
import torch
import transformers
from bert_cases import VOCAB_SIZE, divided, make_batch, with_large_weights
from family_cases import assert_equal, assert_fields_return, with_other_weights
from samples import write_tokenizer
from torch.nn import functional

from pipeline.config import parse
from pipeline.conversion.huggingface import export, fill_masks
from pipeline.conversion.importing import read_model
from pipeline.conversion.layouts import registry
from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.data.batch import padded
from pipeline.families.distilbert import FAMILY, FIELDS_OF_OURS, DistilBertConfig, build, config_from, config_to
from pipeline.families.roberta import RobertaConfig
from pipeline.families.roberta import build as build_roberta
from pipeline.families.students import SOFT, STATES
from pipeline.model.teacher import Teacher

OWN = FAMILY.of(DistilBertConfig(4, 1, 1, 4, teacher="runs/bert")).terms[:1]
CONFIG = DistilBertConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80)


def huggingface_of(config=CONFIG):
    settings = transformers.DistilBertConfig(**config_to(config, VOCAB_SIZE))
    return with_large_weights(transformers.DistilBertForMaskedLM(settings))


def single_batch():
    return replace(make_batch(), segment_ids=None)


def huggingface_outputs(model, batch):
    """Return the last hidden states (T, H) and logits (T, V) of Hugging Face."""
    lengths = batch.cu_seqlens.diff().tolist()
    padded_ids = torch.nn.utils.rnn.pad_sequence(batch.input_ids.split(lengths), batch_first=True)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    out = model(padded_ids, attention_mask=mask.long(), output_hidden_states=True)
    return out.hidden_states[-1][mask], out.logits[mask]


def test_hidden_states_and_logits_equal_hugging_face_in_both_directions():
    """Hidden states and logits of a random model are those of its export, and those of a random Hugging Face model are
    those of its import.
    """
    batch, theirs = single_batch(), huggingface_of()
    imported = build(config_from(theirs.config.to_dict()), VOCAB_SIZE).eval()
    imported.load_state_dict(from_huggingface(FAMILY, theirs.state_dict()), strict=True)
    ours, exported = with_other_weights(with_large_weights(build(CONFIG, VOCAB_SIZE))), huggingface_of()
    exported.load_state_dict(to_huggingface(FAMILY, ours.state_dict()), strict=True)
    rows = torch.arange(len(batch.input_ids))
    with torch.no_grad():
        for here, there in ((imported, theirs), (ours, exported)):
            found = here.hidden(batch), here.logits(batch, rows)
            assert_equal(found, huggingface_outputs(there, batch))


def test_the_loss_has_three_terms():
    """The loss is 5 times the soft targets at a temperature of 2 on masked tokens, twice the masked loss and the mean
    distance of hidden states; padding changes nothing. The teacher, a RoBERTa, counts positions from 2.
    """
    batch, student = single_batch(), with_large_weights(build(CONFIG, VOCAB_SIZE))
    sizes = {"hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = with_large_weights(build_roberta(RobertaConfig(**sizes), VOCAB_SIZE))
    student.teacher = Teacher(model, 2, 2.0, OWN, SOFT, STATES)
    positions, labels = batch.targets["positions"], batch.targets["labels"]
    seen = replace(batch, position_ids=batch.position_ids + 2)
    with torch.no_grad():
        ours, theirs = student.logits(batch, positions), model.logits(seen, positions)
        soft = functional.kl_div(
            (ours / 2).log_softmax(1), (theirs / 2).log_softmax(1), reduction="batchmean", log_target=True
        )
        cosine = 1 - functional.cosine_similarity(student.hidden(batch), model.hidden(seen)).mean()
    expected = 5 * 4 * soft + 2 * functional.cross_entropy(ours, labels) + cosine
    for each in (batch, padded(batch, 64, pad_id=0)):
        out = student(each)
        torch.testing.assert_close(out.loss.detach(), expected, rtol=1e-5, atol=1e-5)
    assert set(out.sums) == {"mlm_loss", "mlm_correct", "soft_loss", "cos_loss"}
    out.loss.backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_micro_batches_add_up_to_the_global_batch():
    """Losses and gradients of two micro-batches add up to those of both as one batch (law 2)."""
    batch, student = single_batch(), with_large_weights(build(CONFIG, VOCAB_SIZE)).double()
    student.teacher = Teacher(with_large_weights(build(CONFIG, VOCAB_SIZE)), 0, 2.0, OWN, SOFT, STATES)
    with torch.no_grad():
        student.encoder.layers[0].qkv.weight.mul_(0.5)  # another model than its teacher
    grads = []
    for parts in ([batch], divided(batch, 2)):
        student.zero_grad()
        for part in parts:
            student(part).loss.backward()
        grads.append([parameter.grad.clone() for parameter in student.parameters()])
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-12)
    assert grads[0][0].abs().max() > 1e-3


def test_a_teacher_selects_the_terms():
    """Without a teacher a student learns masked tokens alone, with a weight of 1."""
    taught = FAMILY.of(replace(CONFIG, teacher="runs/bert"))
    assert [(term.name, term.weight) for term in taught.terms] == [("mlm", 2), ("soft", 5), ("cos", 1)]
    batch, model = single_batch(), with_large_weights(build(CONFIG, VOCAB_SIZE))
    assert [(term.name, term.weight) for term in FAMILY.of(CONFIG).terms] == [("mlm", 1)]
    logits = model.logits(batch, batch.targets["positions"])
    torch.testing.assert_close(model(batch).loss, functional.cross_entropy(logits, batch.targets["labels"]))


def test_an_export_is_a_directory_of_transformers(tmp_path):
    """The classes of transformers load an export with all its weights, masks are filled, and it is imported as it
    was.
    """
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    model, out = with_large_weights(build(CONFIG, VOCAB_SIZE)), tmp_path / "out"
    taught = replace(CONFIG, teacher="runs/bert")
    export(FAMILY, model.state_dict(), taught, tmp_path / "tokenizer", out, "# A card\n")
    for name in ("DistilBertForMaskedLM", "AutoModel"):
        _, report = getattr(transformers, name).from_pretrained(out, output_loading_info=True)
        assert not report["missing_keys"], name
    assert len(fill_masks(out, "w1 [MASK] w2")[0]) == 5
    back = read_model(FAMILY, registry.read(out))
    assert back.config == CONFIG and all(torch.equal(back.state_dict[n], v) for n, v in model.state_dict().items())


def test_the_size_is_that_of_the_released_model():
    """The recipe has as many parameters as the class of transformers with its defaults."""
    config = parse(["--recipe", "distilbert_base"]).model
    with torch.device("meta"):
        ours, theirs = build(config, 30522), transformers.DistilBertForMaskedLM(transformers.DistilBertConfig())
    numbers = [sum(parameter.numel() for parameter in model.parameters()) for model in (ours, theirs)]
    assert numbers[0] == numbers[1] == 66_985_530


def test_every_field_is_exported_but_those_of_training():
    """Export and import keep every field except those that are no property of the trained model."""
    config = DistilBertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        initializer_range=0.03,
    )
    assert_fields_return(config, FIELDS_OF_OURS, transformers.DistilBertConfig, config_to, config_from)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_norm_eps": 1e-5}, "model.layer_norm_eps = 1e-05: must be 1e-12"),
        ({"temperature": 0.0}, "model.temperature = 0.0: must be above 0"),
        ({"teacher_sha256": "ab"}, "model.teacher_sha256 = ab: requires model.teacher"),
        ({"teacher": "t", "output_bias": "frequencies"}, "model.output_bias = frequencies: the initial weights are"),
    ],
)
def test_a_wrong_field_is_named(changes, message):
    """A value that the model does not support is an error that names the field."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


def test_sinusoidal_positions_are_refused():
    """A Hugging Face configuration that changes the computation is an error."""
    settings = transformers.DistilBertConfig(**config_to(CONFIG, VOCAB_SIZE)).to_dict()
    with pytest.raises(ValueError, match="sinusoidal_pos_embds = True"):
        config_from({**settings, "sinusoidal_pos_embds": True})
