"""Laws of pipeline/families/spanbert.py and of the span boundary objective; foremost law 7."""

import json
from dataclasses import replace

import pytest
import torch
import transformers
from bert_cases import VOCAB_SIZE, divided, make_batch, with_large_weights
from family_cases import assert_equal, assert_fields_return, with_other_weights
from samples import write_tokenizer
from torch.nn import functional

from pipeline.config import parse
from pipeline.conversion.huggingface import export
from pipeline.conversion.importing import ImportOptions, family_of, import_pretrained, read_model
from pipeline.conversion.layouts import registry
from pipeline.conversion.names import take, to_huggingface
from pipeline.conversion.pretrained import with_rows
from pipeline.data.batch import padded
from pipeline.families import bert
from pipeline.families.spanbert import FAMILY, FIELDS_OF_OURS, SpanBertConfig, build, config_from, config_to

CONFIG = SpanBertConfig(
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=80,
    span_positions=4,
    span_position_size=20,
)


def huggingface_of(config=CONFIG):
    return with_large_weights(transformers.BertForMaskedLM(transformers.BertConfig(**config_to(config, VOCAB_SIZE))))


def span_batch():
    """Return a batch in which spans of 1, 2 and 6 tokens are masked, as blocks of one segment."""
    batch = make_batch(lengths=[9, 12, 14])
    positions = torch.tensor([1, 4, 5, 10, 11, 12, 13, 14, 15, 19, 33])  # between the first and last tokens
    labels = batch.input_ids[positions]
    counts = {"samples": 3, "tokens": 35, "masked": len(positions)}
    targets = {"positions": positions, "labels": labels, "uniform": torch.zeros(len(positions))}
    segments = torch.zeros_like(batch.segment_ids)
    return replace(batch, segment_ids=segments, targets=targets, counts=counts, totals=counts)


def huggingface_outputs(model, batch):
    """Return the last hidden states (T, H) and logits (T, V) of Hugging Face."""
    lengths = batch.cu_seqlens.diff().tolist()
    padded_ids = torch.nn.utils.rnn.pad_sequence(batch.input_ids.split(lengths), batch_first=True)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    out = model(padded_ids, attention_mask=mask.long(), output_hidden_states=True)
    return out.hidden_states[-1][mask], out.logits[mask]


def slow_boundary_loss(model, hidden, batch):
    """Return the mean loss of the span boundary objective, span by span and token by token."""
    masked, head, losses = set(batch.targets["positions"].tolist()), model.span_head, []
    labels = dict(zip(batch.targets["positions"].tolist(), batch.targets["labels"], strict=True))
    for position in sorted(masked):
        before, after = position - 1, position + 1
        while before in masked:
            before -= 1
        while after in masked:
            after += 1
        place = min(position - before - 1, CONFIG.span_positions - 1)
        row = torch.cat([hidden[before], hidden[after], head.position.weight[place]])
        for dense, norm in ((head.first, head.first_layer_norm), (head.second, head.second_layer_norm)):
            row = norm(functional.gelu(dense(row))[None])[0]
        logits = model.encoder.embeddings.word.weight @ row + head.decoder.bias
        losses.append(functional.cross_entropy(logits, labels[position]))
    return torch.stack(losses).mean()


def test_hidden_states_and_logits_equal_hugging_face_in_both_directions():
    """Hidden states and logits of a random model are those of its export, and those of a random Hugging Face model are
    those of its import, which lacks the span boundary head alone.
    """
    batch, theirs = span_batch(), huggingface_of()
    taken = take(FAMILY, theirs.state_dict())
    assert all(name.startswith("span_head.") for name in taken.missing) and not taken.unknown
    imported = with_large_weights(build(config_from(theirs.config.to_dict()), VOCAB_SIZE))
    absent = imported.load_state_dict(taken.parameters, strict=False)
    assert set(absent.missing_keys) == set(taken.missing) and not absent.unexpected_keys
    ours, exported = with_other_weights(with_large_weights(build(CONFIG, VOCAB_SIZE))), huggingface_of()
    exported.load_state_dict(to_huggingface(FAMILY, ours.state_dict()), strict=True)
    rows = torch.arange(len(batch.input_ids))
    with torch.no_grad():
        for here, there in ((imported, theirs), (ours, exported)):
            found = here.hidden(batch), here.logits(batch, rows)
            assert_equal(found, huggingface_outputs(there, batch))


