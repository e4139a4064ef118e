"""Laws of pipeline/families/bert.py; foremost law 7: what it computes is what Hugging Face computes."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional

from pipeline.conversion.names import form_of_tensors, from_huggingface, to_huggingface
from pipeline.data.batch import Batch, padded
from pipeline.families.bert import FAMILY, FIELDS_OF_OURS, BertConfig, config_from, config_to, names
from pipeline.families.bert import build as build_model
from pipeline.families.encoders import PARAMETERS

VOCAB_SIZE = 97
CONFIG = BertConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=80)
LENGTHS = [7, 64, 33, 12, 64]
TOLERANCE = 1e-5  # law 7, fp32


def make_batch(lengths=LENGTHS, seed=0):
    """Return a batch of random tokens, about a sixth of them masked."""
    rng = np.random.default_rng(seed)
    num_tokens = sum(lengths)
    masked = np.sort(rng.choice(num_tokens, max(1, num_tokens // 6), replace=False))
    starts = [0, *np.cumsum(lengths)]
    counts = {"samples": len(lengths), "tokens": num_tokens, "masked": len(masked)}
    # Token 0 is [PAD], which never occurs in text and gets no gradient in Hugging Face's embedding.
    return Batch(
        input_ids=torch.from_numpy(rng.integers(1, VOCAB_SIZE, num_tokens)),
        segment_ids=torch.from_numpy(rng.integers(0, 2, num_tokens)),
        position_ids=torch.cat([torch.arange(length) for length in lengths]),
        cu_seqlens=torch.tensor(starts, dtype=torch.int32),
        max_seqlen=max(lengths),
        targets={
            "positions": torch.from_numpy(masked),
            "labels": torch.from_numpy(rng.integers(0, VOCAB_SIZE, len(masked))),
            "pair": torch.from_numpy(rng.integers(0, 2, len(lengths))),
        },
        counts=counts,
        totals=counts,
        sample_ids=np.arange(len(lengths)),
        epochs=np.zeros(len(lengths), np.int64),
        group=0,
    )


def with_large_weights(model):
    """Draw every parameter anew and large, so that logits are about 1 and a missing bias or
    normalisation is noticed.
    """
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + (parameter.dim() == 1))
    return model.eval()


def build(config=CONFIG):
    return with_large_weights(build_model(config, VOCAB_SIZE))


def build_huggingface(config=CONFIG):
    settings = transformers.BertConfig(**config_to(config, VOCAB_SIZE))
    return with_large_weights(transformers.BertForPreTraining(settings))


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
    classes = [form_of_tensors(FAMILY, state).export.model_class for state in (pairs, single, {})]
    assert classes == ["BertForPreTraining", "BertForMaskedLM", "BertForPreTraining"]


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


def test_names_form_a_bijection():
    """Every tensor returns from Hugging Face's names to its own, and every parameter of both sides has one name."""
    state = build().state_dict()
    theirs = to_huggingface(FAMILY, state)
    back = from_huggingface(FAMILY, theirs)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert theirs.keys() == build_huggingface().state_dict().keys()
    named = [name for parts in names(CONFIG.num_hidden_layers).values() for name in parts]
    assert len(named) == len(set(named))


def test_a_stack_counts_the_tensors_that_hugging_face_keeps_apart():
    """`stacks` is the number of parameters that a parameter of ours is in the reference implementation."""
    assert all(PARAMETERS.stacks(ours) == len(theirs) for ours, theirs in names(2).items())


def test_shared_tensors_may_be_saved_under_one_name():
    """A state dict that has a shared tensor once, as those of optimizers and safetensors do, is complete."""
    model = build()
    assert (
        to_huggingface(FAMILY, dict(model.named_parameters())).keys()
        == to_huggingface(FAMILY, model.state_dict()).keys()
    )
    once = dict(build_huggingface().named_parameters())
    assert "cls.predictions.decoder.weight" not in once
    assert from_huggingface(FAMILY, once).keys() == model.state_dict().keys()


def test_a_foreign_state_dict_is_refused():
    """Missing and unknown parameters are errors that name them."""
    state = dict(build().state_dict())
    del state["pooler.dense.weight"]
    with pytest.raises(ValueError, match=r"missing bert\.pooler\.dense\.weight|missing pooler\.dense\.weight"):
        to_huggingface(FAMILY, state)
    with pytest.raises(ValueError, match=r"unknown classifier\.weight"):
        from_huggingface(FAMILY, {**build_huggingface().state_dict(), "classifier.weight": torch.zeros(1)})


def test_the_configuration_survives_the_round_trip():
    """Every field of the configuration returns, except those that are no property of the trained model."""
    config = BertConfig(
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
    default = BertConfig(hidden_size=1, num_hidden_layers=1, num_attention_heads=1, intermediate_size=1)
    unchanged = [f.name for f in fields(config) if getattr(config, f.name) == getattr(default, f.name)]
    assert set(unchanged) == FIELDS_OF_OURS, "give the new field another value here"
    settings = transformers.BertConfig(**config_to(config, VOCAB_SIZE))
    assert config_from(settings.to_dict()) == config
    assert settings.vocab_size == VOCAB_SIZE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_decoder", True),
        ("tie_word_embeddings", False),
        ("position_embedding_type", "relative_key"),
        ("model_type", "roberta"),
    ],
)
def test_what_the_family_does_not_compute_is_refused(field, value):
    """A Hugging Face configuration that changes the computation is an error."""
    settings = transformers.BertConfig(**config_to(CONFIG, VOCAB_SIZE)).to_dict()
    with pytest.raises(ValueError, match=f"{field} = {value!r}"):
        config_from({**settings, field: value})


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
