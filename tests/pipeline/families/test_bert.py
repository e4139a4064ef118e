"""Laws of pipeline/families/bert.py; foremost law 7: what it computes is what Hugging Face computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from bert_cases import CONFIG, VOCAB_SIZE, build, build_huggingface, make_batch, with_large_weights
from family_cases import TOLERANCE
from torch.nn import functional

from pipeline.conversion.names import from_huggingface, to_huggingface
from pipeline.conversion.pretrained import form_of
from pipeline.data.batch import padded
from pipeline.families.bert import FAMILY, BertConfig, config_from, config_to
from pipeline.families.bert import build as build_model
from pipeline.families.encoders import PARAMETERS


def huggingface_logits(model, batch):
    """Return the padded logits of Hugging Face in our layout: (T, V) and, for pairs, (B, 2)."""
    lengths = batch.cu_seqlens.diff().tolist()
    inputs = {"input_ids": batch.input_ids, "token_type_ids": batch.segment_ids}
    inputs = {
        name: torch.nn.utils.rnn.pad_sequence(values.split(lengths), batch_first=True)
        for name, values in inputs.items()
    }
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    out = model(**inputs, attention_mask=mask.long())
    if isinstance(model, transformers.BertForMaskedLM):
        return out.logits[mask]
    return out.prediction_logits[mask], out.seq_relationship_logits


def both_logits(model, batch, rows):
    """Return our logits over the vocabulary and of the pairs."""
    return model.logits(batch, rows), model.pair_logits(model.hidden(batch), batch)


def all_rows(batch):
    return torch.arange(len(batch.input_ids))


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
def test_logits_equal_hugging_face_after_export(hidden_act):
    """The logits of our random model, at every token and for every pair, are those of its export."""
    config, batch = replace(CONFIG, hidden_act=hidden_act), make_batch()
    ours = build(config)
    theirs = build_huggingface(config)
    theirs.load_state_dict(to_huggingface(FAMILY, ours.state_dict()), strict=True)
    with torch.no_grad():
        pairs = zip(both_logits(ours, batch, all_rows(batch)), huggingface_logits(theirs, batch), strict=True)
        for actual, expected in pairs:
            assert expected.std() > 0.3, "logits too small for the comparison to mean anything"
            assert (actual - expected).abs().max() <= TOLERANCE


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
def test_logits_equal_hugging_face_after_import(hidden_act):
    """The logits of a random Hugging Face model are those of its import."""
    config, batch = replace(CONFIG, hidden_act=hidden_act), make_batch()
    theirs = build_huggingface(config)
    ours = build(config_from(theirs.config.to_dict()))
    ours.load_state_dict(from_huggingface(FAMILY, theirs.state_dict()), strict=True)
    with torch.no_grad():
        pairs = zip(both_logits(ours, batch, all_rows(batch)), huggingface_logits(theirs, batch), strict=True)
        for actual, expected in pairs:
            assert (actual - expected).abs().max() <= TOLERANCE


MASKED_ONLY = replace(CONFIG, next_sentence=False)


def test_logits_without_next_sentence_prediction_equal_hugging_face_in_both_directions():
    """`BertForMaskedLM` computes the logits of its import, and our model those of its export."""
    form, batch = FAMILY.of(MASKED_ONLY), make_batch()
    ours = build(MASKED_ONLY)
    assert not any(name.startswith("p") for name in ours.state_dict()), "it has no pooler and no head of pairs"
    theirs = with_large_weights(transformers.BertForMaskedLM(transformers.BertConfig(**config_to(CONFIG, VOCAB_SIZE))))
    back = build(form.export.config_from(theirs.config.to_dict()))
    back.load_state_dict(from_huggingface(form, theirs.state_dict()), strict=True)
    with torch.no_grad():
        imported = huggingface_logits(theirs, batch), back.logits(batch, all_rows(batch))
        theirs.load_state_dict(to_huggingface(form, ours.state_dict()), strict=True)
        exported = huggingface_logits(theirs, batch), ours.logits(batch, all_rows(batch))
    for expected, actual in (imported, exported):
        assert expected.std() > 0.3 and (actual - expected).abs().max() <= TOLERANCE


def test_without_next_sentence_prediction_the_loss_is_that_of_the_masked_tokens():
    """Encoder and head of masked tokens have the initial weights of the whole model, and labels of pairs
    are ignored.
    """
    batch, model = make_batch(), build(MASKED_ONLY)
    logits = model.logits(batch, batch.targets["positions"])
    out = model(batch)
    torch.testing.assert_close(out.loss, functional.cross_entropy(logits, batch.targets["labels"]))
    assert out.sums.keys() == {"mlm_loss", "mlm_correct"}


def test_the_tensors_of_a_directory_select_the_form():
    """Tensors of a head of pairs make the model BertForPreTraining, whatever its configuration says; a pooler alone
    does not.
    """
    pairs = build_huggingface().state_dict()
    single = {name: value for name, value in pairs.items() if "seq_relationship" not in name}
    classes = [form_of(FAMILY, state, "")[0].export.model_class for state in (pairs, single)]
    assert classes == ["BertForPreTraining", "BertForMaskedLM"]


def test_the_two_activations_differ():
    """Exact and approximated GELU give different logits, so that the tests above can distinguish them."""
    batch = make_batch()
    with torch.no_grad():
        erf, tanh = (
            build(replace(CONFIG, hidden_act=act)).logits(batch, all_rows(batch)) for act in ("gelu", "gelu_new")
        )
    assert (erf - tanh).abs().max() > 10 * TOLERANCE


def test_loss_and_gradients_equal_hugging_face():
    """The loss (mean over masked tokens plus mean over pairs) and all gradients equal those of Hugging Face."""
    batch, ours = make_batch(), build()
    theirs = build_huggingface()
    theirs.load_state_dict(to_huggingface(FAMILY, ours.state_dict()))
    prediction, pair = huggingface_logits(theirs, batch)
    expected = functional.cross_entropy(prediction[batch.targets["positions"]], batch.targets["labels"])
    expected = expected + functional.cross_entropy(pair, batch.targets["pair"])
    expected.backward()
    loss = ours(batch).loss
    loss.backward()
    torch.testing.assert_close(loss, expected)
    gradients = to_huggingface(FAMILY, {name: parameter.grad for name, parameter in ours.named_parameters()})
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(
            gradients[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_padding_changes_only_rounding():
    """Loss, sums and gradients are those of the batch without padding (law 3)."""
    batch, plain, tailed = make_batch(), build(), build()
    expected, found = plain(batch), tailed(padded(batch, 512, pad_id=0))
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(dict(found.sums), dict(expected.sums))
    expected.loss.backward()
    found.loss.backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    for name, parameter in tailed.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[name], rtol=1e-4, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_sums_are_those_of_the_logits():
    """The sums and counts equal those of cross entropy and argmax on the logits, and carry no gradient."""
    batch, model = make_batch(), build()
    mlm, pair = both_logits(model, batch, batch.targets["positions"])
    out = model(batch)
    torch.testing.assert_close(
        out.sums["mlm_loss"], functional.cross_entropy(mlm, batch.targets["labels"], reduction="sum").detach()
    )
    torch.testing.assert_close(
        out.sums["nsp_loss"], functional.cross_entropy(pair, batch.targets["pair"], reduction="sum").detach()
    )
    assert out.sums["mlm_correct"] == (mlm.argmax(1) == batch.targets["labels"]).sum()
    assert out.sums["nsp_correct"] == (pair.argmax(1) == batch.targets["pair"]).sum()
    assert out.loss.requires_grad and not any(value.requires_grad for value in out.sums.values())


def test_shares_of_the_loss_add_up_to_that_of_the_global_batch():
    """Losses and gradients of two unequal micro-batches add up to those of both as one batch (law 3)."""
    parts = [make_batch([9, 30], seed=1), make_batch([50], seed=2)]
    whole = join(parts)
    model = build().double()
    expected = model(whole).loss
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    total = 0.0
    for part in parts:
        share = model(replace(part, totals=whole.totals)).loss
        share.backward()
        total += share.detach()
    torch.testing.assert_close(total, expected.detach())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def join(parts):
    """Join micro-batches into one."""
    offsets = np.cumsum([0] + [len(part.input_ids) for part in parts]).tolist()
    columns = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("input_ids", "segment_ids", "position_ids")
    }
    targets = {name: torch.cat([part.targets[name] for part in parts]) for name in ("labels", "pair")}
    moved = zip(parts, offsets, strict=False)
    targets["positions"] = torch.cat([part.targets["positions"] + offset for part, offset in moved])
    bounds = torch.cat([part.cu_seqlens + offset for part, offset in zip(parts, offsets, strict=False)])
    counts = {name: sum(part.counts[name] for part in parts) for name in parts[0].counts}
    return replace(
        parts[0],
        **columns,
        targets=targets,
        cu_seqlens=bounds.unique(),  # the end of one is the start of the next
        max_seqlen=max(part.max_seqlen for part in parts),
        sample_ids=np.arange(counts["samples"]),
        counts=counts,
        totals=counts,
    )


def test_a_batch_without_masked_tokens_trains_on_pairs_alone():
    """Without masked tokens, the masked-token loss is 0 and the model trains on pairs."""
    batch, none = make_batch([5]), torch.zeros(0, dtype=torch.long)
    out = build()(replace(batch, targets=batch.targets | {"positions": none, "labels": none}))
    assert out.sums["mlm_loss"] == 0 and out.loss == out.sums["nsp_loss"]


def test_weight_decay_spares_biases_and_normalisation():
    """Exactly the one-dimensional parameters take no weight decay."""
    for name, parameter in build_model(CONFIG, VOCAB_SIZE).named_parameters():
        assert PARAMETERS.decays(name) == (parameter.dim() > 1), name


def test_parameters_of_bert_large_number_336_million():
    """BERT-large with the released vocabulary has as many parameters as the released model, heads included."""
    large = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    with torch.device("meta"):
        model = build_model(large, 30522)
        reference = transformers.BertForPreTraining(transformers.BertConfig(**config_to(large, 30522)))
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in reference.parameters()) == 336_226_108


def test_matrices_of_the_layers_are_muons():
    """Muon updates exactly the two-dimensional parameters of the layers, and not those of embeddings,
    pooler and heads.
    """
    for name, parameter in build_model(CONFIG, VOCAB_SIZE).named_parameters():
        assert PARAMETERS.is_matrix(name) == (parameter.dim() > 1 and ".layers." in name), name