def test_the_loss_is_the_sum_of_both_means():
    """The loss is the mean over masked tokens of the masked loss and of the loss from the boundaries of their spans,
    and padding changes neither.
    """
    batch, model = span_batch(), with_large_weights(build(CONFIG, VOCAB_SIZE))
    hidden = model.hidden(batch)
    logits = model.logits(batch, batch.targets["positions"])
    masked = functional.cross_entropy(logits, batch.targets["labels"])
    boundary = slow_boundary_loss(model, hidden, batch)
    for each in (batch, padded(batch, 64, pad_id=0)):
        out = model(each)
        torch.testing.assert_close(out.loss, masked + boundary, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(out.sums["sbo_loss"] / 11, boundary, rtol=1e-5, atol=1e-5)
    assert set(out.sums) == {"mlm_loss", "mlm_correct", "sbo_loss", "sbo_correct"}


def test_micro_batches_add_up_to_the_global_batch():
    """Losses of two micro-batches add up to that of both as one batch (law 2)."""
    batch, model = span_batch(), with_large_weights(build(CONFIG, VOCAB_SIZE)).double()
    shares = [model(part).loss for part in divided(batch, 1)]
    torch.testing.assert_close(sum(shares), model(batch).loss, rtol=1e-10, atol=1e-10)


def test_an_export_is_a_bert_that_names_its_family(tmp_path):
    """The classes of transformers load an export; its import keeps all weights but the span boundary head, which is
    drawn anew on request, with the shared word embeddings and as many rows as the vocabulary.
    """
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    model, out = with_large_weights(build(CONFIG, VOCAB_SIZE)), tmp_path / "out"
    export(FAMILY, model.state_dict(), CONFIG, tmp_path / "tokenizer", out, "# A card\n")
    for name in ("BertForMaskedLM", "AutoModelForMaskedLM"):
        _, report = getattr(transformers, name).from_pretrained(out, output_loading_info=True)
        assert not any(report.values()), name
    _, report = transformers.BertModel.from_pretrained(out, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"] and family_of(out) == "spanbert"
    with pytest.raises(ValueError, match=r"missing span_head.* of BertForMaskedLM; pass --new_heads true"):
        read_model(FAMILY, registry.read(out))
    back = read_model(FAMILY, registry.read(out), ImportOptions(new_heads=True))
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("span_head.")}
    assert all(torch.equal(back.state_dict[name], value) for name, value in kept.items())
    fewer = with_rows(back, 90).state_dict
    assert fewer["span_head.decoder.weight"] is fewer["encoder.embeddings.word.weight"]
    assert len(fewer["span_head.decoder.bias"]) == len(fewer["mlm_head.decoder.bias"]) == 90


def test_a_vocabulary_alone_is_that_of_bert(tmp_path):
    """The tokenizer of a directory with a vocab.txt and no settings, such as the released ones, is BERT's."""
    write_tokenizer(tmp_path / "tokenizer", VOCAB_SIZE)
    export(FAMILY, build(CONFIG, VOCAB_SIZE).state_dict(), CONFIG, tmp_path / "tokenizer", tmp_path / "out", "")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "out" / name).unlink()
    import_pretrained(tmp_path / "out", tmp_path / "start", ImportOptions(new_heads=True))
    state, settings = tmp_path / "start" / "state.json", tmp_path / "start" / "tokenizer" / "tokenizer_config.json"
    assert json.loads(state.read_text())["family"] == "spanbert"
    assert json.loads(settings.read_text())["tokenizer_class"] == "BertTokenizer"


@pytest.mark.parametrize(("size", "millions"), [("base", 108.3), ("large", 333.6)])
def test_sizes_are_those_of_bert(size, millions):
    """The recipe of each size has the parameters of BERT with the released vocabulary, and those of its own head."""
    config = parse(["--recipe", f"spanbert_{size}"]).model
    with torch.device("meta"):
        ours = build(config, 28996)
        theirs = transformers.BertForMaskedLM(transformers.BertConfig(**config_to(config, 28996)))
    number = sum(parameter.numel() for parameter in theirs.parameters())
    hidden = config.hidden_size
    head = 15 * 200 + (2 * hidden + 200) * hidden + hidden**2 + 6 * hidden + 28996
    assert sum(parameter.numel() for parameter in ours.parameters()) == number + head
    assert round(number / 1e6, 1) == millions


def test_every_field_is_exported_but_those_of_training():
    """Export and import keep every field except those that are no property of the exported model."""
    config = SpanBertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        type_vocab_size=3,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.3,
        layer_norm_eps=1e-5,
        initializer_range=0.03,
    )
    assert_fields_return(config, FIELDS_OF_OURS, transformers.BertConfig, config_to, config_from)


def test_its_task_models_are_those_of_bert():
    """Fine-tuning has the heads of BERT, which tests/pipeline/conversion/test_task_models.py compares."""
    assert FAMILY.heads is bert.TASK_HEADS and {"tokens", "spans", "choices"} < FAMILY.heads.keys()
